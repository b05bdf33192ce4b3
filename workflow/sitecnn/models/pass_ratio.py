"""A whole pass from the sum of its layers, where both were measured."""

import numpy as np
import pandas as pd

from sitecnn.models.feature import Array

LEAST_FORWARD_SD = 0.005
"""Nor is the relation of whole and layerwise passes."""

PASS_SD = 0.03
"""How well a network's whole pass and its layers are measured together, at worst."""

LAYER_NS = {"cpu": 5e3, "gpu": 1e5}
"""What lies between two layers at most, or what timing a layer alone costs: a call; a launch and a synchronisation."""


def forward_pass(rows: pd.DataFrame, processor: str) -> tuple[float, float, float]:
    """(ratio, ns a layer, spread) of forward ÷ sum of layers = ratio + ns·layers/sum.

    Few networks tell the two apart badly, so both are drawn to what is known of any engine: passes are their layers
    to a tenth, and a layer costs no more than LAYER_NS. (1, 0, 0.02) where passes were not measured.
    """
    forward = rows[rows["subject"] == "forward"].groupby(["network", "batch"])["median_ns"].median()
    layers = rows[rows["subject"] == "layer"].groupby(["network", "batch"])["median_ns"].agg(["sum", "size"])
    if layers.empty:
        sums = rows[rows["subject"] == "layerwise"].groupby(["network", "batch"])["median_ns"].median()
        layers = pd.DataFrame({"sum": sums, "size": 0})
    table = layers.join(forward.rename("forward")).dropna().astype(float)
    if table.empty:
        return 1.0, 0.0, 0.02
    ratios = (table["forward"] / table["sum"]).to_numpy()
    unit = LAYER_NS[processor]
    known = np.column_stack([np.ones(len(table)), unit * table["size"] / table["sum"]])
    noise = _scatter(known, ratios, table.index.get_level_values("network").nunique())
    priors = np.diag([noise / 0.1, noise])
    solution = np.linalg.lstsq(np.vstack([known, priors]), np.append(ratios, [noise / 0.1, 0.0]), rcond=None)[0]
    spread = float(np.sqrt(np.mean((ratios - known @ solution) ** 2)))
    return float(solution[0]), float(solution[1]) * unit, max(spread, 0.02 if len(ratios) < 3 else LEAST_FORWARD_SD)


def _scatter(known: Array, goal: Array, networks: int) -> float:
    """Standard deviation of `goal` around a line through it, at most PASS_SD, which it also is of few networks."""
    freedom = len(goal) - known.shape[1]
    if networks < 3 or freedom < 2:
        return PASS_SD
    residuals = goal - known @ np.linalg.lstsq(known, goal, rcond=None)[0]
    return float(np.clip(np.sqrt((residuals**2).sum() / freedom), LEAST_FORWARD_SD, PASS_SD))
