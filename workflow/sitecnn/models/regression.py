"""One kind of kernel from its measurements: non-negative, on relative error, robust to outliers, drawn to priors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import nnls

from sitecnn.models.board_model import KindModel
from sitecnn.models.feature import Array, Feature
from sitecnn.models.features import matrix
from sitecnn.models.measurements import sizes_of
from sitecnn.models.priors import Prior

HUBER_THRESHOLD = 1.345
"""Huber's constant: 95 % efficiency under normal errors (Huber 1981; statsmodels' default)."""

LEAST_SD = 0.01
"""No model is trusted closer than the measurements are: kernels are timed to 1 %."""

TYPICAL_SD = 0.05
"""Relative error of a measured kernel around its model: what a prior's width is held against."""


def fit_kind(features: tuple[Feature, ...], rows: pd.DataFrame, priors: Mapping[str, Prior]) -> KindModel:
    """One kind's model from rows with `median_ns` and sizes; a feature that would take negative time is left out."""
    work, time_ns = matrix(features, sizes_of(rows)), rows["median_ns"].to_numpy(dtype=float)
    usable = np.isfinite(work).all(axis=1)
    seen, count = work[usable], int(usable.sum())
    prior_rows, prior_goals = _as_rows(features, priors)
    # Everything relative to the times: a row of `share` is what each unit of coefficient makes of its time.
    share = np.vstack([seen / time_ns[usable, None], prior_rows])
    goal = np.append(np.ones(count), prior_goals)
    importance = np.append(_importance(time_ns[usable]), np.ones(len(prior_goals)))
    weights, active = _robust_weights(share, goal, importance, count)
    fitted = sm.WLS(goal, share[:, active], weights=weights).fit()
    coefficients = np.asarray(fitted.params)
    freedom = count - len(active)
    relative = 1 - share[:count, active] @ coefficients
    spread = float(np.sqrt(np.sum(weights[:count] * relative**2) / max(freedom, 1)))
    covariance = np.asarray(fitted.cov_params()) if freedom > 0 else np.diag(coefficients**2)
    chosen = [features[index] for index in active]
    return KindModel(
        features=tuple(feature.name for feature in chosen),
        units=tuple(feature.unit for feature in chosen),
        coefficients_ns=_floats(coefficients),
        standard_errors_ns=_floats(np.sqrt(np.diag(covariance))),
        covariance=tuple(map(_floats, covariance)),
        relative_sd=max(spread, LEAST_SD) if freedom > 0 else 1.0,
        seen=tuple((float(column.min()), float(column.max())) for column in seen[:, active].T),
        rows=count,
    )


def kind_from_priors(features: tuple[Feature, ...], priors: Mapping[str, Prior], relative_sd: float) -> KindModel:
    """A kind that was not measured, as other boards suggest."""
    known = [(feature, priors[feature.name]) for feature in features if feature.name in priors]
    return KindModel(
        features=tuple(feature.name for feature, _ in known),
        units=tuple(feature.unit for feature, _ in known),
        coefficients_ns=tuple(prior.ns for _, prior in known),
        standard_errors_ns=tuple(prior.sd_ns for _, prior in known),
        covariance=tuple(map(_floats, np.diag([prior.sd_ns**2 for _, prior in known]))),
        relative_sd=relative_sd,
        seen=((0.0, 0.0),) * len(known),
        rows=0,
    )


def scaled(fitted: KindModel, scale: float, relative_sd: float) -> KindModel:
    """A kind's times `scale` times as long, the scale known to `relative_sd`."""
    coefficients = scale * np.array(fitted.coefficients_ns)
    covariance = scale**2 * np.array(fitted.covariance) + relative_sd**2 * np.outer(coefficients, coefficients)
    return replace(
        fitted,
        coefficients_ns=tuple(coefficients.tolist()),
        standard_errors_ns=tuple(np.sqrt(np.diag(covariance)).tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
    )


def _as_rows(features: tuple[Feature, ...], priors: Mapping[str, Prior]) -> tuple[Array, Array]:
    """Each prior as a row and its goal, as if it had been measured that well (Theil & Goldberger 1961)."""
    known = [(index, priors[feature.name]) for index, feature in enumerate(features) if feature.name in priors]
    rows = np.zeros((len(known), len(features)))
    for row, (index, prior) in enumerate(known):
        rows[row, index] = TYPICAL_SD / prior.sd_ns
    return rows, np.array([TYPICAL_SD * prior.ns / prior.sd_ns for _, prior in known])


def _importance(time_ns: Array) -> Array:
    """A weight for each kernel, 1 on average, as the root of its time: a network's time is that of its large layers."""
    root = np.sqrt(time_ns)
    return np.asarray(root / root.mean()) if len(root) else root


def _robust_weights(share: Array, goal: Array, importance: Array, count: int) -> tuple[Array, list[int]]:
    """Huber weights of the first `count` rows and the features with a positive coefficient (Lawson & Hanson)."""
    scale = np.abs(share).max(axis=0)
    scale[scale == 0] = 1
    scaled = np.column_stack([share / scale, goal])
    following = importance
    for _ in range(4):
        weights = following
        # The same minimum from a triangle of one row per feature, whatever the number of rows.
        triangle = np.asarray(np.linalg.qr(scaled * np.sqrt(weights)[:, None], mode="r"))
        coefficients, _ = nnls(triangle[:, :-1], triangle[:, -1])
        residuals = np.abs(goal - scaled[:, :-1] @ coefficients)[:count]
        spread = max(1.4826 * float(np.median(residuals)), 1e-6)
        following = importance.copy()
        following[:count] *= np.minimum(1, HUBER_THRESHOLD * spread / np.maximum(residuals, 1e-12))
    active = [int(index) for index in np.flatnonzero(coefficients > 0)]
    return weights, active or [share.shape[1] - 1]


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
