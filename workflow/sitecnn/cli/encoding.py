"""Text for a terminal or a pipe whose encoding lacks some of its characters."""

import codecs

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
