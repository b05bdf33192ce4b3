"""Per-layer times in a CSV or Parquet table: one row per layer of a pass."""

import re
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.dataset.imports.record import (
    LONGEST_SHARE,
    Imported,
    Passes,
    Refused,
    Target,
    brief,
    implausible,
    layer_index,
)
from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network
from sitecnn.workload.kernels import macs
from sitecnn.workload.memory import memory

LONGEST_NAME = 200
NEEDED = ("network", "batch", "layer", "layer_ms")
OPTIONAL: dict[str, str | int | float] = {
    **{"library": "", "threads": 0, "repeat": 0},
    **dict.fromkeys(("iterations", "forward_ms", "data_bytes", "layer_index"), float("nan")),
}
LARGEST = 2.0**53
NUMBERS = {
    **dict.fromkeys(("batch", "iterations"), (1, True)),
    **dict.fromkeys(("threads", "repeat", "layer_index", "data_bytes"), (0, True)),
    **dict.fromkeys(("layer_ms", "forward_ms"), (0, False)),
}
"""Least value of each column of numbers and whether it is a whole one; at most LARGEST."""
MAY_BE_MISSING = ("iterations", "layer_index", "data_bytes", "forward_ms")

GPU_LIBRARY = re.compile(r"cuda|cudnn|opencl|clblast|viennacl|tensorrt|vulkan|metal|gpu", re.I)
CPU_LIBRARY = re.compile(r"^cpu|openblas|atlas|mkl|blis|eigen|nnpack", re.I)


def read_table(file: Path, target: Target, networks: Path, library: str | None = None) -> Imported:
    """Every row of `file` as part of a pass, left out (another library or processor), or refused with its reason.

    Several libraries or thread counts among the rows are several stacks: their names are appended to the stack's.
    """
    rows = _read(file)
    wanted = _wanted(rows, target.processor, library)
    refused: list[Refused] = []
    chosen = _checked(rows[wanted], refused)
    found, imported = [], 0
    known = cache(partial(definition, networks))  # libraries and threads share networks
    keys = ["library", "threads", "network", "batch"]
    suffix = {name: chosen[name].nunique() > 1 for name in ("library", "threads")}
    group: Any
    for group, part in chosen.groupby(keys, sort=True):
        name_of_library, threads, name, batch = group
        stack = target.stack + (f"+{name_of_library}" if suffix["library"] and name_of_library else "")
        stack += f"+{threads}-threads" if suffix["threads"] and threads else ""
        try:
            network = known(name, int(batch))
        except SiteCNNError as error:
            refused += [Refused(int(row), str(error)) for row in part["row"]]
            continue
        passes = Passes(name, network, stack, int(threads), name_of_library or None)
        imported += _fill(passes, part, refused)
        found.append(passes)
    found = [passes for passes in found if passes.layers_ms or passes.forward_ms]
    return Imported(found, len(rows), imported, int((~wanted).sum()), sorted(refused, key=lambda entry: entry.row))


def _read(file: Path) -> pd.DataFrame:
    """The table with all columns we know, rows numbered from 1."""
    try:
        with file.open("rb") as source:
            is_parquet = source.read(4) == b"PAR1"
        rows = pd.read_parquet(file) if is_parquet else pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise SiteCNNError(f"{file}: no CSV or Parquet table: {str(error).splitlines()[0]}") from None
    if missing := [name for name in NEEDED if name not in rows.columns]:
        raise SiteCNNError(
            f"{file}: no column {missing[0]!r}; needed are {', '.join(NEEDED)};"
            f" it has {', '.join(map(str, rows.columns))}"
        )
    for name, default in OPTIONAL.items():
        if name not in rows.columns:
            rows[name] = default
    rows["library"] = rows["library"].fillna("").astype(str)
    rows["row"] = np.arange(1, len(rows) + 1)
    return rows


def _wanted(rows: pd.DataFrame, processor: str, library: str | None) -> "pd.Series[bool]":
    """Rows of the library that is asked for; else those whose library's name does not tell of another processor."""
    if library is not None:
        return rows["library"] == library
    other = CPU_LIBRARY if processor == "gpu" else GPU_LIBRARY
    return ~rows["library"].map(lambda name: bool(other.search(name))).astype(bool)


def _checked(rows: pd.DataFrame, refused: list[Refused]) -> pd.DataFrame:
    """The rows whose values are what their columns say, as numbers; the others are refused."""
    rows = rows.copy()
    good = pd.Series(True, index=rows.index)
    for name in ("network", "layer"):
        missing = rows[name].isna() | (rows[name].astype(str) == "")
        refused += [Refused(int(row), f"no {name}") for row in rows.loc[missing & good, "row"]]
        good &= ~missing
    for name, (least, whole) in NUMBERS.items():
        numbers = pd.to_numeric(rows[name], errors="coerce").astype(float)
        bad = ~numbers.between(least, LARGEST) | (whole & (numbers % 1 != 0))
        bad &= rows[name].notna() | (name not in MAY_BE_MISSING)
        what = f"not a {'whole ' if whole else ''}number of at least {least}"
        for row, value in rows.loc[bad & good, ["row", name]].itertuples(index=False):
            refused.append(Refused(int(row), f"{name} is {brief(value)}, {what}"))
        rows[name], good = numbers, good & ~bad
    rows = rows[good]
    return rows.astype({"batch": int, "threads": int, "repeat": int, "network": str, "layer": str})


def definition(folder: Path, name: str, batch: int) -> Network:
    """DIR/{name}.prototxt or .onnx at this batch; SiteCNNError if there is none."""
    if "/" in name or "\\" in name or name.startswith(".") or "\0" in name or len(name) > LONGEST_NAME:
        raise SiteCNNError(f"network {brief(name)} is no name of a file")
    for suffix in (".prototxt", ".onnx"):
        if (folder / f"{name}{suffix}").is_file():
            return load_network(folder / f"{name}{suffix}", batch=batch)
    raise SiteCNNError(f"no definition {folder / name}.prototxt or .onnx")


def _fill(passes: Passes, part: pd.DataFrame, refused: list[Refused]) -> int:
    """Put a network's rows into `passes`; returns how many."""
    # A repeat that has a layer twice is two runs under one name: both count.
    part = part.assign(again=part.groupby(["repeat", "layer", "layer_index"], dropna=False).cumcount())
    steps = part["iterations"].dropna()
    passes.iterations = int(steps.iloc[0]) if len(steps) else None
    imported = 0
    for _, one in part.groupby(["repeat", "again"], sort=True):
        kept = list(_plausible_rows(passes.network, one, refused))
        imported += len(kept)
        for index, layer_ms in kept:
            passes.layers_ms.setdefault(index, []).append(layer_ms)
        forward = one["forward_ms"].iloc[0]
        if kept and np.isfinite(forward):
            passes.forward_ms.append(float(forward))
        if {index for index, _ in kept} == set(range(len(passes.network.layers))):
            passes.layerwise_ms.append(sum(layer_ms for _, layer_ms in kept))
    return imported


def _plausible_rows(network: Network, one: pd.DataFrame, refused: list[Refused]) -> Iterator[tuple[int, float]]:
    """(layer's index, ms) of the rows of one pass that can be; the others are refused."""
    expected = memory(network).data_bytes
    forward = float(one["forward_ms"].iloc[0])
    positions = [None if np.isnan(position) else int(position) for position in one["layer_index"]]
    indices = [layer_index(network, *named) for named in zip(one["layer"], positions, strict=True)]
    unit = implausible(network, forward) if np.isfinite(forward) else _slow_layers(network, indices, one["layer_ms"])
    taken: set[int] = set()
    row: Any
    for row, index in zip(one.itertuples(index=False), indices, strict=True):
        reason = _reason(row, index, unit, expected, taken, network)
        if reason:
            refused.append(Refused(int(row.row), reason))
        elif index is not None:
            taken.add(index)
            yield index, float(row.layer_ms)


def _slow_layers(network: Network, indices: list[int | None], layer_ms: Iterable[float]) -> str | None:
    """Why layers without a time of their pass cannot take so long; only those that multiply tell."""
    heavy = {index for index in indices if index is not None and macs(network.layers[index])}
    spent = sum(ms for index, ms in zip(indices, layer_ms, strict=True) if index in heavy)
    return implausible(network, spent, heavy) if heavy else None


def _reason(
    row: Any, index: int | None, unit: str | None, expected: int, taken: set[int], network: Network
) -> str | None:
    """Why a row cannot be; None if it can."""
    if index is None:
        return f"layer {brief(row.layer)} is not in the definition of {row.network!r}"
    if index in taken:
        return f"layer {row.layer!r} is there twice in one pass"
    if not np.isnan(row.data_bytes) and row.data_bytes != expected:
        return f"data_bytes {row.data_bytes:.0f} is not the {expected} of {row.network!r} at batch {network.batch}"
    if unit:
        return f"{row.network!r} at batch {network.batch}: {unit}"
    if row.layer_ms > LONGEST_SHARE * row.forward_ms:
        return f"layer_ms of {row.layer!r} is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
    return None
