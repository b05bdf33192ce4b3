"""Colours for a person at a terminal, and for nobody else."""

import os
import sys

CODES = {"green": "32", "yellow": "33", "red": "31", "bold": "1"}


def paint(text: str, colour: str) -> str:
    """`text` in a colour of CODES if stdout is a terminal that shows them and NO_COLOR (no-color.org) is not set."""
    shown = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if shown else text
