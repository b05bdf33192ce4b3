"""Text for a terminal or a pipe whose encoding lacks some of its characters."""

import codecs
import re
from typing import Any, TextIO

PLAIN = "sitecnn.plain"
"""The name of the error handler, for `errors=`."""

IN_ASCII = {"–": "-", "−": "-", "×": "x", "·": "*", "…": "...", "±": "+-", "µ": "u", "█": "#", "≈": "~"}
"""The characters that SiteCNN's own text has beyond ASCII; others come from names and become escapes."""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text), error.end


codecs.register_error(PLAIN, _plain)

CONTROL = re.compile(r"\x1b(?!\[\d{1,2}m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
"""What makes a terminal do something; not tabs, line ends and our own colours."""


class Terminal:
    """A terminal's stream that names from a file cannot command: control characters in them become `?`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """As a file's."""
        return self.stream.write(CONTROL.sub("?", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
