"""`sitecnn board`: the boards there are, and what one of them has."""

import argparse
import json
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command and its actions."""
    parser = subparsers.add_parser(
        "board", help="list boards, ask one what it has", epilog="example: sitecnn board probe local"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="boards that have a file in config/boards")
    listing.set_defaults(run=run_list)
    probing = actions.add_parser("probe", help="CPU, memory, libraries and versions of a board, as JSON")
    probing.add_argument("board", metavar="NAME")
    probing.set_defaults(run=run_probe)


def run_list(args: argparse.Namespace) -> int:
    """Print one line per board; 0."""
    from sitecnn.boards.config import load_board
    from sitecnn.cli.tables import table

    names = sorted(file.stem for file in (args.root / "config" / "boards").glob("*.yaml"))
    boards = [load_board(args.root, name) for name in names]
    rows = [(board.name, board.transport, ", ".join(board.processors), board.description) for board in boards]
    print(table(("board", "transport", "processors", "description"), rows))
    return 0


def run_probe(args: argparse.Namespace) -> int:
    """Print what the agent finds on the board; 0."""
    from sitecnn.boards.campaign import probe
    from sitecnn.boards.config import load_board

    print(json.dumps(probe(args.root, load_board(args.root, args.board)), indent=2))
    return 0
