"""Passes through networks, summed by layer group: what several chapters share."""

from typing import Any

import numpy as np
import pandas as pd

from sitecnn.models.probe_names import is_probe
from sitecnn.workload.flops import GROUPS
from sitecnn.workload.stack_names import telling_labels

PASSES = ("layerwise", "forward")
COLUMNS = ("conv", "pool", "relu", "fc", "other")
TITLES = {"conv": "CONV", "pool": "POOL", "relu": "ReLU", "fc": "FC", "other": "other"}


def times(measurements: pd.DataFrame) -> pd.DataFrame:
    """The poster's Table 1: a row per (stack, network, batch), `{group}_ms`, `_spread_ms` and `_share`, and passes.

    Groups are summed pass by pass before the median is taken, so that a spread is that of the sum; it is half the
    interquartile range. Shares are of the sum of the groups. Probes, which no one runs, have no row.
    """
    names = ["board", "processor", "stack", "network", "batch"]
    rows = measurements[measurements["subject"].isin(["layer", *PASSES]) & (measurements["status"] != "failed")]
    rows = rows[rows["samples_ns"].map(lambda samples: samples is not None and len(samples) > 0).astype(bool)]
    rows = rows.dropna(subset="network")
    groups: Any = rows[~rows["network"].map(is_probe).astype(bool)].groupby(names)
    return pd.DataFrame([dict(zip(names, key, strict=True)) | _pass(part) for key, part in groups])


def _pass(part: pd.DataFrame) -> dict[str, float]:
    layers = part[part["subject"] == "layer"]
    groups = layers["layer_type"].map(GROUPS).fillna("other")
    cells: dict[str, float] = {}
    for group, of in layers.groupby(groups):
        cells |= _summary(str(group), _summed(of))
    total = sum(cells[f"{group}_ms"] for group in COLUMNS if f"{group}_ms" in cells)
    cells |= {f"{group}_share": cells[f"{group}_ms"] / total for group in COLUMNS if f"{group}_ms" in cells and total}
    for name in PASSES:
        of = part[part["subject"] == name]
        if len(of):
            cells |= _summary(name, np.concatenate(list(of["samples_ns"])))
    if "layerwise_ms" in cells and cells.get("forward_ms"):
        cells["overhead"] = cells["layerwise_ms"] / cells["forward_ms"] - 1
    return cells


def _summed(layers: pd.DataFrame) -> Any:
    """Layers' samples added pass by pass, in each round over as many passes as all of them have."""
    sums = []
    for _, of in layers.groupby(layers["round"] if "round" in layers else layers["network"], dropna=False):
        fewest = min(map(len, of["samples_ns"]))
        sums.append(np.sum([np.asarray(one, dtype=float)[:fewest] for one in of["samples_ns"]], axis=0))
    return np.concatenate(sums)


def _summary(name: str, samples_ns: Any) -> dict[str, float]:
    low, middle, high = np.percentile(np.asarray(samples_ns, dtype=float) / 1e6, (25, 50, 75))
    return {f"{name}_ms": float(middle), f"{name}_spread_ms": float(high - low) / 2}


def telling_stacks(rows: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """What tells stacks apart, by (board, processor, stack), where a processor has several."""
    telling: dict[tuple[str, str, str], str] = {}
    for (board, processor), part in rows.groupby(["board", "processor"]):
        labels = telling_labels(part["stack"].astype(str))
        telling |= {(str(board), str(processor), stack): label for stack, label in labels.items() if len(labels) > 1}
    return telling


def ways(rows: pd.DataFrame) -> "pd.Series[str]":
    """`board processor`, with what tells the stacks apart where a processor has several."""
    telling = telling_stacks(rows)
    keys = zip(rows["board"], rows["processor"], rows["stack"].astype(str), strict=True)
    names = [f"{key[0]} {key[1]}" + (f" with {telling[key]}" if key in telling else "") for key in keys]
    return pd.Series(names, index=rows.index, dtype=object)


def labels(rows: pd.DataFrame) -> "pd.Series[str]":
    """`network on board processor`, with the batch and the stack where they tell rows apart."""
    batch = ", batch " + rows["batch"].astype(str) if rows["batch"].nunique() > 1 else ""
    return rows["network"].astype(str) + " on " + ways(rows) + batch
