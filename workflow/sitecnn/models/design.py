"""Which probes to measure on a new board, and what a similar board's model already tells of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.errors import ModelError, NetworkError
from sitecnn.models.board_model import StackModel, estimate_kernels
from sitecnn.models.features import Array, Sizes
from sitecnn.models.measurements import processor_of, sizes_of
from sitecnn.models.memory import stack_memory
from sitecnn.models.pass_ratio import forward_pass
from sitecnn.models.regression import scaled
from sitecnn.network import Network
from sitecnn.workload.kernels import SIZE_NAMES, layer_kernel

Kinds = np.ndarray[tuple[int], np.dtype[np.str_]]

KIND_SD, OWN_SD, NOISE_SD = 0.5, 0.5, 0.05
"""What is unknown of a kernel's log time before any measurement: the level of its kind, and its own part, which it
shares with kernels of like sizes; and a measurement's noise."""

LIKENESS = 0.5
"""How far sizes may lie apart (root mean square of their logarithms) until kernels tell little of each other."""

OVERHEAD_S, PASSES = 0.02, 6.0
"""Seconds that a probe costs the agent besides its passes in a round, and how many passes it makes."""

SCALED_SD = 0.15
"""Relative error of networks by a scaled model beyond that of the board it was scaled from (docs/evaluation.md)."""

SUM_WEIGHT = 200
"""Measurements that a sum over all layers of a type counts as: a network's total has to come out right."""

OTHERS_WEIGHT = 2.0
"""Measurements of a kind that weigh as much as what the other kinds say of a board's speed."""


@dataclass(frozen=True)
class Work:
    """Kernels by kind and sizes, with the time expected of each in ns."""

    kinds: Kinds
    sizes: Sizes
    ns: Array

    def part(self, rows: "np.ndarray[Any, Any]") -> "Work":
        """Those at `rows`."""
        return Work(self.kinds[rows], {name: column[rows] for name, column in self.sizes.items()}, self.ns[rows])


def expected(model: StackModel, kinds: Kinds, sizes: Sizes) -> Work:
    """Kernels with the times that the model of a similar board expects."""
    return Work(kinds, sizes, np.maximum(estimate_kernels(model, kinds, sizes).ns, 1.0))


def together(networks: Sequence[Work]) -> Work:
    """The layers of several networks, each network's time as one: a large one does not count for more."""
    names = networks[0].sizes
    return Work(
        np.concatenate([one.kinds for one in networks]),
        {name: np.concatenate([one.sizes[name] for one in networks]) for name in names},
        np.concatenate([one.ns / one.ns.sum() for one in networks]),
    )


def expected_cost_s(ns: Array, rounds: int) -> Array:
    """Seconds of board time to measure probes whose pass takes `ns`, in so many rounds."""
    return rounds * (OVERHEAD_S + PASSES * ns / 1e9)


def design_order(probes: Sequence[Work], targets: Work, cost_s: Array) -> list[int]:
    """Positions of all probes, those first that tell most of the targets' times per second of measuring.

    I-optimal and greedy: log times are a Gaussian process per kind over the logarithms of the sizes, and each step
    takes the probe whose kernels together lower most, per second, the targets' variance, each weighed by its share of
    their time (Sacks et al. 1989, section 5). No form of the board's model is supposed: designs that are optimal for
    one take only extremes, and those mislead where the form does not fit.
    """
    kinds = dict.fromkeys(kind for kind in targets.kinds.tolist())
    states = [_Kind(kind, probes, targets) for kind in kinds]
    left, order = list(range(len(probes))), []
    while left:
        gains = {probe: sum(state.gain(probe) for state in states) / cost_s[probe] for probe in left}
        best = max(gains, key=lambda probe: gains[probe])
        for state in states:
            state.take(best)
        left.remove(best)
        order.append(best)
    return order


class _Kind:
    """The kernels of one kind in probes and targets, with the covariance of what was not measured yet."""

    def __init__(self, kind: str, probes: Sequence[Work], targets: Work) -> None:
        parts = [probe.part(np.flatnonzero(probe.kinds == kind)) for probe in probes]
        own = targets.part(np.flatnonzero(targets.kinds == kind))
        ends = np.cumsum([len(part.ns) for part in parts])
        self.rows = [np.arange(end - len(part.ns), end) for part, end in zip(parts, ends, strict=True)]
        places = np.vstack([*(_places(part.sizes) for part in parts), _places(own.sizes)])
        apart = (places**2).sum(axis=1)[:, None] + (places**2).sum(axis=1)[None] - 2 * places @ places.T
        self.covariance = KIND_SD**2 + OWN_SD**2 * np.exp(-apart / places.shape[1] / (2 * LIKENESS**2))
        self.targets = slice(int(ends[-1]), None)
        self.share = own.ns / targets.ns.sum()

    def gain(self, probe: int) -> float:
        """How much the targets' variance falls by a probe's kernels of this kind."""
        rows = self.rows[probe]
        if not len(rows):
            return 0.0
        shared = self.covariance[rows, self.targets]
        return float(((shared * np.linalg.solve(self._measured(rows), shared)).sum(axis=0) * self.share).sum())

    def take(self, probe: int) -> None:
        """Count a probe's kernels as measured."""
        rows = self.rows[probe]
        if len(rows):
            known = self.covariance[rows]
            self.covariance = self.covariance - known.T @ np.linalg.solve(self._measured(rows), known)

    def _measured(self, rows: "np.ndarray[Any, Any]") -> Array:
        return np.asarray(self.covariance[np.ix_(rows, rows)] + NOISE_SD**2 * np.eye(len(rows)))


def _places(sizes: Sizes) -> Array:
    """Where kernels lie: the logarithms of their sizes, those of a kind that has none at 0."""
    return np.log1p(np.nan_to_num(np.column_stack(list(sizes.values()))))


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
    spread = float(np.sqrt(((medians - level) ** 2).mean())) if len(own) > 1 else KIND_SD
    own_scale = {}
    for kind, fitted in model.kinds.items():
        values = own.get(kind, np.array([]))
        weight = values.size / (values.size + OTHERS_WEIGHT)
        drawn = level + weight * (float(np.median(values)) - level) if values.size else level
        own_scale[kind] = scaled(fitted, float(np.exp(drawn)), float(spread / np.sqrt(1 + values.size)))
    faster = float(np.exp(level))
    base_bytes, factors = stack_memory(rows, processor_of(rows), stack)
    return replace(
        model,
        stack=stack,
        threads=int(rows["threads"].iloc[0]),
        kinds=own_scale,
        networks=tuple(sorted(rows["network"].dropna().unique())),
        least_ns={name: faster * ns for name, ns in model.least_ns.items()},
        base_bytes=base_bytes,
        memory_factors=factors,
        usual_ratio=1.0,
        unexplained_sd={part: float(np.hypot(sd, SCALED_SD)) for part, sd in model.unexplained_sd.items()},
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
    found: dict[str, list[float]] = {}
    for kind, part in timed.groupby("kind"):
        estimate = estimate_kernels(model, np.full(len(part), kind), sizes_of(part))
        used = (estimate.ns > 0) & estimate.modelled
        if used.any():
            found[str(kind)] = np.log(part["median_ns"].to_numpy(dtype=float)[used] / estimate.ns[used]).tolist()
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
                    found.setdefault(str(kind), []).extend([ratio] * SUM_WEIGHT)
    return {kind: np.array(values) for kind, values in found.items()}


def _layers_of(network: Network, layer_type: str) -> tuple[Kinds, Sizes]:
    """(kinds, sizes) of a network's layers of a type."""
    timed_parts = [layer_kernel(layer).as_dict() for layer in network.layers if layer.type == layer_type]
    table = pd.DataFrame(timed_parts, columns=["kind", *SIZE_NAMES])
    return table["kind"].to_numpy(dtype=str), sizes_of(table)
