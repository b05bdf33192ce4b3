"""The command line: one module per command, each imported for its parser and loading the rest when run."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sitecnn.cli.encoding import PLAIN, Terminal
from sitecnn.cli.parser import Parser, below
from sitecnn.errors import SiteCNNError

COMMANDS: tuple[str, ...] = (
    *("describe", "estimate", "compare", "advise", "placement", "offload", "explore"),
    *("convert", "extract", "plan", "board", "profile"),
    *("aggregate", "import_", "dataset", "fit", "evaluate", "report", "config"),
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command, in the order a person meets them."""
    parser = Parser(
        prog="sitecnn",
        description="Can this CNN run on that board, how fast, in how much memory, and what should I change?",
    )
    add_root(parser, Path())
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"sitecnn.cli.{name}").add_parser(subparsers)
    for command in below(parser):
        add_root(command, argparse.SUPPRESS)
    return parser


def add_root(parser: argparse.ArgumentParser, default: Path | str) -> None:
    """--root, before the command's name and after it: where it is not given again, the first stays."""
    text = "folder that holds config/ and results/ (default: .)"
    parser.add_argument("--root", type=Path, default=default, metavar="DIR", help=text)


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:
        # A shell asks what could come next; only then is the optional package needed.
        import argcomplete

        argcomplete.autocomplete(parser)
    args = parser.parse_args(arguments)
    status: int = args.run(args)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 all done; 1 the answer is no, or a part was left out that will be missed; 2 it
    could not be done (one line on stderr); 130 Ctrl+C ended it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
            if stream.isatty():
                setattr(sys, name, Terminal(stream))
    try:
        return _run(arguments)
    except SiteCNNError as error:
        print(f"sitecnn: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our stdout (`| head`) has seen enough.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("sitecnn: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"sitecnn: {error.filename or 'standard output'}: {error.strerror or error}", file=sys.stderr)
        return 2
