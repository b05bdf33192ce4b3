"""`sitecnn config`: check the configuration before anything runs."""

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "config", help="check the configuration and print it", epilog="example: sitecnn config"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the configuration as it was understood, boards included; 0."""
    from sitecnn.boards.config import load_board_config
    from sitecnn.config import load_config

    config = load_config(args.root)
    print(config.model_dump_json(indent=2))
    for board in config.boards:
        print(load_board_config(args.root, board).model_dump_json(indent=2))
    return 0
