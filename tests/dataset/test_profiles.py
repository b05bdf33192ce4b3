"""Profiles of engines that fuse: a group's time is the group's, reorders are the engine's, nothing is charged twice."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sitecnn.cli import main
from sitecnn.dataset.imports.tensorrt import layers_named
from sitecnn.network.onnx import parse_onnx
from tests.workload.lowering.graphs import Builder

RUNS = 4


@pytest.fixture
def model():
    """Conv + Relu, Conv + BatchNormalization + Add, an activation between reorders, MatMul + Add."""
    builder = Builder()
    first = builder.op("Relu", builder.conv("x", 3, 32, 3))
    total = builder.op("Add", builder.batch_norm(builder.conv(first, 32, 32, 3), 32), first)
    pooled = builder.op("MaxPool", builder.op("Elu", total), kernel_shape=[4, 4], strides=[4, 4])
    flat = builder.op("Flatten", pooled)
    return builder.model(builder.op("Add", builder.op("MatMul", flat, builder.weight(32 * 64, 10)), builder.weight(10)))


def profile(model, folder, *, block):
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    disabled = [] if block else ["NchwcTransformer"]
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"], disabled_optimizers=disabled)
    for _ in range(RUNS):
        session.run(None, {"x": np.ones((1, 3, 32, 32), np.float32)})
    return session.end_profiling()


def imported(folder, form, file, processor="cpu", stack="mine"):
    network = ["--network", folder / "net.onnx", "--board", "x", "--processor", processor, "--stack", stack]
    status = main(["--root", str(folder), "import", form, str(file), *map(str, network)])
    lines = [line for one in (folder / "results/records/x").glob("*.jsonl") for line in one.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    return status, next(record for record in records if record.get("task") == "network"), records


@pytest.mark.parametrize("block", [True, False])
def test_a_fused_group_is_one_time_at_its_first_layer(tmp_path, capsys, model, block):
    (tmp_path / "net.onnx").write_bytes(model)
    file = profile(model, tmp_path, block=block)
    status, record, records = imported(tmp_path, "onnxruntime", file)
    assert status == 0, capsys.readouterr().err
    network = parse_onnx(model, "net.onnx")
    names = {layer.name: layer.type for layer in network.layers}
    layers = {layer["name"]: layer for layer in record["layers"]}
    types = [names[name] for name in layers]
    assert types == ["Convolution", "Convolution", "ELU", "Pooling", "Flatten", "InnerProduct"]
    fused = [[names[one] for one in layer["fused"] or []] for layer in layers.values()]
    assert fused == [["ReLU"], ["BatchNorm", "Scale", "Eltwise"], [], [], [], ["Bias"]]
    assert all(len(layer["samples_ns"]) == RUNS - 1 for layer in layers.values())
    events = [one for one in json.loads(Path(file).read_text()) if one.get("name", "").endswith("_kernel_time")]
    own = sum(one["args"]["op_name"].startswith("Reorder") for one in events)
    spent = sum(one["dur"] for one in events if not one["args"]["op_name"].startswith("Reorder"))
    first = sum(one["dur"] for one in events[: len(events) // RUNS] if not one["args"]["op_name"].startswith("Reorder"))
    assert sum(sum(layer["samples_ns"]) for layer in layers.values()) == pytest.approx((spent - first) * 1e3)
    warm_up = (len(events) - own) // RUNS
    assert f"{own + warm_up} left out" in capsys.readouterr().out
    stack = next(one["stack"] for one in records if one["record"] == "run")
    assert stack.startswith("onnxruntime+nchwc-") and stack.endswith("+fp32+mine")
    assert ("nchwc-0" in stack) != bool(own)


def test_a_stack_that_names_its_engine_keeps_its_name(tmp_path, model):
    (tmp_path / "net.onnx").write_bytes(model)
    name = "onnxruntime-1.32.0+of-mine"
    _, _, records = imported(tmp_path, "onnxruntime", profile(model, tmp_path, block=False), stack=name)
    assert next(one["stack"] for one in records if one["record"] == "run") == name


@pytest.fixture
def silu_network(tmp_path):
    builder = Builder()
    first = builder.conv("x", 3, 16, 3)
    product = builder.op("Mul", first, builder.op("Sigmoid", first))
    model = builder.model(builder.op("Relu", builder.conv(product, 16, 16, 3)))
    (tmp_path / "net.onnx").write_bytes(model)
    return parse_onnx(model, "net.onnx")


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("node0", {"Convolution"}),
        ("PWN(PWN(node1), node2)", {"Sigmoid", "Eltwise"}),
        ("node3 + PWN(node4)", {"Convolution", "ReLU"}),
        ("{ForeignNode[node1...node2]}", {"Sigmoid", "Eltwise"}),
        ("__mye1234-(ForeignNode[node1...node2])", {"Sigmoid", "Eltwise"}),
        ("node7 + node0", set()),
    ],
)
def test_tensorrts_names_tell_the_layers(silu_network, name, types):
    named = {silu_network.layers[index].type for index in layers_named(silu_network, name)}
    assert named - {"Split"} == types


def test_a_group_of_two_convolutions_is_refused_and_copies_are_left_out(tmp_path, capsys, silu_network):
    entries = [
        {"count": 10},
        {"name": "Reformatting CopyNode for Input Tensor 0 to node0", "averageMs": 0.5},
        {"name": "node0 + PWN(PWN(node1), node2)", "averageMs": 0.25},
        {"name": "ForeignNode[node0...node4]", "averageMs": 1.0},
    ]
    (tmp_path / "trt.json").write_text(json.dumps(entries))
    status, record, _ = imported(tmp_path, "tensorrt", tmp_path / "trt.json", "gpu")
    said = capsys.readouterr()
    assert status == 1
    assert "row 4" in said.err
    assert "several convolutions" in said.err
    assert "1 left out" in said.out
    (layer,) = record["layers"]
    assert (layer["name"], layer["samples_ns"]) == ("node0", [250_000])
    assert set(layer["fused"]) == {"node1", "node2"}


def test_a_profile_of_which_nothing_can_be_told_apart_says_why(tmp_path, capsys, silu_network):
    (tmp_path / "trt.json").write_text(json.dumps([{"name": "ForeignNode[node0...node4]", "averageMs": 1.0}]))
    where = ["--network", str(tmp_path / "net.onnx"), "--board", "x", "--processor", "gpu", "--stack", "mine"]
    assert main(["--root", str(tmp_path), "import", "tensorrt", str(tmp_path / "trt.json"), *where]) == 2
    assert "entry 1: 'ForeignNode[node0...node4]' is one time for several convolutions" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        'data = [\n{ "name" : "node3", "timeMs" : 0.03, "averageMs" : 0.03, "percentage" : 0.9 }\n]',
        "[05/08/2024-14:05:14] [I] === Profile (20 iterations ) ===\n"
        "[05/08/2024-14:05:14] [I]    Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer\n"
        "[05/08/2024-14:05:14] [I]       0.60       0.03       0.0225       100.0   node3\n"
        "[05/08/2024-14:05:14] [I]       0.60       0.03       0.0225       100.0   Total\n",
    ],
)
def test_other_forms_of_a_profile_are_read(tmp_path, silu_network, text):
    (tmp_path / "trt.txt").write_text(text)
    status, record, _ = imported(tmp_path, "tensorrt", tmp_path / "trt.txt", "gpu")
    assert status == 0
    assert [(one["name"], one["samples_ns"]) for one in record["layers"]] == [("node3", [30_000])]
