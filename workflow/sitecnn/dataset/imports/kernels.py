"""Kernels with sizes and times measured elsewhere, without their networks' definitions: CSV or Parquet, a row a kernel.

Two forms: our own size columns beside `kind` and `kernel_ms`; or the columns in which TFLite's GPU delegate was
published (see tflite.py).
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.dataset.imports.joining import FASTEST_MACS_PER_S, LONGEST_SHARE, SLOWEST_MACS_PER_S
from sitecnn.dataset.imports.record import Imported, Kernels, Target, in_ns
from sitecnn.dataset.imports.tables import Numbers, checked, read_rows
from sitecnn.dataset.imports.tflite import PUBLISHED, of_published, with_unlisted
from sitecnn.errors import DatasetError
from sitecnn.workload.engines import TFLITE_GPU
from sitecnn.workload.kernels import SIZE_NAMES

NEEDED = ("network", "kind", "kernel_ms")
PASSES = ("network", "forward_ms")
BATCH = Numbers(1, may_be_missing=False)
TIME_MS = Numbers(1e-9, 1e10, is_whole=False, may_be_missing=False)
"""Records have times to 10⁻⁹ ms, and up to 10¹⁶ ns."""


def read_kernels(file: Path, target: Target, passes: Path | None = None) -> Imported:
    """Every row of `file` as a kernel of its network, left out as of another board, or refused with its reason.

    `passes` has whole passes: network, forward_ms, and batch and board if there. DatasetError if a file is no such
    table.
    """
    rows = read_rows(file, (), {})
    published = set(PUBLISHED) <= set(rows.columns)
    if not published:
        more = f" and sizes such as channels and height (or the columns {', '.join(PUBLISHED)})"
        rows = read_rows(file, NEEDED, {}, more)
    imported = Imported("of another board", len(rows))
    rows = _of_board(file, rows, target.board)
    imported.left_out = imported.rows - len(rows)
    rows = of_published(rows) if published else rows
    sizes = [name for name in SIZE_NAMES if name in rows.columns]
    if not sizes:
        raise DatasetError(f"{file}: no column of sizes; known are {', '.join(SIZE_NAMES)}")
    columns = {"kernel_ms": TIME_MS, "batch": BATCH, **dict.fromkeys(sizes, Numbers())}
    rows = checked(rows, ("network", "kind"), columns, imported)
    forward = _read_passes(passes, target.board) if passes else pd.DataFrame(columns=["network", "batch", "forward_ms"])
    engine, precision = (TFLITE_GPU, "fp16") if published else (None, None)
    group: Any
    for group, part in rows.groupby(["network", "batch"]):
        name, batch = group
        forward_ms = forward.loc[(forward["network"] == name) & (forward["batch"] == batch), "forward_ms"].tolist()
        part = _sound(part, min(forward_ms, default=None), imported)
        kernels = [_kernel(row) for row in part.to_dict("records")]
        kernels = with_unlisted(kernels, part["implementation"].tolist()) if published else kernels
        if kernels:
            imported.passes.append(Kernels(name, batch, target.stack, kernels, engine, precision, forward_ms))
    imported.refused.sort(key=lambda entry: entry[0])
    return imported


def _of_board(file: Path, rows: pd.DataFrame, board: str) -> pd.DataFrame:
    """The rows of the board, with all that may be missing; DatasetError where they tell of other boards only."""
    for name, default in (("board", board), ("batch", 1), ("variant", "")):
        rows[name] = rows[name].fillna(default) if name in rows.columns else default
    if len(rows) and not (rows["board"] == board).any():
        there = ", ".join(sorted(map(str, rows["board"].unique()))[:20])
        raise DatasetError(f"{file}: no row of --board {board}; its column `board` has {there}")
    return rows[rows["board"] == board]


def _read_passes(file: Path, board: str) -> pd.DataFrame:
    """Whole passes of the board; DatasetError where one cannot be."""
    faults = Imported()
    rows = _of_board(file, read_rows(file, PASSES, {}), board)
    rows = checked(rows, ("network",), {"batch": BATCH, "forward_ms": TIME_MS}, faults)
    if faults.refused:
        raise DatasetError(f"{file}: {faults.reasons()[0]}")
    return rows


def _sound(part: pd.DataFrame, forward_ms: float | None, imported: Imported) -> pd.DataFrame:
    """The kernels of one network that can be; `imported` refuses the others."""
    sizes = ["channels", "out_channels", "out_height", "out_width", "kernel_h", "kernel_w"]
    if set(sizes) <= set(part.columns):
        groups = part["group"].fillna(1).clip(lower=1) if "group" in part.columns else 1
        macs = part[sizes].prod(axis=1, skipna=False).fillna(0) * part["batch"] / groups
        work, seconds = float(macs.sum()), float(part.loc[macs > 0, "kernel_ms"].sum()) / 1e3
        if work and not SLOWEST_MACS_PER_S < work / seconds < FASTEST_MACS_PER_S:
            rate = f"{work / seconds:.1e} multiply-accumulates/s"
            imported.refuse(part["row"], f"kernels of this network would do {rate}: are the times in ms?")
            return part[:0]
    is_slow = part["kernel_ms"] > (forward_ms or float("inf")) * LONGEST_SHARE
    reason = f"kernel_ms is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
    imported.refuse(part.loc[is_slow, "row"], reason)
    return part[~is_slow]


def _kernel(row: dict[Hashable, Any]) -> dict[str, Any]:
    """A row as a record has it: kind, variant, the sizes that it has, one sample."""
    sizes = {name: int(row[name]) for name in SIZE_NAMES if name in row and row[name] == row[name]}
    return {"kind": row["kind"], "variant": str(row["variant"]), **sizes, "samples_ns": in_ns([row["kernel_ms"]])}
