"""Each figure that an estimate prints, against its definition."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, prod

import numpy as np
import pytest
from scipy.stats import norm

import sitecnn
from sitecnn.estimation import memory_plan as plans
from sitecnn.estimation.advice import Advice, advise, time_per_image
from sitecnn.estimation.budget_check import Budget, check_budget, verdict
from sitecnn.estimation.dataflow import HOST, dataflow
from sitecnn.estimation.estimate import MemoryEstimate, Milliseconds, estimate_memory, forward_ms, milliseconds
from sitecnn.estimation.goal import reaching
from sitecnn.estimation.inventory import inventory
from sitecnn.estimation.memory_plan import MemoryPlan, largest_batch
from sitecnn.estimation.offload import Link, by_bandwidth
from sitecnn.estimation.peak_memory import Peak
from sitecnn.estimation.placement import ZERO_COPY, Copy, place
from sitecnn.estimation.variants import image_sizes, narrower, smaller, why_no_smaller_images
from sitecnn.models.board_model import UNSEEN, estimate_pass
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import layer_columns
from sitecnn.workload.kernels import macs
from tests.estimation.fixtures import KINDS, NETWORKS, board_model, stack_model, without_kinds, write_board
from tests.estimation.test_gains import at_inputs, context, exact, half, small

ALEXNET = NETWORKS / "alexnet.prototxt"


def of(stack, processor="cpu"):
    return board_model(processor, stacks=[stack])


def pass_sd_ns(network, stack):
    """The standard error of a whole pass on Caffe."""
    return estimate_pass(stack, *layer_columns(network)).forward_sd_ns


def bounds(ms):
    return ms.estimate, ms.low, ms.high


def test_a_file_that_is_loaded_stands_twice_in_memory():
    parts = MemoryEstimate(weights=10, data=100, workspace=1000, base=7, total=1117, zero_copy_saving=10)
    assert parts.load_peak == 7 + 10 + 10


def test_throughput_is_images_by_seconds():
    estimated = sitecnn.estimate(small(4, 32), board_model("cpu"))
    assert estimated.images_per_second == pytest.approx(4 / (estimated.forward_ms.estimate / 1000))
    assert estimated.to_dict()["images_per_second"] == estimated.images_per_second
    assert replace(estimated, forward_ms=Milliseconds(0.0, 0.0, 0.0)).images_per_second == inf


TWO = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 8 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 16 kernel_size: 3 } }
layer { name: "up" type: "Deconvolution" bottom: "c" top: "up" convolution_param { num_output: 4 kernel_size: 2 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "up" top: "up" }
"""  # noqa: E501


def test_what_is_known_modelled_and_extrapolated_are_shares_of_work_or_time():
    network = parse_prototxt(TWO, "two")
    work = {layer.name: macs(layer) for layer in network.layers}
    assert work["c"] == 16 * 18 * 18 * 8 * 9 and work["up"] == 16 * 18 * 18 * 4 * 4
    without = sitecnn.estimate(network, of(without_kinds(stack_model("cpu"), "deconvolution")))
    share = work["c"] / (work["c"] + work["up"])
    assert (without.known_macs_fraction, without.modelled_macs_fraction) == pytest.approx((share, share))
    assert without.unmodelled == ("up",) and without.extrapolated_fraction < 1
    stack = stack_model("cpu")
    conv = replace(stack.kinds["convolution"], seen=tuple((0.0, 1.0) for _ in stack.kinds["convolution"].seen))
    estimated = sitecnn.estimate(network, of(replace(stack, kinds={**stack.kinds, "convolution": conv})))
    ms = {layer.name: layer.ms.estimate for layer in estimated.layers}
    assert estimated.extrapolated_fraction == pytest.approx(ms["c"] / sum(ms.values()))
    assert [layer.name for layer in estimated.layers if layer.extrapolated] == ["c"]
    assert estimated.modelled_fraction == estimated.known_macs_fraction == 1
    coverage = estimated.to_dict()["coverage"]
    assert coverage["extrapolated_fraction"] == estimated.extrapolated_fraction
    for fraction, is_whole in ((0.95, True), (0.9499, False)):
        assert replace(estimated, known_macs_fraction=fraction).is_whole == is_whole


def test_more_than_half_of_the_time_beyond_what_was_seen_is_mostly_extrapolated():
    checked = check_budget(small(1, 32), board_model("cpu"), Budget())
    for fraction, is_mostly in ((0.5, False), (0.51, True)):
        of_it = replace(checked, estimate=replace(checked.estimate, extrapolated_fraction=fraction))
        assert of_it.is_mostly_extrapolated == is_mostly
    hardly_known = replace(checked.estimate, extrapolated_fraction=0.0, known_macs_fraction=0.5)
    assert replace(checked, estimate=hardly_known).is_mostly_extrapolated


def test_a_file_of_another_precision_than_the_stacks_is_doubted():
    network = replace(small(1, 32), precision="int8")
    on_fp32 = sitecnn.estimate(network, of(stack_model("cpu", "caffe-1.0+fp32")))
    assert on_fp32.is_of_another_precision and on_fp32.precision == "fp32 though the file is int8"
    assert [doubt[:42] for doubt in on_fp32.doubts] == ["the file is int8: all figures are for fp32"]
    assert on_fp32.network_precision == "int8"
    for precision in ("fp32", "int8"):
        on_int8 = sitecnn.estimate(replace(network, precision=precision), of(stack_model("cpu", "caffe-1.0+int8")))
        assert (on_int8.is_of_another_precision, on_int8.precision, on_int8.doubts) == (False, "int8", ())


def test_a_pass_mostly_takes_what_the_stack_says_of_a_busy_board():
    stack = replace(stack_model("cpu"), usual_ratio=1.3)
    estimated = sitecnn.estimate(small(1, 32), of(stack))
    assert (estimated.usual_ratio, estimated.to_dict()["usual_ratio"]) == (1.3, 1.3)


def test_types_come_slowest_first_with_their_layers_and_macs():
    network = sitecnn.load_network(ALEXNET)
    estimated = sitecnn.estimate(network, board_model("gpu"))
    times = [one.ms.estimate for one in estimated.types]
    assert times == sorted(times, reverse=True)
    for one in estimated.types:
        layers = [layer for layer in network.layers if layer.type == one.type]
        assert (one.layers, one.macs) == (len(layers), sum(map(macs, layers)))
    # Of one type alone the error is that of a pass of its layers.
    fc = replace(network, layers=tuple(layer for layer in network.layers if layer.type == "InnerProduct"))
    (whole,) = (one.ms for one in estimated.types if one.type == "InnerProduct")
    assert bounds(whole) == pytest.approx(bounds(sitecnn.estimate(fc, board_model("gpu")).forward_ms))


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_buffers_of_a_phone_are_of_its_precision(precision, size):
    """A chain of 8 and 4 channels of 20 × 20 between an image and a result."""
    text = "layer" + TWO.split("layer", 2)[1]
    for name, bottom, outputs, edge in (("e", "d", 4, 1), ("c", "e", 16, 3), ("f", "c", 2, 1)):
        settings = f"num_output: {outputs} kernel_size: {edge}"
        text += f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"'
        text += f" convolution_param {{ {settings} }} }}"
    parts = estimate_memory(parse_prototxt(text, "n"), stack_model("gpu", f"tflite-gpu+{precision}"), "gpu")
    weights = (4 * 8 + 4) + (16 * 4 * 9 + 16) + (2 * 16 + 2)
    # Each buffer is a multiple of 256 bytes in fp32: 4 · 400 · 4 bytes are, 4 · 324 · 16 bytes are.
    buffers = 256 * (-(-4 * 400 * 4 // 256)) + 256 * (-(-16 * 324 * 4 // 256))
    assert parts == MemoryEstimate(size * weights, size * buffers // 4, 0, 0, size * weights + size * buffers // 4, 0)


def test_budgets_are_kept_at_their_very_limits_and_the_chance_is_at_the_estimates_level():
    estimated = sitecnn.estimate(small(1, 32), board_model("cpu"), level=0.5)
    total, ms = estimated.memory_bytes.total, estimated.forward_ms
    assert [verdict(estimated, Budget(memory_bytes=total - less)).fits_memory for less in (0, 1)] == [True, False]
    assert [verdict(estimated, Budget(ms=ms.estimate * part)).fits_time for part in (1, 0.999)] == [True, False]
    # A quarter of what a central interval of one half leaves out lies on either side.
    assert verdict(estimated, Budget(ms=ms.high)).chance_in_time == pytest.approx(0.75)
    assert verdict(estimated, Budget(ms=ms.low)).chance_in_time == pytest.approx(0.25)
    nothing = verdict(estimated, Budget())
    assert (nothing.limit_ms, nothing.fits_time, nothing.fits_memory, nothing.chance_in_time) == (None,) * 4


def test_other_stacks_are_told_at_the_same_level():
    stacks = [stack_model("cpu", "one", 1), stack_model("cpu", "two", 2, speed=2), stack_model("cpu", "six", 6)]
    network = small(1, 32)
    checked = check_budget(network, board_model("cpu", stacks=stacks), Budget(), stack="two", level=0.5)
    assert dict(checked.other_stacks) == {
        name: forward_ms(network, stacks[at], 0.5) for at, name in ((0, "one"), (2, "six"))
    }
    assert checked.to_dict()["load_peak_bytes"] == checked.estimate.memory_bytes.load_peak
    assert checked.fits and not replace(checked, fits_time=False).fits and not replace(checked, fits_memory=False).fits


def test_a_plan_saves_what_lies_between_its_parts(monkeypatch):
    plan = MemoryPlan(data=100, workspace=50, shared_workspace=30, least_data=40, least=60, exact=True)
    assert (plan.sharing_saving, plan.freeing_saving) == (20, 90)
    assert plan.to_frame()["bytes"].tolist() == [100, 50, 30, 40, 60]
    network = sitecnn.load_network(ALEXNET)
    columns = [4 * layer.inputs[0][1] * prod(layer.settings.kernel) * prod(layer.outputs[0][2:])
               for layer in network.layers if layer.type == "Convolution"]  # fmt: skip
    plan = plans.memory_plan(network)
    assert (plan.workspace, plan.shared_workspace) == (sum(columns), max(columns))
    for exact_ones, is_exact in (((True, True), True), ((True, False), False), ((False, True), False)):
        peaks = iter([Peak(5, exact_ones[0]), Peak(9, exact_ones[1])])
        monkeypatch.setattr(plans, "least_peak", lambda schedule, peaks=peaks: next(peaks))
        cut = plans.memory_plan(network)
        assert (cut.least_data, cut.least, cut.exact) == (5, 9, is_exact)


def test_no_more_than_65536_images_are_looked_for():
    assert largest_batch(lambda images: images, 10**9) == 65_536
    assert largest_batch(lambda images: 7, 7) == 65_536
    assert largest_batch(lambda images: images, 65_535) == 65_535
    # Where two images tell nothing of many.
    assert largest_batch(lambda images: 10 if images < 3 else 20 * images, 100) == 5
    assert largest_batch(lambda images: 100 * images if images < 3 else 200 + images, 300) == 100


def test_the_list_of_boards_counts_what_was_measured(tmp_path):
    networks = ("alexnet", "probe-1", "caffe-probe-22", "vgg16", "probe-x")
    stack = replace(stack_model("cpu"), networks=networks, unexplained_sd={"layer": 0.2, "network": 0.05})
    guessed = replace(stack.kinds["softmax"], rows=0)
    stack = replace(stack, kinds={**stack.kinds, "softmax": guessed})
    write_board(tmp_path, board_model("cpu", "bench", stacks=[stack]))
    file = tmp_path / "results" / "models" / "bench-cpu.json"
    day = datetime(2021, 3, 4, 12, tzinfo=UTC).timestamp()
    os.utime(file, (day, day))
    (entry,) = (one for one in inventory(tmp_path) if one.board == "bench")
    assert (entry.model, entry.fitted, entry.stack, entry.threads) == ("own", "2021-03-04", "synthetic-cpu", 4)
    assert entry.kinds == len(set(KINDS) - {UNSEEN, "softmax"})
    assert (entry.networks, entry.probes) == (3, 2)
    assert (entry.network_sd, entry.error(), entry.transport) == (0.05, "5.0%", "")
    shipped = [one for one in inventory(tmp_path) if one.model == "shipped"]
    assert shipped and all(one.fitted.startswith("SiteCNN ") for one in shipped)


@pytest.mark.parametrize(("scatter", "ratio_sd", "network_sd"), [(0.0, 0.1, 0.0), (0.0, 0.1, 0.2), (0.3, 0.1, 0.2)])
def test_errors_of_a_pass_are_independent(scatter, ratio_sd, network_sd):
    """Of one kernel: its scatter, the ratio of a pass to its layers, and what networks are off beside."""
    stack = exact(stack_model("cpu"))
    stack = replace(
        stack,
        kinds={name: replace(kind, relative_sd=scatter) for name, kind in stack.kinds.items()},
        forward_ratio=1.0,
        forward_ratio_sd=ratio_sd,
        unexplained_sd={"layer": 0.0, "network": network_sd},
    )
    text = 'layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 1 dim: {} dim: 9 dim: 9 }} }} }}'
    one = 'layer { name: "r" type: "ReLU" bottom: "d" top: "r" }'
    network = parse_prototxt(text.format(64) + one, "one")
    network = replace(network, layers=network.layers[1:])
    ns, sd_ns = time_per_image(network, stack)
    assert sd_ns / ns == pytest.approx(np.sqrt(scatter**2 + ratio_sd**2 + network_sd**2))
    assert pass_sd_ns(network, stack) == pytest.approx(sd_ns)


def test_work_beyond_what_was_seen_is_as_unsure_in_sums_as_in_passes():
    stack = stack_model("gpu")
    kinds = {name: replace(kind, seen=tuple((0.0, 10.0) for _ in kind.seen)) for name, kind in stack.kinds.items()}
    network = small(1, 64)
    near, beyond = (time_per_image(network, one)[1] for one in (stack, replace(stack, kinds=kinds)))
    assert beyond > 1.2 * near
    assert beyond == pytest.approx(pass_sd_ns(network, replace(stack, kinds=kinds)))


def test_many_images_share_a_pass_and_its_error():
    network, stack = small(4, 32), stack_model("cpu")
    ns, sd_ns = time_per_image(network, stack)
    assert ns == pytest.approx(forward_ms(network, stack).estimate * 1e6 / 4)
    assert sd_ns == pytest.approx(pass_sd_ns(network, stack) / 4)


def test_what_a_pass_takes_once_is_in_each_network_of_many_and_in_advice():
    """1 ms a pass and 2 ns a weight, whichever way a pass is asked for."""
    stack = stack_model("cpu", "now", 1)
    once = replace(stack, pass_ns={"pass": 1e6, "weights": 2.0})
    networks = [small(1, 32), small(3, 48, a=8)]
    many = sitecnn.estimate_many(networks, of(once), level=0.7)
    plain = sitecnn.estimate_many(networks, of(stack), level=0.7)
    for row, network in enumerate(networks):
        parameters = sum(prod(one.shape) for layer in network.layers for one in layer.parameters)
        assert many.estimate_ms[row] - plain.estimate_ms[row] == pytest.approx(1 + 2e-6 * parameters)
        alone = forward_ms(network, once, 0.7)
        assert (many[row].forward_ms.estimate, many[row].forward_ms.high) == pytest.approx((alone.estimate, alone.high))
    now = context(small(1, 32), once, at_batch=lambda images: small(images, 32))
    (batch,) = (one for one in advise(now) if one.change == "batch 32")
    gain = forward_ms(small(1, 32), once).estimate - forward_ms(small(32, 32), once).estimate / 32
    assert batch.gain_ms.estimate == pytest.approx(gain)


def test_the_table_of_many_networks_has_each_ones_figures():
    networks = {"a": small(1, 32), "b": small(2, 48)}
    many = sitecnn.estimate_many(networks, board_model("gpu"), level=0.6)
    frame = many.to_frame()
    for (key, network), row in zip(networks.items(), frame.to_dict("records"), strict=True):
        alone = sitecnn.estimate(network, board_model("gpu"), level=0.6)
        assert (row["estimate_ms"], row["low_ms"], row["high_ms"]) == pytest.approx(bounds(alone.forward_ms))
        assert row["memory_bytes"] == alone.memory_bytes.total == many[key].memory_bytes
        assert bounds(many[key].forward_ms) == pytest.approx(bounds(alone.forward_ms))
    document = many.to_dict()
    assert [document[name] for name in ("board", "processor", "level")] == ["tx1", "gpu", 0.6]
    assert [one["key"] for one in document["networks"]] == list(frame.index) == ["a", "b"]


def test_a_split_is_as_unsure_as_what_runs_where():
    """All on the board: its pass. All on the server: the server's and a link that is exact, against the board's."""
    network = small(1, 64)
    board, server = board_model("cpu"), of(stack_model("gpu", speed=50), "gpu")
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
    board, server = board_model("cpu"), of(stack_model("gpu", speed=1e6), "gpu")
    board = half(board, "convolution", factor=1000)
    curve = by_bandwidth(network, board, server, Link(1, 7), [100, 1e4])
    for rate, split in zip((100, 1e4), curve, strict=True):
        assert split.leaves_board
        assert split.link_ns == pytest.approx(7e6 + (split.sent_bytes + split.returned_bytes) * 8 / (rate * 1e6) * 1e9)


def test_a_placement_on_one_processor_is_its_pass_with_the_copies_of_image_and_result():
    network, copy = small(1, 64), Copy(1000, 0.5)
    cpu = board_model("cpu")
    fast, slow = of(stack_model("gpu", speed=1e4), "gpu"), of(stack_model("gpu", speed=1e-4), "gpu")
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
    layers = sitecnn.estimate(network, of(stack)).layers
    faster = sum(one.ms.estimate for one in layers if one.type in ("LRN", "Pooling", "ReLU"))
    share = faster / sum(one.ms.estimate for one in layers)
    assert share > 0.022
    other = half(of(stack, "gpu"), "lrn", "pooling", "relu", factor=1 - gain / share)
    other = half(other, "inner_product", factor=10)
    placed = place(network, of(stack), other, ZERO_COPY)
    assert placed.gain_over_cpu_ms.estimate == pytest.approx(gain * placed.all_cpu_ms)
    assert placed.gain_over_cpu_ms.low > 0 and placed.worthwhile == worthwhile


def test_a_gain_is_sure_where_its_whole_interval_is_one():
    assert [Advice("batch", "", Milliseconds(1, low, 2), None, "").is_sure for low in (-0.1, 0.1)] == [False, True]
    assert Advice("batch", "", None, 5, "").is_sure


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
    assert changes and {one.effort for one in changes} == {4}
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
