"""`sitecnn plan`: what a board is to measure."""

import argparse
from dataclasses import replace
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
    parser.add_argument("--board", metavar="NAME", help="the engines of this board's file; it is asked what it has")
    engine = parser.add_argument_group("ONNX Runtime", "probe networks and the networks' passes, in rounds")
    engine.add_argument(
        "--engine",
        metavar="STACK",
        help="how the board's stack begins, with the channels of a block: onnxruntime-1.27.0+nchwc-16 (0, 8 or 16)",
    )
    engine.add_argument("--probes", type=int, metavar="N", help="probe networks (default: 48)")
    engine.add_argument("--rounds", type=int, metavar="N", help="rounds, each in a process of its own (default: 5)")
    engine.add_argument("--seed", type=int, metavar="N", help="what the probes are drawn from (default: 1)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the plan, one JSON task per line; 0."""
    from sitecnn.boards.plan import heaviest_first, plan, plan_lines
    from sitecnn.files import write_text

    networks, truth_only = (
        [read_network(args, source) for source in sources] for sources in (args.networks, args.truth_only)
    )
    if args.engine:
        return _write_engine_plan(args, [*networks, *truth_only])
    choose = _choice(args, networks) if args.select or args.minutes else heaviest_first
    if args.board:
        from sitecnn.boards.config import load_board
        from sitecnn.boards.engines import board_plan

        named = [
            [replace(one, name=Path(source).stem) for one, source in zip(*pair, strict=True)]
            for pair in ((networks, args.networks), (truth_only, args.truth_only))
        ]
        board = load_board(args.root, args.board)
        tasks = board_plan(args.root, board, *named, sweep=args.sweep, choose=choose, probes=_probes(args))
    else:
        tasks = plan(networks, sweep=args.sweep, truth_only=truth_only, choose=choose)
    write_text(args.output, plan_lines(tasks))
    print(f"{args.output}: {len(tasks)} measurements")
    return 0


def _probes(args: argparse.Namespace) -> dict[str, int]:
    """What was asked of the probes, beside their defaults."""
    return {name: value for name in ("probes", "rounds", "seed") if (value := getattr(args, name)) is not None}


def _write_engine_plan(args: argparse.Namespace, networks: "list[Network]") -> int:
    """The plan of an engine that is measured by probes; 0."""
    from sitecnn.boards.plan import plan_lines
    from sitecnn.boards.probes import engine_plan
    from sitecnn.errors import SiteCNNError
    from sitecnn.files import write_text
    from sitecnn.workload.engines import ONNXRUNTIME, engine_of_stack

    engine = engine_of_stack(args.engine)
    if engine.name != ONNXRUNTIME:
        raise SiteCNNError(f"--engine {args.engine}: only onnxruntime is measured by probes; leave it out for Caffe")
    tasks = engine_plan(networks, engine, **_probes(args))
    write_text(args.output, plan_lines(tasks))
    print(f"{args.output}: {len(tasks)} measurements")
    return 0


def _choice(args: argparse.Namespace, networks: "list[Network]") -> "Callable[[Sequence[Kernel]], list[Kernel]]":
    """The kernels that tell most, as many as asked for; pieces of layers tell a board's model nothing."""
    import numpy as np

    from sitecnn.estimation.boards import load_board
    from sitecnn.models.design import design_order, expected, expected_cost_s, together
    from sitecnn.models.evaluate import PIECES
    from sitecnn.workload.columns import columns, layer_columns

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
