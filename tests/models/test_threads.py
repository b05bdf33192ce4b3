"""Threads that were not measured, against Amdahl's law."""

import numpy as np
import pytest

from sitecnn.models.board_model import KindModel, StackModel, estimate_kernels
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import sizes_of
from sitecnn.models.threads import at_threads
from tests.models.fixtures import board


def at(threads, shared=0.8):
    """The board of known law if `shared` of every time is shared by threads."""
    rows = board(1, noise=0.0)
    return rows.assign(median_ns=rows["median_ns"] * (1 - shared + shared / threads), threads=threads)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_time_between_is_amdahls(threads):
    measured = [fit_stack(at(count), f"{count} threads") for count in (1, 4)]
    between = at_threads(measured, threads)
    rows = at(threads)
    layers = rows[rows["subject"] == "layer"]
    kinds, sizes = layers["kind"].to_numpy(dtype=str), sizes_of(layers)
    estimate, measured_there = (estimate_kernels(model, kinds, sizes) for model in (between, fit_stack(rows, "x")))
    assert estimate.ns == pytest.approx(measured_there.ns, rel=0.005)
    assert estimate.ns == pytest.approx(layers["median_ns"].to_numpy(dtype=float), rel=0.03)
    assert (between.threads, np.isfinite(estimate.sd_ns).all()) == (threads, True)


@pytest.mark.parametrize("threads", [1, 8])
def test_nothing_is_read_beyond_what_was_measured(threads):
    assert at_threads([fit_stack(at(count), "x") for count in (2, 4)], threads) is None


def kind(features, coefficients, covariance, **more):
    errors = tuple(np.sqrt(np.diag(covariance)).tolist())
    settings = {"relative_sd": 0.05, "seen": ((0.0, 10.0),) * len(features), "rows": 20, **more}
    return KindModel(features, features, coefficients, errors, covariance, **settings)


def stack(threads, kinds, **more):
    settings = {"forward_ratio": 1.0, "forward_ratio_sd": 0.01, "unexplained_sd": {"layer": 0.1, "network": 0.05}}
    settings |= {"base_bytes": 100, "networks": ("a",), **more}
    return StackModel(f"{threads} threads", threads, kinds, **settings)


def test_all_of_a_stack_is_read_at_its_place_between_the_nearest_two():
    """At 3 threads 1/3 lies a third of the way from 1/4 to 1/2."""
    two = kind(("macs", "calls"), (6.0, 30.0), ((0.09, 0.0), (0.0, 9.0)))
    four = kind(
        ("macs", "bias"), (3.0, 9.0), ((0.36, 0.1), (0.1, 0.81)), relative_sd=0.08, rows=7, seen=((1.0, 5.0),) * 2
    )
    below = stack(2, {"x": two, "gone": two}, layer_overhead_ns=90.0, least_ns={"mac": 6.0, "element": 1.0})
    above = stack(
        4, {"x": four}, forward_ratio=0.7, forward_ratio_sd=0.02, layer_overhead_ns=30.0, least_ns={"mac": 3.0},
        base_bytes=130, unexplained_sd={"layer": 0.05, "network": 0.2},
    )  # fmt: skip
    further = [stack(1, {"x": two}), stack(8, {"x": four})]
    between = at_threads([*further, above, below], 3)
    assert (between.stack, between.threads, set(between.kinds)) == (
        "2 threads, read between 2 and 4 threads at 3",
        3,
        {"x"},
    )
    assert between.forward_ratio == pytest.approx(0.7 + 0.3 / 3)
    assert (between.forward_ratio_sd, between.base_bytes) == (0.02, 130)
    assert between.layer_overhead_ns == pytest.approx(30 + 60 / 3)
    assert between.least_ns == pytest.approx({"mac": 3 + 3 / 3})
    assert between.unexplained_sd == pytest.approx({"layer": np.hypot(0.1, 0.1), "network": np.hypot(0.2, 0.1)})
    mixed = between.kinds["x"]
    assert (mixed.features, mixed.units) == (("macs", "calls", "bias"),) * 2
    assert mixed.coefficients_ns == pytest.approx((6 / 3 + 3 * 2 / 3, 30 / 3, 9 * 2 / 3))
    # Independent errors: variances by the squares of the shares.
    assert np.array(mixed.covariance) == pytest.approx(
        np.array([[0.09 / 9 + 0.36 * 4 / 9, 0, 0.1 * 4 / 9], [0, 9 / 9, 0], [0.1 * 4 / 9, 0, 0.81 * 4 / 9]])
    )
    assert mixed.standard_errors_ns == pytest.approx(np.sqrt(np.diag(mixed.covariance)))
    assert (mixed.relative_sd, mixed.rows, mixed.seen) == (0.08, 7, ((1.0, 5.0), (0.0, 10.0), (1.0, 5.0)))


def test_a_stack_whose_threads_are_not_known_is_neither_fewer_nor_more() -> None:
    known = [stack(count, {}) for count in (1, 4)]
    assert at_threads([stack(0, {}), known[1]], 2) is None
    between = at_threads([stack(0, {}), *known], 2)
    assert between is not None and between.stack == "1 threads, read between 1 and 4 threads at 2"
    assert at_threads([stack(2, {}), stack(4, {})], 2) is None
