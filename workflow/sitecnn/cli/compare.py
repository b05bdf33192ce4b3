"""`sitecnn compare`: networks on every board, processor and stack that has a model."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_board_name, add_level, add_network, read_network
from sitecnn.errors import ModelError

if TYPE_CHECKING:
    from sitecnn.estimation.budget_check import BudgetCheck

EXAMPLES = """\
examples:
  sitecnn compare net.prototxt                                  on every board
  sitecnn compare a.prototxt b.prototxt --board tx1 --batch 1,8
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "compare",
        help="networks side by side on boards, processors and stacks",
        description="One row for each network, batch, board, processor and stack, the fastest first; "
        "rows that are mostly extrapolated are listed separately.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser, several=True, batches=True)
    add_board_name(parser, several=True, required=False)
    add_level(parser)
    parser.add_argument("--json", action="store_true", help="a list of `estimate` documents")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; 0."""
    from sitecnn.cli.estimate_text import compared

    answers = _answers(args)
    if args.json:
        print(json.dumps([answer.to_dict() for answer in answers]))
    else:
        print(compared(answers))
    return 0


def _answers(args: argparse.Namespace) -> "list[BudgetCheck]":
    """The answers network by network and batch by batch, the fastest of each first."""
    from sitecnn.estimation.budget_check import Budget, check_budget
    from sitecnn.estimation.work import can_run
    from sitecnn.models.board_model import load
    from sitecnn.models.lookup import load_board
    from sitecnn.models.model_files import known_models

    models = known_models(args.root)
    if not models:
        raise ModelError(
            "no board has a model yet; make one of this machine with `./run report`, "
            "of another with `sitecnn import` and `sitecnn fit`"
        )
    wanted = args.board.split(",") if args.board else sorted({board for board, _ in models})
    for board in wanted:
        if not any(board == name for name, _ in models):
            load_board(board, root=args.root)
    boards = [load(path) for (board, _), path in sorted(models.items()) if board in wanted]
    answers = []
    for source in args.networks:
        for batch in args.batch or [None]:
            network = read_network(args, source, batch)
            checks = [
                check_budget(network, board, Budget(), stack=stack.stack, threads=stack.threads, level=args.level)
                for board in boards
                for stack in board.stacks
                if can_run(network, stack)
            ]
            answers += sorted(checks, key=lambda one: one.estimate.forward_ms.estimate)
    return answers
