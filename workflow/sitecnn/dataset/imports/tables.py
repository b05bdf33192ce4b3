"""Files of others' measurements: read, their rows numbered from 1, and those refused whose cells cannot be."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sitecnn.dataset.imports.record import Imported
from sitecnn.errors import DatasetError

LARGEST = 2.0**53
"""Beyond it a float does not tell whole numbers apart."""

TEXTS = ("network", "layer", "library", "what", "kind", "variant", "board")
"""Columns whose cells are texts, whatever they look like."""


class Numbers(NamedTuple):
    """What a column of numbers may hold."""

    least: float = 0
    most: float = LARGEST
    is_whole: bool = True
    may_be_missing: bool = True


def brief(value: Any) -> str:
    """A value of a file as a message can show it."""
    return f"{value!r:.80}"


def read_text(file: Path) -> str:
    """A file's text; DatasetError where it cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no profile: {str(error).splitlines()[0]}") from None


def json_list(file: Path, text: str) -> list[Any]:
    """The JSON list of a file's text; DatasetError where it holds none."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: no profile: {str(error).splitlines()[0]}") from None
    if not isinstance(entries, list):
        raise DatasetError(f"{file}: no profile: expected a JSON list, found {type(entries).__name__}")
    return entries


def read_rows(file: Path, needed: Sequence[str], defaults: Mapping[str, Any], more: str = "") -> pd.DataFrame:
    """A CSV or Parquet table with the columns `needed`, those of `defaults` where they are missing, and `row`.

    DatasetError where it is no table or lacks a column; `more` is what a message adds to those that are needed.
    """
    try:
        with file.open("rb") as source:
            is_parquet = source.read(4) == b"PAR1"
        rows = pd.read_parquet(file) if is_parquet else pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no CSV or Parquet table: {str(error).splitlines()[0]}") from None
    if missing := [name for name in needed if name not in rows.columns]:
        there = ", ".join(map(str, rows.columns))
        raise DatasetError(f"{file}: no column {missing[0]!r}; needed are {', '.join(needed)}{more}; it has {there}")
    absent = {name: default for name, default in defaults.items() if name not in rows.columns}
    return rows.assign(**absent, row=range(1, len(rows) + 1))


def checked(
    rows: pd.DataFrame, texts: Sequence[str], columns: Mapping[str, Numbers], imported: Imported
) -> pd.DataFrame:
    """The rows with all `texts` and numbers as their columns say, as floats or ints; `imported` refuses the others."""
    for name in texts:
        missing = rows[name].isna() | (rows[name].astype(str) == "")
        imported.refuse(rows.loc[missing, "row"], f"no {name}")
        rows = rows[~missing].astype({name: str})
    for name, (least, most, is_whole, may_be_missing) in columns.items():
        numbers = pd.to_numeric(rows[name], errors="coerce").astype(float)
        bad = ~numbers.between(least, most) | (is_whole & (numbers % 1 != 0))
        bad &= rows[name].notna() | (not may_be_missing)
        for row, value in rows.loc[bad, ["row", name]].itertuples(index=False):
            what = f"not a {'whole ' if is_whole else ''}number of at least {least:g}"
            what += f" and at most {most:g}" if most < LARGEST else ""
            imported.refuse([row], f"{name} is {brief(value)}, {what}")
        kind = int if is_whole and not may_be_missing else float
        rows = rows.assign(**{name: numbers})[~bad].astype({name: kind})
    return rows
