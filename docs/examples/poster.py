"""The poster's questions, asked of TX1's models: its four networks, beside the figures that it prints.

    python docs/examples/poster.py [FOLDER]

FOLDER holds config/networks and, if you have models of your own, results/ (default: the current one). Figures: Lu,
Rallapalli, Chan, La Porta, "SiteCNN" poster, 2017, Tables 1 and 2. Its TX1 ran at 1.9 GHz with a Caffe of its time;
the models speak of the stacks that they name, and two published stacks of this board differ by a factor of two.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import sitecnn
from sitecnn.workload.memory import memory

NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet50")

TYPES = ("Convolution", "Pooling", "ReLU", "InnerProduct")

VGG_MS = {"cpu": (1952.9, 71.3, 52.5, 747.7, 2809.1), "gpu": (136.3, 3.4, 9.9, 32.8, 175.3)}
"""TX1 in Table 1: convolution, pooling, ReLU, FC; the forward pass."""

MEMORY_MB = {
    "alexnet": (233, 8, 11, 362, 589),
    "vgg16": (528, 110, 168, 1013, 1537),
    "googlenet": (26, 53, 46, 200, 226),
    "resnet50": (97, 221, 79, 453, 562),
}
"""Table 2: weights, data, workspace; TX1's total with CPU and with GPU. VGG-16's 168 does not follow from the
definition that gives the other three."""


def row(*cells: object) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def header(*cells: str) -> str:
    """The head of a Markdown table."""
    return row(*cells) + "\n" + row(*["---"] * len(cells))


def vgg_times(board: sitecnn.BoardModel, network: sitecnn.Network) -> list[str]:
    """VGG-16 on each stack of a processor, below the poster's line."""
    lines = [row(f"TX1 {board.processor}, the poster", *VGG_MS[board.processor])]
    for stack in board.stacks:
        found = sitecnn.estimate(network, board, stack=stack.stack, threads=stack.threads)
        by_type = {one.type: one.ms.estimate for one in found.types}
        total = found.forward_ms
        whole = f"{total.estimate:,.1f} ({total.low:,.1f}–{total.high:,.1f})" if found.is_whole else "not modelled"
        times = (f"{by_type[name]:,.1f}" for name in TYPES)
        lines.append(row(f"TX1 {board.processor}, {stack.stack}", *times, whole))
    return lines


def forward_times(boards: Sequence[sitecnn.BoardModel], networks: Sequence[sitecnn.Network]) -> list[str]:
    """Every network on every stack."""
    lines = []
    for board in boards:
        for stack in board.stacks:
            found = [sitecnn.estimate(one, board, stack=stack.stack, threads=stack.threads) for one in networks]
            times = [
                f"{one.forward_ms.estimate:,.1f} ({one.forward_ms.low:,.1f}–{one.forward_ms.high:,.1f})"
                for one in found
            ]
            lines.append(row(f"TX1 {board.processor}, {stack.stack}", *times))
    return lines


def memory_parts(boards: Sequence[sitecnn.BoardModel], networks: Sequence[sitecnn.Network]) -> list[str]:
    """Table 2 in MiB: ours, and the poster's in brackets."""
    lines = []
    for name, network in zip(NETWORKS, networks, strict=True):
        parts = memory(network)
        totals = [sitecnn.estimate(network, board).memory_bytes.total for board in boards]
        ours = (parts.weights_bytes, parts.data_bytes, parts.workspace_poster_bytes, *totals)
        cells = [f"{mine / 2**20:,.0f} ({printed})" for mine, printed in zip(ours, MEMORY_MB[name], strict=True)]
        lines.append(row(network.name, *cells))
    return lines


def main(root: Path) -> None:
    """Print the three tables as Markdown."""
    networks = [sitecnn.load_network(root / "config" / "networks" / f"{name}.prototxt", batch=1) for name in NETWORKS]
    boards = [sitecnn.load_board("tx1", processor, root=root) for processor in ("cpu", "gpu")]
    print("VGG-16 by layer type, ms\n")
    print(header("", "conv", "pool", "ReLU", "FC", "forward pass"))
    print("\n".join(line for board in boards for line in vgg_times(board, networks[1])))
    print("\nForward pass, ms, with its 90 % interval\n")
    print(header("", *(network.name for network in networks)))
    print("\n".join(forward_times(boards, networks)))
    print("\nMemory, MiB (the poster's)\n")
    print(header("", "weights", "data", "workspace", "total, CPU", "total, GPU"))
    print("\n".join(memory_parts(boards, networks)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
