"""Kernels with sizes and times measured elsewhere, without their networks' definitions: CSV or Parquet, a row a kernel.

Two forms: our own size columns beside `kind` and `kernel_ms`; or the columns in which Li, Paolieri and Golubchik
published TFLite's GPU delegate on phones (A Benchmark for ML Inference Latency on Mobile Devices, EdgeSys 2024).
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.dataset.imports.record import (
    FASTEST_MACS_PER_S,
    LONGEST_SHARE,
    SLOWEST_MACS_PER_S,
    Imported,
    Kernels,
    Refused,
    Target,
    brief,
    in_ns,
)
from sitecnn.dataset.imports.unlisted import with_unlisted
from sitecnn.errors import DatasetError
from sitecnn.workload.engines import TFLITE_GPU
from sitecnn.workload.kernels import SIZE_NAMES

NEEDED = ("network", "kind", "kernel_ms")
PUBLISHED = ("network", "operation", "in_size", "in_channels", "out_size", "kernel_size", "implementation", "kernel_ms")
PASSES = ("network", "forward_ms")
LARGEST = 2.0**53
LONGEST_MS = 1e10
JOINT = "tflite_depthwise_conv_plus_1x1_conv"
"""A depthwise convolution and the pointwise one behind it in one kernel, which the published table lists twice."""


def read_kernels(file: Path, target: Target, passes: Path | None = None) -> Imported:
    """Every row of `file` as a kernel of its network, left out as of another board, or refused with its reason.

    `passes` has whole passes: network, forward_ms, and batch and board if there. DatasetError if a file is no such
    table.
    """
    rows, published = _read(file, target.board)
    everything = len(rows)
    rows = rows[rows["board"] == target.board]
    of_board = len(rows)
    rows, refused = _checked(_of_tflite(rows) if published else rows)
    merged = of_board - len(refused) - len(rows)
    forward = _read_passes(passes, target.board) if passes else pd.DataFrame(columns=["network", "batch", "forward_ms"])
    found, timed = [], 0
    for (name, batch), part in rows.groupby(["network", "batch"], sort=True):
        whole = forward.loc[(forward["network"] == name) & (forward["batch"] == batch), "forward_ms"]
        bad = _implausible(part, float(whole.min()) if len(whole) else None)
        refused += [Refused(int(row), bad[row]) for row in bad]
        part = part[~part["row"].isin(bad)]
        engine, precision = (TFLITE_GPU, "fp16") if published else (None, None)
        kernels = [_kernel(row) for row in part.to_dict("records")]
        timed += len(kernels)
        kernels = with_unlisted(kernels, part["implementation"].tolist()) if published else kernels
        named = Kernels(str(name), int(float(str(batch))), target.stack, kernels, engine, precision, whole.tolist())
        found += [named] if kernels else []
    imported = timed + merged
    left_out = everything - of_board
    refused = sorted(refused, key=lambda entry: entry.row)
    return Imported(found, everything, imported, left_out, refused, "of another board")


def _table(file: Path) -> pd.DataFrame:
    try:
        with file.open("rb") as source:
            is_parquet = source.read(4) == b"PAR1"
        return pd.read_parquet(file) if is_parquet else pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no CSV or Parquet table: {str(error).splitlines()[0]}") from None


def _read(file: Path, board: str) -> tuple[pd.DataFrame, bool]:
    """(rows numbered from 1 with board, batch and kernel_index, whether they have the published columns)."""
    rows = _table(file)
    published = set(PUBLISHED) <= set(rows.columns)
    if missing := [name for name in NEEDED if name not in rows.columns and not published]:
        raise DatasetError(
            f"{file}: no column {missing[0]!r}; needed are {', '.join(NEEDED)} and sizes such as channels and height"
            f" (or the columns {', '.join(PUBLISHED)}); it has {', '.join(map(str, rows.columns))}"
        )
    if not published and not set(SIZE_NAMES) & set(rows.columns):
        raise DatasetError(f"{file}: no column of sizes; known are {', '.join(SIZE_NAMES)}")
    return _of_board(file, rows, board), published


def _of_board(file: Path, rows: pd.DataFrame, board: str) -> pd.DataFrame:
    """The rows with all that may be missing; DatasetError where they tell of other boards only."""
    rows = rows.assign(row=np.arange(1, len(rows) + 1))
    for name, default in (("board", board), ("batch", 1), ("variant", "")):
        rows[name] = rows[name].fillna(default) if name in rows.columns else default
    if len(rows) and not (rows["board"] == board).any():
        there = ", ".join(sorted(map(str, rows["board"].unique()))[:20])
        raise DatasetError(f"{file}: no row of --board {board}; its column `board` has {there}")
    return rows


def _read_passes(file: Path, board: str) -> pd.DataFrame:
    rows = _table(file)
    if missing := [name for name in PASSES if name not in rows.columns]:
        raise DatasetError(f"{file}: no column {missing[0]!r}; needed are {', '.join(PASSES)}")
    rows = _of_board(file, rows, board)
    rows["forward_ms"] = pd.to_numeric(rows["forward_ms"], errors="coerce")
    bad = rows.loc[~rows["forward_ms"].between(0, LONGEST_MS, inclusive="neither"), "row"]
    if len(bad):
        raise DatasetError(f"{file}: row {int(bad.iloc[0])}: forward_ms is no time in ms")
    return rows[rows["board"] == board]


def _of_tflite(rows: pd.DataFrame) -> pd.DataFrame:
    """The published columns as ours: `in_size` and `out_size` are height and width of square maps.

    `parameters` are weights; `accumulate` is 1 where another tensor is added, `activation` as SIZE_NAMES has it.

    Traps: of a depthwise convolution `out_channels` is the multiplier; of a mean `out_size` is its channels; of a
    concatenation `kernel_size` is the number of inputs; a joint kernel is listed for each of its two layers.
    """
    operation, names = rows["operation"].astype(str), rows["implementation"].astype(str)
    kind = "tflite_" + names.str.replace(r"_linked_.*", "", regex=True).str.replace(r"(_\d+)+$", "", regex=True)
    kind = kind.where(operation != "AVERAGE_POOL_2D", kind.replace("tflite_pooling_2d", "tflite_average_pooling_2d"))
    linked = names.str.findall(r"linked_:_([a-z0-9_]+?)_\d+(?=_linked|$)").str.join("+")
    is_mean, is_concat = kind == "tflite_mean", kind == "tflite_concat"
    channels, in_size = rows["in_channels"], rows["in_size"].fillna(1)
    multiplied = (operation == "DEPTHWISE_CONV_2D") | (kind == JOINT)
    out_channels = rows["out_channels"].where(~multiplied, channels * rows["out_channels"]).fillna(channels)
    out_size = rows["out_size"].fillna(1).where(~is_mean, 1)
    window = rows["kernel_size"].where(~(is_mean | is_concat))
    pooling = operation.map({"MAX_POOL_2D": "MAX", "AVERAGE_POOL_2D": "AVE"}).where(kind.str.endswith("pooling_2d"))
    weights = out_channels * (channels / rows["group"].where(~multiplied, channels).fillna(1)) * window.fillna(1) ** 2
    has_weights = kind.str.contains("conv|connected")
    sizes: dict[str, Any] = {
        **{"images": 1, "channels": channels, "height": in_size, "width": in_size},
        **{"out_channels": out_channels, "out_height": out_size, "out_width": out_size},
        **{"kernel_h": window, "kernel_w": window, "stride_h": rows["stride"], "stride_w": rows["stride"]},
        **{"group": rows["group"].where(operation != "DEPTHWISE_CONV_2D", channels)},
        **{"inputs": rows["kernel_size"].where(is_concat), "in_elements": channels * in_size**2},
        **{"out_elements": out_channels * out_size**2, "parameters": weights.where(has_weights, 0)},
        **{"accumulate": linked.str.contains("add").astype(int), "activation": _activation(linked)},
    }
    rows = rows[["row", "board", "network", "batch", "kernel_ms"]].assign(
        kind=kind, variant=pooling.fillna(linked), implementation=names, **sizes
    )
    return _joined(rows)


def _activation(linked: "pd.Series[str]") -> "pd.Series[int]":
    """The class of the activation that was fused, as SIZE_NAMES has it."""
    return (linked != "").astype(int) + linked.str.contains("sigmoid|swish|tanh").astype(int)


def _joined(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of which joint kernels are there once: the depthwise sizes, what the pointwise part makes, the mean time."""
    joint = (rows["kind"] == JOINT) & (rows["implementation"] == rows["implementation"].shift(-1))
    joint &= rows["network"] == rows["network"].shift(-1)
    made = rows.loc[rows.index[joint.shift(1, fill_value=False)]]
    names = ["out_channels", "out_height", "out_width", "out_elements", "parameters"]
    rows = rows.copy()
    # The second row is the pointwise convolution: its outputs are not multiplied.
    outputs = made["out_channels"] // made["channels"]
    both = rows.loc[joint, "parameters"].to_numpy() + made["channels"] * outputs
    rows.loc[joint, "kernel_ms"] = (rows.loc[joint, "kernel_ms"].to_numpy() + made["kernel_ms"].to_numpy()) / 2
    rows.loc[joint, names] = made.assign(
        out_channels=outputs, out_elements=outputs * made["out_height"] * made["out_width"], parameters=both
    )[names].to_numpy()
    return rows[~joint.shift(1, fill_value=False)]


def _checked(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Refused]]:
    """The rows whose values are what their columns say, as numbers; the others are refused."""
    rows, refused = rows.copy(), list[Refused]()
    sizes = [name for name in SIZE_NAMES if name in rows.columns]
    good = pd.Series(True, index=rows.index)
    for name in ("network", "kind"):
        missing = rows[name].isna() | (rows[name].astype(str) == "")
        refused += [Refused(int(row), f"no {name}") for row in rows.loc[missing & good, "row"]]
        good &= ~missing
    for name in ("kernel_ms", "batch", *sizes):
        numbers = pd.to_numeric(rows[name], errors="coerce").astype(float)
        if name == "kernel_ms":
            bad, what = ~((numbers > 0) & (numbers < LONGEST_MS)), "no time in ms above 0"
        else:
            least = 1 if name == "batch" else 0
            bad, what = ~(numbers.between(least, LARGEST) & (numbers % 1 == 0)), f"no whole number of at least {least}"
            bad &= rows[name].notna() | (name == "batch")
        refused += [
            Refused(int(row), f"{name} is {brief(value)}, {what}")
            for row, value in rows.loc[bad & good, ["row", name]].itertuples(index=False)
        ]
        rows[name], good = numbers, good & ~bad
    return rows[good], refused


def _implausible(part: pd.DataFrame, forward_ms: float | None) -> dict[int, str]:
    """Why rows of one network cannot be, by row."""
    sizes = ["channels", "out_channels", "out_height", "out_width", "kernel_h", "kernel_w"]
    if set(sizes) <= set(part.columns):
        groups = part["group"].fillna(1).clip(lower=1) if "group" in part.columns else 1
        macs = part[sizes].prod(axis=1, skipna=False).fillna(0) * part["batch"] / groups
        work, seconds = float(macs.sum()), float(part.loc[macs > 0, "kernel_ms"].sum()) / 1e3
        if work and not SLOWEST_MACS_PER_S < work / seconds < FASTEST_MACS_PER_S:
            rate = f"{work / seconds:.1e} multiply-accumulates/s"
            return {int(row): f"kernels of this network would do {rate}: are the times in ms?" for row in part["row"]}
    if forward_ms is None:
        return {}
    slow = part.loc[part["kernel_ms"] > LONGEST_SHARE * forward_ms, "row"]
    reason = f"kernel_ms is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
    return {int(row): reason for row in slow}


def _kernel(row: dict[Hashable, Any]) -> dict[str, Any]:
    """A row as a record has it: kind, variant, the sizes that it has, one sample."""
    sizes = {name: int(row[name]) for name in SIZE_NAMES if name in row and row[name] == row[name]}
    return {"kind": str(row["kind"]), "variant": str(row["variant"]), **sizes, "samples_ns": in_ns([row["kernel_ms"]])}
