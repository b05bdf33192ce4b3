"""Two engines on one processor are shown side by side, never compared as before and after; what failed is counted."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from sitecnn.dataset.compare import IDENTITY, compare
from sitecnn.report.chapters.accuracy import board_time
from sitecnn.report.chapters.boards import bad_measurements
from sitecnn.report.chapters.memory import answer, of_sharing_engines, sharing_table


def rows(layer):
    """One thing measured nine times; `layer` is None in a dataset that has no layers."""
    one = dict.fromkeys(IDENTITY) | {"subject": "forward", "network": "net", "batch": 1, "layer": layer}
    return pd.DataFrame([{**one, "status": "ok", "samples_ns": [float(ns) for ns in range(100, 109)]}])


def test_a_column_that_one_side_does_not_have_compares_as_nothing_in_common():
    with_layers = pd.concat([rows("conv1"), rows(None)], ignore_index=True)
    without = rows(None).assign(layer=float("nan"))
    assert len(compare(with_layers, without)) <= 1


@pytest.fixture
def shared():
    """Two processors: ONNX Runtime beside Caffe on one, the other was evaluated before engines had parts."""
    parts = {
        "engine_weights_bytes": [8.0, None],
        "engine_activations_bytes": [4.0, None],
        "engine_kernels": [20.0, None],
    }
    both = pd.DataFrame({"network": ["a", "b"], "batch": 1, "stack": ["onnxruntime-1.32.0", "caffe-1"], **parts})
    both = both.assign(base_bytes=64.0, total_bytes=100.0, estimate_bytes=[97.0, 120.0], error=[-0.03, 0.2])
    tables = [both, both.drop(columns=list(parts))]
    named = [
        SimpleNamespace(place={"board": "here", "processor": name}, memory=table)
        for name, table in zip("ab", tables, strict=True)
    ]
    return of_sharing_engines(SimpleNamespace(measured=named))


def test_processes_of_onnxruntime_have_a_table_of_their_own(shared):
    assert shared[["network", "board", "processor"]].to_numpy().tolist() == [["a", "here", "a"]]
    assert [column.title for column in sharing_table(shared).columns][-1] == "error"


def test_the_answer_is_the_worst_of_all_engines(shared):
    caffe = pd.DataFrame({"network": ["b", "c"], "error": [0.01, float("nan")]})
    assert "off by 3.0 % at most, over the processes of 2 networks" in answer(pd.DataFrame(), caffe, shared)
    assert "off by 1.0 % at most, over the processes of 1 network." in answer(pd.DataFrame(), caffe, pd.DataFrame())


def test_reasons_that_differ_in_numbers_alone_are_one_row():
    common = {"board": "here", "processor": "cpu", "subject": "kernel", "network": None, "status": "unstable"}
    reasons = ["known to 5 % only", "known to 7.5 % only", "too hot: 90 C", "too hot: 90 C"]
    rows = pd.DataFrame([{**common, "kind": reason[0], "reason": reason} for reason in reasons])
    one = SimpleNamespace(measurements=rows)
    table, *_ = bad_measurements(SimpleNamespace(measured=[one], processors=[], refused=pd.DataFrame()))
    shown = table.frame[["reason", "measurements"]].to_numpy().tolist()
    assert shown == [["known to … % only", 2], ["too hot: 90 C", 2]]


def test_how_errors_fall_with_rounds_is_said_for_each_stack():
    def stack(name, seconds, errors):
        table = pd.DataFrame({"stack": name, "rounds": [1, 2, 4], "seconds": seconds, "median_error": errors})
        return table.assign(worst_error=[0.5, 0.4, 0.3], bias=0.0, networks=9)

    both = [stack("onnxruntime-1.32.0+cpu+nchwc-16+fp32+1-threads", [12.4, 24.0, 47.1], [0.061, 0.037, 0.02])]
    both.append(stack("caffe-1.0.0+openblas-0.3.21+1-threads", [16.0, 33.0, 70.6], [0.03, 0.025, 0.012]))
    measured = SimpleNamespace(place={"board": "here", "processor": "cpu"}, board_time=pd.concat(both))
    other = SimpleNamespace(place={"board": "there", "processor": "gpu"}, board_time=pd.DataFrame())
    [figure] = board_time(SimpleNamespace(measured=[measured, other]))
    said = re.findall(r"here cpu with ([^:]*): (\S+) % after (\d+) s, (\S+) % after (\d+) s", figure.note)
    assert [one[1:] for one in said] == [("6.1", "12", "2.0", "47"), ("3.0", "16", "1.2", "71")]
    assert "ONNX Runtime" in said[0][0] and "Caffe" in said[1][0]
    points = pd.DataFrame(figure.chart.to_dict()["datasets"].popitem()[1])
    assert points[["seconds", "median_error"]].to_numpy().tolist() == [
        [12.4, 0.061], [24.0, 0.037], [47.1, 0.02], [16.0, 0.03], [33.0, 0.025], [70.6, 0.012],
    ]  # fmt: skip
    assert board_time(SimpleNamespace(measured=[other])) == []
