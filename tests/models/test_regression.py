"""A kind's fit against least squares as NumPy solves it, and its correction against scikit-learn's Gaussian process."""

from math import ceil, log2, nan

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from sitecnn.models.correction import Correction, fit_correction
from sitecnn.models.features import features_of
from sitecnn.models.fit import fit_stack
from sitecnn.models.priors import SHIPPED_PRIORS, Prior, Speeds
from sitecnn.models.regression import fit_kind, kind_from_priors
from sitecnn.workload.kernels import SIZE_NAMES
from tests.models.fixtures import board

FEATURES = features_of("average_pooling")
NAMES, UNITS = ("window_elements", "out_elements", "calls"), ("element in a window", "element written", "call")
TRUTH = np.array([0.5, 2.0, 3000.0])


def poolings(count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows that take 2 % more or less than TRUTH in turn, and their work: none is so far off that it weighs less."""
    rng = np.random.default_rng(count)
    outputs, window = rng.integers(500, 50_000, count).astype(float), rng.integers(2, 60, count)
    work = np.column_stack([outputs * window, outputs, np.ones(count)])
    ns = work @ TRUTH * np.where(np.arange(count) % 2, 1.02, 0.98)
    rows = pd.DataFrame({"out_elements": outputs, "in_elements": outputs, "window": window, "median_ns": ns})
    return rows.reindex(columns=["median_ns", *SIZE_NAMES]), work


@pytest.mark.parametrize("priors", [{}, {"out_elements": Prior(2.03, 0.02)}], ids=["alone", "with a prior"])
def test_a_fit_is_weighted_least_squares_on_relative_errors(priors: dict[str, Prior]) -> None:
    """Each kernel weighs as the root of its time; a prior is a row more, known to 5 % as kernels typically are."""
    rows, work = poolings(400)
    fitted = fit_kind(FEATURES, rows, priors)
    ns = rows["median_ns"].to_numpy()
    share, goal, weights = work / ns[:, None], np.ones(400), np.sqrt(ns) / np.sqrt(ns).mean()
    for prior in priors.values():
        share, weights = np.vstack([share, [0, 0.05 / prior.sd_ns, 0]]), np.append(weights, 1)
        goal = np.append(goal, 0.05 * prior.ns / prior.sd_ns)
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(share * root[:, None], goal * root, rcond=None)[0]
    rest = goal - share @ expected
    scale = np.sum(weights * rest**2) / (len(goal) - 3)
    covariance = scale * np.linalg.inv(share.T @ (share * weights[:, None]))
    assert fitted.coefficients_ns == pytest.approx(expected, rel=1e-6)
    assert np.array(fitted.covariance) == pytest.approx(covariance, rel=1e-6)
    assert fitted.standard_errors_ns == pytest.approx(np.sqrt(np.diag(covariance)))
    spread = np.sqrt(np.sum(weights[:400] * rest[:400] ** 2) / (400 - 3))
    assert fitted.relative_sd == pytest.approx(spread)
    assert (fitted.features, fitted.units, fitted.rows) == (NAMES, UNITS, 400)
    assert fitted.seen == tuple(zip(work.min(axis=0), work.max(axis=0), strict=True))


def test_a_law_without_noise_is_found_and_trusted_to_one_percent() -> None:
    rows, work = poolings(30)
    fitted = fit_kind(FEATURES, rows.assign(median_ns=work @ TRUTH), {})
    assert fitted.coefficients_ns == pytest.approx(TRUTH, rel=1e-6)
    assert fitted.relative_sd == 0.01


def test_a_kernel_without_all_its_sizes_tells_nothing() -> None:
    rows, _ = poolings(20)
    spoilt = pd.concat([rows, rows.head(3).assign(window=nan, median_ns=1e12)], ignore_index=True)
    assert fit_kind(FEATURES, spoilt, {}) == fit_kind(FEATURES, rows, {})


def test_one_kernel_in_twenty_that_is_far_off_moves_nothing() -> None:
    rows, work = poolings(60)
    wild = rows["median_ns"].mask(rows.index % 20 == 7, rows["median_ns"] * 9)
    fitted = fit_kind(FEATURES, rows.assign(median_ns=wild), {})
    assert fitted.features == NAMES
    assert work @ fitted.coefficients_ns == pytest.approx(work @ TRUTH, rel=0.03)


def test_a_kind_of_priors_alone_is_what_they_say_with_nothing_seen() -> None:
    priors = {"window_elements": Prior(8.0, 3.0), "calls": Prior(500.0, 60.0), "other": Prior(1.0, 1.0)}
    fitted = kind_from_priors(FEATURES, priors, 0.7)
    assert (fitted.features, fitted.units) == (("window_elements", "calls"), ("element in a window", "call"))
    assert (fitted.coefficients_ns, fitted.standard_errors_ns) == ((8.0, 500.0), (3.0, 60.0))
    assert np.array(fitted.covariance).tolist() == [[9.0, 0.0], [0.0, 3600.0]]
    assert (fitted.rows, fitted.seen, fitted.relative_sd, fitted.is_guess) == (0, ((0.0, 0.0),) * 2, 0.7, True)


def coordinates(sizes: dict[str, float]) -> list[float]:
    """Octaves of a kernel's sizes and of its work, scaled by what a difference of each means."""

    def octaves(name: str) -> float:
        return log2(max(sizes.get(name, 0), 1))

    slices, inputs = (ceil(sizes.get(name, 0) / 4) for name in ("out_channels", "channels"))
    work = 2 * octaves("out_height") + log2(max(slices, 1))
    reach = sizes.get("out_height", 0) * max(sizes.get("stride_h", 0), 1) + 1
    return [
        *map(octaves, ("channels", "out_channels", "out_height", "group", "inputs", "m", "n", "k")),
        2 * octaves("kernel_h"),
        2 * octaves("stride_h"),
        log2((sizes.get("height", 0) + 1) / reach),
        work / 2,
        (work + log2(max(inputs, 1))) / 2,
        0.5 * (slices % 2),
        0.3 * (slices % 4 == 0),
        0.7 * min(sizes.get("accumulate", 0), 1),
        0.5 * sizes.get("activation", 0),
    ]


TOLD = {
    "channels": 200, "height": 60, "out_channels": 90, "out_height": 30, "kernel_h": 7, "stride_h": 3, "group": 4,
    "inputs": 3, "m": 50, "n": 70, "k": 90, "accumulate": 3, "activation": 3,
}  # fmt: skip
"""Sizes that tell kernels apart, each with a bound."""


def drawn(count: int, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        {name: float(rng.integers(0, most + 1)) for name, most in TOLD.items() if rng.random() < 0.9}
        for _ in range(count)
    ]


def columns(kernels: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.array([one.get(name, nan) for one in kernels]) for name in SIZE_NAMES}


def test_a_correction_is_scikit_learns_gaussian_process() -> None:
    """With an exponential covariance of 0.3² that falls to 1/e in 4 octaves, and measurements known to 3 %."""
    kernels, rng = drawn(60, 1), np.random.default_rng(2)
    log_ratio = rng.normal(0, 0.2, len(kernels))
    measured = kernels + kernels[:20] + kernels[:20]
    again = np.concatenate([log_ratio, log_ratio[:20] + 0.3, log_ratio[:20] - 0.05])
    correction = fit_correction(columns(measured), again)
    # Equal kernels count as one with their median, known better as the root of their number.
    counts = np.where(np.arange(60) < 20, 3, 1)
    process = GaussianProcessRegressor(0.3**2 * Matern(4.0, nu=0.5), alpha=0.03**2 / counts, optimizer=None)
    process.fit([coordinates(one) for one in kernels], log_ratio)
    asked = kernels + drawn(30, 3)
    places = np.array([coordinates(one) for one in asked])
    logarithm, sd = correction.log_factor(columns(asked))
    assert logarithm == pytest.approx(process.predict(places), abs=2e-4)
    # Given the nearest alone: 0.3²·(1 - r²), r its correlation.
    correlation = Matern(4.0, nu=0.5)(places, process.X_train_).max(axis=1)
    assert sd == pytest.approx(0.3 * np.sqrt(1 - correlation**2), abs=2e-4)
    assert isinstance(correction, Correction) and len(correction.points) == 60


def imported(networks: int) -> pd.DataFrame:
    """Kernels of a phone, 1 ns an element that a concatenation writes, twice that of 64 channels; their passes."""
    rng, rows = np.random.default_rng(networks), []
    for index in range(networks):
        total_ns = 0.0
        for position in range(12):
            channels, height = int(rng.choice([16, 64])), int(rng.integers(8, 60))
            sizes = {"images": 1, "channels": channels, "out_channels": channels, "height": height}
            sizes |= {"width": height, "out_height": height, "out_width": height, "parameters": 0}
            sizes |= {"in_elements": channels * height**2, "out_elements": channels * height**2}
            ns = channels * height**2 * (2.0 if channels == 64 else 1.0)
            total_ns += ns
            rows.append(
                {**sizes, "kind": "tflite_concat", "median_ns": ns, "subject": "layer", "layer_index": position}
            )
            rows[-1]["network"] = f"net{index}"
        rows.append({"subject": "forward", "median_ns": 1.5 * total_ns + 1e5, "network": f"net{index}"})
    table = pd.DataFrame(rows).assign(batch=1, threads=1, source="import", mode="network", processor="gpu", variant="")
    empty = ["total_bytes", "gpu_total_bytes", "gpu_base_bytes", "touched_bytes", "weights_bytes", "layer", "stack"]
    return table.reindex(columns=[*dict.fromkeys([*table, *SIZE_NAMES, *empty])])


def test_a_stack_of_many_imported_networks_learns_what_its_work_misses_and_what_lies_between_kernels() -> None:
    model = fit_stack(imported(30), "tflite-gpu")
    one = model.kinds["tflite_concat"]
    assert one.correction is not None and one.relative_sd == 0.03
    assert model.forward_ratio == pytest.approx(1.5, rel=0.03)
    # Every network has twelve kernels, so that what a pass takes and what a kernel takes are told together.
    assert model.pass_ns["pass"] + 12 * model.layer_overhead_ns == pytest.approx(1e5, rel=0.1)
    work = np.array([16 * 30**2, 64 * 30**2])
    sizes = [{"channels": c, "out_channels": c, "height": 30, "out_height": 30} for c in (16, 64)]
    by_work = np.array([1.0, 1.0]) * work * one.coefficients_ns[0]
    by_work += one.coefficients_ns[1] if len(one.coefficients_ns) > 1 else 0
    logarithm, _ = one.correction.log_factor(columns(sizes))  # type: ignore[arg-type]
    assert by_work * np.exp(logarithm) == pytest.approx(work * [1.0, 2.0], rel=0.1)


def test_a_stack_of_fewer_networks_has_no_correction() -> None:
    model = fit_stack(imported(19), "tflite-gpu")
    assert model.kinds["tflite_concat"].correction is None and model.pass_ns == {}


def test_seven_kernels_of_a_kind_are_too_few_for_a_correction() -> None:
    rows = imported(30)
    few = rows.index[rows["subject"] == "layer"][:7]
    kinds = fit_stack(rows.assign(kind=rows["kind"].mask(rows.index.isin(few), "tflite_mean")), "tflite-gpu").kinds
    assert kinds["tflite_mean"].correction is None and kinds["tflite_concat"].correction is not None
    more = rows.index[rows["subject"] == "layer"][:8]
    again = fit_stack(rows.assign(kind=rows["kind"].mask(rows.index.isin(more), "tflite_mean")), "tflite-gpu").kinds
    assert again["tflite_mean"].correction is not None


def test_a_kind_that_was_not_measured_has_its_priors_in_the_stacks_own_copies() -> None:
    """ReLUs that copy an element in a ns, and neither pooling by averages nor LRN."""
    rows = board(4, noise=0.0)
    rows = rows[rows["kind"].isin(["relu", "convolution"])]
    elements = rows["out_elements"].astype(float)
    rows = rows.assign(median_ns=rows["median_ns"].mask(rows["kind"] == "relu", elements))
    kinds = fit_stack(rows, "x").kinds
    for kind in ("lrn", "average_pooling", "pooling"):
        prior = SHIPPED_PRIORS.coefficients(kind, "cpu", Speeds(copy=1.0))["window_elements"]
        assert (kinds[kind].features, kinds[kind].rows) == (("window_elements",), 0)
        assert kinds[kind].coefficients_ns == pytest.approx((prior.ns,))
        assert kinds[kind].standard_errors_ns == pytest.approx((prior.sd_ns,))
