"""Whole passes of networks whose kernels were timed one by one elsewhere: what lies between the two, from graphs."""

import numpy as np
import pandas as pd
from scipy.optimize import lsq_linear

from sitecnn.models.board_model import KindModel
from sitecnn.models.correction import FEWEST_NETWORKS
from sitecnn.models.feature import Array
from sitecnn.models.tflite_features import ELEMENTWISE, PAD, WRITTEN

UNTIMED = (PAD, ELEMENTWISE)
"""Kinds of which tables tell that they ran, and not how long."""

OUTPUTS = ("images", "out_channels", "out_height", "out_width")

FREE = ("sum", "kernels")
"""Terms that may be negative: timing a kernel alone costs more or less than its launch in a pass."""

RIDGE = 1e-3
"""Draws terms to 0 that 20 networks do not tell apart, relative to the largest of each."""

HUBER_THRESHOLD, STEPS = 1.345, 5


def as_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` in which kernels that were imported with their networks' names, without definitions, are their layers."""
    kernels = rows["subject"].eq("kernel") & rows["network"].notna() & (rows["source"] == "import")
    if not kernels.any():
        return rows
    index = rows[kernels].groupby(["stack", "network", "batch"]).cumcount()
    rows = rows.assign(layer_index=rows["layer_index"].mask(kernels, index))
    named = {name: rows[name].mask(kernels, rows["kind"]) for name in ("layer", "layer_type")}
    return rows.assign(subject=rows["subject"].mask(kernels, "layer"), **named)


def is_of_many_networks(rows: pd.DataFrame) -> bool:
    """Whether a stack's rows are an import of so many networks that their passes and kernels tell more than work."""
    networks = rows.loc[rows["subject"] == "layer", "network"].nunique()
    return networks >= FEWEST_NETWORKS and "source" in rows and bool((rows["source"] == "import").all())


def fit_whole_pass(rows: pd.DataFrame) -> tuple[float, float, float, dict[str, float], dict[str, KindModel]]:
    """(ratio, ns a kernel, spread, ns of a pass and of a weight, models of kinds that were not timed).

    A pass is ratio·Σ kernels + ns·kernels + constant + ns·weights + ns·elements padded + ns·elements of others that
    were not timed: relative errors are least, robust to outliers, all terms but the first two positive.
    """
    table = _terms(rows)
    forward, names = table.pop("forward").to_numpy(), list(table.columns)
    share = table.to_numpy(dtype=float) / forward[:, None]
    goal = 1 - share[:, names.index("sum")]
    scale = np.abs(share).max(axis=0)
    scale[scale == 0] = 1
    least = np.array([-np.inf if name in FREE else 0.0 for name in names])
    weights = np.ones(len(goal))
    for _ in range(STEPS):
        root = np.sqrt(weights)
        system = np.vstack([share / scale * root[:, None], np.sqrt(RIDGE) * np.eye(len(names))])
        solution = lsq_linear(system, np.append(goal * root, np.zeros(len(names))), (least, np.inf)).x
        errors = np.abs(goal - share / scale @ solution)
        weights = np.minimum(1, HUBER_THRESHOLD * 1.4826 * np.median(errors) / np.maximum(errors, 1e-9))
    per = dict(zip(names, (solution / scale).tolist(), strict=True))
    ratio = 1 + per["sum"]
    spread = float(np.sqrt(np.sum(weights * errors**2) / max(weights.sum() - len(names), 1)))
    untimed = {kind: _of_elements(per[kind] / ratio, _seen(rows, kind)) for kind in UNTIMED}
    return ratio, per["kernels"], spread, {"pass": per["pass"], "weights": per["weights"]}, untimed


def _terms(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each pass: ns of it (`forward`) and of its kernels (`sum`), and amounts of the other terms."""
    layers = rows[rows["subject"] == "layer"]
    groups = layers.assign(weights=layers["parameters"].astype(float).fillna(0)).groupby(["network", "batch"])
    table = groups.agg(sum=("median_ns", "sum"), kernels=("median_ns", "size"), weights=("weights", "sum"))
    for kind in UNTIMED:
        of_kind = layers[layers["kind"] == kind]
        amount = pd.Series(_written(of_kind), index=of_kind.index, dtype=float)
        table[kind] = amount.groupby([of_kind["network"], of_kind["batch"]]).sum()
    forward = rows[rows["subject"] == "forward"].groupby(["network", "batch"])["median_ns"].median()
    terms = table.fillna(0).assign(**{"pass": 1.0}).join(forward.rename("forward"), how="inner")
    return terms.astype(float)


def _written(rows: pd.DataFrame) -> Array:
    sizes = {name: rows[name].to_numpy(dtype=float, na_value=np.nan) for name in OUTPUTS}
    return WRITTEN.count(sizes)


def _seen(rows: pd.DataFrame, kind: str) -> tuple[float, float, int]:
    written = _written(rows[rows["kind"] == kind])
    return (float(written.min()), float(written.max()), len(written)) if len(written) else (0.0, 0.0, 0)


def _of_elements(ns: float, seen: tuple[float, float, int]) -> KindModel:
    """A kind that takes so long for each element that it writes; how well that is known, passes tell."""
    least, most, rows = seen
    return KindModel((WRITTEN.name,), (WRITTEN.unit,), (ns,), (ns,), ((ns**2,),), 0.0, ((least, most),), rows)
