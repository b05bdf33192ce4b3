"""The errors that are meant for the person at the keyboard, by what is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches


class SiteCNNError(Exception):
    """Bad input or usage: its text is one line that names the file, the place in it and the fix.

    The command line prints it on stderr and exits with 2; nothing else is caught there, so any other exception is a
    defect of SiteCNN and keeps its traceback. An error of this class itself is about an argument or a missing package;
    those of its subclasses say what else was wrong.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NetworkError(SiteCNNError):
    """A network that cannot be read, has no such layer or shape, or that an engine cannot run."""


class ConfigError(SiteCNNError):
    """A file in config/ that is missing, not valid, or contradicts another."""


class BoardError(SiteCNNError):
    """A board that cannot be reached, or that cannot measure what was asked."""


class DatasetError(SiteCNNError):
    """Measurements that are missing, damaged, or not in the format that an import expects."""


class ModelError(SiteCNNError):
    """A board model that is missing, damaged, has no such stack, or cannot be fitted."""


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question after the name that was likely meant, empty where none is like it; `cutoff` is difflib's."""
    names = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), names, 1, cutoff)
    return f"did you mean {names[near[0]]!r}?" if near else ""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """As `did_you_mean`, or all names there are."""
    names = list(known)
    return did_you_mean(name, names, cutoff) or f"there are: {', '.join(names) or 'none'}"
