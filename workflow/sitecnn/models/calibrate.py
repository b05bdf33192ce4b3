"""Intervals that hold: every network is left out in turn, and standard errors are scaled to the errors seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from sitecnn import __version__
from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import BoardModel, PassEstimate, StackModel, estimate_pass
from sitecnn.models.design import transfer
from sitecnn.models.features import Array
from sitecnn.models.fit import fit_stack, sizes_of, without_networks
from sitecnn.network import Network

LEVEL = 0.9
"""The level at which intervals are calibrated; other levels scale with the normal distribution."""

UNKNOWN_CALIBRATION = 8.0
"""Scale of the standard errors where no network can be left out: what stacks with two or three networks needed."""

LARGEST_CALIBRATION = 20.0


@dataclass(frozen=True)
class HeldOut:
    """One network (at one batch) estimated by a model that never saw it: its layer rows and what was measured."""

    network: str
    batch: int
    layers: pd.DataFrame
    measured_forward_ns: float
    measured_layerwise_ns: float
    estimate: PassEstimate


def fit_board(
    rows: pd.DataFrame,
    board: str,
    processor: str,
    provenance: dict[str, Any],
    definition: Callable[[str, int], Network] | None = None,
) -> BoardModel:
    """Fit and calibrate every stack found in `rows`; `provenance` is kept in the model.

    A stack of which only totals are known is the board's first one scaled to them; `definition` (name, batch) gives
    their networks. SiteCNNError if there is nothing but totals.
    """
    parts = {str(stack): part for stack, part in rows.groupby("stack", sort=True)}
    stacks = tuple(calibrated(part, stack) for stack, part in parts.items() if has_pieces(part))
    if not stacks:
        raise SiteCNNError(
            f"board {board!r}, processor {processor!r}: of no stack kernels or layers were measured, only totals;"
            " scale the model of a similar board: --like BOARD"
        )
    coarse = (transfer(stacks[0], part, stack, definition) for stack, part in parts.items() if not has_pieces(part))
    return BoardModel(board, processor, with_base((*stacks, *coarse)), {"sitecnn": __version__, **provenance})


def has_pieces(rows: pd.DataFrame) -> bool:
    """Whether there are kernels or layers to fit, not only totals."""
    return bool(rows["subject"].isin(["kernel", "layer"]).any())


def with_base(stacks: tuple[StackModel, ...]) -> tuple[StackModel, ...]:
    """Stacks whose memory was not measured take another's base: it is the same system and mostly the same engine."""
    known = [stack.base_bytes for stack in stacks if stack.base_bytes]
    return tuple(replace(stack, base_bytes=stack.base_bytes or int(np.median(known or [0]))) for stack in stacks)


def calibrated(rows: pd.DataFrame, stack: str) -> StackModel:
    """A stack's model with its standard errors scaled by leave-one-network-out (split conformal, grouped).

    Networks are exchangeable, their layers are not: the scale of totals is a quantile over networks, that of
    layers over the layers of networks that were left out.
    """
    model = fit_stack(rows, stack)
    cases = list(held_out_cases(rows, stack, calibrate=False))
    if not cases:
        return replace(model, calibration=dict.fromkeys(("layer", "network"), UNKNOWN_CALIBRATION))
    network_scores = _worst_by_network(cases)
    layer_scores = np.concatenate([_layer_scores(case) for case in cases])
    scales = {"layer": _conformal(layer_scores), "network": _conformal(network_scores)}
    return replace(model, calibration={name: float(np.clip(s, 1, LARGEST_CALIBRATION)) for name, s in scales.items()})


def held_out_cases(rows: pd.DataFrame, stack: str, *, calibrate: bool) -> Iterator[HeldOut]:
    """Each network of a stack, at each batch, estimated from all the others; none if there is but one network."""
    networks = rows.loc[rows["subject"] == "layer", "network"].unique()
    for network in sorted(networks) if len(networks) > 1 else ():
        others = without_networks(rows, [network])
        model = (calibrated if calibrate else fit_stack)(others, stack)
        for batch, passes in rows[rows["network"] == network].groupby("batch"):
            yield _case(model, str(network), int(batch), passes)


def _case(model: StackModel, network: str, batch: int, passes: pd.DataFrame) -> HeldOut:
    layers = passes[passes["subject"] == "layer"].sort_values("layer_index")
    layerwise = float(layers["median_ns"].sum())
    whole = passes.loc[passes["subject"] == "forward", "median_ns"]
    estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    return HeldOut(network, batch, layers, float(whole.median()) if len(whole) else layerwise, layerwise, estimate)


def _layer_scores(case: HeldOut) -> Array:
    """|log error| in standard errors of each layer."""
    measured, found = case.layers["median_ns"].to_numpy(dtype=float), case.estimate.layers
    used = (found.ns > 0) & (measured > 0)
    return np.abs(np.log(measured[used] / found.ns[used])) * found.ns[used] / found.sd_ns[used]


def _worst_by_network(cases: list[HeldOut]) -> Array:
    scores: dict[str, float] = {}
    for case in cases:
        found = case.estimate
        score = abs(np.log(case.measured_forward_ns / found.forward_ns)) * found.forward_ns / found.forward_sd_ns
        scores[case.network] = max(scores.get(case.network, 0.0), float(score))
    return np.array(list(scores.values()))


def _conformal(scores: Array) -> float:
    """The score that a further one stays below with probability LEVEL, in normal standard deviations.

    Rank ceil((n + 1)·LEVEL) of n (Vovk et al. 2005). Fewer scores than that needs say little of the tail: then it is
    the largest, widened as Student's t with n degrees of freedom is wider than the normal distribution.
    """
    ordered, normal = np.sort(scores), NormalDist().inv_cdf(0.5 + LEVEL / 2)
    rank = ceil((len(ordered) + 1) * LEVEL)
    if rank > len(ordered):
        return float(ordered[-1] / normal * student.ppf(0.5 + LEVEL / 2, len(ordered)) / normal)
    return float(ordered[rank - 1] / normal)
