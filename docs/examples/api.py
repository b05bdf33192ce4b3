"""SiteCNN from Python, without notebook, workflow or Caffe. The tests run this file; docs/api.md explains it.

    python docs/examples/api.py NETWORK BOARD [FOLDER]

NETWORK is a .prototxt or .onnx file, BOARD a board that has a model for its GPU, FOLDER the one that holds
results/ (default: the current one).
"""

import sys
from pathlib import Path

import sitecnn


def main(network_file: str, board_name: str, root: str = ".") -> None:
    """Print what the API says of a network on a board's GPU."""
    # A network is a graph of layers with exact shapes, as Caffe would infer them; weights are never needed.
    network = sitecnn.load_network(network_file, batch=1)
    board = sitecnn.load_board(board_name, "gpu", root=root)

    # One network on one board: milliseconds with their interval, bytes.
    found = sitecnn.estimate(network, board, level=0.9)
    print(f"{found.network} on {found.board} {found.processor}, stack {found.stack}")
    if found.is_whole:
        time = found.forward_ms
        print(f"forward pass {time.estimate:.1f} ms, 90 %: {time.low:.1f} to {time.high:.1f} ms")
    else:
        print(f"no total: layers with {1 - found.known_macs_fraction:.0%} of the MACs are of unknown kinds")
    print(f"memory {found.memory_bytes.total / 2**20:.1f} MiB")

    # The three slowest layers, as a pandas DataFrame.
    layers = found.to_frame()
    print(layers.nlargest(3, "ms")[["layer", "type", "ms", "low_ms", "high_ms"]].to_string(index=False))

    # Many networks in one vectorised step, here one network at many batches: a search over architectures.
    batches = [sitecnn.load_network(network_file, batch=batch) for batch in (1, 2, 4, 8)]
    many = sitecnn.estimate_many(batches, board)
    for candidate, ms in zip(batches, many.estimate_ms, strict=True):
        print(f"batch {candidate.batch}: {ms:.1f} ms, {candidate.batch / ms * 1e3:.1f} images/s")

    # What sharing and freeing buffers would leave of the memory.
    plan = sitecnn.memory_plan(network)
    print(
        f"values and im2col buffers {(plan.data + plan.workspace) / 2**20:.1f} MiB, at least {plan.least / 2**20:.1f}"
    )


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(f"usage: python {Path(sys.argv[0]).name} NETWORK BOARD [FOLDER]")
    main(*sys.argv[1:])
