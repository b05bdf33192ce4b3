"""What advice and goals say, number by number, against estimates of the network that really is so."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.stats import norm

from sitecnn import Copy, Link, load_network
from sitecnn.estimation.advice import (
    SHRUNK,
    AdviceContext,
    Batch,
    InputShapes,
    Outputs,
    Width,
    advise,
    time_per_image,
    with_width,
)
from sitecnn.estimation.budget_check import Budget, check_budget
from sitecnn.estimation.estimate import estimate, estimate_memory, forward_ms
from sitecnn.estimation.goal import Effort, keeps, reaching
from sitecnn.estimation.memory_plan import memory_plan
from sitecnn.estimation.offload import Split, offload
from sitecnn.estimation.placement import place
from sitecnn.estimation.variants import narrower, smaller
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import estimate_kernels
from sitecnn.network import parse_prototxt
from tests.estimation.fixtures import NETWORKS, board_model, stack_model

ALEXNET = NETWORKS / "alexnet.prototxt"

SMALL = """
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: {batch} dim: 3 dim: {size} dim: {size} }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "d" top: "c1" convolution_param {{ num_output: {a} kernel_size: 3 pad: 1 }} }}
layer {{ name: "dw" type: "Convolution" bottom: "c1" top: "dw"
  convolution_param {{ num_output: {a} kernel_size: 3 pad: 1 group: {a} }} }}
layer {{ name: "c2" type: "Convolution" bottom: "dw" top: "c2" convolution_param {{ num_output: {b} kernel_size: 1 }} }}
layer {{ name: "one" type: "Convolution" bottom: "c2" top: "one" convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "two" type: "Convolution" bottom: "one" top: "two" convolution_param {{ num_output: 2 kernel_size: 1 }} }}
layer {{ name: "p" type: "Pooling" bottom: "two" top: "p" pooling_param {{ pool: MAX global_pooling: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param {{ num_output: {c} }} }}
layer {{ name: "fd" type: "InnerProduct" bottom: "fc" top: "fd" inner_product_param {{ num_output: 10 }} }}
"""  # noqa: E501


def small(batch=1, size=300, a=16, b=32, c=64):
    return parse_prototxt(SMALL.format(batch=batch, size=size, a=a, b=b, c=c), "small")


def at_inputs(shapes):
    (shape,) = shapes.values()
    return small(shape[0], shape[2])


def exact(stack):
    """The stack with nothing unknown but what single kernels scatter."""
    kinds = {
        name: replace(one, covariance=tuple((0.0,) * len(one.features) for _ in one.features))
        for name, one in stack.kinds.items()
    }
    return replace(stack, kinds=kinds, forward_ratio_sd=0.0, unexplained_sd={"layer": 0.0, "network": 0.0})


def context(network, stack=None, processor="cpu", **more):
    stack = stack or stack_model(processor, "now", 1)
    return AdviceContext(network, board_model(processor, stacks=[stack]), stack, 0.8, **more)


def advice_starting(now, start):
    (one,) = (one for one in advise(now) if one.change.startswith(start))
    return one


def half(board, *kinds, factor):
    """The board with some kinds `factor` times as slow."""

    def slower(one):
        return replace(one, coefficients_ns=tuple(factor * ns for ns in one.coefficients_ns))

    stacks = [
        replace(stack, kinds={name: slower(one) if name in kinds else one for name, one in stack.kinds.items()})
        for stack in board.stacks
    ]
    return replace(board, stacks=tuple(stacks))


def test_a_larger_batch_gains_per_image_and_only_what_scatters_apart_is_unsure():
    """From 2 images to 32: a layer at both is one layer, and its scatter that of the difference."""
    stack = exact(stack_model("cpu", "now", 1))
    now = context(small(2, 32), stack, at_batch=lambda images: small(images, 32))
    advised = advice_starting(now, "batch 32")
    before, after = small(2, 32), small(32, 32)
    ns = {}
    for network in (before, after):
        work = work_of(network, stack)
        ns[network.batch] = estimate_kernels(stack, work.kinds, work.sizes).ns / network.batch
    gains = ns[2] - ns[32]
    width = norm.ppf(0.9) * 0.05 * stack.forward_ratio * np.sqrt(np.sum(gains**2)) / 1e6
    expected = stack.forward_ratio * gains.sum() / 1e6
    assert advised.gain_ms.estimate == pytest.approx(expected)
    assert (advised.gain_ms.low, advised.gain_ms.high) == pytest.approx((expected - width, expected + width))
    assert advised.edit == Batch(32)
    assert advised.note == f"per image; a pass then takes {forward_ms(after, stack).estimate:,.1f} ms"


def test_the_largest_batch_that_is_advised_is_one_that_fits():
    now = context(small(1, 32), at_batch=lambda images: small(images, 32))
    eight = estimate_memory(small(8, 32), now.model, "cpu").total
    board = replace(now.board, provenance={"free_bytes": eight})
    assert advice_starting(replace(now, board=board), "batch").change == "batch 8"
    board = replace(now.board, provenance={"free_bytes": eight - 1})
    assert advice_starting(replace(now, board=board), "batch").change == "batch 4"
    assert not any(one.change.startswith("batch") for one in advise(replace(now, at_batch=None)))


def test_smaller_images_are_of_three_quarters_and_the_edit_makes_them():
    now = context(small(), at_inputs=at_inputs)
    advised = advice_starting(now, "images of")
    assert (advised.change, advised.edit) == ("images of 224×224", InputShapes({"d": (1, 3, 224, 224)}))
    gain = forward_ms(small(), now.model).estimate - forward_ms(small(size=224), now.model).estimate
    assert advised.gain_ms.estimate == pytest.approx(gain)
    assert advised.gain_ms.low < gain < advised.gain_ms.high


def test_a_width_gains_what_the_narrower_network_saves():
    now = context(small(2, 32))
    for share in (0.75, 0.5):
        advised = with_width(now, share)
        gain = (
            forward_ms(small(2, 32), now.model).estimate - forward_ms(narrower(small(2, 32), share), now.model).estimate
        ) / 2
        assert advised.gain_ms.estimate == pytest.approx(gain)
        assert (advised.edit, advised.change) == (Width(share), f"{100 * share:.0f}% of the channels in all layers")
    assert advice_starting(now, "75% of the channels").gain_ms == with_width(now, 0.75).gain_ms


def test_the_layers_to_shrink_are_those_whose_network_gains_most():
    """With the depthwise layers that read them; not one of a single output, nor the answer."""
    widths = {"a": 64, "b": 48, "c": 4000}
    now = context(small(2, 8, **widths))
    shrinking = [one for one in advise(now) if one.kind == "outputs"]
    of_layer = {"c1": "a", "c2": "b", "fc": "c"}
    gain_ms = {}
    for name, width in of_layer.items():
        half = small(2, 8, **{**widths, width: widths[width] // 2})
        gain_ms[name] = (forward_ms(now.network, now.model).estimate - forward_ms(half, now.model).estimate) / 2
    assert len(shrinking) == SHRUNK == 3
    assert [one.edit.layer for one in shrinking] == sorted(gain_ms, key=gain_ms.get, reverse=True)
    for one in shrinking:
        assert one.gain_ms.estimate == pytest.approx(gain_ms[one.edit.layer])
    assert {one.edit: one.change for one in shrinking} == {
        Outputs(name, widths[width] // 2): f"halve the outputs of {name} ({widths[width]})"
        for name, width in of_layer.items()
    }
    few = [one.edit.layer for one in advise(context(small(1, 8, a=2, b=2, c=1))) if one.kind == "outputs"]
    assert set(few) == {"c1", "c2", "two"}


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_a_placement_gains_over_where_it_runs_now_per_image(processor):
    """FC layers suit this CPU, convolutions this GPU: together they beat both."""
    cpu, gpu = board_model("cpu"), half(board_model("gpu"), "inner_product", factor=300)
    network, copy = load_network(ALEXNET, batch=4), Copy(5000, 0.1)
    mine, other = (cpu, gpu) if processor == "cpu" else (gpu, cpu)
    now = AdviceContext(network, mine, mine.stacks[0], 0.8, other=other, copy=copy)
    placed = place(network, cpu, gpu, copy, level=0.8)
    assert placed.worthwhile
    advised = advice_starting(now, "place")
    gain = placed.gain_over_cpu_ms if processor == "cpu" else placed.gain_over_gpu_ms
    assert asdict(advised.gain_ms) == pytest.approx({name: ms / 4 for name, ms in asdict(gain).items()})
    there = sum(placed.on_gpu)
    moved = (there, "gpu") if processor == "cpu" else (len(placed.on_gpu) - there, "cpu")
    assert advised.change == f"place {moved[0]} of {len(placed.on_gpu)} layers on the {moved[1]}"
    assert advised.note == f"{placed.copies} copies"
    document = placed.to_dict()
    assert document["stacks"] == {"cpu": "synthetic-cpu", "gpu": "synthetic-gpu"}
    assert [one["processor"] == "gpu" for one in document["layers"]] == list(placed.on_gpu)


def test_another_processor_and_an_offload_gain_what_their_estimates_say():
    network = load_network(ALEXNET, batch=2)
    gpu, server, link = board_model("gpu"), board_model("gpu", stacks=[stack_model("gpu", speed=30)]), Link(2000, 0.5)
    now = context(network, other=gpu, server=server, link=link)
    one, other = (time_per_image(network, stack) for stack in (now.model, gpu.stacks[0]))
    advised = advice_starting(now, "run on the gpu")
    width = norm.ppf(0.9) * np.hypot(one[1], other[1])
    assert (advised.gain_ms.estimate, advised.gain_ms.high) == pytest.approx(
        ((one[0] - other[0]) / 1e6, (one[0] - other[0] + width) / 1e6)
    )
    away = offload(network, now.board, server, link, level=0.8)
    advice = advice_starting(now, "offload")
    assert asdict(advice.gain_ms) == pytest.approx({name: ms / 2 for name, ms in asdict(away.gain_ms).items()})
    count = len(network.layers)
    assert advice.change == f"offload {count - sum(away.best.on_board)} of {count} layers"
    assert advice.note == f"sends {away.best.sent_bytes / 1e6:,.2f} MB over 2000 Mbit/s"


def test_memory_is_saved_by_what_the_plan_says():
    now = context(load_network(ALEXNET), processor="gpu")
    plan = memory_plan(now.network)
    saved = {one.change: one.saves_bytes for one in advise(now) if one.gain_ms is None}
    assert saved == {
        "zero-copy": estimate_memory(now.network, now.model, "gpu").zero_copy_saving,
        "share one im2col buffer": plan.workspace - plan.shared_workspace,
        "free every value and im2col buffer after its last use": plan.data + plan.workspace - plan.least,
    }
    assert list(saved.values()) == sorted(saved.values(), reverse=True)
    assert dict(plan.to_frame().itertuples(index=False)) == {
        name: count for name, count in asdict(plan).items() if name != "exact"
    }


def test_all_that_reaches_a_goal_takes_what_its_estimate_says():
    cpu, gpu = board_model("cpu"), half(board_model("gpu"), "inner_product", factor=300)
    server, link, copy = board_model("gpu", stacks=[stack_model("gpu", speed=30)]), Link(10_000, 0.5), Copy(5000, 0.1)
    network = load_network(ALEXNET)
    now = AdviceContext(
        network, cpu, cpu.stacks[0], 0.8, other=gpu, copy=copy, server=server, link=link,
        at_batch=lambda images: load_network(ALEXNET, batch=images),
        at_inputs=lambda shapes: load_network(ALEXNET, inputs=shapes),
    )  # fmt: skip
    goal = Budget(ms=0.95 * forward_ms(network, now.model).estimate)
    reached_by, _ = reaching(now, goal)
    by_effort = {one.effort: one for one in reached_by}
    placed, away = place(network, cpu, gpu, copy, level=0.8), offload(network, cpu, server, link, level=0.8)
    assert by_effort[5].forward_ms == away.total_ms
    assert (
        by_effort[5].change
        == f"offload {len(network.layers) - sum(away.best.on_board)} of {len(network.layers)} layers"
    )
    assert by_effort[4].change == "90% of the channels"
    assert by_effort[4].forward_ms == forward_ms(narrower(network, 0.9), now.model, 0.8)
    tried = ((change, forward_ms(one, now.model, 0.8)) for change, one in smaller(network, now.at_inputs))
    assert (by_effort[3].change, by_effort[3].forward_ms) == next(one for one in tried if one[1].estimate <= goal.ms)
    (place_change,) = (one for one in reached_by if one.change.startswith("place"))
    assert (place_change.effort, place_change.forward_ms) == (Effort.PROCESSOR, placed.placed_ms)
    assert 2 not in by_effort  # no batch makes a pass shorter
    for one in reached_by:
        assert one.chance == pytest.approx(one.forward_ms.chance_below(goal.ms, 0.8)) and one.chance > 0.5
        assert one.effort.label


def test_a_goal_of_images_is_reached_by_a_batch_larger_than_now():
    now = context(small(2, 32), at_batch=lambda images: small(images, 32))
    wanted = 4 / forward_ms(small(4, 32), now.model).estimate * 1e3 * (1 - 1e-9)
    reached_by, _ = reaching(now, Budget(images_per_second=wanted))
    (batch,) = (one for one in reached_by if one.effort == Effort.BATCH)
    assert (batch.change, batch.images) == ("batch 4", 4)
    assert batch.forward_ms == forward_ms(small(4, 32), now.model, 0.8)
    none = replace(now, board=replace(now.board, provenance={"free_bytes": 1}))
    assert not any(one.effort == Effort.BATCH for one in reaching(none, Budget(images_per_second=wanted))[0])
    assert keeps(Budget(), batch.forward_ms, 4, 0.8) == (True, 1.0)


def test_the_nearest_misses_the_goal_by_least():
    now = context(small(2, 64), at_inputs=at_inputs, at_batch=lambda images: small(images, 64))
    reached_by, nearest = reaching(now, Budget(ms=1e-9))
    tried = [forward_ms(network, now.model).estimate for _, network in smaller(now.network, at_inputs)]
    tried += [forward_ms(narrower(now.network, 0.25), now.model).estimate]
    assert reached_by == [] and nearest.forward_ms.estimate == pytest.approx(min(tried))


def test_a_split_costs_a_round_trip_and_a_nanosecond_a_byte_at_8_gigabits_per_s():
    from sitecnn.estimation.dataflow import dataflow
    from sitecnn.estimation.offload import split

    flow = dataflow(small(1, 8))
    count = len(flow.stays_with)
    nothing_here = split(flow, [1.0] * count, [2.0] * count, Link(8000, 3), (False,) * count)
    image, answer = 4 * 3 * 8 * 8, 4 * 10
    assert nothing_here == Split((False,) * count, image, answer, 0, 3e6 + image + answer, 2.0 * count)
    assert nothing_here.total_ms == (3e6 + image + answer + 2 * count) / 1e6
    alone = split(flow, [1.0] * count, [2.0] * count, Link(8000, 3), (True,) * count)
    assert (alone.link_ns, alone.server_ns, alone.board_ns, alone.leaves_board) == (0, 0, count, False)


def test_stacks_are_chosen_by_name_on_board_and_server():
    slow, fast = stack_model("gpu", "slow", 1, speed=1), stack_model("gpu", "fast", 2, speed=50)
    server, board, link = board_model("gpu", stacks=[slow, fast]), board_model("cpu"), Link(1e6, 0)
    network = small(4, 64)
    split_of = {name: offload(network, board, server, link, server_stack=name) for name in ("slow", "fast")}
    for name, stack in (("slow", slow), ("fast", fast)):
        only = offload(network, board, board_model("gpu", stacks=[stack]), link)
        assert split_of[name].total_ms == only.total_ms
    assert split_of["fast"].total_ms.estimate < split_of["slow"].total_ms.estimate


def test_what_is_free_bounds_the_batch_where_no_memory_budget_does():
    board = board_model("cpu", free_bytes=200 << 20)
    checked = check_budget(small(1, 64), board, Budget(), at_batch=lambda images: small(images, 64))
    assert checked.free_bytes == 200 << 20
    most, more = (
        estimate_memory(small(checked.largest_batch + step, 64), board.stacks[0], "cpu").total for step in (0, 1)
    )
    assert most <= 200 << 20 < more
    budget = Budget(memory_bytes=150 << 20)
    assert check_budget(small(1, 64), board, budget, at_batch=lambda images: small(images, 64)).largest_batch == max(
        images
        for images in range(1, 99)
        if estimate_memory(small(images, 64), board.stacks[0], "cpu").total <= 150 << 20
    )
    document = checked.to_dict()
    assert (document["free_bytes"], document["largest_batch"]) == (200 << 20, checked.largest_batch)
    assert check_budget(small(1, 64), board_model("cpu"), Budget()).free_bytes is None


def test_a_frame_and_a_line_hold_what_the_estimate_does():
    estimated = estimate(small(1, 32), board_model("cpu"))
    frame = estimated.to_frame()
    columns = ["layer", "type", "macs", "ms", "low_ms", "high_ms", "modelled", "extrapolated", "fused_into"]
    assert list(frame.columns) == columns
    for row, layer in zip(frame.to_dict("records"), estimated.layers, strict=True):
        bounds = (layer.ms.estimate, layer.ms.low, layer.ms.high)
        held = (layer.name, layer.type, layer.macs, *bounds, layer.modelled, layer.extrapolated, layer.fused_into)
        assert tuple(row[name] for name in columns) == held
    assert f"{estimated.memory_bytes.total / 1048576:.4g} MiB" in repr(estimated)


BRANCHES = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 8 dim: 6 dim: 6 } } }
layer { name: "side" type: "Convolution" bottom: "d" top: "side" convolution_param { num_output: 16 kernel_size: 1 } }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 16 } }
layer { name: "bn" type: "BatchNorm" bottom: "f" top: "f" }
layer { name: "g" type: "InnerProduct" bottom: "f" top: "g" inner_product_param { num_output: 12 } }
"""


def test_answers_keep_their_width_wherever_they_stand_and_norms_of_fc_layers_follow():
    narrow = {layer.name: layer for layer in narrower(parse_prototxt(BRANCHES, "net"), 0.5).layers}
    assert narrow["side"].outputs == ((2, 16, 6, 6),)
    assert (narrow["f"].outputs, narrow["g"].inputs, narrow["g"].outputs) == (((2, 8),), ((2, 8),), ((2, 12),))
    assert [one.shape for one in narrow["bn"].parameters] == [(8,), (8,), (1,)]
    assert [one.shape for one in narrow["g"].parameters] == [(12, 8), (12,)]
