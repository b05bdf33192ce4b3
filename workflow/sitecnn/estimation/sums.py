"""Sums and differences of kernels' times, with standard errors that know what their estimates share."""

import numpy as np

from sitecnn.models.board_model import UNSEEN, StackModel, features_for
from sitecnn.models.features import FREE_KINDS, Array, Sizes, matrix

Kinds = np.ndarray[tuple[int], np.dtype[np.str_]]
Groups = np.ndarray[tuple[int], np.dtype[np.int_]]


def sums(
    model: StackModel,
    kinds: Kinds,
    sizes: Sizes,
    group: Groups,
    groups: int,
    weight: Array | None = None,
    layer: Groups | None = None,
) -> tuple[Array, Array]:
    """(ns, sd_ns) of `groups` weighted sums of kernels: kernel i adds weight[i] times its time to sum group[i].

    A weight of -1 makes a difference of two estimates of one model, whose common errors cancel: the coefficients'
    error is that of the summed features, wᵀ·covariance·w. The scatter of single kernels is independent, but for
    kernels of a group with the same number in `layer` (each its own by default): what a model misses of a layer it
    is taken to miss of that layer at another size, too. Such kernels must be of one kind.

    Times are those within a whole forward pass (times `forward_ratio`), standard errors calibrated for networks.
    """
    weight = np.ones(len(kinds)) if weight is None else weight
    layer = np.arange(len(kinds)) if layer is None else layer
    ns, variance = np.zeros(groups), np.zeros(groups)
    for kind in dict.fromkeys(kinds.tolist()):
        rows = np.flatnonzero(kinds == kind)
        if kind in FREE_KINDS and kind not in model.kinds:
            continue
        fitted = model.kinds.get(kind, model.kinds[UNSEEN])
        work = matrix(features_for(kind, fitted), {name: column[rows] for name, column in sizes.items()})
        weighted = work * weight[rows, None]
        single = weighted @ np.array(fitted.coefficients_ns)
        whole = np.zeros((groups, work.shape[1]))
        np.add.at(whole, group[rows], weighted)
        ns += np.bincount(group[rows], single, groups)
        variance += np.einsum("ij,jk,ik->i", whole, np.array(fitted.covariance), whole)
        variance += _scatter(fitted.relative_sd * single, group[rows], groups, layer[rows])
    total_variance = model.forward_ratio**2 * variance + (model.forward_ratio_sd * ns) ** 2
    return model.forward_ratio * ns, model.calibration["network"] * np.sqrt(total_variance)


def _scatter(sd_ns: Array, group: Groups, groups: int, layer: Groups) -> Array:
    """Variance of each group when equal layers of a group scatter together and all others independently."""
    keys, number = np.unique(group * (layer.max() + 1) + layer, return_inverse=True)
    together = np.bincount(number, sd_ns, len(keys))
    variance = np.bincount(keys // (layer.max() + 1), together**2, groups)
    return variance.astype(np.float64)
