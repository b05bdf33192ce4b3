"""Dataset → board model: statsmodels fits per kind of kernel, non-negative, on relative error, robust to outliers."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import nnls

from sitecnn.dataset import read_measurements
from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import UNSEEN, KindModel, StackModel
from sitecnn.models.features import ELEMENTWISE, FEATURES, Array, Feature, Sizes, features_of, matrix
from sitecnn.workload.kernels import SIZE_NAMES

HUBER_THRESHOLD = 1.345
"""Huber's constant: 95 % efficiency under normal errors (Huber 1981; statsmodels' default)."""

LEAST_SD = 0.01
"""No model is trusted closer than the measurements are: kernels are timed to 1 %."""


def load_measurements(root: Path, board: str, processor: str) -> pd.DataFrame:
    """The usable measurements of a (board, processor); SiteCNNError if there are none."""
    rows = read_measurements(root, board, processor)
    rows = rows.loc[(rows["status"] == "ok") & ((rows["median_ns"] > 0) | (rows["subject"] == "memory"))]
    if rows.empty:
        raise SiteCNNError(
            f"{root / 'results' / 'dataset'}: nothing measured on board {board!r}, processor {processor!r};"
            f" run `sitecnn profile` or `sitecnn import`, then `sitecnn aggregate`"
        )
    return rows


def without_networks(rows: pd.DataFrame, networks: Collection[str]) -> pd.DataFrame:
    """`rows` without anything that tells of `networks`: their passes, their layers, and every kernel of theirs.

    A kernel that two networks share goes too, although another network would have had it measured.
    """
    held_out = rows["network"].isin(networks)
    key = _kernel_identity(rows)
    seen_there = set(key[held_out & (rows["subject"] == "layer")])
    pieces = rows["subject"].eq("kernel") & key.isin(seen_there)
    return rows[~held_out & ~pieces]


def fit_stack(rows: pd.DataFrame, stack: str) -> StackModel:
    """One stack's model from its measurements, its intervals not calibrated yet."""
    timed = rows[rows["subject"].isin(["kernel", "layer"]) & ~rows["mode"].isin(["warm", "overhead"])]
    kinds = {str(kind): _fit_kind(features_of(str(kind)), part) for kind, part in timed.groupby("kind", sort=True)}
    moving = timed[~timed["kind"].isin(list(FEATURES))]
    kinds[UNSEEN] = _fit_kind(ELEMENTWISE, moving if len(moving) else timed[timed["in_elements"].notna()])
    ratio, ratio_sd = _forward_ratio(rows)
    base = rows.loc[rows["subject"] == "memory", "base_bytes"].dropna()
    return StackModel(
        stack=stack,
        threads=int(rows["threads"].iloc[0]),
        kinds=kinds,
        forward_ratio=ratio,
        forward_ratio_sd=ratio_sd,
        calibration={"layer": 1.0, "network": 1.0},
        base_bytes=int(base.median()) if len(base) else 0,
        networks=tuple(sorted(rows["network"].dropna().unique())),
    )


def _fit_kind(features: tuple[Feature, ...], rows: pd.DataFrame) -> KindModel:
    work, time_ns = matrix(features, sizes_of(rows)), rows["median_ns"].to_numpy(dtype=float)
    weights, active = _robust_weights(work, time_ns)
    fitted = sm.WLS(time_ns, work[:, active], weights=weights / time_ns**2).fit()
    coefficients = np.asarray(fitted.params)
    enough = fitted.df_resid > 0
    relative = 1 - (work[:, active] @ coefficients) / time_ns
    spread = float(np.sqrt(np.sum(weights * relative**2) / max(fitted.df_resid, 1)))
    covariance = np.asarray(fitted.cov_params()) if enough else np.diag(coefficients**2)
    chosen = [features[index] for index in active]
    return KindModel(
        features=tuple(feature.name for feature in chosen),
        units=tuple(feature.unit for feature in chosen),
        coefficients_ns=_floats(coefficients),
        standard_errors_ns=_floats(np.sqrt(np.diag(covariance))),
        covariance=tuple(map(_floats, covariance)),
        relative_sd=max(spread, LEAST_SD) if enough else 1.0,
        seen=tuple((float(column.min()), float(column.max())) for column in work[:, active].T),
        rows=len(rows),
    )


def _robust_weights(work: Array, time_ns: Array) -> tuple[Array, list[int]]:
    """Huber weights of the rows and the features with a positive coefficient (Lawson & Hanson's active set)."""
    weights = np.ones(len(time_ns))
    scale = np.abs(work).max(axis=0)
    scale[scale == 0] = 1
    for _ in range(4):
        root = np.sqrt(weights)
        coefficients, _ = nnls(work / scale / time_ns[:, None] * root[:, None], root)
        residuals = 1 - work / scale @ coefficients / time_ns
        spread = max(1.4826 * float(np.median(np.abs(residuals))), 1e-6)
        weights = np.minimum(1, HUBER_THRESHOLD * spread / np.maximum(np.abs(residuals), 1e-12))
    active = [int(index) for index in np.flatnonzero(coefficients > 0)]
    return weights, active or [len(scale) - 1]


def _forward_ratio(rows: pd.DataFrame) -> tuple[float, float]:
    """Median and spread over networks of forward pass ÷ layerwise pass; (1, 0.02) where passes were not measured."""
    passes = rows[rows["subject"].isin(["forward", "layerwise"])]
    table = passes.pivot_table(index=["network", "batch"], columns="subject", values="median_ns")
    if not {"forward", "layerwise"} <= set(table.columns):
        return 1.0, 0.02
    ratios = (table["forward"] / table["layerwise"]).dropna()
    return float(ratios.median()), float(ratios.std()) if len(ratios) > 1 else 0.02


def sizes_of(rows: pd.DataFrame) -> Sizes:
    """The size columns of `rows` as float arrays, NaN where a kind has no such size."""
    return {name: rows[name].to_numpy(dtype=float, na_value=np.nan) for name in SIZE_NAMES}


def _kernel_identity(rows: pd.DataFrame) -> "pd.Series[Any]":
    return pd.util.hash_pandas_object(rows[["kind", "variant", *SIZE_NAMES]].astype("string"), index=False)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
