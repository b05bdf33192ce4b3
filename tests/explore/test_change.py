"""Differences of two networks on one stack."""

import numpy as np
import pytest

from sitecnn.estimation.advice import Width
from sitecnn.estimation.change import change, layer_changes, rate_change, type_changes
from sitecnn.estimation.estimate import Milliseconds, estimate
from sitecnn.explore.answers import load_stacks
from sitecnn.explore.edits import applied
from sitecnn.network.caffe.reader import parse_prototxt
from tests.explore.chromium import NETWORKS

TEXT = (NETWORKS / "googlenet.prototxt").read_text()


@pytest.fixture(scope="module", params=["tx1|gpu|Caffe, CUDA 8, cuDNN|0", "rk3399|cpu|Caffe, OpenBLAS+4-threads|4"])
def stack(request, tmp_path_factory):
    return next(one for one in load_stacks(tmp_path_factory.mktemp("none")) if one.key == request.param)


@pytest.fixture(scope="module")
def networks():
    network = parse_prototxt(TEXT, "x")
    return network, parse_prototxt(applied(TEXT, Width(0.75), network), "x")


def test_the_difference_is_that_of_the_estimates_and_surer_than_both(stack, networks):
    before, after = (estimate(network, stack.board).forward_ms for network in networks)
    difference = change(*networks, stack.model, 0.9)
    assert difference.estimate == pytest.approx(after.estimate - before.estimate, rel=1e-9)
    apart = np.hypot(before.high - before.low, after.high - after.low)
    assert 0 < difference.high - difference.low < apart


def test_nothing_changed_is_nothing_at_all(stack, networks):
    same = change(networks[0], networks[0], stack.model, 0.9)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)


def test_layers_and_types_add_up_to_the_whole(stack, networks):
    whole = change(*networks, stack.model, 0.9).estimate
    layers = [one.ms for one in layer_changes(*networks, stack.model, 0.9)]
    types = type_changes(*networks, stack.model, 0.9).values()
    for parts in (layers, types):
        assert sum(ms.estimate for ms in parts) == pytest.approx(whole, rel=1e-9)


def test_a_layer_that_is_gone_gives_all_of_its_time_back(stack):
    before = parse_prototxt(TEXT, "x")
    text = TEXT.replace('type: "ReLU"', 'type: "TanH"', 1)
    after = parse_prototxt(text, "x")
    changed = [one for one in layer_changes(before, after, stack.model, 0.9) if one.ms.estimate]
    assert [one.name for one in changed] == ["conv1/relu_7x7"]


def test_the_rate_s_interval_is_that_of_simulated_times():
    generator = np.random.default_rng(0)
    shared, own = generator.normal(0, 0.03, (1, 200_000)), generator.normal(0, 0.01, (2, 200_000))
    times = np.array([[20.0], [15.0]]) * (1 + shared + own)
    z = 1.6448536
    before, after = (log_normal(one.mean(), z * one.std()) for one in times)
    gap = times[1] - times[0]
    whole = Milliseconds(gap.mean(), gap.mean() - z * gap.std(), gap.mean() + z * gap.std())
    difference = rate_change((before, after), (1, 2), whole, 0.9)
    rates = 2e3 / times[1] - 1e3 / times[0]
    assert difference.estimate == pytest.approx(rates.mean(), rel=0.01)
    assert difference.high - difference.low == pytest.approx(2 * z * rates.std(), rel=0.05)


def log_normal(mean: float, width: float) -> Milliseconds:
    return Milliseconds(mean, mean * np.exp(-width / mean), mean * np.exp(width / mean))
