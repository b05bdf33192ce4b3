"""Advice against what the estimates of the changed situation say."""

from contextlib import suppress
from dataclasses import replace

import pytest

from sitecnn import Copy, Link, load_network
from sitecnn.errors import NetworkError
from sitecnn.estimation import advice
from sitecnn.estimation.advice import AdviceContext, advise, time_per_image
from sitecnn.estimation.budget_check import Budget
from sitecnn.estimation.estimate import difference, forward_ms
from sitecnn.estimation.goal import reaching
from sitecnn.estimation.variants import with_outputs
from sitecnn.network import parse_prototxt
from sitecnn.network.caffe.writer import write_prototxt
from tests.estimation.fixtures import NETWORKS, board_model, stack_model
from tests.network.conftest import as_caffe_says

ALEXNET = NETWORKS / "alexnet.prototxt"


def at_batch(images):
    return load_network(ALEXNET, batch=images)


def situation(**changes):
    stacks = [stack_model("cpu", "one", 1), stack_model("cpu", "four", 4, speed=3)]
    board = board_model("cpu", stacks=stacks)
    now = AdviceContext(at_batch(1), board, stacks[0], 0.9, at_batch=at_batch)
    return replace(now, **changes)


def by_change(all_advice):
    return {one.change: one for one in all_advice}


def test_another_stack_gains_the_difference_of_the_two_estimates():
    now = situation()
    threads = by_change(advise(now))["use four, 4 threads instead of one"]
    expected = time_per_image(now.network, now.model)[0] * (1 - 1 / 3) / 1e6
    assert threads.gain_ms.estimate == pytest.approx(expected)
    assert threads.is_sure


def test_a_batch_gains_the_difference_per_image():
    now = situation()
    larger = by_change(advise(now))["batch 32"]
    expected = time_per_image(now.network, now.model)[0] - time_per_image(at_batch(32), now.model)[0]
    assert larger.gain_ms.estimate == pytest.approx(expected / 1e6)


def test_no_batch_is_advised_that_does_not_fit():
    now = situation()
    board = replace(now.board, provenance={"free_bytes": 10**6})
    assert not any(change.startswith("batch") for change in by_change(advise(replace(now, board=board))))


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "resnet50", "mobilenet-v1", "googlenet"])
def test_layers_that_are_advised_to_be_halved_alone_leave_a_network_that_caffe_runs(real_caffe, name):
    """Not one whose outputs are added to others that stay as wide, nor one whose readers' groups do not divide them."""
    network = load_network(NETWORKS / f"{name}.prototxt")
    stack = stack_model("cpu")
    now = AdviceContext(network, board_model("cpu", stacks=[stack]), stack, 0.9)
    edits = [one.edit for one in advise(now) if one.kind == "outputs"]
    assert len(edits) == 3
    for edit in edits:
        narrow = with_outputs(network, edit.layer, edit.outputs)
        answer = real_caffe(write_prototxt(narrow))
        assert "layers" in answer, answer
        assert answer == as_caffe_says(narrow)


@pytest.mark.parametrize("name", ["googlenet", "densenet121"])
def test_the_layers_that_gain_most_are_told_by_whole_passes_too(name):
    network, stack = load_network(NETWORKS / f"{name}.prototxt"), stack_model("cpu")
    times = {}
    for layer in network.layers:
        if layer.type in ("Convolution", "InnerProduct"):
            with suppress(NetworkError):
                halved = with_outputs(network, layer.name, layer.outputs[0][1] // 2)
                times[layer.name] = forward_ms(halved, stack).estimate
    now = AdviceContext(network, board_model("cpu", stacks=[stack]), stack, 0.9)
    advised = [one.edit.layer for one in advise(now) if one.kind == "outputs"]
    least = sorted(times.values())[2]
    assert len(advised) == 3
    assert all(times[layer] <= least * (1 + 1e-9) for layer in advised)


TWO_BRANCHES = """
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 2 dim: 6 dim: 9 dim: 9 }} }} }}
layer {{ name: "a" type: "Convolution" bottom: "d" top: "a" convolution_param {{ num_output: {a} kernel_size: 1 }} }}
layer {{ name: "b" type: "Convolution" bottom: "d" top: "b" convolution_param {{ num_output: {b} kernel_size: 1 }} }}
layer {{ name: "join" type: "{join}" bottom: "a" bottom: "b" top: "join" }}
layer {{ name: "c" type: "Convolution" bottom: "join" top: "c"
         convolution_param {{ num_output: 8 kernel_size: 1 {c} }} }}
"""


def two_branches(join, a=8, b=8, c=""):
    return parse_prototxt(TWO_BRANCHES.format(join=join, a=a, b=b, c=c), "two")


def test_a_branch_is_halved_where_the_join_takes_it():
    assert with_outputs(two_branches("Concat"), "a", 4) == two_branches("Concat", a=4)
    with pytest.raises(NetworkError, match="'join'"):
        with_outputs(two_branches("Eltwise"), "a", 4)
    with pytest.raises(NetworkError, match="'c'"):
        with_outputs(two_branches("Concat", c="group: 8"), "a", 4)
    with pytest.raises(NetworkError, match="a result of the network"):
        with_outputs(two_branches("Concat"), "c", 4)


def test_layers_that_share_their_weights_are_not_halved_alone():
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 6 } } }
    layer { name: "e" type: "Input" top: "e" input_param { shape { dim: 1 dim: 6 } } }
    layer { name: "a" type: "InnerProduct" bottom: "d" top: "a" param { name: "w" } inner_product_param { num_output: 6 } }
    layer { name: "b" type: "InnerProduct" bottom: "e" top: "b" param { name: "w" } inner_product_param { num_output: 6 } }
    layer { name: "c" type: "InnerProduct" bottom: "a" top: "c" inner_product_param { num_output: 6 } }
    layer { name: "f" type: "InnerProduct" bottom: "b" top: "f" inner_product_param { num_output: 6 } }
    """  # noqa: E501
    network = parse_prototxt(text, "twins")
    for name in ("a", "b"):
        with pytest.raises(NetworkError, match="shares its weights"):
            with_outputs(network, name, 3)


def test_the_answer_itself_is_not_to_be_halved():
    assert not any("fc8" in one.change for one in advise(situation()))


def test_time_comes_first_and_the_largest_gain_foremost():
    now = situation(
        other=board_model("gpu"),
        copy=Copy(0, 0.1),
        server=board_model("gpu", stacks=[stack_model("gpu", speed=9)]),
        link=Link(100, 1),
    )
    all_advice = advise(now)
    times = [one.gain_ms.estimate for one in all_advice if one.gain_ms and one.is_sure]
    assert times == sorted(times, reverse=True)
    assert [bool(one.gain_ms) for one in all_advice] == sorted((bool(one.gain_ms) for one in all_advice), reverse=True)
    changes = by_change(all_advice)
    assert "run on the gpu" in changes
    assert any(change.startswith("offload") for change in changes)
    saved = changes["share one im2col buffer"].saves_bytes
    assert changes["free every value and im2col buffer after its last use"].saves_bytes > saved > 0


def test_a_placement_that_gains_nothing_over_the_better_processor_is_not_advised():
    now = situation(other=board_model("gpu"), copy=Copy(0, 0))
    changes = by_change(advise(now))
    assert "run on the gpu" in changes
    assert not any(change.startswith("place") for change in changes)


def test_a_stack_that_was_scaled_to_a_few_totals_is_neither_advised_nor_tried():
    """A person cannot install `as in the poster of 2017`, however fast it is said to be."""
    stacks = [stack_model("cpu", "one"), replace(stack_model("cpu", "scaled", speed=9), like="one")]
    gpu = board_model(
        "gpu", stacks=[stack_model("gpu", "new"), replace(stack_model("gpu", "old", speed=9), like="new")]
    )
    board = board_model("cpu", stacks=stacks)
    now = AdviceContext(at_batch(1), board, stacks[0], 0.9, other=gpu)
    assert not any("scaled" in one.change for one in advise(now))
    reached_by, _ = reaching(now, Budget(ms=forward_ms(now.network, stacks[0]).estimate * 0.9))
    ways = " ".join(one.change for one in reached_by)
    assert "(new)" in ways and "scaled" not in ways and "old" not in ways
    # Where the board has no other, they are compared with each other.
    scaled = [replace(stack_model("cpu", name, speed=speed), like="far") for name, speed in (("a", 1), ("b", 2))]
    alone = AdviceContext(at_batch(1), board_model("cpu", stacks=scaled), scaled[0], 0.9)
    assert "use b instead of a" in by_change(advise(alone))


@pytest.mark.parametrize(("deviations", "is_advised"), [(2.0, True), (1.0, True), (0.5, False), (-1.0, False)])
def test_a_gain_that_is_little_more_likely_than_a_loss_is_not_advised(monkeypatch, deviations, is_advised):
    gain = difference(deviations * 1e6, 1e6, 0.9)
    monkeypatch.setattr(advice, "gain_per_image", lambda *_: gain)
    assert any(one.kind == "width" for one in advise(situation())) == is_advised


def test_a_gpu_is_told_of_zero_copy():
    stack = stack_model("gpu")
    now = AdviceContext(at_batch(1), board_model("gpu", stacks=[stack]), stack, 0.9)
    assert by_change(advise(now))["zero-copy"].saves_bytes == pytest.approx(232.56 * 2**20, rel=1e-4)
