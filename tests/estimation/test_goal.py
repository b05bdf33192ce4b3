"""What reaches a goal, against estimates of the networks that really are so."""

import json
from dataclasses import replace

import pytest

from sitecnn import load_network
from sitecnn.cli import main
from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import AdviceContext, advise
from sitecnn.estimation.budget_check import Budget
from sitecnn.estimation.estimate import forward_ms
from sitecnn.estimation.goal import Effort, reaching
from sitecnn.estimation.variants import image_sizes, is_read_as_changed, narrower, smaller, with_batch, with_inputs
from sitecnn.network import parse_prototxt
from sitecnn.workload.kernels import layer_kernel
from sitecnn.workload.memory import memory
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, write_board

ALEXNET = NETWORKS / "alexnet.prototxt"

WIDE = """
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 2 dim: 3 dim: 64 dim: 48 }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "d" top: "c1" convolution_param {{ num_output: {a} kernel_size: 3 }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "c1" top: "c1" }}
layer {{ name: "sc" type: "Scale" bottom: "c1" top: "c1" scale_param {{ bias_term: true }} }}
layer {{ name: "r" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "dw" type: "Convolution" bottom: "c1" top: "dw"
         convolution_param {{ num_output: {a} kernel_size: 3 pad: 1 group: {a} bias_term: false }} }}
layer {{ name: "up" type: "Deconvolution" bottom: "dw" top: "up"
         convolution_param {{ num_output: {b} kernel_size: 2 stride: 2 }} }}
layer {{ name: "side" type: "Convolution" bottom: "d" top: "side"
         convolution_param {{ num_output: {b} kernel_size: 2 }} }}
layer {{ name: "p" type: "Pooling" bottom: "up" top: "p" pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "q" type: "Pooling" bottom: "side" top: "q" pooling_param {{ pool: MAX global_pooling: true }} }}
layer {{ name: "cat" type: "Concat" bottom: "p" bottom: "q" top: "cat" }}
layer {{ name: "f1" type: "InnerProduct" bottom: "cat" top: "f1" inner_product_param {{ num_output: {a} }} }}
layer {{ name: "f2" type: "InnerProduct" bottom: "f1" top: "f2" inner_product_param {{ num_output: 10 }} }}
layer {{ name: "s" type: "Softmax" bottom: "f2" top: "s" }}
"""


def at_batch(images):
    return load_network(ALEXNET, batch=images)


def at_inputs(shapes):
    return load_network(ALEXNET, inputs=shapes)


def situation(**changes):
    stack = stack_model("cpu", "one", 1)
    now = AdviceContext(
        at_batch(1), board_model("cpu", stacks=[stack]), stack, 0.9, at_batch=at_batch, at_inputs=at_inputs
    )
    return replace(now, **changes)


def now_ms(now):
    return forward_ms(now.network, now.model).estimate


@pytest.mark.parametrize(("a", "b"), [(16, 32), (64, 24)])
def test_a_narrower_network_is_the_file_with_smaller_numbers(a, b):
    wide, half = (parse_prototxt(WIDE.format(a=x, b=y), "net") for x, y in ((a, b), (a // 2, b // 2)))
    narrow = narrower(wide, 0.5)
    for one, other in zip(narrow.layers, half.layers, strict=True):
        assert (one.inputs, one.outputs, one.parameters) == (other.inputs, other.outputs, other.parameters), one.name
        assert layer_kernel(one) == layer_kernel(other)
    assert memory(narrow) == memory(half)


def test_smaller_images_are_the_file_at_that_shape():
    sizes = list(smaller(at_batch(1), at_inputs))
    assert [change for change, _ in sizes[:3]] == ["images of 224×224", "images of 192×192", "images of 160×160"]
    assert sizes[1][1].layers == load_network(ALEXNET, inputs={"data": (1, 3, 192, 192)}).layers


@pytest.mark.parametrize("name", sorted(path.stem for path in NETWORKS.glob("*.prototxt")))
def test_other_inputs_in_memory_are_the_file_read_with_them(name):
    """Equal networks where Caffe takes the images, and the same complaint where it does not."""
    path = NETWORKS / f"{name}.prototxt"
    network = load_network(path)
    assert is_read_as_changed(network)
    assert with_batch(network, 7) == load_network(path, batch=7)
    for _, shapes in image_sizes(network):
        try:
            expected = load_network(path, inputs=shapes)
        except NetworkError as error:
            with pytest.raises(NetworkError) as ours:
                with_inputs(network, shapes)
            assert str(error).endswith(str(ours.value))
        else:
            assert with_inputs(network, shapes) == expected


REGIONS = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 64 dim: 48 } } }
layer { name: "r" type: "Input" top: "r" input_param { shape { dim: 300 dim: 5 } } }
layer { name: "p" type: "ROIPooling" bottom: "d" bottom: "r" top: "p" roi_pooling_param { pooled_h: 6 pooled_w: 6 } }
"""
FORK = 'layer { name: "x" type: "Novel" bottom: "d" top: "x" }'


def test_regions_keep_their_number_at_another_batch():
    assert with_batch(parse_prototxt(REGIONS, "net"), 4) == parse_prototxt(REGIONS, "net", batch=4)
    large = 1 << 20
    with pytest.raises(NetworkError, match="Caffe's limit"):
        with_batch(parse_prototxt(WIDE.format(a=16, b=32), "net"), large)


def test_a_network_that_holds_guesses_or_onnx_is_read_again():
    assert not is_read_as_changed(parse_prototxt(REGIONS.replace('"ROIPooling"', '"Novel"'), "net"))
    assert not is_read_as_changed(parse_prototxt(WIDE.format(a=16, b=32) + FORK, "net"))
    assert not is_read_as_changed(load_network(NETWORKS / "mobilenet-v2.onnx"))


def test_every_change_keeps_the_goal_and_the_smallest_comes_first():
    now = situation(other=board_model("gpu"), copy=None)
    goal = Budget(ms=0.8 * now_ms(now))
    reached_by, nearest = reaching(now, goal)
    assert nearest is None
    assert all(one.forward_ms.estimate <= goal.limit_ms(one.images) for one in reached_by)
    assert [one.effort for one in reached_by] == sorted(one.effort for one in reached_by)
    assert {one.effort for one in reached_by} >= {Effort.PROCESSOR, Effort.IMAGES, Effort.WIDTH}


def test_of_images_and_widths_the_largest_that_reaches_the_goal_is_named():
    now = situation()
    goal = Budget(ms=0.6 * now_ms(now))
    reached_by, _ = reaching(now, goal)
    (images,) = (one for one in reached_by if one.effort == Effort.IMAGES)
    tried = {change: forward_ms(network, now.model).estimate for change, network in smaller(now.network, at_inputs)}
    assert images.change == next(change for change, ms in tried.items() if ms <= goal.ms)


def test_a_batch_of_seconds_reaches_no_thirty_images_a_second():
    """The goal is held against what the whole batch may take."""
    now = situation()
    per_second = 1.02 * 32 / forward_ms(at_batch(32), now.model).estimate * 1e3
    reached_by, _ = reaching(now, Budget(images_per_second=per_second))
    assert not any(one.change.startswith("batch") for one in reached_by)
    slightly_less, _ = reaching(now, Budget(images_per_second=0.97 * per_second))
    assert any(one.change == "batch 32" for one in slightly_less)


def test_what_nothing_reaches_alone_a_faster_stack_may_with_a_smaller_network():
    faster = stack_model("cpu", "fast", 4, speed=1.5)
    now = situation()
    now = replace(now, board=replace(now.board, stacks=(*now.board.stacks, faster)))
    least = min(
        forward_ms(narrower(now.network, 0.25), now.model).estimate,
        forward_ms(list(smaller(now.network, at_inputs))[-1][1], now.model).estimate,
    )
    reached_by, _ = reaching(now, Budget(ms=0.8 * least))
    assert reached_by and all(one.change.startswith("use fast and ") for one in reached_by)


def test_where_nothing_reaches_it_the_nearest_is_named():
    reached_by, nearest = reaching(situation(), Budget(ms=1e-6))
    assert reached_by == [] and nearest is not None


def test_images_and_width_are_among_the_changes_without_a_goal():
    changes = [one.change for one in advise(situation())]
    assert any(change.startswith("images of") for change in changes)
    assert "75% of the channels in all layers" in changes


@pytest.mark.parametrize(("budget", "status"), [(1e6, 0), (60, 0), (1e-6, 1)])
def test_the_exit_status_is_whether_the_goal_can_be_reached(tmp_path, capsys, budget, status):
    write_board(tmp_path, board_model("cpu", "bench"))
    arguments = ["advise", str(ALEXNET), "--board", "bench", "--root", str(tmp_path), "--budget-ms", str(budget)]
    assert main([*arguments, "--json"]) == status
    goal = json.loads(capsys.readouterr().out)["goal"]
    assert goal["kept"] == (budget == 1e6)
    assert bool(goal["reached_by"]) == (not goal["kept"] and status == 0)
