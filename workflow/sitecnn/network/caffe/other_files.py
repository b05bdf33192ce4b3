"""Files that are no network definition: what each is, and what to give instead."""

import re
from collections.abc import Sequence

from sitecnn.errors import NetworkError

SOLVER_FIELDS = frozenset(
    {
        *("net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param", "test_iter"),
        *("test_interval", "base_lr", "lr_policy", "max_iter", "solver_mode", "solver_type", "snapshot_prefix"),
    }
)

OTHER_TEXTS = (
    (r"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it: git lfs pull"),
    (r"(?i)(?:<!doctype|<html|<\?xml|<head|<body)", "a web page, not the file; download the raw file"),
    (r"(?:diff --git|--- \S|Index: )", "a patch, not a network definition; apply it and give the file that it fixes"),
    (r"(?:from [\w.]+ import|import [\w.]+|def \w+\(|#!.*python)", "a Python program; run it and give what it writes"),
    (r"[\[{]", "it begins like JSON; a network definition is a list of layer { … }"),
)
"""How other kinds of text begin, and what they are."""

BEGINNING = re.compile(r"(?:\s|#(?!!)[^\n]*+)*+")


def require_definition(text: str, origin: str) -> None:
    """Raise NetworkError where the text begins as no network definition does."""
    gap = BEGINNING.match(text)
    start = gap.end() if gap else 0
    for pattern, what in OTHER_TEXTS:
        if re.compile(pattern).match(text, start):
            raise NetworkError(f"{origin}: {what}")


def require_no_solver(names: Sequence[str], text: str, origin: str) -> None:
    """Raise NetworkError for a definition without layers whose fields are a solver's."""
    if SOLVER_FIELDS.isdisjoint(names):
        return
    net = re.search(r"""\b(?:train_)?net\s*:\s*["']([^"'\n]{1,200})["']""", text)
    if net:
        fix = f"give the network that it trains, {net[1]!r}"
    elif any(name.endswith("net_param") for name in names):
        fix = "give the network that stands in its net_param { } as a file of its own"
    else:
        fix = "give the network that it trains"
    raise NetworkError(f"{origin}: a solver, not a network; {fix}")
