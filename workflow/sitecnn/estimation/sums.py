"""Sums and differences of kernels' times, with standard errors that know what their estimates share."""

import numpy as np

from sitecnn.models.board_model import WIDEST_SD, StackModel, estimate_kind, within_pass_ns
from sitecnn.models.features import Array, Sizes

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

    Times are those within a whole forward pass, standard errors those of networks.
    """
    weight = np.ones(len(kinds)) if weight is None else weight
    layer = np.arange(len(kinds)) if layer is None else layer
    single, variance = np.zeros(len(kinds)), np.zeros(groups)
    for kind in dict.fromkeys(kinds.tolist()):
        rows = np.flatnonzero(kinds == kind)
        found = estimate_kind(model, kind, {name: column[rows] for name, column in sizes.items()})
        if found is None:
            continue
        single[rows] = found.ns
        whole = np.zeros((groups, found.work.shape[1]))
        np.add.at(whole, group[rows], found.work * weight[rows, None])
        variance += found.shared_variance(whole)
        variance += _scatter(found.scatter_sd_ns * weight[rows], group[rows], groups, layer[rows])
        variance += np.bincount(group[rows], found.beyond_sd_ns * weight[rows], groups) ** 2
    layerwise = np.bincount(group, single * weight, groups)
    gross = np.bincount(group, single * np.abs(weight), groups)
    total_variance = model.forward_ratio**2 * variance + (model.forward_ratio_sd * layerwise) ** 2
    total_variance = np.minimum(total_variance, (WIDEST_SD * gross) ** 2)
    total_variance += (model.unexplained_sd["network"] * layerwise) ** 2
    ns = np.bincount(group, within_pass_ns(model, single) * weight, groups).astype(np.float64)
    return ns, np.sqrt(total_variance)


def _scatter(sd_ns: Array, group: Groups, groups: int, layer: Groups) -> Array:
    """Variance of each group when equal layers of a group scatter together and all others independently."""
    keys, number = np.unique(group * (layer.max() + 1) + layer, return_inverse=True)
    together = np.bincount(number, sd_ns, len(keys))
    variance = np.bincount(keys // (layer.max() + 1), together**2, groups)
    return variance.astype(np.float64)
