"""`sitecnn placement`: each layer on the CPU or the GPU, whichever makes the whole faster."""

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_board_name, add_copy, add_level, add_network, copy_of, read_network
from sitecnn.errors import ModelError
from sitecnn.workload.stack_names import stack_label

if TYPE_CHECKING:
    from sitecnn.estimation.placement import Placement
    from sitecnn.models.board_model import BoardModel
    from sitecnn.network import Network

EXAMPLES = """\
examples:
  sitecnn placement net.prototxt --board tx1
  sitecnn placement net.prototxt --board tx1 --copy-gb-per-s 4 --copy-us 30   without zero-copy
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "placement",
        help="which layers belong on the CPU and which on the GPU",
        description="The best processor for each layer, copies included, and what that gains over one processor.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    add_board_name(parser)
    parser.add_argument("--cpu-stack", metavar="TEXT", help="a part of the CPU stack's name (default: the first)")
    parser.add_argument("--gpu-stack", metavar="TEXT", help="a part of the GPU stack's name (default: the first)")
    add_copy(parser)
    add_level(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the placement; 0."""
    from sitecnn.estimation.placement import ZERO_COPY, place
    from sitecnn.models.lookup import choose_stack, load_board, other_processor

    one = load_board(args.board, root=args.root)
    other = other_processor(one, args.root)
    if other is None:
        raise ModelError(
            f"board {one.board!r}: placement needs models of both processors, and only its {one.processor} has one; "
            f"measure the other or import its times (`sitecnn import`)"
        )
    models = {board.processor: board for board in (one, other)}
    network = read_network(args, args.network)
    cpu, gpu = (
        models[name].only(choose_stack(models[name], stack, network=network))
        for name, stack in (("cpu", args.cpu_stack), ("gpu", args.gpu_stack))
    )
    copy, origin = copy_of(args, gpu.stacks[0])
    placed = place(network, cpu, gpu, copy or ZERO_COPY, level=args.level)
    if args.json:
        print(json.dumps(placed.to_dict()))
    else:
        print(_text(network, cpu, gpu, placed, origin))
    return 0


def _text(network: "Network", cpu: "BoardModel", gpu: "BoardModel", placement: "Placement", origin: str) -> str:
    from sitecnn.cli.colour import paint
    from sitecnn.cli.estimate_text import amount, span

    level, stacks = placement.level, "cpu ({}) with gpu ({})".format(*map(stack_label, placement.stacks))
    home = "cpu" if placement.all_cpu_ms <= placement.all_gpu_ms else "gpu"
    moved = [layer for layer, there in zip(network.layers, placement.on_gpu, strict=True) if there == (home == "cpu")]
    best = min(placement.all_cpu_ms, placement.all_gpu_ms)
    if placement.worthwhile:
        verdict = paint(f"worth it: move {len(moved)} layers from the {home}", "green")
    else:
        verdict = paint(f"not worth it: leave everything on the {home}", "yellow")
    lines = [
        paint(f"{network.name}, batch {network.batch}, on {placement.board}: {stacks}", "bold"),
        f"verdict     {verdict}",
        f"time        {amount(placement.placed_ms.estimate)} ms ({level:.0%}: {span(placement.placed_ms)} ms),"
        f" on the {home} alone {amount(best)} ms",
    ]
    for name, alone, gain in (
        ("cpu", placement.all_cpu_ms, placement.gain_over_cpu_ms),
        ("gpu", placement.all_gpu_ms, placement.gain_over_gpu_ms),
    ):
        interval = f"({level:.0%}: {gain.low:,.2f} to {gain.high:,.2f} ms)"
        lines.append(f"gain        {gain.estimate:,.2f} ms {interval} over all on the {name}, {amount(alone)} ms")
    lines.append(f"crossings   {placement.copies} values, {placement.copies_ms:,.2f} ms of copies: {origin}")
    if not placement.worthwhile and moved:
        types = Counter(layer.type for layer in moved)
        lines.append("would move  " + ", ".join(f"{count} {kind}" for kind, count in types.most_common()))
    return "\n".join([*lines, "", _moved(network, cpu, gpu, placement, home)] if placement.worthwhile else lines)


def _moved(network: "Network", cpu: "BoardModel", gpu: "BoardModel", placed: "Placement", home: str) -> str:
    from sitecnn.cli.tables import table
    from sitecnn.estimation.placement import layers_ns
    from sitecnn.estimation.work import work_of

    cpu_times, gpu_times = (layers_ns(board.stacks[0], work_of(network, board.stacks[0]))[0] for board in (cpu, gpu))
    times = zip(network.layers, placed.on_gpu, cpu_times, gpu_times, strict=True)
    rows = [
        (layer.name, layer.type, f"{cpu_ns / 1e6:.3f}", f"{gpu_ns / 1e6:.3f}")
        for layer, there, cpu_ns, gpu_ns in times
        if there == (home == "cpu")
    ]
    return table((f"moves to the {'gpu' if home == 'cpu' else 'cpu'}", "type", "cpu ms", "gpu ms"), rows, right=(2, 3))
