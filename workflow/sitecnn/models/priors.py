"""What is known of a stack before a kind of kernel was measured well on it, from other boards: `board_numbers.csv`.

Most of it is relative to what the stack takes to copy an element, which Concat and ReLU tell wherever they ran.
"""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitecnn.errors import ModelError

FILE, SCHEMA = Path(__file__).with_name("board_numbers.csv"), 1

COPY_KINDS = ("concat", "relu", "dropout", "eltwise")
"""Kinds whose time is that of memory: the fastest of them is a stack's copy."""

PROCESSORS = {"cpu": ("cpu",), "gpu": ("gpu",), "both": ("cpu", "gpu")}
UNITS = ("copy", "mac", "call", "ns", "ratio")

TRANSFERS = "transfers"
"""Copies of its output that a kind moves which no network of a stack had, by its code or as a board told."""


@dataclass(frozen=True)
class Prior:
    """A coefficient that is `ns` per unit, give or take `sd_ns`."""

    ns: float
    sd_ns: float


@dataclass(frozen=True)
class Speeds:
    """What a stack's other kernels tell, in ns, None where they were not measured.

    `copy` is an element's copy, `mac` a multiply-accumulate in the fastest convolution, `call` what a convolution
    takes however small.
    """

    copy: float | None = None
    mac: float | None = None
    call: float | None = None


@dataclass(frozen=True)
class BoardNumber:
    """What one board showed of a coefficient: a row of the file. `spread` is how far another board may lie from it."""

    processor: str
    kind: str
    feature: str
    per: str
    board: str
    value: float
    spread: float
    source: str


@dataclass(frozen=True)
class Priors:
    """Numbers that boards showed, a row each; those of one coefficient are combined."""

    numbers: tuple[BoardNumber, ...]

    def without(self, boards: Collection[str]) -> "Priors":
        """What the other boards alone tell."""
        return Priors(tuple(one for one in self.numbers if one.board not in boards))

    def coefficients(self, kind: str, processor: str, speeds: Speeds) -> Mapping[str, Prior]:
        """Priors of the coefficients of a kind by feature: those whose unit the stack's other kernels tell.

        They matter where an imported board has a single layer of a kind: then what it takes by weight, by call and by
        multiply-accumulate cannot be told apart by its times.
        """
        unit_ns = {"copy": speeds.copy, "mac": speeds.mac, "call": speeds.call, "ns": 1.0}
        told: dict[str, list[BoardNumber]] = {}
        for one in self._of(processor):
            if one.kind == kind and unit_ns.get(one.per):
                told.setdefault(one.feature, []).append(one)
        return {name: _combined(rows, unit_ns[rows[0].per] or 1.0) for name, rows in told.items()}

    def kinds(self, processor: str) -> list[str]:
        """Kinds besides convolutions that have a model by what others tell where a stack had none."""
        kinds = {one.kind for one in self._of(processor) if one.per == "copy"}
        return sorted(kinds - {"convolution", *COPY_KINDS, *self.unseen(processor)})

    def unseen(self, processor: str) -> Mapping[str, Prior]:
        """Copies of its output that each kind takes which no network had."""
        rows = [one for one in self._of(processor) if one.feature == TRANSFERS]
        return {
            kind: _combined([one for one in rows if one.kind == kind]) for kind in sorted({one.kind for one in rows})
        }

    def number(self, feature: str) -> Prior:
        """A number that is of no coefficient, such as `unseen_kind_sd`."""
        return _combined([one for one in self.numbers if one.feature == feature])

    def _of(self, processor: str) -> list[BoardNumber]:
        return [one for one in self.numbers if processor in PROCESSORS[one.processor]]


def _combined(rows: Sequence[BoardNumber], unit_ns: float = 1.0) -> Prior:
    """The mean of what boards showed; its variance is theirs around it, as if one more lay a `spread` away."""
    values = np.array([one.value for one in rows])
    squares = float(((values - values.mean()) ** 2).sum()) + float(np.mean([one.spread for one in rows])) ** 2
    return Prior(float(values.mean()) * unit_ns, float(np.sqrt(squares / len(values))) * unit_ns)


def load_priors(path: Path = FILE) -> Priors:
    """Read a file of numbers; ModelError, with the line, for another schema, an unknown unit or what is no number."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith(f"# schema {SCHEMA}."):
        raise ModelError(f"{path}, line 1: expected '# schema {SCHEMA}.', the one that this SiteCNN reads")
    comments = sum(line.startswith("#") for line in lines)
    table = csv.DictReader(lines[comments:])
    return Priors(tuple(_number(row, f"{path}, line {line}") for line, row in enumerate(table, comments + 2)))


def _number(row: Mapping[str, str], where: str) -> BoardNumber:
    try:
        numbers = {name: float(row[name]) for name in ("value", "spread")}
        known = BoardNumber(**{**row, **numbers})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: {error}; expected the columns of its head, value and spread as numbers") from error
    if known.processor not in PROCESSORS or known.per not in UNITS or not min(numbers.values()) >= 0:
        raise ModelError(
            f"{where}: processor {known.processor!r}, per {known.per!r}, value {known.value}, spread {known.spread};"
            f" expected one of {', '.join(PROCESSORS)}, one of {', '.join(UNITS)}, and no negative number"
        )
    return known


SHIPPED_PRIORS = load_priors()
