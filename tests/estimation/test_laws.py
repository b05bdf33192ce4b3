"""Laws that every estimate keeps, on drawn networks, models and units."""

import itertools
from dataclasses import replace
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm, norm

from sitecnn.estimation.aggregate_variance import aggregate
from sitecnn.estimation.estimate import (
    Milliseconds,
    difference,
    estimate,
    estimate_memory,
    forward_ms,
    milliseconds,
    several_milliseconds,
)
from sitecnn.estimation.offload import Link, offload
from sitecnn.estimation.placement import Copy, measured_copy, place
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import EXTRAPOLATION_SD, KindModel, estimate_kernels
from sitecnn.models.lookup import free_bytes
from sitecnn.network import parse_prototxt, write_prototxt
from sitecnn.workload.memory import memory
from tests.estimation.fixtures import board_model, kind_model, random_network, stack_model

seeds = st.integers(0, 2**32 - 1)
a_few = settings(max_examples=25, deadline=None, derandomize=True)


def drawn(seed, layers=8):
    return random_network(np.random.default_rng(seed), layers)


def slower(stack, factor):
    """The stack with every ns `factor` times as long: as if its clock had another unit."""

    def kind(fitted):
        return replace(
            fitted,
            coefficients_ns=tuple(factor * one for one in fitted.coefficients_ns),
            standard_errors_ns=tuple(factor * one for one in fitted.standard_errors_ns),
            covariance=tuple(tuple(factor**2 * one for one in row) for row in fitted.covariance),
        )

    kinds = {name: kind(fitted) for name, fitted in stack.kinds.items()}
    least_ns = {name: factor * ns for name, ns in stack.least_ns.items()}
    return replace(stack, kinds=kinds, least_ns=least_ns, layer_overhead_ns=factor * stack.layer_overhead_ns)


@a_few
@given(seeds, st.floats(1e-3, 1e3), st.floats(-3e4, 3e4))
def test_estimates_scale_with_their_unit(seed, factor, overhead_ns):
    stack = replace(stack_model("gpu"), layer_overhead_ns=overhead_ns, least_ns={"mac": 0.004, "element": 0.2})
    network = drawn(seed)
    one, other = (estimate(network, board_model("gpu", stacks=[model])) for model in (stack, slower(stack, factor)))
    times = ([estimated.forward_ms, *(layer.ms for layer in estimated.layers)] for estimated in (one, other))
    for before, after in zip(*times, strict=True):
        scaled = [factor * bound for bound in (before.estimate, before.low, before.high)]
        assert (after.estimate, after.low, after.high) == pytest.approx(tuple(scaled), rel=1e-9)


@a_few
@given(seeds, st.floats(0.5, 1.5), st.floats(-1e6, 1e6))
def test_a_pass_is_its_layers_and_what_lies_between_them(seed, ratio, overhead_ns):
    """Never less than half of a layer may lie between layers, however much their timer took."""
    stack = replace(stack_model("cpu"), forward_ratio=ratio, layer_overhead_ns=overhead_ns)
    network = drawn(seed)
    alone = estimate(network, board_model("cpu", stacks=[stack])).layers
    between = [max(overhead_ns / 1e6, -layer.ms.estimate / 2) for layer in alone]
    expected = ratio * sum(layer.ms.estimate for layer in alone) + sum(between)
    assert forward_ms(network, stack).estimate == pytest.approx(expected, rel=1e-9)
    assert estimate(network, board_model("cpu", stacks=[stack])).forward_ms.estimate == pytest.approx(expected)


@a_few
@given(seeds)
def test_a_layer_takes_its_kernels_and_no_less_than_physics(seed):
    stack = stack_model("cpu")
    network = drawn(seed)
    floored = replace(stack, least_ns={"mac": 1e3, "element": 1e3})
    work = work_of(network, floored)
    ns = estimate_kernels(floored, work.kinds, work.sizes).ns
    free = estimate_kernels(stack, work.kinds, work.sizes).ns
    assert (ns >= free).all()
    assert (ns[work.kinds == "convolution"] >= 1e3 * work.sizes["out_elements"][work.kinds == "convolution"]).all()


@a_few
@given(seeds, st.sampled_from(["cpu", "gpu"]))
def test_adding_a_layer_never_lowers_memory_nor_time(seed, processor):
    network, stack = drawn(seed, 10), stack_model(processor)
    prefixes = [replace(network, layers=network.layers[:count]) for count in range(1, len(network.layers) + 1)]
    totals = [estimate_memory(one, stack, processor) for one in prefixes]
    for fewer, more in itertools.pairwise(totals):
        for part in ("weights", "data", "workspace", "total", "zero_copy_saving"):
            assert getattr(fewer, part) <= getattr(more, part)
    times = [forward_ms(one, stack).estimate for one in prefixes]
    # Sums of as many numbers in another order differ in their last digits.
    assert all(fewer <= more * (1 + 1e-12) for fewer, more in itertools.pairwise(times))


@a_few
@given(seeds, st.integers(2, 9))
def test_memory_grows_with_the_batch_by_what_each_image_holds(seed, batch):
    """All that layers hold but weights and im2col columns is there once for each image."""
    rng = np.random.default_rng(seed)
    one = memory(random_network(rng, 8))
    many = memory(resized(seed, batch))
    assert many.weights_bytes == one.weights_bytes
    assert many.workspace_bytes == one.workspace_bytes
    assert many.data_bytes == batch * one.data_bytes
    held = one.touched_bytes - one.weights_bytes - one.workspace_bytes
    assert many.touched_bytes - many.weights_bytes - many.workspace_bytes == batch * held


def resized(seed, batch):
    """The network of that seed at so many images."""
    text = write_prototxt(drawn(seed))
    return parse_prototxt(text, "many", batch=batch)


@a_few
@given(seeds, st.floats(0, 1e6), st.floats(0, 10), st.floats(0.2, 5))
def test_no_placement_is_worse_than_either_processor_alone(seed, call_ns, ns_per_byte, speed):
    network = drawn(seed, 10)
    cpu, gpu = board_model("cpu"), board_model("gpu", stacks=[stack_model("gpu", speed=speed)])
    placement = place(network, cpu, gpu, Copy(call_ns, ns_per_byte))
    alone = [forward_ms(network, one.stacks[0]).estimate for one in (cpu, gpu)]
    assert placement.all_cpu_ms == pytest.approx(alone[0])
    assert placement.all_gpu_ms >= alone[1] * (1 - 1e-9)  # with the copies of image and result
    assert placement.placed_ms.estimate <= min(placement.all_cpu_ms, placement.all_gpu_ms) * (1 + 1e-9)
    assert placement.gain_over_cpu_ms.estimate == pytest.approx(
        placement.all_cpu_ms - placement.placed_ms.estimate, abs=1e-9
    )
    assert placement.gain_over_gpu_ms.estimate == pytest.approx(
        placement.all_gpu_ms - placement.placed_ms.estimate, abs=1e-9
    )
    assert 0 <= placement.copies_ms <= placement.placed_ms.estimate * (1 + 1e-9)


@a_few
@given(seeds, st.floats(0.1, 1e4), st.floats(0, 100))
def test_no_split_is_worse_than_the_board_alone_and_a_faster_link_is_no_worse(seed, megabits_per_s, round_trip_ms):
    network = drawn(seed, 10)
    board, server = board_model("cpu"), board_model("gpu", stacks=[stack_model("gpu", speed=20)])
    offloaded = offload(network, board, server, Link(megabits_per_s, round_trip_ms))
    alone = forward_ms(network, board.stacks[0]).estimate
    assert offloaded.total_ms.estimate <= alone * (1 + 1e-9)
    assert offloaded.gain_ms.estimate == pytest.approx(alone - offloaded.total_ms.estimate, abs=1e-9)
    faster = offload(network, board, server, Link(2 * megabits_per_s, round_trip_ms))
    assert faster.total_ms.estimate <= offloaded.total_ms.estimate * (1 + 1e-9)


def test_a_copy_is_a_call_and_an_element_read_and_written_for_each_four_bytes():
    costs = {"calls": 7000.0, "in_elements": 0.5, "out_elements": 0.3}
    copy = KindModel(
        tuple(costs), tuple(costs), tuple(costs.values()), (0.0,) * 3, ((0.0,) * 3,) * 3, 0.05, ((0.0, 1.0),) * 3, 9
    )
    stack = stack_model("gpu")
    assert measured_copy(stack) is None
    fitted = measured_copy(replace(stack, kinds={**stack.kinds, "copy": copy}))
    assert (fitted.call_ns, fitted.ns_per_byte) == pytest.approx((7000.0, 0.2))
    assert fitted.ns(1000) == pytest.approx(7200.0)
    network = drawn(1)
    model = board_model("gpu", stacks=[replace(stack, kinds={**stack.kinds, "copy": copy})])
    assert place(network, board_model("cpu"), model).copy == fitted
    assert place(network, board_model("cpu"), board_model("gpu")).copy == Copy(0.0, 0.0)


@given(st.floats(1e3, 1e10), st.floats(1e-3, 1.0), st.floats(0.05, 0.99), st.floats(0.3, 3.0))
def test_the_chance_to_keep_a_limit_is_the_log_normals(ns, relative_sd, level, factor):
    interval = milliseconds(ns, relative_sd * ns, level)
    expected = lognorm.cdf(factor * ns / 1e6, s=relative_sd, scale=ns / 1e6)
    assert interval.chance_below(factor * ns / 1e6, level) == pytest.approx(expected, abs=1e-6)


def test_a_time_without_an_interval_keeps_a_limit_or_does_not():
    sure = Milliseconds(2.0, 2.0, 2.0)
    assert [sure.chance_below(limit, 0.9) for limit in (1.9, 2.0, 2.1, 0.0, -1.0)] == [0, 1, 1, 0, 0]
    assert Milliseconds(0.0, 0.0, 5.0).chance_below(1.0, 0.9) == 1.0


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.floats(0.05, 0.99))
def test_a_gain_has_the_central_interval_of_a_normal_distribution(ns, sd_ns, level):
    interval = difference(ns, sd_ns, level)
    width = norm.ppf(0.5 + level / 2) * sd_ns
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(
        (ns / 1e6, (ns - width) / 1e6, (ns + width) / 1e6), abs=1e-6
    )


def test_several_times_are_each_as_alone():
    ns, sd_ns = np.array([1e6, 2e6, 0.0]), np.array([1e5, 1e6, 3e3])
    assert several_milliseconds(ns, sd_ns, 0.8) == [
        milliseconds(float(one), float(sd), 0.8) for one, sd in zip(ns, sd_ns, strict=True)
    ]


def guesses(stack, *kinds):
    """The stack with kinds of which too little was timed to know them."""
    return replace(
        stack, kinds={name: replace(one, rows=0) if name in kinds else one for name, one in stack.kinds.items()}
    )


def test_kernels_that_are_guessed_are_wrong_together_and_others_apart():
    """n equal kernels of a relative scatter s: s/√n of the sum where it is each one's own, s where it is the kind's."""
    exact = replace(kind_model("relu", {"elements": 1.0}, relative_sd=0.2), covariance=((0.0,) * 3,) * 3)
    size = len(exact.features)
    exact = replace(exact, covariance=((0.0,) * size,) * size)
    stack = replace(
        stack_model("cpu"), forward_ratio=1.0, forward_ratio_sd=0.0, unexplained_sd={"layer": 0.0, "network": 0.0}
    )
    stack = replace(stack, kinds={**stack.kinds, "relu": exact})
    count = 16
    work = work_of(drawn(3), stack)
    sizes = {name: np.full(count, 1000.0) for name in work.sizes}
    kinds, group = np.full(count, "relu"), np.zeros(count, dtype=int)
    ns, sd_ns = aggregate(stack, kinds, sizes, group, 1)
    assert sd_ns[0] / ns[0] == pytest.approx(0.2 / np.sqrt(count))
    known = estimate_kernels(stack, kinds, sizes)
    assert known.total_sd_ns / known.ns.sum() == pytest.approx(0.2 / np.sqrt(count))
    _, guessed = aggregate(guesses(stack, "relu"), kinds, sizes, group, 1)
    # Off by a factor: the standard deviation of a log-normal with s = 0.2.
    assert guessed[0] / ns[0] == pytest.approx(np.sqrt(exp(0.04) * (exp(0.04) - 1)))
    unknown = estimate_kernels(guesses(stack, "relu"), kinds, sizes)
    assert unknown.total_sd_ns / unknown.ns.sum() == pytest.approx(guessed[0] / ns[0])
    assert not unknown.modelled.any() and unknown.extrapolated.all()
    # In two sums, and with weights.
    halves, half_sd = aggregate(stack, kinds, sizes, np.arange(count) % 2, 2, np.full(count, -0.5))
    assert halves == pytest.approx([-ns[0] / 4] * 2)
    assert half_sd == pytest.approx([0.2 * ns[0] / 4 / np.sqrt(count / 2)] * 2)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, -1.0), (1.0, -0.25)])
def test_what_is_unknown_beyond_the_sizes_that_were_seen_is_one_error_of_all(weights):
    """Work a hundred times what was seen: so much for each e-fold, and as far as weights differ it cancels."""
    kind = kind_model("relu", {"elements": 1.0, "calls": 0.0}, relative_sd=0.0)
    kind = replace(kind, seen=tuple((0.0, 10.0) for _ in kind.seen))
    stack = replace(stack_model("cpu"), forward_ratio=1.0, forward_ratio_sd=0.0, kinds={"relu": kind})
    stack = replace(stack, unexplained_sd={"layer": 0.0, "network": 0.0})
    sizes = {name: np.full(2, 1000.0) for name in work_of(drawn(3), stack_model("cpu")).sizes}
    _, sd_ns = aggregate(stack, np.full(2, "relu"), sizes, np.zeros(2, dtype=int), 1, np.array(weights))
    alone = estimate_kernels(stack, np.full(2, "relu"), sizes).ns[0]
    assert sd_ns[0] == pytest.approx(EXTRAPOLATION_SD * np.log(100) * alone * abs(sum(weights)))
    # Coefficients of which nothing is known: an error of all that is added or taken away, at most.
    unknown = replace(stack, kinds={"relu": replace(kind, covariance=tuple(map(tuple, 1e9 * np.eye(3))))})
    _, most_ns = aggregate(unknown, np.full(2, "relu"), sizes, np.zeros(2, dtype=int), 1, np.array(weights))
    assert most_ns[0] == pytest.approx(alone * sum(map(abs, weights)) if sum(weights) else 0.0)


def test_what_a_board_leaves_free_is_what_its_model_says():
    assert free_bytes(board_model("cpu")) is None
    assert free_bytes(board_model("cpu", free_bytes=3.0 * 2**30)) == 3 << 30
    assert free_bytes(board_model("cpu", free_bytes="much")) is None
