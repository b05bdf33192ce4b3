"""`sitecnn profile`: run a board's campaign."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "profile",
        help="measure on a board what a plan still owes",
        epilog="example: sitecnn profile --board local --plan results/campaigns/local/plan.jsonl",
    )
    parser.add_argument("--board", required=True, metavar="NAME")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the mark of completion goes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print what was done per stack as JSON; 0."""
    from sitecnn.boards.campaign import profile
    from sitecnn.boards.config import load_board
    from sitecnn.files import write_text

    done = json.dumps(profile(args.root, load_board(args.root, args.board), args.plan), indent=2)
    if args.output:
        write_text(args.output, done + "\n")
    print(done)
    return 0
