"""Dataset → board model: statsmodels fits per kind of kernel, non-negative, on relative error, robust to outliers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sitecnn.errors import ModelError
from sitecnn.models.board_model import UNSEEN, KindModel, StackModel
from sitecnn.models.caffe_features import ELEMENTWISE
from sitecnn.models.correction import FEWEST_ROWS, NOISE, fit_correction
from sitecnn.models.feature import Feature
from sitecnn.models.features import FEATURES, features_named, features_of, macs, matrix
from sitecnn.models.measurements import layers_of_gemms, processor_of, sizes_of, with_steady_times, without_zeros
from sitecnn.models.memory import stack_memory
from sitecnn.models.pass_ratio import forward_pass
from sitecnn.models.priors import COPY_KINDS, SHIPPED_PRIORS, Prior, Priors, Speeds
from sitecnn.models.regression import fit_kind, kind_from_priors, scaled
from sitecnn.models.whole_pass import fit_whole_pass, is_of_many_networks
from sitecnn.workload.kernels import KINDS_ON_ZEROS

FASTEST, LARGE_COPY = 0.02, 1 << 18
"""The speed of the fastest one in fifty, so that one wild measurement does not count; copies of at least 1 MiB."""

FASTEST_OVER_SEEN = 2.0
"""No kernel is estimated at more than twice the fastest speed that was seen."""


@dataclass(frozen=True)
class Choices:
    """What was chosen by looking at boards, and fits take as given: what they told, and features that do not count."""

    priors: Priors = SHIPPED_PRIORS
    left_out: frozenset[str] = frozenset()

    def features_of(self, kind: str, processor: str) -> tuple[Feature, ...]:
        """The features of a kind that count."""
        return tuple(feature for feature in features_of(kind, processor) if feature.name not in self.left_out)


FEWEST_WITH = 5
"""Of work that fewer kernels have any of, and others of their kind none, a coefficient is fitted to their noise."""

CHOICES = Choices()
"""What SiteCNN ships with."""


def fit_stack(rows: pd.DataFrame, stack: str, choices: Choices = CHOICES) -> StackModel:
    """One stack's model from its measurements, its intervals not calibrated yet."""
    processor, rows, priors = processor_of(rows), with_steady_times(rows), choices.priors
    timed = rows[rows["subject"].isin(["kernel", "layer"]) & ~rows["mode"].isin(["warm", "overhead"])]
    timed = timed[timed["median_ns"] > 0]
    only_gemms = timed.empty
    timed = layers_of_gemms(rows) if only_gemms else timed
    if processor == "gpu":
        timed = without_zeros(timed)
    if timed.empty:
        raise ModelError(f"stack {stack!r}: no kernel and no layer was measured, only passes; nothing can be fitted")
    least = _fastest(timed)
    kinds = _fit_kinds(timed, processor, least, choices)
    if many := is_of_many_networks(rows):
        kinds = {kind: _corrected(one, timed[timed["kind"] == kind]) for kind, one in kinds.items()}
    if only_gemms:
        least_sd = priors.number("gemms_only_sd").ns
        kinds = {kind: replace(one, rows=0, relative_sd=max(one.relative_sd, least_sd)) for kind, one in kinds.items()}
    if "convolution" in kinds and "deconvolution" not in kinds:
        fitted, unseen_sd = kinds["convolution"], priors.number("unseen_kind_sd").ns
        kinds["deconvolution"] = replace(fitted, rows=0, relative_sd=max(fitted.relative_sd, unseen_sd))
    if processor == "cpu" and "source" in rows and rows["source"].eq("import").all():
        kinds |= _of_zeros(kinds, priors)
    kinds[UNSEEN] = _unseen(timed, stack)
    if many:
        ratio, overhead_ns, ratio_sd, pass_ns, untimed = fit_whole_pass(rows)
        kinds |= untimed
    else:
        (ratio, overhead_ns, ratio_sd), pass_ns = forward_pass(rows, processor), {}
    base_bytes, factors = stack_memory(rows, processor, stack)
    return StackModel(
        stack=stack,
        threads=int(rows["threads"].iloc[0]),
        kinds={**_guessed(kinds[UNSEEN], least.get("element"), priors.unseen(processor)), **kinds},
        forward_ratio=ratio,
        forward_ratio_sd=ratio_sd,
        unexplained_sd={"layer": 0.0, "network": 0.0},
        base_bytes=base_bytes,
        networks=tuple(sorted(rows["network"].dropna().unique())),
        layer_overhead_ns=overhead_ns,
        least_ns={name: ns / FASTEST_OVER_SEEN for name, ns in least.items()},
        memory_factors=factors,
        pass_ns=pass_ns,
    )


def _corrected(fitted: KindModel, rows: pd.DataFrame) -> KindModel:
    """A kind with what its work misses of `rows`, and the scatter that stays around both, where there are enough."""
    if len(rows) < FEWEST_ROWS:
        return fitted
    sizes, ns = sizes_of(rows), rows["median_ns"].to_numpy(dtype=float)
    work = matrix(features_named(str(rows["kind"].iloc[0]), fitted.features), sizes)
    correction = fit_correction(sizes, np.log(ns / (work @ np.array(fitted.coefficients_ns))))
    return replace(fitted, correction=correction, relative_sd=NOISE)


def _fit_kinds(
    timed: pd.DataFrame, processor: str, least: Mapping[str, float], choices: Choices
) -> dict[str, KindModel]:
    """A model per kind; convolutions first, because they tell what a call takes."""
    kinds: dict[str, KindModel] = {}
    parts = {str(kind): part for kind, part in timed.groupby("kind")}
    known = choices.priors.kinds(processor)
    for kind in sorted({*parts, *known}, key=lambda kind: (kind != "convolution", kind)):
        convolution = kinds.get("convolution")
        per = dict(zip(convolution.features, convolution.coefficients_ns, strict=True)) if convolution else {}
        speeds = Speeds(least.get("element"), least.get("mac"), per.get("calls"))
        priors = choices.priors.coefficients(kind, processor, speeds)
        features = choices.features_of(kind, processor)
        # A kind whose sizes are nowhere whole stays unseen.
        if kind in parts and np.isfinite(matrix(features, sizes_of(parts[kind]))).all(axis=1).any():
            features = _told(features, parts[kind], priors)
            kinds[kind] = _with_shared_sd(
                fit_kind(features, parts[kind], priors), choices.priors.number("shared_sd").ns
            )
        elif kind in known and any(prior.ns > 0 for prior in priors.values()):
            kinds[kind] = kind_from_priors(features, priors, choices.priors.number("unseen_kind_sd").ns)
    return kinds


def _told(features: tuple[Feature, ...], rows: pd.DataFrame, priors: Mapping[str, Prior]) -> tuple[Feature, ...]:
    """Those features that FEWEST_WITH of a kind's kernels tell, or all of them, or a prior."""
    having = matrix(features, sizes_of(rows)) > 0
    told = having.all(axis=0) | (having.sum(axis=0) >= FEWEST_WITH)
    return tuple(one for one, is_told in zip(features, told, strict=True) if is_told or one.name in priors) or features


def _with_shared_sd(fitted: KindModel, share: float) -> KindModel:
    """A kind whose sums are `share` times as far off as its coefficients' errors say.

    None of them is negative, and what one takes too much of what was seen another takes too little.
    """
    return replace(fitted, covariance=tuple(tuple(share**2 * one for one in row) for row in fitted.covariance))


def _of_zeros(kinds: Mapping[str, KindModel], priors: Priors) -> dict[str, KindModel]:
    """Kinds on zeros, and on other values, from each other where only one of both was measured."""
    share, scaled_kinds = priors.number("share_of_lrn"), {}
    for kind, of_zeros in KINDS_ON_ZEROS.items():
        if of_zeros in kinds and (kind not in kinds or not kinds[kind].rows):
            scaled_kinds[kind] = scaled(kinds[of_zeros], 1 / share.ns, share.sd_ns)
        elif of_zeros not in kinds and kind in kinds:
            scaled_kinds[of_zeros] = scaled(kinds[kind], share.ns, share.sd_ns)
    return scaled_kinds


def _fastest(timed: pd.DataFrame) -> dict[str, float]:
    """ns per `mac` of the fastest convolutions and per `element` of the fastest copies, as far as measured."""
    least = {}
    convolutions = timed[timed["kind"] == "convolution"]
    if len(convolutions):
        speed = convolutions["median_ns"].to_numpy(dtype=float) / macs("convolution", sizes_of(convolutions))
        least["mac"] = float(np.quantile(speed, FASTEST))
    copies = timed[timed["kind"].isin(COPY_KINDS)]
    if len(copies):
        elements = copies["out_elements"].to_numpy(dtype=float)
        large = elements >= min(LARGE_COPY, elements.max())
        speed = copies["median_ns"].to_numpy(dtype=float)[large] / elements[large]
        least["element"] = float(np.quantile(speed, FASTEST))
    return {name: ns for name, ns in least.items() if np.isfinite(ns) and ns > 0}


def _guessed(unseen: KindModel, copy_ns: float | None, copies: Mapping[str, Prior]) -> dict[str, KindModel]:
    """Kinds that no network had, from the copies that their code makes; none without a copy's time."""
    if copy_ns is None:
        return {}
    per = dict(zip(unseen.features, unseen.coefficients_ns, strict=True))
    call_ns = per.get("calls", 0.0)
    return {kind: _guess(prior.ns * copy_ns, call_ns, prior.sd_ns / prior.ns) for kind, prior in copies.items()}


def _unseen(timed: pd.DataFrame, stack: str) -> KindModel:
    """What moves elements, from all kinds that do nothing else; where none was measured, from what memory can do.

    ModelError where no kernel says how many elements it moves.
    """
    moving = timed[~timed["kind"].isin(list(FEATURES))]
    if len(moving) and np.isfinite(matrix(ELEMENTWISE, sizes_of(moving))).all(axis=1).any():
        return fit_kind(ELEMENTWISE, moving, {})
    moved = timed[["in_elements", "out_elements", "parameters"]].astype(float).fillna(0).sum(axis=1)
    fastest = (timed["median_ns"].astype(float) / moved)[moved > 0]
    if fastest.empty:
        raise ModelError(f"stack {stack!r}: no kernel says how many elements it moves (in_elements, out_elements)")
    return _guess(2 * float(fastest.quantile(FASTEST)), 0.0, 1.0)


def _guess(element_ns: float, call_ns: float, relative_sd: float) -> KindModel:
    sds = (element_ns * relative_sd, call_ns)
    return KindModel(
        features=("out_elements", "calls"),
        units=("element written", "call"),
        coefficients_ns=(element_ns, call_ns),
        standard_errors_ns=sds,
        covariance=((sds[0] ** 2, 0.0), (0.0, sds[1] ** 2)),
        relative_sd=relative_sd,
        seen=((0.0, 0.0), (0.0, 0.0)),
        rows=0,
    )
