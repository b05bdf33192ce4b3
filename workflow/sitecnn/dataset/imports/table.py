"""Per-layer times in a CSV or Parquet table: one row per layer of a pass."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

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
    chosen = _checked(rows[wanted], refused)
    suffix = {name: chosen[name].nunique() > 1 for name in ("library", "threads")}
    found, imported = [], 0
    known = cache(partial(definition, networks, inputs=inputs))  # libraries and threads share networks
    for (name_of_library, threads, name, batch), part in sorted(_groups(chosen).items()):
        stack = target.stack + (f"+{name_of_library}" if suffix["library"] and name_of_library else "")
        stack += f"+{threads}-threads" if suffix["threads"] and threads else ""
        try:
            network = known(name, batch)
        except NetworkError as error:
            refused += [Refused(row.row, str(error)) for row in part]
            continue
        passes = Passes(name, network, stack, threads, name_of_library or None)
        imported += _fill(passes, part, refused)
        found.append(passes)
    found = [passes for passes in found if passes.layers_ms or passes.forward_ms]
    return Imported(found, len(rows), imported, int((~wanted).sum()), sorted(refused, key=lambda entry: entry.row))


class _Row(NamedTuple):
    """A row that passed the checks; what it may lack is NaN."""

    row: int
    library: str
    threads: int
    network: str
    batch: int
    repeat: int
    layer: str
    layer_ms: float
    iterations: float
    forward_ms: float
    data_bytes: float
    layer_index: float

    @property
    def position(self) -> int | None:
        """The layer's index, where the table has it."""
        return None if math.isnan(self.layer_index) else int(self.layer_index)


def _groups(rows: pd.DataFrame) -> dict[tuple[str, int, str, int], list[_Row]]:
    """Rows by library, threads, network and batch, in their order."""
    groups: dict[tuple[str, int, str, int], list[_Row]] = defaultdict(list)
    for row in map(_Row._make, zip(*(rows[name].tolist() for name in _Row._fields), strict=True)):
        groups[row.library, row.threads, row.network, row.batch].append(row)
    return groups


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


def _fill(passes: Passes, part: Sequence[_Row], refused: list[Refused]) -> int:
    """Put a network's rows into `passes`; returns how many."""
    passes.iterations = next((int(row.iterations) for row in part if not math.isnan(row.iterations)), None)
    expected = memory(passes.network).data_bytes
    imported = 0
    for one in _single(part):
        kept = list(_plausible_rows(passes.network, one, expected, refused))
        imported += len(kept)
        for index, layer_ms in kept:
            passes.layers_ms.setdefault(index, []).append(layer_ms)
        forward = one[0].forward_ms
        if kept and not math.isnan(forward):
            passes.forward_ms.append(forward)
        if {index for index, _ in kept} == set(range(len(passes.network.layers))):
            passes.layerwise_ms.append(sum(layer_ms for _, layer_ms in kept))
    return imported


def _single(part: Sequence[_Row]) -> list[list[_Row]]:
    """The rows of each pass. A repeat that has a layer twice is two runs under one name: both count."""
    again: Counter[tuple[int, str, int | None]] = Counter()
    passes: dict[tuple[int, int], list[_Row]] = defaultdict(list)
    for row in part:
        named = (row.repeat, row.layer, row.position)
        passes[row.repeat, again[named]].append(row)
        again[named] += 1
    return [rows for _, rows in sorted(passes.items())]


def _plausible_rows(
    network: Network, one: Sequence[_Row], expected: int, refused: list[Refused]
) -> Iterator[tuple[int, float]]:
    """(layer's index, ms) of the rows of one pass that can be; the others are refused."""
    forward = one[0].forward_ms
    indices = [layer_index(network, row.layer, row.position) for row in one]
    unit = _slow_layers(network, indices, one) if math.isnan(forward) else implausible(network, forward)
    taken: set[int] = set()
    for row, index in zip(one, indices, strict=True):
        reason = _reason(row, index, unit, expected, taken, network)
        if reason:
            refused.append(Refused(row.row, reason))
        elif index is not None:
            taken.add(index)
            yield index, row.layer_ms


def _slow_layers(network: Network, indices: Sequence[int | None], one: Sequence[_Row]) -> str | None:
    """Why layers without a time of their pass cannot take so long; only those that multiply tell."""
    heavy = {index for index in indices if index is not None and macs(network.layers[index])}
    spent = sum(row.layer_ms for index, row in zip(indices, one, strict=True) if index in heavy)
    return implausible(network, spent, heavy) if heavy else None


def _reason(
    row: _Row, index: int | None, unit: str | None, expected: int, taken: set[int], network: Network
) -> str | None:
    """Why a row cannot be; None if it can."""
    if index is None:
        return f"layer {brief(row.layer)} is not in the definition of {row.network!r}"
    if index in taken:
        return f"layer {row.layer!r} is there twice in one pass"
    if not math.isnan(row.data_bytes) and row.data_bytes != expected:
        return f"data_bytes {row.data_bytes:.0f} is not the {expected} of {row.network!r} at batch {network.batch}"
    if unit:
        return f"{row.network!r} at batch {network.batch}: {unit}"
    if row.layer_ms > LONGEST_SHARE * row.forward_ms:
        return f"layer_ms of {row.layer!r} is more than {LONGEST_SHARE:g} × forward_ms: the timer or the unit is wrong"
    return None
