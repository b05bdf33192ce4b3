"""Each figure that an estimate prints, against its definition."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, prod

import numpy as np
import pytest

import sitecnn
from sitecnn.estimation import memory_plan as plans
from sitecnn.estimation.advice import advise, time_per_image
from sitecnn.estimation.budget_check import Budget, check_budget, verdict
from sitecnn.estimation.estimate import MemoryEstimate, Milliseconds, estimate_memory, forward_ms
from sitecnn.estimation.inventory import inventory
from sitecnn.estimation.memory_plan import MemoryPlan, largest_batch
from sitecnn.estimation.peak_memory import Peak
from sitecnn.models.board_model import UNSEEN
from sitecnn.network import parse_prototxt
from sitecnn.workload.kernels import macs
from tests.estimation.fixtures import (
    KINDS,
    NETWORKS,
    board_model,
    board_of,
    bounds,
    pass_sd_ns,
    stack_model,
    without_kinds,
    write_board,
)
from tests.estimation.test_gains import context, exact, small

ALEXNET = NETWORKS / "alexnet.prototxt"


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
    without = sitecnn.estimate(network, board_of(without_kinds(stack_model("cpu"), "deconvolution")))
    share = work["c"] / (work["c"] + work["up"])
    assert (without.known_macs_fraction, without.modelled_macs_fraction) == pytest.approx((share, share))
    assert without.unmodelled == ("up",) and without.extrapolated_fraction < 1
    stack = stack_model("cpu")
    conv = replace(stack.kinds["convolution"], seen=tuple((0.0, 1.0) for _ in stack.kinds["convolution"].seen))
    estimated = sitecnn.estimate(network, board_of(replace(stack, kinds={**stack.kinds, "convolution": conv})))
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
    on_fp32 = sitecnn.estimate(network, board_of(stack_model("cpu", "caffe-1.0+fp32")))
    assert on_fp32.is_of_another_precision and on_fp32.precision == "fp32 though the file is int8"
    assert [doubt[:42] for doubt in on_fp32.doubts] == ["the file is int8: all figures are for fp32"]
    assert on_fp32.network_precision == "int8"
    for precision in ("fp32", "int8"):
        on_int8 = sitecnn.estimate(
            replace(network, precision=precision), board_of(stack_model("cpu", "caffe-1.0+int8"))
        )
        assert (on_int8.is_of_another_precision, on_int8.precision, on_int8.doubts) == (False, "int8", ())


def test_a_pass_mostly_takes_what_the_stack_says_of_a_busy_board():
    stack = replace(stack_model("cpu"), usual_ratio=1.3)
    estimated = sitecnn.estimate(small(1, 32), board_of(stack))
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


def test_what_a_pass_takes_once_is_off_as_the_whole_pass_is():
    """Cross-validation finds the relative error of whole passes: of a network of almost nothing, that of the rest."""
    stack = replace(exact(stack_model("cpu")), forward_ratio_sd=0.0, unexplained_sd={"layer": 0.0, "network": 0.05})
    stack = replace(stack, pass_ns={"pass": 1e12, "weights": 0.0})
    network = small(2, 32)
    ns, sd_ns = time_per_image(network, stack)
    assert sd_ns / ns == pytest.approx(0.05, rel=1e-4)
    assert pass_sd_ns(network, stack) == pytest.approx(2 * sd_ns)


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
    many = sitecnn.estimate_many(networks, board_of(once), level=0.7)
    plain = sitecnn.estimate_many(networks, board_of(stack), level=0.7)
    for row, network in enumerate(networks):
        parameters = sum(prod(one.shape) for layer in network.layers for one in layer.parameters)
        assert many.estimate_ms[row] - plain.estimate_ms[row] == pytest.approx(1 + 2e-6 * parameters)
        alone = forward_ms(network, once, 0.7)
        assert (many[row].forward_ms.estimate, many[row].forward_ms.high) == pytest.approx((alone.estimate, alone.high))
    now = context(small(1, 32), once, at_batch=lambda images: small(images, 32))
    (batch,) = (one for one in advise(now) if one.change == "batch 32")
    gain = forward_ms(small(1, 32), once).estimate - forward_ms(small(32, 32), once).estimate / 32
    assert batch.gain_ms.estimate == pytest.approx(gain)
    assert batch.gain_ms.low + batch.gain_ms.high == pytest.approx(2 * gain)


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
