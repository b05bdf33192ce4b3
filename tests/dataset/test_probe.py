"""Records of probe networks and of networks that ONNX Runtime ran: a row for each kernel, and for the passes."""

import json
import statistics

import pytest

from sitecnn.dataset import aggregate, read_measurements
from sitecnn.dataset.verify import problems
from tests.dataset.records import run_record, write

STACK = "onnxruntime-1.27.0+cpu+nchwc-16+fp32+1-threads+clock-unknown"
CONV = {"kind": "conv_nchwc", "variant": "Relu", "images": 1, "channels": 16, "height": 56, "width": 56, "group": 1}
GEMM = {"kind": "gemm", "variant": "", "m": 1, "n": 1000, "k": 512}


def probe(number, round_number=0, task="probe", **changes):
    kernels = [
        {**CONV, "out_channels": 32, "samples_ns": [5000 + number, 4000, 4500]},
        {**GEMM, "samples_ns": [900.5, 800, 850]},
        {**CONV, "out_channels": 64, "samples_ns": [7000, 7100, 7200]},
    ]
    passes = {"kernels": kernels, "forward_ns": [11000, 12000], "layerwise_ns": [12500, 12700, 12600]}
    named = {"network": f"probe-{number:03d}", "batch": 1, "engine": "onnxruntime", "round": round_number}
    told = {"record": "measurement", "task": task, "key": f"{number:016x}{round_number:016x}", "run": "r1"}
    return {**told, **named, "status": "ok", "reason": "", "seconds": 0.1, **passes, **changes}


def read(root):
    return read_measurements(root, "b", "cpu").sort_values(["network", "round", "subject", "kind"], ignore_index=True)


@pytest.mark.parametrize("task", ["probe", "network"])
def test_every_kernel_of_every_round_is_a_row(tmp_path, task):
    records = [probe(number, round_number, task) for round_number in range(3) for number in range(4)]
    write(tmp_path, [run_record(stack=STACK), *records])
    assert aggregate(tmp_path) == {
        "schema": 3, "measurements": {"b/cpu": 12 * 5}, "refused": 0, "superseded": 0
    }  # fmt: skip
    measured = read(tmp_path)
    assert set(measured["engine"]) == {"onnxruntime"} and set(measured["precision"]) == {"fp32"}
    assert set(measured["mode"]) == {"network"} and set(measured["round"]) == {0, 1, 2}
    kernels = measured[measured["subject"] == "kernel"]
    told = {
        (record["network"], record["round"], kernel["kind"], kernel.get("out_channels")): kernel
        for record in records
        for kernel in record["kernels"]
    }
    assert len(kernels) == len(told) == 36
    for row in kernels.itertuples():
        kernel = told[row.network, row.round, row.kind, row.out_channels if row.kind != "gemm" else None]
        assert list(row.samples_ns) == kernel["samples_ns"]
        assert row.median_ns == statistics.median(kernel["samples_ns"])
        sizes = {name: getattr(row, name) for name in kernel if name != "samples_ns"}
        assert sizes == {name: value for name, value in kernel.items() if name != "samples_ns"}
    forward = measured[measured["subject"] == "forward"]
    assert set(forward["median_ns"]) == {11500} and set(measured[measured["subject"] == "layerwise"]["median_ns"]) == {
        12600
    }
    assert list(problems(tmp_path)) == []


def test_a_probe_that_failed_is_a_row_with_its_reason(tmp_path):
    failed = dict.fromkeys(("kernels", "forward_ns", "layerwise_ns"))
    write(tmp_path, [run_record(stack=STACK), probe(0, status="failed", reason="no memory", **failed)])
    aggregate(tmp_path)
    (row,) = read(tmp_path).itertuples()
    assert (row.subject, row.status, row.reason, row.network) == ("forward", "failed", "no memory", "probe-000")


BAD_KERNELS = {
    "a size is a fraction": {**GEMM, "m": 1.5},
    "a size is negative": {**GEMM, "m": -1},
    "a gemm lacks a size": {"kind": "gemm", "m": 1, "n": 1},
    "a kernel has no kind": {"m": 1},
    "a kernel is a number": 5,
    "no samples": {**GEMM, "samples_ns": []},
    "a sample is a text": {**GEMM, "samples_ns": ["x"]},
    "a sample is negative": {**GEMM, "samples_ns": [-1]},
}


@pytest.mark.parametrize("what", BAD_KERNELS)
def test_a_probe_with_a_kernel_that_cannot_be_is_refused_whole(tmp_path, what):
    bad = BAD_KERNELS[what]
    bad = {"samples_ns": [1], **bad} if isinstance(bad, dict) else bad
    good = probe(0)
    write(tmp_path, [run_record(stack=STACK), good, probe(1, kernels=[good["kernels"][0], bad])])
    assert aggregate(tmp_path)["refused"] == 1
    (refused,) = map(json.loads, (tmp_path / "results/dataset/refused.jsonl").open())
    assert refused["line"] == 3 and refused["reason"]
    assert set(read(tmp_path)["network"]) == {"probe-000"}


@pytest.mark.parametrize(
    ("stack", "engine", "expected"),
    [
        ("caffe+1", None, None),
        ("trt-8+fp16", "tensorrt", "fp16"),
        ("tx1 fp16 cudnn", None, "fp16"),
        ("x+int8", None, "int8"),
    ],
)
def test_precision_is_what_the_stack_says(tmp_path, stack, engine, expected):
    from tests.dataset.records import gemm_record

    write(tmp_path, [run_record(stack=stack, engine=engine), gemm_record(0)])
    aggregate(tmp_path)
    (row,) = read_measurements(tmp_path, "b", "cpu").itertuples()
    assert (row.precision if isinstance(row.precision, str) else None) == expected
    assert row.engine == (engine or "caffe")
