"""The difference of two networks' times on one stack, in which the errors that both estimates share cancel."""

from collections import defaultdict
from dataclasses import dataclass
from math import log
from statistics import NormalDist

import numpy as np

from sitecnn.estimation.aggregate_variance import Groups, aggregate
from sitecnn.estimation.estimate import Milliseconds, difference
from sitecnn.estimation.work import Work, work_of
from sitecnn.models.board_model import StackModel, once_ns
from sitecnn.models.feature import Array
from sitecnn.network.graph import Network

Change = Milliseconds
"""A difference with its interval: after less before."""


@dataclass(frozen=True)
class LayerChange:
    """What a layer takes more than the layer of its name did; a new one all of its time, one that is gone less it."""

    name: str
    type: str
    ms: Change


def change(before: Network, after: Network, model: StackModel, level: float) -> Change:
    """The difference of two forward passes on one stack, in ms."""
    return _whole(before, after, model, level, (-1.0, 1.0))


def gain_per_image(before: Network, after: Network, model: StackModel, level: float) -> Milliseconds:
    """What an image takes less in a pass of `after` than in one of `before`, in ms."""
    return _whole(before, after, model, level, (1 / before.batch, -1 / after.batch))


def _whole(
    before: Network, after: Network, model: StackModel, level: float, weights: tuple[float, float]
) -> Milliseconds:
    """The weighted sum of two passes. What a pass takes once enters without an error."""
    group = [0] * (len(before.layers) + len(after.layers))
    layers = _differences(before, after, model, level, group, weights)[0]
    if not model.pass_ns:
        return layers
    once_ms = sum(
        weight * once_ns(model, work_of(network, model).sizes) / 1e6
        for weight, network in zip(weights, (before, after), strict=True)
    )
    return Milliseconds(layers.estimate + once_ms, layers.low + once_ms, layers.high + once_ms)


def layer_changes(before: Network, after: Network, model: StackModel, level: float) -> list[LayerChange]:
    """The difference of every layer, those of `after` first; times are those within a whole pass."""
    types = {layer.name: layer.type for layer in (*before.layers, *after.layers)}
    names = list(dict.fromkeys(layer.name for layer in (*after.layers, *before.layers)))
    place = {name: index for index, name in enumerate(names)}
    group = [place[layer.name] for layer in (*before.layers, *after.layers)]
    changes = _differences(before, after, model, level, group)
    return [LayerChange(name, types[name], ms) for name, ms in zip(names, changes, strict=True)]


def type_changes(before: Network, after: Network, model: StackModel, level: float) -> dict[str, Change]:
    """The difference of every type of layer."""
    types = [layer.type for layer in (*before.layers, *after.layers)]
    place = {name: index for index, name in enumerate(dict.fromkeys(types))}
    changes = _differences(before, after, model, level, [place[name] for name in types])
    return dict(zip(place, changes, strict=True))


def rate_change(
    times: tuple[Milliseconds, Milliseconds], images: tuple[int, int], whole: Change, level: float
) -> Change:
    """The difference in images per second of passes of `images` that take `times`; `whole` is the times' difference.

    By the delta method: the times' covariance is what their variances and that of their difference leave.
    """
    (before, after), factor = times, NormalDist().inv_cdf(0.5 + level / 2)
    if not before.estimate or not after.estimate:
        return Change(0.0, 0.0, 0.0)
    deviations = [_deviation(ms, factor) for ms in times]
    sd = (whole.high - whole.low) / 2 / factor
    covariance = (deviations[0] ** 2 + deviations[1] ** 2 - sd**2) / 2
    slopes = 1e3 * images[0] / before.estimate**2, -1e3 * images[1] / after.estimate**2
    variance = sum((slope * one) ** 2 for slope, one in zip(slopes, deviations, strict=True))
    variance += 2 * slopes[0] * slopes[1] * covariance
    rates = [1e3 * count / ms.estimate for count, ms in zip(images, times, strict=True)]
    width = factor * max(variance, 0.0) ** 0.5
    gain = rates[1] - rates[0]
    return Change(gain, gain - width, gain + width)


def _deviation(ms: Milliseconds, factor: float) -> float:
    """The standard deviation of a time with a log-normal interval."""
    return ms.estimate * log(ms.high / ms.low) / 2 / factor if ms.low > 0 else 0.0


def _differences(
    before: Network,
    after: Network,
    model: StackModel,
    level: float,
    group: list[int],
    weights: tuple[float, float] = (-1.0, 1.0),
) -> list[Change]:
    """Weighted sums over groups of layers; `group` has a number for each layer of `before`, then of `after`."""
    works = [work_of(network, model) for network in (before, after)]
    kinds = np.concatenate([work.kinds for work in works])
    sizes = {name: np.concatenate([work.sizes[name] for work in works]) for name in works[0].sizes}
    weight = np.repeat(weights, [len(work.kinds) for work in works])
    of_layer = np.array(group)
    of_kernel = np.concatenate(
        [of_layer[: len(before.layers)][works[0].layer], of_layer[len(before.layers) :][works[1].layer]]
    )
    pairs = _pairs([before, after], works)
    # An unchanged kernel is one kernel, not two: what is unknown of its time cancels as far as the weights do.
    first, second = _unchanged(pairs, np.stack([*sizes.values()]))
    weight[second] += weight[first]
    weight[first] = 0.0
    ns, sd_ns = aggregate(
        model, kinds, sizes, of_kernel, max(group, default=-1) + 1, weight, np.array(pairs, dtype=np.int_)
    )
    return [difference(float(one), float(sd), level) for one, sd in zip(ns, sd_ns, strict=True)]


def _pairs(networks: list[Network], works: list[Work]) -> list[int]:
    """A number for each kernel, equal for like kernels of layers of one name: what is missed is missed of both."""
    numbers: dict[tuple[str, str, int], int] = {}
    pairs = []
    for network, work in zip(networks, works, strict=True):
        seen: dict[tuple[str, str], int] = defaultdict(int)
        for index, kind in zip(work.layer.tolist(), work.kinds.tolist(), strict=True):
            name = network.layers[index].name
            seen[name, kind] += 1
            pairs.append(numbers.setdefault((name, kind, seen[name, kind]), len(numbers)))
    return pairs


def _unchanged(pairs: list[int], sizes: Array) -> tuple[Groups, Groups]:
    """The kernels of both networks that are the same: their places before, and after."""
    first: dict[int, int] = {}
    places = [(first.setdefault(pair, index), index) for index, pair in enumerate(pairs)]
    before, after = np.array([place for place in places if place[0] != place[1]], dtype=np.int_).reshape(-1, 2).T
    here, there = sizes[:, before], sizes[:, after]
    same = ((here == there) | (np.isnan(here) & np.isnan(there))).all(axis=0)
    return before[same], after[same]
