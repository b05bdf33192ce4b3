"""Intervals against SciPy's log-normal distribution; the ranks behind them against conformal prediction."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import lognorm, norm

from sitecnn.models.board_model import WIDEST_SD, interval, with_unexplained, within_pass_ns
from sitecnn.models.calibrate import LEVEL, NORMAL, HeldOut, _of_layers, _of_networks
from sitecnn.models.priors import SHIPPED_PRIORS

times_ns = st.floats(1e3, 1e12)
relative_sds = st.floats(1e-3, 1.0)
levels = st.floats(0.01, 0.99)


@given(times_ns, relative_sds, levels)
def test_an_interval_is_the_central_one_of_a_log_normal_distribution(estimate, relative_sd, level):
    low, high = interval(estimate, relative_sd * estimate, level)
    expected = lognorm.interval(level, s=relative_sd, scale=estimate)
    assert (float(low), float(high)) == pytest.approx(expected, rel=1e-6)


@given(times_ns, relative_sds, levels)
def test_an_interval_is_symmetric_in_logarithms(estimate, relative_sd, level):
    low, high = interval(estimate, relative_sd * estimate, level)
    assert high / estimate == pytest.approx(estimate / low, rel=1e-9)


@given(times_ns, relative_sds, st.floats(1.01, 3.0), levels)
def test_an_interval_widens_with_the_standard_error(estimate, relative_sd, factor, level):
    narrow = interval(estimate, relative_sd * estimate, level)
    wide = interval(estimate, factor * relative_sd * estimate, level)
    assert wide[0] < narrow[0] < estimate < narrow[1] < wide[1]


@given(times_ns, relative_sds, st.floats(0.05, 0.9))
def test_an_interval_widens_with_its_level(estimate, relative_sd, level):
    narrow = interval(estimate, relative_sd * estimate, level)
    wide = interval(estimate, relative_sd * estimate, level + 0.05)
    assert wide[0] < narrow[0] and narrow[1] < wide[1]


@given(times_ns, relative_sds, levels, st.floats(1e-3, 1e3))
def test_an_interval_scales_with_its_unit(estimate, relative_sd, level, unit):
    bounds = np.array(interval(estimate, relative_sd * estimate, level))
    assert interval(unit * estimate, unit * relative_sd * estimate, level) == pytest.approx(unit * bounds, rel=1e-9)


def test_nine_in_ten_draws_lie_in_a_90_percent_interval():
    draws = 5.0 * np.exp(np.random.default_rng(1).normal(0, 0.3, 100_000))
    low, high = interval(5.0, 1.5, 0.9)
    assert np.mean((draws >= low) & (draws <= high)) == pytest.approx(0.9, abs=0.005)
    assert np.mean(draws > high) == pytest.approx(0.05, abs=0.004)


def test_a_time_of_nothing_has_an_interval_from_zero_to_its_standard_errors():
    low, high = interval(0.0, 2.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((0.0, 2.0 * norm.ppf(0.95)))


def test_unexplained_errors_add_as_squares_and_computed_ones_are_bounded():
    model = SimpleNamespace(unexplained_sd={"network": 0.04, "layer": 0.2})
    assert with_unexplained(model, "network", 3.0**2, 100.0) == pytest.approx(3.0**2 + 4.0**2)
    assert with_unexplained(model, "layer", 0.0, 100.0) == pytest.approx(20.0**2)
    assert with_unexplained(model, "network", 1e9, 100.0) == pytest.approx((WIDEST_SD * 100) ** 2 + 4.0**2)


def test_a_layer_within_a_pass_takes_its_share_and_never_less_than_half():
    model = SimpleNamespace(forward_ratio=0.9, layer_overhead_ns=-30.0)
    assert within_pass_ns(model, np.array([1000.0, 40.0])) == pytest.approx([870.0, 16.0])


def network_case(name, error, sd=0.0):
    """A network measured exp(error) times as slow as estimated, whose estimate has a relative standard error."""
    estimate = SimpleNamespace(forward_ns=1e6, forward_sd_ns=sd * 1e6)
    return HeldOut(name, 1, pd.DataFrame(), 1e6 * float(np.exp(error)), estimate)


@pytest.mark.parametrize("networks", [9, 10, 11, 18, 19, 20, 29])
def test_the_error_added_is_that_of_the_rank_that_holds_one_network_more(networks):
    """With n exchangeable networks the k-th smallest error holds a further one with k/(n + 1) (Vovk et al. 2005)."""
    errors = 0.01 * np.random.default_rng(networks).permutation(np.arange(1, networks + 1))
    unexplained_sd = _of_networks(
        [network_case(f"net{index}", error) for index, error in enumerate(errors)], SHIPPED_PRIORS
    )
    assert unexplained_sd * NORMAL == pytest.approx(0.01 * LEVEL * (networks + 1), rel=1e-9)


@pytest.mark.parametrize("networks", [2, 3, 5, 8, 12, 18])
@pytest.mark.parametrize("known_sd", [0.0, 0.03])
def test_nine_in_ten_further_networks_are_held_where_boards_differ_as_is_known(networks, known_sd):
    """Each board's own error is drawn around what other boards tell; leaving one of n out shows n/(n - 1) of it."""
    rng, inside, usual = np.random.default_rng(networks), [], SHIPPED_PRIORS.number("network_sd").ns
    for own in usual * np.exp(0.5 * rng.normal(size=1500)):
        errors = rng.normal(0, np.hypot(own * np.sqrt(networks / (networks - 1)), known_sd), networks)
        cases = [network_case(f"net{index}", error, known_sd) for index, error in enumerate(errors)]
        sd = np.hypot(_of_networks(cases, SHIPPED_PRIORS), known_sd)
        inside.append(abs(rng.normal(0, np.hypot(own, known_sd))) <= NORMAL * sd)
    assert 0.88 <= np.mean(inside) <= 0.95


def test_at_least_nine_in_ten_further_networks_are_held():
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(2000):
        *errors, further = rng.standard_t(3, 11) * 0.05
        unexplained_sd = _of_networks(
            [network_case(f"net{index}", error) for index, error in enumerate(errors)], SHIPPED_PRIORS
        )
        inside.append(abs(further) <= NORMAL * unexplained_sd)
    assert 0.89 <= np.mean(inside) <= 0.93  # 10/11 for ten networks


def test_what_standard_errors_explain_is_not_added_again():
    cases = [network_case(f"net{index}", 0.05, sd=1.0) for index in range(10)]
    assert _of_networks(cases, SHIPPED_PRIORS) == 0.0
    cases = [network_case(f"net{index}", 0.05 * NORMAL, sd=0.03) for index in range(10)]
    assert _of_networks(cases, SHIPPED_PRIORS) == pytest.approx(0.04)


def test_a_network_has_one_vote_however_many_batches_it_has():
    batches = [network_case("loud", error) for error in (0.5, 0.4, 0.3)]
    quiet = [network_case(f"net{index}", 0.01) for index in range(18)]
    assert _of_networks([*batches, *quiet], SHIPPED_PRIORS) * NORMAL == pytest.approx(0.01)


def test_layers_vote_by_their_time():
    """90 % of the time is one layer that is off by 2 %; the rest is off by 50 %."""
    layers = pd.DataFrame({"median_ns": [920.0, 40.0, 40.0]})
    estimates = SimpleNamespace(
        ns=np.array([920.0 / np.exp(0.02), 40 / np.exp(0.5), 40 / np.exp(0.5)]), sd_ns=np.zeros(3)
    )
    case = HeldOut("net", 1, layers, 1000.0, SimpleNamespace(layers=estimates))
    assert _of_layers([case]) * NORMAL == pytest.approx(0.02, rel=1e-9)
    slower = HeldOut("net", 1, layers.assign(median_ns=[880.0, 60.0, 60.0]), 1000.0, SimpleNamespace(layers=estimates))
    assert _of_layers([slower]) * NORMAL > 0.3
