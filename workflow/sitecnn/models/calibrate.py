"""Intervals that hold: every network is left out in turn, and what is unexplained of the errors seen is added."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from sitecnn import __version__
from sitecnn.errors import ModelError
from sitecnn.models.board_model import WIDEST_SD, BoardModel, PassEstimate, StackModel, estimate_pass
from sitecnn.models.fit import CHOICES, Choices, fit_stack
from sitecnn.models.measurements import measured_passes, sizes_of, without_networks
from sitecnn.models.priors import Priors
from sitecnn.models.rounds import fitted_rows, rounds_sd, usual_ratio
from sitecnn.models.transfer import transfer
from sitecnn.network import Network

LEVEL = 0.9
NORMAL = NormalDist().inv_cdf(0.5 + LEVEL / 2)
"""The level at which intervals are calibrated; other levels scale with the normal distribution."""

PRIOR_NETWORKS = 2
"""What other boards tell of a new one's networks counts as so many of its own."""

PARTS = ("layer", "network")
"""What errors are calibrated of."""

MOST_FOLDS = 16
"""Of more networks, such as probes, several are left out at once."""


@dataclass(frozen=True)
class HeldOut:
    """One network (at one batch) estimated by a model that never saw it: its layer rows and what was measured."""

    network: str
    batch: int
    layers: pd.DataFrame
    measured_forward_ns: float
    estimate: PassEstimate


def fit_board(
    rows: pd.DataFrame,
    board: str,
    processor: str,
    provenance: dict[str, Any],
    definition: Callable[[str, int], Network] | None = None,
    choices: Choices = CHOICES,
) -> BoardModel:
    """Fit and calibrate every stack found in `rows`; `provenance` is kept in the model.

    A stack of which only totals are known is the board's first one scaled to them; `definition` (name, batch) gives
    their networks. ModelError if there is nothing but totals.
    """
    parts = {str(stack): part for stack, part in rows.groupby("stack", sort=True)}
    stacks = tuple(calibrated(part, stack, choices) for stack, part in parts.items() if has_kernels_or_layers(part))
    if not stacks:
        raise ModelError(
            f"board {board!r}, processor {processor!r}: of no stack kernels or layers were measured, only totals;"
            " scale the model of a similar board: --like BOARD"
        )
    coarse = (
        transfer(stacks[0], part, stack, definition) for stack, part in parts.items() if not has_kernels_or_layers(part)
    )
    return BoardModel(board, processor, with_base((*stacks, *coarse)), {"sitecnn": __version__, **provenance})


def has_kernels_or_layers(rows: pd.DataFrame) -> bool:
    """Whether there are kernels or layers to fit, not only totals."""
    return bool(rows["subject"].isin(["kernel", "layer"]).any())


def with_base(stacks: tuple[StackModel, ...]) -> tuple[StackModel, ...]:
    """Stacks whose memory was not measured take another's base: it is the same system and mostly the same engine."""
    known = [stack.base_bytes for stack in stacks if stack.base_bytes]
    return tuple(replace(stack, base_bytes=stack.base_bytes or int(np.median(known or [0]))) for stack in stacks)


def calibrated(rows: pd.DataFrame, stack: str, choices: Choices = CHOICES) -> StackModel:
    """A stack's model with what leaving out one network after the other shows beyond its standard errors.

    Networks are exchangeable, their layers are not: every network has one vote on totals, and its layers
    share one on layers by their time (conformal prediction with groups).
    """
    usual = usual_ratio(rows)
    rows = fitted_rows(rows)
    model = replace(fit_stack(rows, stack, choices), usual_ratio=usual)
    cases = list(held_out_cases(rows, stack, choices))
    if not cases:
        return replace(model, unexplained_sd={part: choices.priors.number(f"lone_{part}_sd").ns for part in PARTS})
    shared = rounds_sd(rows)
    unexplained = {"layer": _of_layers(cases), "network": _of_networks(cases, choices.priors)}
    return replace(model, unexplained_sd={part: float(np.hypot(sd, shared)) for part, sd in unexplained.items()})


def held_out_cases(rows: pd.DataFrame, stack: str, choices: Choices = CHOICES) -> Iterator[HeldOut]:
    """Each network of a stack, at each batch, estimated from others, intervals not calibrated; none of one."""
    networks = sorted(rows.loc[rows["subject"] == "layer", "network"].unique())
    for fold in filter(None, (networks[first::MOST_FOLDS] for first in range(MOST_FOLDS))) if len(networks) > 1 else ():
        model = fit_stack(without_networks(rows, fold), stack, choices)
        for layers, forward_ns in measured_passes(rows[rows["network"].isin(fold)]):
            estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
            yield HeldOut(str(layers["network"].iloc[0]), int(layers["batch"].iloc[0]), layers, forward_ns, estimate)


def _of_networks(cases: list[HeldOut], priors: Priors) -> float:
    """The relative error to be added to that of networks so that a further one is held with probability LEVEL.

    With n networks that is the (n + 1)·LEVEL-th of what each would have needed (Vovk et al. 2005), between two of them
    in proportion: the next whole one would hold up to 95 % of networks. Of fewer than that takes, the tail is unknown:
    then errors are taken for normal with an unknown variance, whose posterior, a scaled inverse χ² with what other
    boards tell as its prior, makes Student's t of their interval.
    """
    errors: dict[str, list[tuple[float, float]]] = {}
    for case in cases:
        estimate = case.estimate
        error = float(np.log(case.measured_forward_ns / estimate.forward_ns))
        errors.setdefault(case.network, []).append(
            (error, min(estimate.forward_sd_ns / estimate.forward_ns, WIDEST_SD))
        )
    needed = [max(_needed(*pair) for pair in pairs) for pairs in errors.values()]
    if (len(needed) + 1) * LEVEL <= len(needed):
        return float(np.quantile(needed, LEVEL, method="weibull"))
    excess = [
        _fewer(len(errors)) * np.mean([max(error**2 - sd**2, 0) for error, sd in pairs]) for pairs in errors.values()
    ]
    freedom = PRIOR_NETWORKS + len(excess)
    variance = (PRIOR_NETWORKS * priors.number("network_sd").ns ** 2 + sum(excess)) / freedom
    return float(np.sqrt(variance) * student.ppf(0.5 + LEVEL / 2, freedom) / NORMAL)


def _fewer(networks: int) -> float:
    """What a variance that was found by leaving out one of so many networks is with all of them: it falls as 1/n."""
    return (networks - 1) / networks


def _needed(error: float, sd: float) -> float:
    """What has to be added to a standard error for an interval to hold an error, all relative."""
    return float(np.sqrt(max((error / NORMAL) ** 2 - sd**2, 0.0)))


def _layer_votes(case: HeldOut) -> Iterator[tuple[float, float]]:
    """(what a layer's interval would have needed, its share of the network's time) for all layers of a network."""
    measured, estimated = case.layers["median_ns"].to_numpy(dtype=float), case.estimate.layers
    used = (estimated.ns > 0) & (measured > 0)
    errors = np.log(measured[used] / estimated.ns[used])
    sds = np.minimum(estimated.sd_ns[used] / estimated.ns[used], WIDEST_SD)
    for error, sd, share in zip(errors, sds, measured[used] / measured[used].sum(), strict=True):
        yield _needed(float(error), float(sd)), float(share)


def _of_layers(cases: list[HeldOut]) -> float:
    """The relative error to be added to that of layers so that those of LEVEL of the time are held."""
    needed, weights = np.array(sorted(pair for case in cases for pair in _layer_votes(case))).T
    return float(needed[np.searchsorted(weights.cumsum(), LEVEL * weights.sum())])
