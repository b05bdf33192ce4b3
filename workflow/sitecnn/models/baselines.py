"""What others estimate a layer's time with, fitted on the same layers as the board model: what it has to beat."""

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, PolynomialFeatures

from sitecnn.models.caffe_features import product_rows
from sitecnn.models.feature import Array
from sitecnn.workload.kernels import FLOAT_BYTES, SIZE_NAMES

Estimator = Callable[[pd.DataFrame], Array]
"""Layers' rows → ns of each."""

Method = Callable[[pd.DataFrame], Estimator]
"""Fits a method on measured layers' rows."""

FEWEST_ROWS = 8
"""Of fewer layers of a kind no polynomial and no forest is made; its mean speed stands in."""

DEGREES = (2, 3)
"""NeuralPower (Cai et al. 2017, section 3.1) chooses the polynomial's degree by cross-validation."""

SHAPE = (
    "images",
    "channels",
    "height",
    "out_channels",
    "out_height",
    "kernel_h",
    "stride_h",
    "pad_h",
    "group",
    "m",
    "n",
    "k",
)
"""A layer's settings: what NeuralPower's polynomials and nn-Meter's forests are given of it."""


def macs_of(rows: pd.DataFrame) -> Array:
    """Multiply-accumulates of each layer: of convolutions and fully connected layers, 0 for others."""
    size = _sizes(rows)
    weights = size["out_channels"] * size["channels"] / np.maximum(size["group"], 1)
    convolution = size["images"] * weights * size["kernel_h"] * size["kernel_w"]
    convolution *= size["out_height"] * size["out_width"]
    product = size["in_elements"] * size["out_elements"] / np.maximum(product_rows(size), 1)
    kind = rows["kind"].to_numpy(dtype=str)
    convolves = (kind == "convolution") | (np.char.find(kind, "conv_") >= 0)
    multiplies = np.isin(kind, ("ort_gemm", "ort_matmul"))
    matrices = size["images"] * size["m"] * size["n"] * size["k"]
    return np.select([convolves, kind == "inner_product", multiplies], [convolution, product, matrices], 0.0)


def bytes_of(rows: pd.DataFrame) -> Array:
    """Bytes that each layer reads and writes once: inputs, outputs and parameters."""
    size = _sizes(rows)
    return FLOAT_BYTES * (size["in_elements"] + size["out_elements"] + size["parameters"])


def macs_only(rows: pd.DataFrame) -> Estimator:
    """One speed for the whole network: ns per MAC, the geometric mean over the passes of the networks."""
    passes = rows[rows["subject"] == "layer"].assign(macs=macs_of).groupby(["network", "batch"])[["median_ns", "macs"]]
    sums = passes.sum()
    sums = sums[sums["macs"] > 0]
    speed = float(np.exp(np.log(sums["median_ns"] / sums["macs"]).mean())) if len(sums) else 0.0
    return lambda layers: speed * macs_of(layers)


def macs_per_type(rows: pd.DataFrame) -> Estimator:
    """A speed per type of layer, as the poster's table has them: ns per MAC, or per byte for types without MACs."""
    speeds = {str(kind): _speed(part) for kind, part in rows.groupby("kind")}
    other = _speed(rows[_work(rows) == bytes_of(rows)])
    return lambda layers: _work(layers) * np.array([speeds.get(kind, other) for kind in layers["kind"]])


def roofline(rows: pd.DataFrame) -> Estimator:
    """The slower of computing and moving (Williams et al. 2009), both ceilings fitted on log errors of layers."""
    macs, moved, ns = macs_of(rows), bytes_of(rows), rows["median_ns"].to_numpy(dtype=float)
    used = moved > 0
    start = np.log([_median_ratio(ns, macs), _median_ratio(ns, moved)])

    def loss(ceilings: Array) -> float:
        estimate = np.maximum(macs * np.exp(ceilings[0]), moved * np.exp(ceilings[1]))
        return float(np.abs(np.log(estimate[used] / ns[used])).mean())

    per_mac, per_byte = np.exp(minimize(loss, start, method="Nelder-Mead").x) if used.any() else (0.0, 0.0)
    return lambda layers: np.maximum(macs_of(layers) * per_mac, bytes_of(layers) * per_byte)


def sparse_polynomial(rows: pd.DataFrame) -> Estimator:
    """NeuralPower: per kind a polynomial of the settings, MACs and bytes, its terms chosen by lasso."""
    return _per_kind(rows, _polynomial)


def gradient_boosting(rows: pd.DataFrame) -> Estimator:
    """Boosted trees per kind, on the logarithm of the time."""
    return _per_kind(rows, lambda part: _forest(part, GradientBoostingRegressor(random_state=0)))


def random_forest(rows: pd.DataFrame) -> Estimator:
    """nn-Meter: a random forest per kind, on the logarithm of the time."""
    return _per_kind(rows, lambda part: _forest(part, RandomForestRegressor(random_state=0)))


BASELINES: Mapping[str, Method] = {
    "MACs only": macs_only,
    "MACs per layer type": macs_per_type,
    "roofline": roofline,
    "sparse polynomial (NeuralPower)": sparse_polynomial,
    "gradient boosting": gradient_boosting,
    "random forest (nn-Meter)": random_forest,
}


def _sizes(rows: pd.DataFrame) -> dict[str, Array]:
    return {name: rows[name].to_numpy(dtype=float, na_value=0.0) for name in SIZE_NAMES}


def _work(rows: pd.DataFrame) -> Array:
    macs = macs_of(rows)
    return np.where(macs > 0, macs, bytes_of(rows))


def _speed(rows: pd.DataFrame) -> float:
    """ns per unit of work that makes Σ(1 - speed·work/time)² least."""
    rate = _work(rows) / rows["median_ns"].to_numpy(dtype=float)
    return float(rate.sum() / (rate @ rate)) if rate.any() else 0.0


def _median_ratio(ns: Array, work: Array) -> float:
    return float(np.median(ns[work > 0] / work[work > 0])) if (work > 0).any() else 1.0


def _per_kind(rows: pd.DataFrame, fit: Method) -> Estimator:
    """One estimator per kind of layer; kinds with few layers, and those never seen, at their mean speed."""
    by_speed = macs_per_type(rows)
    fitted = {str(kind): fit(part) for kind, part in rows.groupby("kind") if len(part) >= FEWEST_ROWS}

    def estimate(layers: pd.DataFrame) -> Array:
        ns, kinds = by_speed(layers), layers["kind"].to_numpy()
        for kind in set(kinds) & set(fitted):
            ns[kinds == kind] = fitted[kind](layers[kinds == kind])
        return ns

    return estimate


def _settings(rows: pd.DataFrame) -> Array:
    size = _sizes(rows)
    columns = [size[name] for name in SHAPE]
    return np.column_stack([*columns, macs_of(rows), bytes_of(rows)])


def _polynomial(rows: pd.DataFrame) -> Estimator:
    """Relative errors are minimised: rows and times are divided by the time. Not below a tenth of the fastest seen."""
    ns = rows["median_ns"].to_numpy(dtype=float)
    tried = [_lasso(_settings(rows), ns, degree) for degree in DEGREES]
    _, estimate = min(tried, key=lambda one: one[0])
    return lambda layers: np.maximum(estimate(_settings(layers)), ns.min() / 10)


def _lasso(settings: Array, ns: Array, degree: int) -> tuple[float, Callable[[Array], Array]]:
    """(cross-validated error, estimator of ns)."""
    terms = make_pipeline(MaxAbsScaler(), PolynomialFeatures(degree), MaxAbsScaler())
    unit = float(np.exp(np.log(ns).mean()))
    work = terms.fit_transform(settings) / (ns / unit)[:, None]
    lasso = LassoCV(fit_intercept=False, cv=min(5, len(ns)), alphas=20, eps=1e-4, max_iter=2000, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        lasso.fit(work, np.ones(len(ns)))
    error = float(lasso.mse_path_.mean(axis=1).min())
    return error, lambda settings: np.asarray(terms.transform(settings) @ lasso.coef_ * unit)


def _forest(rows: pd.DataFrame, trees: GradientBoostingRegressor | RandomForestRegressor) -> Estimator:
    trees.fit(_settings(rows), np.log(rows["median_ns"].to_numpy(dtype=float)))
    return lambda layers: np.exp(trees.predict(_settings(layers)))
