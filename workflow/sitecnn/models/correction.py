"""What a model of countable work misses of a kind of kernel, where many were measured; it fades where none were.

The logarithm of measured ÷ modelled is taken for a Gaussian process over the logarithms of the sizes (Rasmussen &
Williams 2006, chapter 2), with the exponential covariance, as times change abruptly with sizes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sitecnn.models.feature import Array, Sizes

SIZES = (
    *("channels", "height", "out_channels", "out_height", "kernel_h", "stride_h", "group", "inputs"),
    *("m", "n", "k", "accumulate", "activation"),
)
"""Sizes that tell kernels of a kind apart."""

LENGTH, AMPLITUDE, NOISE = 4.0, 0.3, 0.03
"""Octaves over which errors are alike; their scatter; that of one measurement. Half and one and a half times these made
no difference on four phones."""

FEWEST_ROWS, FEWEST_NETWORKS = 8, 20
"""Of fewer measurements of a kind, or networks, the model of work stands alone."""


@dataclass(frozen=True)
class Correction:
    """The process given `points` (sizes as in SIZES, a row each): Σ weights · covariance is a log factor."""

    points: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    length: float = LENGTH
    amplitude: float = AMPLITUDE

    @cached_property
    def arrays(self) -> tuple[Array, Array]:
        """Coordinates of the points (points × coordinates) and their weights."""
        points = np.array(self.points, dtype=np.float64)
        return _coordinates(dict(zip(SIZES, points.T, strict=True))), np.array(self.weights)

    def log_factor(self, sizes: Sizes) -> tuple[Array, Array]:
        """(log of measured ÷ modelled, its standard deviation) of each kernel.

        The deviation is that given the nearest point alone, which is at least that given all.
        """
        points, weights = self.arrays
        # Half of a network's kernels are of the same sizes.
        unlike, number = np.unique(_coordinates(sizes), axis=0, return_inverse=True)
        covariance = _covariance(unlike, points, self.length)
        log_factors = self.amplitude**2 * covariance @ weights
        sds = self.amplitude * np.sqrt(np.maximum(1 - covariance.max(axis=1) ** 2, 0))
        return log_factors[number.ravel()], sds[number.ravel()]


def fit_correction(sizes: Sizes, log_ratio: Array) -> Correction:
    """The process given measured ÷ modelled as logarithms; equal kernels count as one with their median."""
    table = np.column_stack([np.nan_to_num(sizes[name]) for name in SIZES])
    points, number = np.unique(table, axis=0, return_inverse=True)
    counts = np.bincount(number.ravel())
    goal = np.array([np.median(part) for part in _parts(log_ratio, number.ravel())])
    where = _coordinates(dict(zip(SIZES, points.T, strict=True)))
    covariance = AMPLITUDE**2 * _covariance(where, where, LENGTH) + np.diag(NOISE**2 / counts)
    weights = np.linalg.solve(covariance, goal)
    return Correction(tuple(map(tuple, points.tolist())), tuple(float(f"{weight:.5g}") for weight in weights))


def _parts(values: Array, number: NDArray[np.int_]) -> list[Array]:
    order = np.argsort(number, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(number))[:-1])


def _coordinates(sizes: Sizes) -> Array:
    """Kernels × coordinates: octaves of sizes and of work; steps where slices of four channels leave work over."""
    size = {name: np.nan_to_num(sizes[name]) for name in SIZES}
    octaves = {name: np.log2(np.maximum(column, 1)) for name, column in size.items()}
    slices = np.ceil(size["out_channels"] / 4)
    work = 2 * octaves["out_height"] + np.log2(np.maximum(slices, 1))
    stride = np.maximum(size["stride_h"], 1)
    border = np.log2((size["height"] + 1) / (size["out_height"] * stride + 1))
    return np.column_stack(
        [octaves[name] for name in ("channels", "out_channels", "out_height", "group", "inputs", "m", "n", "k")]
        + [2 * octaves["kernel_h"], 2 * octaves["stride_h"], border]
        + [0.5 * work, 0.5 * (work + np.log2(np.maximum(np.ceil(size["channels"] / 4), 1)))]
        + [0.5 * (slices % 2), 0.3 * (slices % 4 == 0)]
        + [0.7 * np.minimum(size["accumulate"], 1), 0.5 * size["activation"]]
    )


def _covariance(one: Array, other: Array, length: float) -> Array:
    """exp(-distance ÷ length) of every pair (rows of one × rows of other)."""
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    covariance: Array = np.exp(-np.sqrt(np.maximum(squared, 0)) / length)
    return covariance
