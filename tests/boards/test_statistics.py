"""The agent's order statistics and stopping rules against SciPy's distributions and simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from sitecnn.boards.agent.samples import (
    FEWEST_IN_TIME,
    FEWEST_SAMPLES,
    KERNEL_SECONDS,
    MOST_SAMPLES,
    MOST_WARM_UP,
    UNSTABLE_PRECISION,
    WANTED_PRECISION,
    WARM_UP_AGREEMENT,
    measured,
    median,
    median_interval,
    precision,
    stop_reason,
    summary,
    warm_up,
)


@pytest.mark.parametrize("count", range(1, 201))
def test_the_ranks_of_the_medians_interval_are_scipys(count):
    """The k-th and the k-th last of n samples miss the median with 2·P(Binomial(n, ½) < k); 0 is the first."""
    first = max(int(binom.ppf(0.025, count, 0.5)), 1)
    assert 2 * binom.cdf(first - 1, count, 0.5) <= 0.05 or first == 1
    assert median_interval(range(count)) == (first - 1, count - first)


def test_nineteen_in_twenty_intervals_hold_the_median_of_a_skewed_distribution():
    rng = np.random.default_rng(24)
    for count in (9, 20, 60):
        draws = rng.lognormal(0, 0.5, (4000, count))
        bounds = np.array([median_interval(one) for one in draws.tolist()])
        held = np.mean((bounds[:, 0] <= 1) & (bounds[:, 1] >= 1))
        exact = 1 - 2 * binom.cdf(max(int(binom.ppf(0.025, count, 0.5)), 1) - 1, count, 0.5)
        assert exact >= 0.95
        assert held == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / len(draws)))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 16, 41])
def test_a_summary_is_numpys_of_the_same_samples_in_any_order(count):
    samples = np.random.default_rng(count).lognormal(10, 0.2, count)
    summed = summary(samples.tolist())
    assert summed == summary(sorted(samples.tolist(), reverse=True))
    assert summed["median_ns"] == pytest.approx(np.median(samples)) == median(samples.tolist())
    assert (summed["low_ns"], summed["high_ns"]) == median_interval(samples.tolist())
    lower, upper = (np.quantile(samples, share, method="inverted_cdf") for share in (0.25, 0.75))
    widest, narrowest = np.ptp(samples) / 2, 0.0
    assert narrowest <= summed["spread_ns"] <= widest
    if count == 41:  # where quartiles are samples: the 11th and the 31st
        assert summed["spread_ns"] == pytest.approx((upper - lower) / 2)


def test_precision_is_half_the_interval_against_the_median():
    assert precision([90.0, 95.0, 100.0, 105.0, 130.0]) == pytest.approx((130 - 90) / 2 / 100)
    assert precision([80.0] + [100.0] * 7 + [140.0]) == 0.0


def around(half_width, count=FEWEST_SAMPLES):
    """Samples whose median is 1000 and known to `half_width` of it."""
    low, high = 1000 * (1 - half_width), 1000 * (1 + half_width)
    samples = [low] * 4 + [1000.0] * (count - 8) + [high] * 4
    assert precision(samples) == pytest.approx(half_width)
    return samples


def test_sampling_ends_at_a_median_known_to_the_precision_wanted_and_not_before():
    assert stop_reason(around(0.99 * WANTED_PRECISION), 0.0) == "noise"
    assert stop_reason(around(1.01 * WANTED_PRECISION), 0.0) is None
    assert stop_reason([1000.0] * (FEWEST_SAMPLES - 1), 0.0) is None


def test_sampling_ends_when_patience_or_time_is_over_and_not_before():
    doubtful = around(0.3)
    assert stop_reason((doubtful * 8)[:MOST_SAMPLES], 0.0) == "count"
    assert stop_reason((doubtful * 8)[: MOST_SAMPLES - 1], 0.0) is None
    late = 1.01 * KERNEL_SECONDS
    assert stop_reason([1.0, 2.0, 3.0, 4.0, 5.0][:FEWEST_IN_TIME], late) == "time"
    assert stop_reason([1.0, 2.0, 3.0, 4.0, 5.0][: FEWEST_IN_TIME - 1], late) is None
    assert stop_reason(doubtful, KERNEL_SECONDS) is None


def test_a_median_is_unstable_beyond_the_precision_that_is_kept():
    steady, unsteady = (measured(around(share * UNSTABLE_PRECISION), "time", iterations=3) for share in (0.99, 1.01))
    assert (steady["status"], steady["reason"], steady["iterations"]) == ("ok", "", 3)
    assert (unsteady["status"], unsteady["stop"]) == ("unstable", "time")
    assert unsteady["reason"] == "the median of 9 samples is known to 10 % only"
    assert unsteady["samples_ns"] == around(1.01 * UNSTABLE_PRECISION)


@pytest.mark.parametrize(
    ("samples", "forgotten"),
    [
        ([1000.0, 1000 * (1 + WARM_UP_AGREEMENT)], 2),
        ([1000.0, 1000 * (1 - WARM_UP_AGREEMENT)], 2),
        ([1000.0, 1001 * (1 + WARM_UP_AGREEMENT), 1000.0, 1000.0], 3),
        ([2.0**-power for power in range(MOST_WARM_UP)], MOST_WARM_UP),
    ],
)
def test_warming_up_ends_at_the_first_two_that_agree(samples, forgotten):
    turns = iter(samples)
    assert warm_up(lambda: next(turns)) == forgotten


def test_more_samples_know_the_median_better_as_the_root_of_their_number():
    """The median's standard error is √(π/2)·σ/√n for normal samples, its 95 % interval ±1.96 of it."""
    rng = np.random.default_rng(7)
    for count in (200, 800):
        mean = np.mean([precision(rng.normal(1000, 50, count).tolist()) for _ in range(200)])
        assert mean == pytest.approx(1.96 * np.sqrt(np.pi / 2) * 0.05 / np.sqrt(count), rel=0.1)
