"""Totals of whole networks as papers print them: passes, all layers of a type together, a process's memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.dataset.imports.record import Imported, Passes, Refused, Target, brief, implausible
from sitecnn.dataset.imports.table import definition
from sitecnn.errors import DatasetError, NetworkError
from sitecnn.network import Network
from sitecnn.network.graph import Shape

COLUMNS = ("network", "batch", "what", "ms", "mib")
PASSES = ("forward", "layerwise")


def read_totals(file: Path, target: Target, networks: Path, inputs: Mapping[str, Shape] | None = None) -> Imported:
    """A CSV of `network, batch, what, ms, mib`; DatasetError if it is none.

    `what` is `forward` or `layerwise` (a whole pass, all layers timed one by one), a layer type of Caffe's (the sum of
    its layers), each with `ms`; or `memory` (the process after a pass), with `mib`, in MiB. Rows that cannot be are
    refused.
    """
    rows, refused, found = _read(file), list[Refused](), list[Passes]()
    group: Any
    for group, part in rows.groupby(["network", "batch"], sort=False):
        name, batch = group
        try:
            network = definition(networks, str(name), int(batch), inputs)
        except (NetworkError, ValueError) as error:
            refused += [Refused(int(row), str(error)) for row in part["row"]]
            continue
        passes = Passes(str(name), network, target.stack)
        refused += _fill(passes, part)
        found.append(passes)
    return Imported(found, len(rows), len(rows) - len(refused), 0, sorted(refused, key=lambda entry: entry.row))


def _read(file: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, dtype={"network": str, "what": str})
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no CSV table: {str(error).splitlines()[0]}") from None
    if tuple(rows.columns) != COLUMNS:
        raise DatasetError(f"{file}: its columns are {', '.join(rows.columns)}; needed are {', '.join(COLUMNS)}")
    return rows.assign(row=range(1, len(rows) + 1))


def _fill(passes: Passes, part: pd.DataFrame) -> Iterator[Refused]:
    """Put a network's rows into `passes`; yields those that cannot be."""
    types = {layer.type for layer in passes.network.layers}
    for row, what, ms, mib in part[["row", "what", "ms", "mib"]].itertuples(index=False):
        value = mib if what == "memory" else ms
        if what not in (*PASSES, "memory") and what not in types:
            there = ", ".join(sorted(types))
            yield Refused(int(row), f"{brief(what)} is no layer type of {passes.name!r}, which has {there}")
        elif reason := _reason(passes.network, what, value):
            yield Refused(int(row), reason)
        elif what == "memory":
            passes.total_bytes = round(value * 2**20)
        elif what in PASSES:
            getattr(passes, f"{what}_ms").append(float(value))
        else:
            passes.types_ms[what] = float(value)


def _reason(network: Network, what: str, value: object) -> str | None:
    unit = "mib" if what == "memory" else "ms"
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        return f"{unit} of {what} is {brief(value)}, no number above 0"
    return implausible(network, value) if what in PASSES else None
