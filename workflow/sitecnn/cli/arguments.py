"""Arguments that several commands share, and how they are completed in a shell."""

import argparse
from pathlib import Path
from typing import Any


def add_board(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--board, --processor, --stack and --threads: whose model answers."""
    many = "; several with commas" if several else ""
    board: Any = parser.add_argument(
        "--board", required=True, metavar="NAME", help=f"a board that has a model, or a model's .json file{many}"
    )
    board.completer = complete_board
    parser.add_argument("--processor", choices=("cpu", "gpu"), help="(default: cpu, or the only one with a model)")
    parser.add_argument("--stack", metavar="TEXT", help="a part of the stack's name (default: the model's first)")
    parser.add_argument("--threads", type=int, metavar="T", help="the stack with so many threads")


def add_level(parser: argparse.ArgumentParser) -> None:
    """--level of the intervals."""
    parser.add_argument("--level", type=level, default=0.9, help="probability of the intervals (default: 0.9)")


def level(text: str) -> float:
    """A probability strictly between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a probability between 0 and 1, such as 0.9")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0."""
    return 0.0 if float(text) == 0 else positive(text)


def batches(text: str) -> list[int]:
    """`4` or `1,2,4,8`."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: expected images per pass, such as 4 or 1,2,4,8")
    return [int(part) for part in parts]


def complete_board(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of boards for the shell."""
    from sitecnn.estimation.boards import known_models

    root = getattr(parsed_args, "root", None) or Path()
    return sorted({board for board, _ in known_models(root) if board.startswith(prefix)})
