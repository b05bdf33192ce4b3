"""`sitecnn plan`: what a board is to measure."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_network, positive, read_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sitecnn.network import Network
    from sitecnn.workload.kernels import Kernel


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "plan",
        help="the measurements that networks ask of a board",
        epilog="example: sitecnn plan config/networks/*.prototxt --sweep -o plan.jsonl",
    )
    add_network(parser, several=True)
    parser.add_argument(
        "--truth-only", nargs="+", default=[], metavar="NETWORK", help="time their passes, but plan no kernel of theirs"
    )
    chosen = parser.add_argument_group(
        "a choice", "only the kernels that tell most of the networks' times per second of measuring, those first"
    )
    chosen.add_argument("--select", type=int, metavar="N", help="so many kernels")
    chosen.add_argument("--minutes", type=positive, metavar="M", help="kernels for so long, besides the passes")
    chosen.add_argument(
        "--like",
        default="tx1",
        metavar="BOARD",
        help="a board with a model of its CPU, for expected times (default: tx1)",
    )
    parser.add_argument("--sweep", action="store_true", help="and sizes beyond the networks' own (boards/sweep.py)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the plan, one JSON task per line; 0."""
    from sitecnn.boards.plan import heaviest_first, plan, plan_lines
    from sitecnn.files import write_text

    networks, truth_only = (
        [read_network(args, source) for source in sources] for sources in (args.networks, args.truth_only)
    )
    choose = _choice(args, networks) if args.select or args.minutes else heaviest_first
    tasks = plan(networks, sweep=args.sweep, truth_only=truth_only, choose=choose)
    write_text(args.output, plan_lines(tasks))
    print(f"{args.output}: {len(tasks)} measurements")
    return 0


def _choice(args: argparse.Namespace, networks: "list[Network]") -> "Callable[[Sequence[Kernel]], list[Kernel]]":
    """The kernels that tell most, as many as asked for; pieces of layers tell a board's model nothing."""
    import numpy as np

    from sitecnn.estimation.boards import load_board
    from sitecnn.estimation.work import columns, layer_columns
    from sitecnn.models.design import design_order, expected, expected_cost_s, together
    from sitecnn.models.evaluate import PIECES

    model = load_board(args.like, "cpu", root=args.root).stacks[0]

    def choose(kernels: "Sequence[Kernel]") -> "list[Kernel]":
        layers = [kernel for kernel in kernels if kernel.kind not in PIECES]
        candidates = expected(model, *columns(layers))
        cost_s = expected_cost_s(candidates.ns)
        targets = [expected(model, *layer_columns(network)) for network in networks]
        order = design_order(candidates, together(targets), cost_s)
        within = np.cumsum(cost_s[order]) <= 60 * (args.minutes or np.inf)
        return [layers[index] for index in np.array(order)[within][: args.select]]

    return choose
