"""`sitecnn profile`: run a board's campaign."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "profile",
        help="run a plan's remaining measurements on a board",
        epilog="example: sitecnn profile --board local --plan results/campaigns/local/plan.jsonl",
    )
    parser.add_argument("--board", required=True, metavar="NAME", help="a board with a file in config/boards")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="what `sitecnn plan` wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the printed JSON to this file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print what was done per stack as JSON; 0, or 1 where nothing of it is usable."""
    from sitecnn.boards.campaign import profile
    from sitecnn.boards.config import load_board_config
    from sitecnn.files import write_text

    done = profile(args.root, load_board_config(args.root, args.board), args.plan)
    text = json.dumps(done, indent=2)
    if args.output:
        write_text(args.output, text + "\n")
    print(text)
    planned = any(stack["planned"] for stack in done.values())
    if planned and not any(stack["usable"] for stack in done.values()):
        print(f"sitecnn: board {args.board}: all measurements failed; none is usable", file=sys.stderr)
        return 1
    return 0
