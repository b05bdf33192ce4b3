"""What is measured first on a new board."""

import numpy as np
import pytest

from sitecnn.models.design import (
    KIND_SD,
    LIKENESS,
    NOISE_SD,
    OWN_SD,
    Work,
    design_order,
    expected,
    expected_cost_s,
    together,
)
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import sizes_of
from tests.models.fixtures import board


def work(kinds, channels, ns):
    columns = {"channels": np.array(channels, dtype=float), "height": np.full(len(kinds), 7.0)}
    return Work(np.array(kinds), columns, np.array(ns, dtype=float))


def remaining_variance(measured, targets):
    """Σ share · variance of the targets after measuring, by the textbook's formula for Gaussian processes."""

    def covariance(one, two):
        places = [np.log1p(np.column_stack([part.sizes["channels"], part.sizes["height"]])) for part in (one, two)]
        apart = ((places[0][:, None] - places[1][None]) ** 2).mean(axis=2)
        same = one.kinds[:, None] == two.kinds[None]
        return np.where(same, KIND_SD**2 + OWN_SD**2 * np.exp(-apart / (2 * LIKENESS**2)), 0)

    between = covariance(targets, measured)
    own = covariance(measured, measured) + NOISE_SD**2 * np.eye(len(measured.ns))
    left = covariance(targets, targets) - between @ np.linalg.solve(own, between.T)
    return targets.ns / targets.ns.sum() @ np.diag(left)


def test_each_step_takes_what_brute_force_finds_best():
    rng = np.random.default_rng(1)
    kinds = ["convolution", "relu", "pooling"]
    candidates = work(rng.choice(kinds, 12), rng.integers(1, 500, 12), rng.uniform(1e5, 1e7, 12))
    targets = work(rng.choice(kinds, 9), rng.integers(1, 500, 9), rng.uniform(1e5, 1e7, 9))
    # Probes of three kernels each.
    probes = [np.arange(first, first + 3) for first in range(0, 12, 3)]
    cost_s = expected_cost_s(np.array([candidates.ns[rows].sum() for rows in probes]), 4)
    order = design_order([candidates.part(rows) for rows in probes], targets, cost_s)
    assert sorted(order) == list(range(4))

    def left(chosen):
        rows = np.concatenate([np.array([], dtype=int), *(probes[index] for index in chosen)])
        return remaining_variance(candidates.part(rows), targets)

    for step in range(4):
        gains = {
            index: (left(order[:step]) - left([*order[:step], index])) / cost_s[index]
            for index in range(4)
            if index not in order[:step]
        }
        assert gains[order[step]] == pytest.approx(max(gains.values()))


def one_by_one(work):
    return [work.part(np.array([row])) for row in range(len(work.ns))]


def test_kinds_that_no_network_has_come_last():
    candidates = work(["lrn", "relu", "lrn", "relu"], [8, 16, 32, 64], [1e6] * 4)
    order = design_order(one_by_one(candidates), work(["relu"], [20], [1e6]), np.ones(4))
    assert set(order[:2]) == {1, 3}


def test_of_two_alike_the_cheaper_is_measured_first():
    candidates = work(["relu", "relu"], [64, 64], [1e6, 1e6])
    assert design_order(one_by_one(candidates), work(["relu"], [64], [1e6]), np.array([2.0, 1.0]))[0] == 1


def test_networks_count_alike_however_long_they_take():
    small, large = work(["relu"], [8], [1e5]), work(["pooling", "relu"], [8, 9], [3e7, 1e7])
    assert together([small, large]).ns == pytest.approx([1, 0.75, 0.25])


def test_probes_cost_their_passes_in_every_round_and_networks_count_by_their_share():
    assert expected_cost_s(np.array([0.0, 5e8]), 3) == pytest.approx([3 * 0.02, 3 * (0.02 + 6 * 0.5)])
    rows = board(6, noise=0.0)
    parts = [rows[(rows["network"] == f"net{index}") & (rows["subject"] == "layer")] for index in (0, 1)]
    model = fit_stack(rows, "known law")
    works = [expected(model, part["kind"].to_numpy(dtype=str), sizes_of(part)) for part in parts]
    whole = together(works)
    assert whole.ns.sum() == pytest.approx(2.0) and len(whole.kinds) == len(parts[0]) + len(parts[1])
    assert whole.ns[: len(parts[0])] == pytest.approx(works[0].ns / works[0].ns.sum())
    assert (whole.sizes["channels"][len(parts[0]) :] == works[1].sizes["channels"]).all()
