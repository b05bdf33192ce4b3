"""Per-layer times in a CSV or Parquet table: one row per layer of a pass."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.dataset.imports.joining import LONGEST_SHARE, by_definition, implausible, layer_index
from sitecnn.dataset.imports.record import Imported, Passes, Target
from sitecnn.dataset.imports.tables import Numbers, brief, checked, read_rows
from sitecnn.network import Network
from sitecnn.network.graph import Shape
from sitecnn.workload.kernels import macs
from sitecnn.workload.memory import memory

NEEDED = ("network", "batch", "layer", "layer_ms")
DEFAULTS: dict[str, str | int | float] = {
    **{"library": "", "threads": 0, "repeat": 0},
    **dict.fromkeys(("iterations", "forward_ms", "data_bytes", "layer_index"), math.nan),
}
NUMBERS = {
    "batch": Numbers(1, may_be_missing=False),
    "iterations": Numbers(1),
    **dict.fromkeys(("threads", "repeat"), Numbers(may_be_missing=False)),
    **dict.fromkeys(("layer_index", "data_bytes"), Numbers()),
    "layer_ms": Numbers(is_whole=False, may_be_missing=False),
    "forward_ms": Numbers(is_whole=False),
}
STACK = ["library", "threads"]
NETWORK = [*STACK, "network", "batch"]
RUN = ["repeat", "again"]
"""What tells the stacks, the networks of a stack and the passes of a network apart."""

GPU_LIBRARY = re.compile(r"cuda|cudnn|opencl|clblast|viennacl|tensorrt|vulkan|metal|gpu", re.I)
CPU_LIBRARY = re.compile(r"^cpu|openblas|atlas|mkl|blis|eigen|nnpack", re.I)


def read_table(
    file: Path, target: Target, networks: Path, library: str | None = None, inputs: Mapping[str, Shape] | None = None
) -> Imported:
    """Every row of `file` as part of a pass, left out (another library or processor), or refused with its reason.

    `networks` is the folder of definitions, `inputs` the shapes that they leave open.
    Several libraries or thread counts among the rows are several stacks: their names are appended to the stack's.
    """
    rows = read_rows(file, NEEDED, DEFAULTS).fillna({"library": ""}).astype({"library": str})
    imported = Imported("of another library or processor", len(rows))
    rows = rows[_wanted(rows, target.processor, library)]
    imported.left_out = imported.rows - len(rows)
    rows = _in_runs(checked(rows, ("network", "layer"), NUMBERS, imported))
    several = {name: rows[name].nunique() > 1 for name in STACK}
    for (library_name, threads, name, _), network, part in by_definition(rows, NETWORK, networks, inputs, imported):
        stack = target.stack + (f"+{library_name}" if several["library"] and library_name else "")
        stack += f"+{threads}-threads" if several["threads"] and threads else ""
        part = _sound(_located(part, network), network, imported)
        if len(part):
            imported.passes.append(_passes(part, Passes(name, network, stack, threads, library_name or None)))
    imported.refused.sort(key=lambda entry: entry[0])
    return imported


def _wanted(rows: pd.DataFrame, processor: str, library: str | None) -> "pd.Series[bool]":
    """Rows of the library that is asked for; else those whose library's name does not tell of another processor."""
    if library is not None:
        return rows["library"] == library
    other = CPU_LIBRARY if processor == "gpu" else GPU_LIBRARY
    return ~rows["library"].str.contains(other).astype(bool)


def _in_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their runs, with `pass_ms`: a repeat that has a layer twice is two runs under one name."""
    named = [*NETWORK, "repeat"]
    again = rows.groupby([*named, "layer", "layer_index"], dropna=False).cumcount()
    rows = rows.assign(again=again).sort_values([*NETWORK, *RUN], kind="stable")
    return rows.assign(pass_ms=rows.groupby([*named, "again"])["forward_ms"].transform("first"))


def _located(rows: pd.DataFrame, network: Network) -> pd.DataFrame:
    """Rows with the `place` of their layers in the network, -1 where it has none, and what is wrong in their `unit`."""
    layers = rows[["layer", "layer_index"]].drop_duplicates()
    indices = [layer_index(network, layer, index) for layer, index in layers.itertuples(index=False)]
    layers = layers.assign(place=[-1 if index is None else int(index) for index in indices])
    rows = rows.merge(layers, on=["layer", "layer_index"], how="left")
    units: dict[Any, str | None] = {run: _unit(one, network) for run, one in rows.groupby(RUN)}
    unit = [units[run] for run in rows[RUN].itertuples(index=False, name=None)]
    return rows.assign(unit=pd.Series(unit, rows.index, dtype=object))


def _unit(one: pd.DataFrame, network: Network) -> str | None:
    """Why a pass, or its layers that multiply where no pass is whole, cannot take so long."""
    pass_ms = float(one["pass_ms"].iloc[0])
    if not math.isnan(pass_ms):
        return implausible(network, pass_ms)
    heavy = one[[place >= 0 and macs(network.layers[place]) > 0 for place in one["place"]]]
    return implausible(network, float(heavy["layer_ms"].sum()), set(heavy["place"])) if len(heavy) else None


def _sound(rows: pd.DataFrame, network: Network, imported: Imported) -> pd.DataFrame:
    """The rows of a network that can be; `imported` refuses the others, each for the first that is wrong."""
    expected = memory(network).data_bytes
    too_slow = f"is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
    checks: tuple[tuple[Callable[[pd.DataFrame], Any], Callable[[Any], str]], ...] = (
        (lambda rows: rows["place"] < 0,
         lambda row: f"layer {brief(row.layer)} is not in the definition of {row.network!r}"),
        (lambda rows: rows["data_bytes"].notna() & (rows["data_bytes"] != expected),
         lambda row: f"data_bytes {row.data_bytes:.0f} is not the {expected} of {row.network!r} at batch {row.batch}"),
        (lambda rows: rows["unit"].notna(),
         lambda row: f"{row.network!r} at batch {row.batch}: {row.unit}"),
        (lambda rows: rows["layer_ms"] > LONGEST_SHARE * rows["forward_ms"],
         lambda row: f"layer_ms of {row.layer!r} {too_slow}"),
        (lambda rows: rows.duplicated([*RUN, "place"]),
         lambda row: f"layer {row.layer!r} is there twice in one pass"),
    )  # fmt: skip
    for is_wrong, reason in checks:
        wrong = is_wrong(rows)
        for row in rows[wrong].itertuples():
            imported.refuse([int(str(row.row))], reason(row))
        rows = rows[~wrong]
    return rows


def _passes(rows: pd.DataFrame, passes: Passes) -> Passes:
    """`passes` with the times of a network's rows."""
    passes.iterations = next(map(int, rows["iterations"].dropna().tolist()), None)
    passes.layers_ms = {int(str(place)): ms.tolist() for place, ms in rows.groupby("place")["layer_ms"]}
    for _, one in rows.groupby(RUN):
        passes.forward_ms += one["pass_ms"].head(1).dropna().tolist()
        if set(one["place"]) == set(range(len(passes.network.layers))):
            passes.layerwise_ms.append(sum(one["layer_ms"].tolist()))
    return passes
