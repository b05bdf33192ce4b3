"""Totals of whole networks as papers print them: passes, all layers of a type together, a process's memory."""

from collections.abc import Mapping
from pathlib import Path

from sitecnn.dataset.imports.joining import by_definition, implausible
from sitecnn.dataset.imports.record import Imported, Passes, Target
from sitecnn.dataset.imports.tables import Numbers, brief, checked, read_rows
from sitecnn.network.graph import Shape

COLUMNS = ("network", "batch", "what", "ms", "mib")
PASSES = ("forward", "layerwise")


def read_totals(file: Path, target: Target, networks: Path, inputs: Mapping[str, Shape] | None = None) -> Imported:
    """A table of `network, batch, what, ms, mib`; DatasetError if it is none.

    `what` is `forward` or `layerwise` (a whole pass, all layers timed one by one), a layer type of Caffe's (the sum of
    its layers), each with `ms`; or `memory` (the process after a pass), with `mib`, in MiB. Rows that cannot be are
    refused.
    """
    rows = read_rows(file, COLUMNS, {})
    imported = Imported(rows=len(rows))
    rows = checked(rows, ("network", "what"), {"batch": Numbers(1, may_be_missing=False)}, imported)
    for (name, _), network, part in by_definition(rows, ("network", "batch"), networks, inputs, imported):
        passes = Passes(name, network, target.stack)
        for row, what, ms, mib in part[["row", "what", "ms", "mib"]].itertuples(index=False):
            if reason := _take(passes, what, mib if what == "memory" else ms):
                imported.refuse([row], reason)
        imported.passes.append(passes)
    imported.refused.sort(key=lambda entry: entry[0])
    return imported


def _take(passes: Passes, what: str, value: object) -> str | None:
    """Put one total into `passes`; why that cannot be, None if it can."""
    types = {layer.type for layer in passes.network.layers}
    if what not in (*PASSES, "memory", *types):
        return f"{brief(what)} is no layer type of {passes.name!r}, which has {', '.join(sorted(types))}"
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        return f"{'mib' if what == 'memory' else 'ms'} of {what} is {brief(value)}, no number above 0"
    if what == "memory":
        passes.total_bytes = round(value * 2**20)
    elif what not in PASSES:
        passes.types_ms[what] = float(value)
    elif reason := implausible(passes.network, value):
        return reason
    else:
        getattr(passes, f"{what}_ms").append(float(value))
    return None
