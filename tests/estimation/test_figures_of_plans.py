"""Each figure of splits, placements, goals and images made smaller, against its definition."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

import sitecnn
from sitecnn.estimation.advice import Advice, advise
from sitecnn.estimation.budget_check import Budget
from sitecnn.estimation.dataflow import HOST, dataflow
from sitecnn.estimation.estimate import Milliseconds, forward_ms, milliseconds
from sitecnn.estimation.goal import Effort, reaching
from sitecnn.estimation.offload import Link, by_bandwidth
from sitecnn.estimation.placement import ZERO_COPY, Copy, place
from sitecnn.estimation.variants import image_sizes, narrower, smaller, why_no_smaller_images
from sitecnn.network import parse_prototxt
from tests.estimation.fixtures import NETWORKS, board_model, board_of, bounds, pass_sd_ns, stack_model
from tests.estimation.test_gains import at_inputs, context, exact, half, small

ALEXNET = NETWORKS / "alexnet.prototxt"


def test_a_split_is_as_unsure_as_what_runs_where():
    """All on the board: its pass. All on the server: the server's and a link that is exact, against the board's."""
    network = small(1, 64)
    board, server = board_model("cpu"), board_of(stack_model("gpu", speed=50), "gpu")
    alone = sitecnn.offload(network, board, server, Link(1e-3, 1000), level=0.8)
    assert bounds(alone.total_ms) == pytest.approx(bounds(forward_ms(network, board.stacks[0], 0.8)))
    assert bounds(alone.gain_ms) == pytest.approx((0, 0, 0), abs=1e-9)
    away = sitecnn.offload(network, board, server, Link(1e9, 0), level=0.8)
    assert not any(away.best.on_board)
    here_sd, there_sd = pass_sd_ns(network, board.stacks[0]), pass_sd_ns(network, server.stacks[0])
    assert bounds(away.total_ms) == pytest.approx(bounds(milliseconds(away.best.total_ms * 1e6, there_sd, 0.8)))
    width = norm.ppf(0.9) * np.hypot(here_sd, there_sd) / 1e6
    gain = forward_ms(network, board.stacks[0]).estimate - away.best.total_ms
    assert bounds(away.gain_ms) == pytest.approx((gain, gain - width, gain + width))


def test_each_depth_is_after_the_last_of_its_layers():
    network = sitecnn.load_network(ALEXNET)
    depths = sitecnn.offload(network, board_model("cpu"), board_model("gpu"), Link(50, 5)).to_dict()["by_depth"]
    names = ["", *(layer.name for layer in network.layers)]
    assert [names.index(one["after"]) for one in depths] == [one["layers_on_board"] for one in depths]
    for one in depths:
        assert one["total_ms"] == pytest.approx(one["board_ms"] + one["link_ms"] + one["server_ms"])


def test_bandwidths_are_tried_with_the_links_own_round_trip():
    network = small(1, 64)
    board, server = board_model("cpu"), board_of(stack_model("gpu", speed=1e6), "gpu")
    board = half(board, "convolution", factor=1000)
    curve = by_bandwidth(network, board, server, Link(1, 7), [100, 1e4])
    for rate, split in zip((100, 1e4), curve, strict=True):
        assert split.leaves_board
        assert split.link_ns == pytest.approx(7e6 + (split.sent_bytes + split.returned_bytes) * 8 / (rate * 1e6) * 1e9)


def test_a_placement_on_one_processor_is_its_pass_with_the_copies_of_image_and_result():
    network, copy = small(1, 64), Copy(1000, 0.5)
    cpu = board_model("cpu")
    fast, slow = board_of(stack_model("gpu", speed=1e4), "gpu"), board_of(stack_model("gpu", speed=1e-4), "gpu")
    cpu_sd = pass_sd_ns(network, cpu.stacks[0])
    there = place(network, cpu, fast, copy, level=0.8)
    image, answer = 4 * 3 * 64 * 64, 4 * 10
    assert all(there.on_gpu[1:]) and there.copies == 2
    assert there.copies_ms == pytest.approx((2 * 1000 + 0.5 * (image + answer)) / 1e6)
    gpu_sd = pass_sd_ns(network, fast.stacks[0])
    total = forward_ms(network, fast.stacks[0]).estimate + there.copies_ms
    assert bounds(there.placed_ms) == pytest.approx(bounds(milliseconds(total * 1e6, gpu_sd, 0.8)), rel=1e-6)
    width = norm.ppf(0.9) * np.hypot(cpu_sd, gpu_sd) / 1e6
    gain = there.all_cpu_ms - total
    assert bounds(there.gain_over_cpu_ms) == pytest.approx((gain, gain - width, gain + width), rel=1e-6)
    assert bounds(there.gain_over_gpu_ms) == pytest.approx((0, 0, 0), abs=1e-6)
    here = place(network, cpu, slow, copy, level=0.8)
    assert not any(here.on_gpu) and (here.copies, here.copies_ms) == (0, 0)
    assert bounds(here.placed_ms) == pytest.approx(bounds(forward_ms(network, cpu.stacks[0], 0.8)))
    width = norm.ppf(0.9) * np.hypot(cpu_sd, pass_sd_ns(network, slow.stacks[0])) / 1e6
    assert here.gain_over_gpu_ms.high - here.gain_over_gpu_ms.estimate == pytest.approx(width)
    assert bounds(here.gain_over_cpu_ms) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_mixed_placement_is_as_unsure_as_the_layers_on_either_side_and_gains_by_those_that_move():
    network = small(1, 64)
    cpu, gpu = board_model("cpu"), half(board_model("gpu"), "inner_product", factor=300)
    placed = place(network, cpu, gpu, ZERO_COPY, level=0.8)
    sd = {}
    for name, board in (("cpu", cpu), ("gpu", gpu)):
        for there in (False, True):
            layers = tuple(one for one, on in zip(network.layers, placed.on_gpu, strict=True) if on == there)
            assert layers
            sd[name, there] = pass_sd_ns(replace(network, layers=layers), board.stacks[0])
    total = placed.placed_ms.estimate * 1e6
    mixed = np.hypot(sd["cpu", False], sd["gpu", True])
    assert bounds(placed.placed_ms) == pytest.approx(bounds(milliseconds(total, mixed, 0.8)))
    for gain, there in ((placed.gain_over_cpu_ms, True), (placed.gain_over_gpu_ms, False)):
        width = norm.ppf(0.9) * np.hypot(sd["cpu", there], sd["gpu", there]) / 1e6
        assert gain.high - gain.low == pytest.approx(2 * width)


@pytest.mark.parametrize(("gain", "worthwhile"), [(0.019, False), (0.021, True)])
def test_a_gain_of_two_percent_over_the_better_processor_is_worthwhile(gain, worthwhile):
    """Some kinds are faster over there by so much of the whole pass, another is slower."""
    network = sitecnn.load_network(ALEXNET)
    stack = exact(stack_model("cpu"))
    layers = sitecnn.estimate(network, board_of(stack)).layers
    faster = sum(one.ms.estimate for one in layers if one.type in ("LRN", "Pooling", "ReLU"))
    share = faster / sum(one.ms.estimate for one in layers)
    assert share > 0.022
    other = half(board_of(stack, "gpu"), "lrn", "pooling", "relu", factor=1 - gain / share)
    other = half(other, "inner_product", factor=10)
    placed = place(network, board_of(stack), other, ZERO_COPY)
    assert placed.gain_over_cpu_ms.estimate == pytest.approx(gain * placed.all_cpu_ms)
    assert placed.gain_over_cpu_ms.low > 0 and placed.worthwhile == worthwhile


def test_a_gain_is_sure_where_its_whole_interval_is_one():
    assert [Advice("batch", "", Milliseconds(1, low, 2), None, "").is_sure for low in (-0.1, 0.1)] == [False, True]
    assert Advice("batch", "", None, 5, "").is_sure


def test_sure_gains_come_before_doubtful_ones_and_larger_before_smaller():
    """A stack that takes half as long, give or take more than that, gains most and perhaps nothing."""
    doubtful = replace(stack_model("cpu", "doubtful", 2, speed=2), unexplained_sd={"layer": 0.1, "network": 1.2})
    now = context(small(2, 64))
    now = replace(now, board=replace(now.board, stacks=(*now.board.stacks, doubtful)))
    gains = [(one.is_sure, one.gain_ms.estimate) for one in advise(now) if one.gain_ms]
    assert gains == sorted(gains, reverse=True)
    assert max(gain for sure, gain in gains if not sure) > max(gain for sure, gain in gains if sure) > 0


def test_what_comes_nearest_to_a_throughput_makes_the_most_images_a_second():
    now = context(small(2, 64), at_inputs=at_inputs, at_batch=lambda images: small(images, 64))
    changes, nearest = reaching(now, Budget(images_per_second=1e12))
    tried = [small(batch, 64) for batch in (4, 8, 16, 32)]
    tried += [network for _, network in smaller(now.network, at_inputs)]
    tried += [narrower(now.network, share) for share in (0.9, 0.75, 0.5, 0.35, 0.25)]
    most = max(network.batch / forward_ms(network, now.model).estimate for network in tried)
    assert changes == [] and nearest.images / nearest.forward_ms.estimate == pytest.approx(most)


def test_two_changes_together_ask_for_the_greater_effort():
    faster = stack_model("cpu", "fast", 4, speed=1.5)
    now = context(small(2, 64))
    now = replace(now, board=replace(now.board, stacks=(*now.board.stacks, faster)))
    least = forward_ms(narrower(now.network, 0.25), now.model).estimate
    changes, _ = reaching(now, Budget(ms=0.9 * least))
    assert changes and {one.effort for one in changes} == {Effort.WIDTH}
    for one in changes:
        assert one.forward_ms.estimate <= 0.9 * least


def images(*shapes):
    return parse_prototxt(
        "".join(
            f'layer {{ name: "i{at}" type: "Input" top: "i{at}" input_param {{ shape {{ '
            + " ".join(f"dim: {size}" for size in shape)
            + " } } }"
            for at, shape in enumerate(shapes)
        ),
        "images",
    )


def test_images_are_made_smaller_in_steps_of_32_rows_in_their_proportions():
    sizes = dict(image_sizes(images((2, 3, 128, 64), (2, 1, 64, 64))))
    assert sizes == {
        "images of 96×48": {"i0": (2, 3, 96, 48), "i1": (2, 1, 48, 48)},
        "images of 64×32": {"i0": (2, 3, 64, 32), "i1": (2, 1, 32, 32)},
        "images of 32×16": {"i0": (2, 3, 32, 16), "i1": (2, 1, 16, 16)},
    }
    assert list(image_sizes(images((1, 3, 32, 64)))) == []
    assert [name for name, _ in image_sizes(images((1, 3, 65, 65), (1, 9)))] == ["images of 64×64", "images of 32×32"]
    assert [name for name, _ in image_sizes(images((1, 3, 33, 66)))] == ["images of 32×64"]


def test_why_images_cannot_be_smaller_is_what_the_network_says():
    network = images((1, 3, 64, 64))
    assert why_no_smaller_images(network, None) == ""
    assert why_no_smaller_images(network, lambda shapes: network) == ""

    def refuse(shapes):
        raise sitecnn.NetworkError("too small for its window")

    assert why_no_smaller_images(network, refuse) == "images of 32×32: too small for its window"


def test_values_have_their_bytes_their_maker_and_their_readers():
    """Two tops of one layer, of which one is read twice and one is a result; what only hands on is nobody's reader."""
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 6 dim: 4 dim: 4 } } }
    layer { name: "s" type: "Slice" bottom: "d" top: "a" top: "b" slice_param { slice_point: 2 } }
    layer { name: "r" type: "ReLU" bottom: "a" top: "r" }
    layer { name: "f" type: "Flatten" bottom: "r" top: "f" }
    layer { name: "p" type: "InnerProduct" bottom: "f" top: "p" inner_product_param { num_output: 5 } }
    """
    flow = dataflow(parse_prototxt(text, "n"))
    values = [(value.bytes, value.producer, value.readers) for value in flow.values]
    assert values == [
        (4 * 96, HOST, (1,)),
        (4 * 32, 1, (2,)),
        (4 * 64, 1, (HOST,)),
        (4 * 32, 2, (4,)),
        (4 * 5, 4, (HOST,)),
    ]
    assert flow.stays_with == (1, 1, 2, 2, 4) and flow.movers == (1, 2, 4)
