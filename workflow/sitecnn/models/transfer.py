"""A new board's model from a similar board's and a few measurements: a factor for each kind of kernel."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.errors import ModelError, NetworkError
from sitecnn.models.board_model import StackModel, estimate_kernels
from sitecnn.models.feature import Array, Sizes
from sitecnn.models.measurements import processor_of, sizes_of
from sitecnn.models.memory import stack_memory
from sitecnn.models.pass_ratio import forward_pass
from sitecnn.models.priors import SHIPPED_PRIORS
from sitecnn.models.regression import scaled
from sitecnn.network import Network
from sitecnn.workload.columns import layer_columns

LONE_KIND_SD = 0.5
"""How far kinds lie from each other where one alone was measured: the standard deviation of the logarithm."""

SUM_WEIGHT = 200
"""Measurements that a sum over all layers of a type counts as: a network's total has to come out right."""

OTHERS_WEIGHT = 2.0
"""Measurements of a kind that weigh as much as what the other kinds say of a board's speed."""


def transfer(
    model: StackModel, rows: pd.DataFrame, stack: str, definition: Callable[[str, int], Network] | None = None
) -> StackModel:
    """A similar board's model with each kind's times scaled to a few measurements of a stack, `rows`.

    A kind's scale is the median ratio of measured to estimated, drawn towards that of all kinds as if that were
    OTHERS_WEIGHT measurements; kinds that were not measured take it whole. How much the kinds differ from each other
    is the scale's error. Where only the sums of a network's layers by type are known, `definition` (name, batch) gives
    the network. ModelError if nothing was measured that the model knows.
    """
    own = _log_ratios(model, rows, definition)
    if not own:
        raise ModelError(f"stack {stack!r}: no kernel or layer was measured whose kind the other board's model has")
    medians = np.array([np.median(values) for values in own.values()])
    level = float(np.median(medians))
    spread = float(np.sqrt(((medians - level) ** 2).mean())) if len(own) > 1 else LONE_KIND_SD
    own_scale = {}
    for kind, fitted in model.kinds.items():
        values = own.get(kind, np.array([]))
        weight = values.size / (values.size + OTHERS_WEIGHT)
        drawn = level + weight * (float(np.median(values)) - level) if values.size else level
        own_scale[kind] = scaled(fitted, float(np.exp(drawn)), float(spread / np.sqrt(1 + values.size)))
    faster, further_sd = float(np.exp(level)), SHIPPED_PRIORS.number("scaled_network_sd").ns
    base_bytes, factors = stack_memory(rows, processor_of(rows), stack)
    return replace(
        model,
        stack=stack,
        like=model.stack,
        threads=int(rows["threads"].iloc[0]),
        kinds=own_scale,
        networks=tuple(sorted(rows["network"].dropna().unique())),
        least_ns={name: faster * ns for name, ns in model.least_ns.items()},
        base_bytes=base_bytes,
        memory_factors=factors,
        usual_ratio=1.0,
        unexplained_sd={part: float(np.hypot(sd, further_sd)) for part, sd in model.unexplained_sd.items()},
        **_passes(model, rows, faster),
    )


def _passes(model: StackModel, rows: pd.DataFrame, faster: float) -> dict[str, Any]:
    """How whole passes relate to layers: as measured, else as on the similar board."""
    if not {"forward", "layerwise"} <= set(rows["subject"]):
        per = {name: faster * ns for name, ns in model.pass_ns.items()}
        return {"layer_overhead_ns": faster * model.layer_overhead_ns, "pass_ns": per}
    ratio, overhead_ns, spread = forward_pass(rows, processor_of(rows))
    return {"forward_ratio": ratio, "layer_overhead_ns": overhead_ns, "forward_ratio_sd": spread}


def _log_ratios(
    model: StackModel, rows: pd.DataFrame, definition: Callable[[str, int], Network] | None
) -> dict[str, Array]:
    """By kind: the logarithms of measured ÷ estimated, of single kernels and layers, and of sums by type."""
    timed = rows[rows["subject"].isin(["kernel", "layer"]) & ~rows["mode"].isin(["warm", "overhead"])]
    timed = timed[timed["median_ns"] > 0]
    log_ratios: dict[str, list[float]] = {}
    for kind, part in timed.groupby("kind"):
        estimate = estimate_kernels(model, np.full(len(part), kind), sizes_of(part))
        used = (estimate.ns > 0) & estimate.modelled
        if used.any():
            log_ratios[str(kind)] = np.log(part["median_ns"].to_numpy(dtype=float)[used] / estimate.ns[used]).tolist()
    group: Any
    for group, part in rows[rows["subject"] == "type"].groupby(["network", "batch"]):
        name, batch = group
        if definition is None:
            raise NetworkError(f"{name!r}: of its layers only sums by type are known; --networks DIR tells its layers")
        for layer_type, measured_ns in zip(part["layer_type"], part["median_ns"], strict=True):
            kinds, sizes = _layers_of(definition(str(name), int(batch)), str(layer_type))
            estimate = estimate_kernels(model, kinds, sizes)
            if estimate.modelled.all() and estimate.ns.sum() > 0:
                ratio = float(np.log(measured_ns / estimate.ns.sum()))
                for kind in np.unique(kinds):
                    log_ratios.setdefault(str(kind), []).extend([ratio] * SUM_WEIGHT)
    return {kind: np.array(values) for kind, values in log_ratios.items()}


def _layers_of(network: Network, layer_type: str) -> tuple[np.ndarray[Any, Any], Sizes]:
    """(kinds, sizes) of a network's layers of a type."""
    kinds, sizes = layer_columns(network)
    of_type = np.array([layer.type == layer_type for layer in network.layers], dtype=np.bool_)
    return kinds[of_type], {name: column[of_type] for name, column in sizes.items()}
