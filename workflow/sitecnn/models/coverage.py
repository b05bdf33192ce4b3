"""Whether probe networks met what real networks have: each kind's kernels inside and outside of the probes' sizes."""

import numpy as np
import pandas as pd

from sitecnn.models.caches import LAST_CACHES
from sitecnn.models.caffe_features import FREE_KINDS
from sitecnn.models.probe_names import is_probe
from sitecnn.workload.kernels import SIZE_NAMES

COLUMNS = ["stack", "kind", "probe_kernels", "kernels", "inside", "ms", "inside_ms", "farthest", "farthest_factor"]

EDGES = ((np.min, np.inf), (np.max, -np.inf))
"""The least and the largest of sizes, each with what leaves one that is not known out."""


def coverage(rows: pd.DataFrame) -> pd.DataFrame:
    """Per stack and kind, COLUMNS: of the measured networks' kernels how many lie inside what the probes saw, with ms.

    A kernel is inside if each of its sizes lies between the least and the largest of its kind's in the probes; passes
    of more bytes than any last cache holds count as alike.
    `farthest` is the size that lies furthest outside, `farthest_factor` how many times beyond; empty and NaN where none
    does, or the probes have no such kind. Empty for stacks without probes or without networks beside them.
    """
    layers = rows[rows["subject"] == "layer"]
    if layers.empty:
        return pd.DataFrame(columns=COLUMNS)
    layers = layers[~layers["kind"].isin(FREE_KINDS)]
    # Beyond the largest last cache one pass is as another.
    layers = layers.assign(pass_bytes=layers["pass_bytes"].clip(upper=LAST_CACHES[-1][1]))
    probes = np.array([is_probe(network) for network in layers["network"]], dtype=np.bool_)
    kinds = []
    for (stack, kind), real in layers[~probes].groupby(["stack", "kind"], sort=True):
        of_stack = layers[probes & (layers["stack"] == stack).to_numpy(dtype=bool)]
        if len(of_stack):
            kinds.append({"stack": stack, "kind": kind, **_kind(real, of_stack[of_stack["kind"] == kind])})
    return pd.DataFrame(kinds, columns=COLUMNS)


def _kind(real: pd.DataFrame, probes: pd.DataFrame) -> dict[str, object]:
    """How the kernels of a kind in real networks lie to those in probes."""
    ms = real["median_ns"].to_numpy(dtype=float) / 1e6
    counts = {"probe_kernels": len(probes), "kernels": len(real), "ms": float(ms.sum())}
    if probes.empty:
        return counts | {"inside": 0, "inside_ms": 0.0, "farthest": "", "farthest_factor": np.nan}
    sizes, seen = (part[list(SIZE_NAMES)].to_numpy(dtype=float, na_value=np.nan) for part in (real, probes))
    known = ~np.isnan(seen).all(axis=0)
    least, most = (edge(np.where(np.isnan(seen), start, seen), axis=0) for edge, start in EDGES)
    # A size of zero has no ratio: one more than each lets it have one, and is nothing to large ones.
    beyond = np.maximum((1 + sizes) / (1 + most), (1 + least) / (1 + sizes))
    beyond = np.where(known & ~np.isnan(sizes), beyond, 1.0)
    inside = (beyond <= 1).all(axis=1)
    place = int(beyond.max(axis=0).argmax())
    worst = float(beyond[:, place].max())
    return counts | {
        "inside": int(inside.sum()),
        "inside_ms": float(ms[inside].sum()),
        "farthest": SIZE_NAMES[place] if worst > 1 else "",
        "farthest_factor": worst if worst > 1 else np.nan,
    }
