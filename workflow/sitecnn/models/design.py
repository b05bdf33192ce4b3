"""Which probes to measure on a new board: those that tell most of given networks per second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sitecnn.models.board_model import StackModel, estimate_kernels
from sitecnn.models.feature import Array, Sizes

Kinds = np.ndarray[tuple[int], np.dtype[np.str_]]

KIND_SD, OWN_SD, NOISE_SD = 0.5, 0.5, 0.05
"""What is unknown of a kernel's log time before any measurement: the level of its kind, and its own part, which it
shares with kernels of like sizes; and a measurement's noise."""

LIKENESS = 0.5
"""How far sizes may lie apart (root mean square of their logarithms) until kernels tell little of each other."""

OVERHEAD_S, PASSES = 0.02, 6.0
"""Seconds that a probe costs the agent besides its passes in a round, and how many passes it makes."""


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
