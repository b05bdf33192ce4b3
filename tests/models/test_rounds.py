"""Rounds become one measurement, and models of ONNX Runtime know nothing of the networks that they estimate."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.blocked_loops import window_positions
from sitecnn.models.evaluate import HELD_OUT, evaluate
from sitecnn.models.features import features_of, matrix
from sitecnn.models.measurements import sizes_of
from sitecnn.models.onnxruntime_features import ONNXRUNTIME_FEATURES
from sitecnn.models.probe_names import is_probe, without_probes
from sitecnn.models.rounds import IDENTITY, fitted_rows, over_rounds, rounds_sd, usual_ratio
from sitecnn.workload.kernels import SIZE_NAMES

STACK = "onnxruntime-1.32.0+cpu+nchwc-16+fp32+1-threads+clock-unknown"
RELU = {"kind": "ort_relu", "channels": 16, "in_elements": 1600, "out_elements": 1600}


def row(network: str | None, number: int, samples: list[float], **others: object) -> dict[str, object]:
    common = {"stack": STACK, "threads": 1, "processor": "cpu", "batch": 1, "mode": "network", "source": "agent"}
    empty = dict.fromkeys((*SIZE_NAMES, "layer", "layer_type", "layer_index", "variant", "kind", "base_bytes"))
    told = {"network": network, "round": number, "samples_ns": samples, "median_ns": 1.0, "subject": "kernel"}
    return empty | common | told | others


def test_the_statistic_is_the_least_of_two_rounds_lower_quartiles():
    rows = pd.DataFrame([row("net", 0, [9, 5, 7, 8], **RELU), row("net", 1, [30, 6, 5, 4], **RELU)])
    merged = over_rounds(rows)
    # Sorted, the second of four: 7 of the first round, 5 of the second.
    assert merged["median_ns"].tolist() == [5]
    assert merged["subject"].tolist() == ["layer"] and merged["layer_type"].tolist() == ["ort_relu"]


@pytest.mark.parametrize("count", range(1, 9))
def test_of_more_rounds_the_statistic_is_the_mean_of_the_least_third(count):
    random = np.random.default_rng(count)
    times = random.permutation(np.arange(1.0, count + 1) ** 2).tolist()
    rows = pd.DataFrame([row("net", number, [ns] * 4, **RELU) for number, ns in enumerate(times)])
    # Of one to three rounds the least, 1; of four to six the mean of 1 and 4; of seven and more that of 1, 4 and 9.
    means = [1, 1, 1, 2.5, 2.5, 2.5, 14 / 3, 14 / 3]
    assert float(over_rounds(rows)["median_ns"].iloc[0]) == pytest.approx(means[count - 1])
    together = pd.concat(
        [rows, rows.assign(network="other", samples_ns=[[100 * ns] for ns in times])], ignore_index=True
    )
    by_network = over_rounds(together).set_index("network")["median_ns"]
    assert by_network["other"] == pytest.approx(100 * by_network["net"])


def test_equal_kernels_of_a_network_stay_apart_in_their_order():
    rounds = [row("net", number, [time + number] * 4, **RELU) for number in range(2) for time in (10.0, 20.0)]
    merged = over_rounds(pd.DataFrame(rounds))
    assert merged["median_ns"].tolist() == [10, 20] and merged["layer_index"].tolist() == [0, 1]


def test_rows_without_rounds_stay_as_they_are():
    rows = pd.DataFrame([row("net", 0, [1.0], **RELU)]).drop(columns="round")
    assert over_rounds(rows) is rows


def test_a_model_is_fitted_on_probes_alone_where_there_are_any():
    rows = pd.DataFrame([row(name, 0, [1.0], **RELU) for name in ("probe-001", "resnet18")])
    assert fitted_rows(rows)["network"].tolist() == ["probe-001"]
    assert fitted_rows(rows[1:])["network"].tolist() == ["resnet18"]
    # Matrix products, which are of no network, and memory, which no probe has, are fitted as well.
    more = pd.DataFrame([row(None, 0, [1.0], kind="gemm"), row("resnet18", 0, [], subject="memory")])
    assert len(fitted_rows(pd.concat([rows, more]))) == 3


def campaign() -> pd.DataFrame:
    """Twenty probes and two networks of ReLUs that take 500 ns and 0.25 ns an element, passes 300 ns more."""
    random, rows = np.random.default_rng(0), []
    for name in (*(f"probe-{number:03d}" for number in range(20)), "one", "other"):
        elements = random.integers(10_000, 1_000_000, 12)
        times = 500 + 0.25 * elements
        for count, ns in zip(elements.tolist(), times.tolist(), strict=True):
            rows.append(row(name, 0, [ns] * 4, **{**RELU, "in_elements": 0, "out_elements": count}))
        rows.append(row(name, 0, [float(times.sum()) + 300] * 3, subject="forward"))
        rows.append(row(name, 0, [], subject="memory", base_bytes=74 << 20, total_bytes=90 << 20))
    measured = pd.DataFrame(rows).assign(touched_bytes=np.nan, weights_bytes=np.nan)
    for name in ("total_bytes", "gpu_total_bytes", "gpu_base_bytes"):
        measured[name] = measured.get(name, np.nan)
    return over_rounds(measured)


def test_all_networks_beside_probes_are_held_out_and_estimated(monkeypatch):
    monkeypatch.setattr("sitecnn.models.evaluate.BASELINES", {})
    evaluation = evaluate(campaign(), 0.9)
    assert sorted(evaluation.networks["network"]) == ["one", "other"] and set(evaluation.networks["split"]) == {
        HELD_OUT
    }
    assert evaluation.networks["error"].abs().max() < 0.03


def test_a_convolution_counts_sets_of_four_blocks_and_what_the_last_one_has():
    # 96 outputs are six blocks of 16: one whole set and two blocks; 8·8 pixels, 32 inputs, 3×3.
    sizes = {"images": 1, "channels": 32, "height": 8, "width": 8, "out_channels": 96, "out_height": 8, "out_width": 8}
    sizes |= {"kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1, "group": 1}
    sizes |= {"in_elements": 2048, "out_elements": 6144, "parameters": 27744, "inputs": 1, "activation": 3}
    sizes |= {"dilation_h": 1, "dilation_w": 1, "pass_bytes": 10 << 20}
    kind = "ort_nchwc_conv_window"
    features = features_of(kind)
    table = sizes_of(pd.DataFrame([dict.fromkeys(SIZE_NAMES, np.nan) | sizes]))
    counts = dict(zip([one.name for one in features], matrix(features, table)[0], strict=True))
    # A padded side loses a row, or a column, of the windows of its outputs: 22 of 24 each.
    steps = 22 * 22 * 32
    assert [counts[f"steps_of_{blocks}"] for blocks in (1, 2, 3, 4)] == [0, steps, 0, steps]
    assert counts["exponentials"] == 6144 and counts["clipped_elements"] == 0 and counts["added_elements"] == 0
    # The first and the last column of outputs are computed one by one, and read two columns each; six are between.
    assert counts["edge_steps"] == 22 * 4 * 32 * 2 and counts["far_out_elements"] == 0
    # Two vectors a cycle, a sum takes four: 6 · 4 and 6 · 2 of them keep the core busy, one pixel's do not.
    assert counts["cycles"] == 22 * 32 * (3 * (12 + 6) + 4 * (4 + 4))
    assert counts["weight_loads"] == 22 * 32 * 6 * (3 + 4)
    assert counts["weights_beyond_4_mb"] == 27744 / 2 and counts["weights_beyond_16_mb"] == 0


@pytest.mark.parametrize(("block", "groups_of"), [(16, (6, 3, 2, 1)), (8, (3, 2, 1))])
@pytest.mark.parametrize("pixels", range(1, 15))
def test_pixels_of_a_row_are_computed_in_groups_that_the_registers_hold(pixels, block, groups_of):
    sizes = {"images": 1, "channels": 16, "height": 3, "width": pixels + 2, "out_channels": 16, "out_height": 1}
    sizes |= {"out_width": pixels, "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "pad_h": 0, "pad_w": 0}
    sizes |= {"group": 1, "dilation_h": 1, "dilation_w": 1, "in_elements": 1, "out_elements": 1, "parameters": 1}
    sizes |= {"inputs": 1, "activation": 0, "stack": STACK.replace("nchwc-16", f"nchwc-{block}")}
    table = sizes_of(pd.DataFrame([dict.fromkeys(SIZE_NAMES, np.nan) | sizes]))
    features = {one.name: one.count for one in features_of("ort_nchwc_conv_window")}
    left, groups = pixels, 0
    for at_once in groups_of:
        taken, left = divmod(left, at_once)
        groups += taken
    assert features["weight_loads"](table)[0] == groups * 9 * 16 * (16 / block)


def test_blocks_of_eight_make_twice_as_many_sets():
    sizes = {"images": 1, "channels": 64, "height": 4, "width": 4, "out_channels": 72, "out_height": 4, "out_width": 4}
    sizes |= {"kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "pad_h": 0, "pad_w": 0, "group": 1}
    sizes |= {"dilation_h": 1, "dilation_w": 1}
    steps = {one.name: one.count for one in features_of("ort_nchwc_conv_pointwise") if one.name.startswith("steps_of")}
    for block, counts in ((16, {4: 1, 1: 1}), (8, {4: 2, 1: 1})):
        sizes["stack"] = f"onnxruntime-1.32.0+nchwc-{block}"
        rows = pd.DataFrame([dict.fromkeys(SIZE_NAMES, np.nan) | sizes])
        sets_of = {int(name[-1]): count(sizes_of(rows))[0] / (16 * 64) for name, count in steps.items()}
        assert {blocks: sets for blocks, sets in sets_of.items() if sets} == counts


def passes(times: list[list[float]]) -> pd.DataFrame:
    """Whole passes of probes, a list of rounds each."""
    rows = [
        row(f"probe-{probe:03d}", number, [ns] * 4, subject="forward")
        for probe, rounds in enumerate(times)
        for number, ns in enumerate(rounds)
    ]
    return over_rounds(pd.DataFrame(rows))


def test_what_disturbs_all_passes_of_a_round_is_an_error_that_they_share():
    # Without the one quiet round all passes would be 10 % longer: jackknife of (0, 0, log 1.1).
    once = passes([[110.0, 110.0, 100.0], [220.0, 220.0, 200.0]])
    assert rounds_sd(once) == pytest.approx(np.log(1.1) * 2 / 3)
    assert rounds_sd(passes([[110.0, 100.0, 100.0], [220.0, 200.0, 200.0]])) == 0.0


def test_what_disturbs_single_passes_is_none_and_of_one_round_nothing_is_known():
    assert rounds_sd(passes([[100.0, 110.0, 110.0], [110.0, 100.0, 110.0], [110.0, 110.0, 100.0]])) == 0.0
    assert rounds_sd(passes([[100.0], [200.0]])) == 0.0


@pytest.mark.parametrize(("height", "kernel", "stride", "pad", "dilation"), [
    (7, 3, 1, 1, 1), (7, 5, 1, 2, 1), (8, 3, 2, 1, 1), (14, 7, 2, 3, 1), (9, 3, 1, 2, 2), (8, 11, 4, 2, 1),
    (6, 2, 2, 0, 1),
])  # fmt: skip
def test_windows_are_counted_inside_the_image(height, kernel, stride, pad, dilation):
    outputs = (height + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    side = {"kernel_h": kernel, "stride_h": stride, "pad_h": pad, "dilation_h": dilation}
    side |= {"height": height, "out_height": outputs}
    inside = sum(
        0 <= out * stride + place * dilation - pad < height for out in range(outputs) for place in range(kernel)
    )
    counted = window_positions({name: np.array([float(size)]) for name, size in side.items()}, "height", "h")
    assert counted[0] == inside


def test_every_kind_with_features_has_different_names_for_them():
    for kind, features in ONNXRUNTIME_FEATURES.items():
        names = [feature.name for feature in features]
        assert len(set(names)) == len(names), kind


def test_what_is_typical_is_the_median_of_all_passes_over_the_least_of_the_rounds():
    rounds = [[10.0, 12.0, 14.0], [20.0, 22.0, 24.0]]  # the least quartile is 10, the median of all is 17
    rows = [
        {"stack": "s", "network": name, "batch": 1, "subject": "forward", "round": number, "samples_ns": samples}
        for name, scale in (("net", 1.0), ("caffe-probe-001", 5.0))
        for number, samples in enumerate([[scale * ns for ns in samples] for samples in rounds])
    ]
    columns = [*IDENTITY, "round", "samples_ns", "median_ns", "layer", "layer_type", "layer_index"]
    merged = over_rounds(pd.DataFrame(rows).reindex(columns=columns))
    assert merged.set_index("network")["median_ns"].to_dict() == {"net": 10.0, "caffe-probe-001": 50.0}
    assert usual_ratio(merged) == pytest.approx(1.7)
    assert usual_ratio(merged.drop(columns="usual_ns")) == 1.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("probe-001", True), ("caffe-probe-045", True), ("probe-x", False), ("my-probe-1", False), ("probe-1b", False),
     ("resnet18", False), (None, False), (float("nan"), False)],
)  # fmt: skip
def test_probes_are_known_by_the_names_that_plans_give_them(name, expected):
    assert is_probe(name) is expected
    assert without_probes(["b", "probe-001", "a", "caffe-probe-002"]) == ["b", "a"]
