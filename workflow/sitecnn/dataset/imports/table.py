"""Per-layer times in a CSV or Parquet table: one row per layer of a pass."""

import math
import re
from collections.abc import Callable, Mapping
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
from sitecnn.errors import DatasetError, NetworkError
from sitecnn.network import Network, load_network
from sitecnn.network.graph import Shape
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
RUN = ["repeat", "again"]
"""What tells the passes of a network apart."""

MAY_BE_MISSING = ("iterations", "layer_index", "data_bytes", "forward_ms")

GPU_LIBRARY = re.compile(r"cuda|cudnn|opencl|clblast|viennacl|tensorrt|vulkan|metal|gpu", re.I)
CPU_LIBRARY = re.compile(r"^cpu|openblas|atlas|mkl|blis|eigen|nnpack", re.I)


def read_table(
    file: Path, target: Target, networks: Path, library: str | None = None, inputs: Mapping[str, Shape] | None = None
) -> Imported:
    """Every row of `file` as part of a pass, left out (another library or processor), or refused with its reason.

    `networks` is the folder of definitions, `inputs` the shapes that they leave open.
    Several libraries or thread counts among the rows are several stacks: their names are appended to the stack's.
    """
    rows = _read(file)
    wanted = _wanted(rows, target.processor, library)
    refused: list[Refused] = []
    chosen = _in_runs(_checked(rows[wanted], refused))
    suffix = {name: chosen[name].nunique() > 1 for name in ("library", "threads")}
    found, imported = [], 0
    known = cache(partial(definition, networks, inputs=inputs))  # libraries and threads share networks
    group: Any
    for group, part in chosen.groupby(["library", "threads", "network", "batch"]):
        name_of_library, threads, name, batch = group
        stack = target.stack + (f"+{name_of_library}" if suffix["library"] and name_of_library else "")
        stack += f"+{threads}-threads" if suffix["threads"] and threads else ""
        try:
            network = known(name, batch)
        except NetworkError as error:
            refused += [Refused(int(row), str(error)) for row in part["row"]]
            continue
        part = _located(part, network)
        reasons = _reasons(part, network)
        refused += [Refused(row, reason) for row, reason in reasons.items()]
        kept = part[~part["row"].isin(list(reasons))]
        imported += len(kept)
        if len(kept):
            found.append(_passes(kept, Passes(name, network, stack, threads, name_of_library or None)))
    return Imported(found, len(rows), imported, int((~wanted).sum()), sorted(refused, key=lambda entry: entry.row))


def _in_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their runs, with `pass_ms`: a repeat that has a layer twice is two runs under one name."""
    named = ["library", "threads", "network", "batch", "repeat"]
    again = rows.groupby([*named, "layer", "layer_index"], dropna=False).cumcount()
    rows = rows.assign(again=again).sort_values(RUN, kind="stable")
    return rows.assign(pass_ms=rows.groupby([*named, "again"])["forward_ms"].transform("first"))


def _located(rows: pd.DataFrame, network: Network) -> pd.DataFrame:
    """Rows with the `place` of their layers in the network, -1 where it has none."""
    named = list(zip(rows["layer"], rows["layer_index"].fillna(-1).astype(int), strict=True))
    places = {one: layer_index(network, *one) for one in set(named)}
    return rows.assign(place=[-1 if (place := places[one]) is None else place for one in named])


def _reasons(rows: pd.DataFrame, network: Network) -> dict[int, str]:
    """Why rows of a network cannot be, by row."""
    expected = memory(network).data_bytes
    units = {run: _unit(one, network) for run, one in rows.groupby(RUN)}
    unit = [units[run] for run in zip(*(rows[name] for name in RUN), strict=True)]
    rows = rows.assign(unit=pd.Series(unit, rows.index, dtype=object))
    checks: tuple[tuple[Any, Callable[[Any], str]], ...] = (
        (rows["place"] < 0, lambda row: f"layer {brief(row.layer)} is not in the definition of {row.network!r}"),
        (
            rows["data_bytes"].notna() & (rows["data_bytes"] != expected),
            lambda row: (
                f"data_bytes {row.data_bytes:.0f} is not the {expected} of {row.network!r} at batch {row.batch}"
            ),
        ),
        (rows["unit"].notna(), lambda row: f"{row.network!r} at batch {row.batch}: {row.unit}"),
        (
            rows["layer_ms"] > LONGEST_SHARE * rows["forward_ms"],
            lambda row: (
                f"layer_ms of {row.layer!r} is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
            ),
        ),
    )
    reasons: dict[int, str] = {}
    row: Any
    for bad, reason in checks:
        for row in rows[bad].itertuples():
            reasons.setdefault(int(row.row), reason(row))
    good = rows[~rows["row"].isin(list(reasons))]
    for row in good[good.duplicated([*RUN, "place"])].itertuples():
        reasons[int(row.row)] = f"layer {row.layer!r} is there twice in one pass"
    return reasons


def _unit(one: pd.DataFrame, network: Network) -> str | None:
    """Why a pass, or its layers that multiply where no pass is whole, cannot take so long."""
    pass_ms = float(one["pass_ms"].iloc[0])
    if not math.isnan(pass_ms):
        return implausible(network, pass_ms)
    heavy = one[[place >= 0 and macs(network.layers[place]) > 0 for place in one["place"]]]
    return implausible(network, float(heavy["layer_ms"].sum()), set(heavy["place"])) if len(heavy) else None


def _passes(rows: pd.DataFrame, passes: Passes) -> Passes:
    """`passes` with the times of a network's rows."""
    passes.iterations = next(map(int, rows["iterations"].dropna().tolist()), None)
    passes.layers_ms = {int(str(place)): ms.tolist() for place, ms in rows.groupby("place")["layer_ms"]}
    for _, one in rows.groupby(RUN):
        passes.forward_ms += one["pass_ms"].head(1).dropna().tolist()
        if set(one["place"]) == set(range(len(passes.network.layers))):
            passes.layerwise_ms.append(sum(one["layer_ms"].tolist()))
    return passes


def _read(file: Path) -> pd.DataFrame:
    """The table with all columns we know, rows numbered from 1."""
    try:
        with file.open("rb") as source:
            is_parquet = source.read(4) == b"PAR1"
        rows = pd.read_parquet(file) if is_parquet else pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no CSV or Parquet table: {str(error).splitlines()[0]}") from None
    if missing := [name for name in NEEDED if name not in rows.columns]:
        raise DatasetError(
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


def definition(folder: Path, name: str, batch: int, inputs: Mapping[str, Shape] | None = None) -> Network:
    """DIR/{name}.prototxt or .onnx at this batch, with the shapes it leaves open; NetworkError if there is none."""
    if "/" in name or "\\" in name or name.startswith(".") or "\0" in name or len(name) > LONGEST_NAME:
        raise NetworkError(f"network {brief(name)} is no name of a file")
    for suffix in (".prototxt", ".onnx"):
        if (folder / f"{name}{suffix}").is_file():
            return load_network(folder / f"{name}{suffix}", batch=batch, inputs=inputs)
    raise NetworkError(f"no definition {folder / name}.prototxt or .onnx")
