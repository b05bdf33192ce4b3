"""The poster's Table 1 from passes that were measured in rounds."""

import pandas as pd
import pytest

from sitecnn.report.passes import times
from sitecnn.report.results import ProcessorResults, Results

PLACE = {"board": "b", "processor": "cpu", "stack": "s", "batch": 1, "status": "ok"}


def rows(network, rounds):
    """A convolution and a ReLU that take their `rounds`' samples in ms, and the pass of both."""
    for number, (convolution, relu) in enumerate(rounds):
        both = [a + b for a, b in zip(convolution, relu, strict=True)]
        timed = (("layer", "Convolution", convolution), ("layer", "ReLU", relu), ("layerwise", None, both))
        for subject, kind, samples in timed:
            ns = [1e6 * ms for ms in samples]
            yield PLACE | {
                "network": network,
                "round": number,
                "subject": subject,
                "layer_type": kind,
                "samples_ns": ns,
            }


def test_layers_of_a_round_are_added_up_and_rounds_are_samples():
    table = times(pd.DataFrame(rows("net", [([10, 12, 14], [1, 1, 1]), ([11, 13, 15], [2, 2, 2])])))
    (row,) = table.to_dict("records")
    assert row["conv_ms"] == pytest.approx(12.5)
    assert row["relu_ms"] == pytest.approx(1.5)
    assert row["layerwise_ms"] == pytest.approx(14)
    assert row["conv_share"] == pytest.approx(12.5 / 14)
    # Half of what lies between the quartiles of 10, 11, … 15.
    assert row["conv_spread_ms"] == pytest.approx((13.75 - 11.25) / 2)


def test_layers_of_no_group_are_a_part_of_the_whole():
    measured = pd.DataFrame(rows("net", [([6], [3])]))
    measured.loc[measured["layer_type"] == "ReLU", "layer_type"] = "Softmax"
    (row,) = times(measured).to_dict("records")
    assert (row["conv_share"], row["other_share"]) == pytest.approx((2 / 3, 1 / 3))


def test_probes_have_no_row():
    measured = [*rows("net", [([1], [1])]), *rows("caffe-probe-001", [([1], [1])]), *rows("probe-002", [([1], [1])])]
    assert list(times(pd.DataFrame(measured))["network"]) == ["net"]


def test_a_campaign_of_two_engines_takes_its_time_once(tmp_path):
    """One of its runs says how long it took; the run of a night before, which never ended, what it measured."""
    start = pd.Timestamp("2026-11-27T02:00:00Z")
    starts = {"caffe": start, "onnx": start + pd.Timedelta(1, "s"), "cut": start - pd.Timedelta(8, "h")}
    runs = pd.DataFrame({"run": list(starts), "started_at": list(starts.values()), "seconds": [250.0, None, None]})
    runs = runs.assign(board="b", processor="cpu", origin="b/cpu.jsonl")
    records = pd.DataFrame({"run": ["caffe", "onnx", "cut"], "seconds": [100.0, 140.0, 30.0], "line": [1, 2, 3]})
    processor = ProcessorResults("b", "cpu", "", records.assign(origin="b/cpu.jsonl"))
    empty = pd.DataFrame()
    results = Results(tmp_path, None, (processor,), empty, runs, empty)
    assert results.board_minutes(processor) == pytest.approx((250 + 30) / 60)
