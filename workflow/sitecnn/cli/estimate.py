"""`sitecnn estimate`: time and memory of a network on a board where it was never run."""

import argparse
import csv
import json
import sys
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_board, add_level, add_network, add_time_budget, positive, read_network
from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.estimation.budget_check import BudgetCheck

EXAMPLES = """\
examples:
  sitecnn estimate net.prototxt --board tx1 --processor gpu
  sitecnn estimate net.prototxt --board tx1 --budget-ms 100 --budget-mb 500   exit status 1 if it does not fit
  sitecnn estimate a.prototxt b.onnx --board tx1,rk3399 --batch 1,2,4,8       a table to compare
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "estimate",
        help="time and memory of a network on a board",
        description="Estimate time and memory, name what takes longest, and say how sure that is.\n"
        "The network is not run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser, several=True, batches=True)
    add_board(parser, several=True)
    add_level(parser)
    add_time_budget(parser, "exit 1 if the network exceeds it")
    parser.add_argument(
        "--budget-mb",
        type=positive,
        metavar="Y",
        help="budget for memory in 10⁶ bytes; exit 1 if the network exceeds it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--layers", action="store_true", help="also print a table of every layer")
    form.add_argument("--json", action="store_true", help="one JSON document (a list for several estimates)")
    form.add_argument("--csv", action="store_true", help="one row per layer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the estimates; 1 if any exceeds a budget, else 0."""
    from sitecnn.cli.estimate_text import comparison, verdict

    batches = args.batch or [None]
    if "-" in args.networks and len(batches) > 1:
        raise SiteCNNError("--batch: several batches need a file, because standard input can be read only once")
    groups = [group for source in args.networks for batch in batches for group in _on_boards(args, source, batch)]
    answers = [answer for group in groups for answer in group]
    if args.json:
        documents = [document(group) for group in groups]
        print(json.dumps(documents[0] if len(documents) == 1 else documents))
    elif args.csv:
        print_csv(answers)
    elif len(groups) > 1:
        print(comparison(answers))
    else:
        print(verdict(answers[0], answers[1:], layers=args.layers))
    return 0 if all(group[0].fits for group in groups) else 1


def document(answers: "list[BudgetCheck]") -> dict[str, Any]:
    """The `estimate --json` document of a board: its fastest processor's, those of `others` below it."""
    return {**answers[0].to_dict(), "others": [other.to_dict() for other in answers[1:]]}


def _on_boards(args: argparse.Namespace, source: str, batch: int | None) -> "list[list[BudgetCheck]]":
    """For each board the answers of its processors: those that keep the budget before others, the fastest first."""
    from sitecnn.estimation.budget_check import Budget, check_budget
    from sitecnn.models.lookup import load_processors, with_stack

    budget = Budget(args.budget_ms, args.budget_fps, None if args.budget_mb is None else int(args.budget_mb * 1e6))
    boards = [load_processors(board, args.processor, root=args.root) for board in args.board.split(",")]
    network = read_network(args, source, batch)
    # What came by standard input is gone; a file can be read again.
    at_batch = None if source == "-" else lambda images: read_network(args, source, images)
    choice = {"stack": args.stack, "threads": args.threads, "level": args.level, "engine": args.engine}
    groups = []
    for board in boards:
        processors = with_stack(board, args.stack, args.threads, args.engine)
        checks = [check_budget(network, processor, budget, at_batch=at_batch, **choice) for processor in processors]
        groups.append(sorted(checks, key=lambda one: (not one.fits, one.estimate.forward_ms.estimate)))
    return groups


def print_csv(answers: "list[BudgetCheck]") -> None:
    """One row per layer of each estimate."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        (
            *("network", "board", "processor", "stack", "batch", "layer", "type", "macs"),
            *("ms", "low_ms", "high_ms", "modelled", "extrapolated", "fused_into"),
        )
    )
    for answer in answers:
        one = answer.estimate
        origin = (one.network, one.board, one.processor, one.stack, one.batch)
        for layer in one.layers:
            times = (layer.ms.estimate, layer.ms.low, layer.ms.high)
            flags = (layer.modelled, layer.extrapolated, layer.fused_into or "")
            writer.writerow((*origin, layer.name, layer.type, layer.macs, *times, *flags))
