"""Usage errors as everything else that is wrong: one line, with the nearest match."""

import argparse
import re
from collections.abc import Iterator
from typing import NoReturn

from sitecnn.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and name the command or option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Print the line on stderr and exit with 2."""
        wrong = re.search(r"(?:invalid choice: '|unrecognized arguments: )([\w-]+)", message)
        hint = (wrong and did_you_mean(wrong[1], _words(self))) or f"see `{self.prog} --help`"
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; {hint}\n")


def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, and of their actions."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from below(command)


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every command, option and choice of a parser and of its commands."""
    for action in parser._actions:
        yield from action.option_strings
        yield from map(str, action.choices or ())
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _words(command)
