"""Sums and differences of kernels' times, with standard errors that know what their estimates share."""

from collections.abc import Sequence

import numpy as np

from sitecnn.models.board_model import (
    WIDEST_SD,
    KindEstimates,
    StackModel,
    doubtful_variance,
    estimate_kinds,
    once_ns,
    whole_pass_ns,
    within_pass_ns,
)
from sitecnn.models.feature import Array
from sitecnn.workload.columns import Kinds, Sizes

Groups = np.ndarray[tuple[int], np.dtype[np.int_]]


def aggregate(
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
    is taken to miss of that layer at another size, too. Such kernels must be of one kind. What is unknown of a guessed
    kind is the same in all its kernels.

    Times are those within a whole forward pass, standard errors those of networks.
    """
    return aggregate_kinds(model, estimate_kinds(model, kinds, sizes), group, groups, weight, layer)


def aggregate_passes(model: StackModel, kinds: Kinds, sizes: Sizes, group: Groups, groups: int) -> tuple[Array, Array]:
    """(ns, sd_ns) of `groups` whole forward passes, of whose kernels kernel i runs in pass group[i].

    As `aggregate`, with what each pass takes once.
    """
    by_kind = estimate_kinds(model, kinds, sizes)
    ns, sd_ns = aggregate_kinds(model, by_kind, group, groups)
    if model.pass_ns:
        single = np.zeros(len(group))
        for of_kind in by_kind:
            single[of_kind.rows] = of_kind.ns
        passes = [(single[group == one], {"parameters": sizes["parameters"][group == one]}) for one in range(groups)]
        ns = np.array([whole_pass_ns(model, *one) for one in passes])
        kernels = np.array([single.sum() for single, _ in passes])
        once = np.array([once_ns(model, of_pass) for _, of_pass in passes])
        sd_ns = np.sqrt(sd_ns**2 + model.unexplained_sd["network"] ** 2 * ((kernels + once) ** 2 - kernels**2))
    return ns, sd_ns


def aggregate_kinds(
    model: StackModel,
    by_kind: Sequence[KindEstimates],
    group: Groups,
    groups: int,
    weight: Array | None = None,
    layer: Groups | None = None,
) -> tuple[Array, Array]:
    """As `aggregate`, of kernels that were estimated already."""
    weight = np.ones(len(group)) if weight is None else weight
    single, variance = np.zeros(len(group)), np.zeros(groups)
    for of_kind in by_kind:
        rows = of_kind.rows
        single[rows] = of_kind.ns
        whole = np.zeros((groups, of_kind.work.shape[1]))
        np.add.at(whole, group[rows], of_kind.work * weight[rows, None])
        scatter_sd_ns = of_kind.scatter_sd_ns * weight[rows]
        beyond_sd_ns = np.bincount(group[rows], of_kind.beyond_sd_ns * weight[rows], groups)
        together = of_kind.shared_variance(whole) + beyond_sd_ns**2
        if of_kind.is_guess:
            together = together + np.bincount(group[rows], scatter_sd_ns, groups) ** 2
            variance += doubtful_variance(together, np.bincount(group[rows], of_kind.ns * np.abs(weight[rows]), groups))
        elif layer is None:
            variance += together + np.bincount(group[rows], scatter_sd_ns**2, groups)
        else:
            variance += together + _scatter(scatter_sd_ns, group[rows], groups, layer[rows])
    layerwise = np.bincount(group, single * weight, groups)
    gross = np.bincount(group, single * np.abs(weight), groups)
    total_variance = model.forward_ratio**2 * variance + (model.forward_ratio_sd * layerwise) ** 2
    total_variance = np.minimum(total_variance, (WIDEST_SD * gross) ** 2)
    total_variance += (model.unexplained_sd["network"] * layerwise) ** 2
    ns = np.bincount(group, within_pass_ns(model, single) * weight, groups).astype(np.float64)
    return ns, np.sqrt(total_variance)


def _scatter(sd_ns: Array, group: Groups, groups: int, layer: Groups) -> Array:
    """Variance of each group. Kernels with one number in `layer` scatter together, others independently."""
    keys, number = np.unique(group * (layer.max() + 1) + layer, return_inverse=True)
    together = np.bincount(number, sd_ns, len(keys))
    variance = np.bincount(keys // (layer.max() + 1), together**2, groups)
    return variance.astype(np.float64)
