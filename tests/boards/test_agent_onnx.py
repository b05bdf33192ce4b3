"""ONNX Runtime in the agent: real sessions on small models whose kernels are known, and profiles that do not fit."""

import base64
import copy
import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from sitecnn.boards import campaign
from sitecnn.boards.agent import onnx_bytes
from sitecnn.boards.agent.errors import Refused
from sitecnn.boards.agent.onnx_bench import OnnxBench
from sitecnn.boards.agent.onnx_join import join
from sitecnn.boards.agent.onnx_session import OnnxRuntime, nodes_of
from sitecnn.boards.config import Board
from sitecnn.network import load_network
from sitecnn.network.onnx import external_bytes, to_onnx
from tests.boards.agents import gemm_task, is_held, lines, lock_name, measurements, read, start_with_files
from tests.boards.test_agent_process import host, whole_campaign


def outside(name, *shape):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", "offset": "4096", "length": str(4 * int(np.prod(shape)))}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(size=16):
    """Elu, pooling, and a product whose weights lie outside: nodes that no layout changes."""
    nodes = [
        helper.make_node("Elu", ["image"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Elu", ["b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "weights", "bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])]
    ends.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10]))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [outside("weights", 10, 3), outside("bias", 10)])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return base64.b64encode(whole.SerializeToString()).decode()


def kernel(op, inputs, outputs, **sizes):
    return {"kind": op.lower(), "variant": "", **sizes, "op": op, "inputs": inputs, "outputs": outputs}


def kernels(size=16):
    whole, half = [1, 3, size, size], [1, 3, size // 2, size // 2]
    return [
        kernel("Elu", [half], [half], outputs_elements=3),
        kernel("Elu", [whole], [whole]),
        kernel("MaxPool", [whole], [half]),
        kernel("GlobalAveragePool", [half], [[1, 3, 1, 1]]),
        kernel("Flatten", [[1, 3, 1, 1]], [[1, 3]]),
        kernel("Gemm", [[1, 3], [10, 3], [10]], [[1, 10]], k=3),
    ]


def task(name="probe-001", task="probe", **more):
    whole = {"task": task, "engine": "onnxruntime", "network": name, "batch": 1, "model": model()}
    return {**whole, "kernels": kernels(), **({} if task == "memory" else {"round": 0}), **more}


@pytest.mark.parametrize("text", [onnx_bytes.two_convolutions(), onnx_bytes.chain(5)])
def test_models_written_by_hand_are_models(text):
    onnx.checker.check_model(onnx.load_from_string(text), full_check=True)


def test_the_block_is_the_one_that_onnx_runtime_pads_to(tmp_path):
    """As the graph that it writes says: a convolution of 20 channels gets as many as fill blocks."""
    shape = {"x": [1, 3, 8, 8]}
    nodes = [onnx_bytes.node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    text = onnx_bytes.model(nodes, shape, {"y": [1, 20, 8, 8]}, {"w": [20, 3, 3, 3]})
    onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    padded = {tensor.dims[0] for tensor in onnx.load(tmp_path / "optimised.onnx").graph.initializer}
    facts = OnnxBench(1).facts()["onnxruntime"]
    assert {0: {20}, 8: {24}, 16: {32}}[facts["nchwc_block"]] == padded
    assert facts["version"] == onnxruntime.__version__ and 0 <= facts["profiler_overhead_ns"]["1"] < 1e6


def test_a_campaign_of_rounds_measures_kernels_in_the_order_of_the_plan(tmp_path):
    tasks = [task(name, round=number) for number in (0, 1) for name in ("probe-001", "probe-002")]
    tasks += [task("net", "network", round=number) for number in (0, 1)] + [task("net", "memory")]
    status, errors, records = whole_campaign(tmp_path, [*tasks, gemm_task(4)])
    assert status == 0, errors
    runs = {record.get("engine", "caffe"): record for record in records if record["record"] == "run"}
    assert runs["onnxruntime"]["stack"].startswith(f"onnxruntime-{onnxruntime.__version__}+cpu+")
    assert "+fp32+1-threads+" in runs["onnxruntime"]["stack"]
    measured = [record for record in measurements(records) if record.get("engine") == "onnxruntime"]
    assert [record["status"] for record in measured] == ["ok"] * 7, measured
    assert {record["run"] for record in measured} == {runs["onnxruntime"]["run"]}
    for record in measured[:-1]:
        assert [named["kind"] for named in record["kernels"]] == [named["kind"] for named in kernels()]
        assert record["kernels"][5]["k"] == 3 and "model" not in record and "inputs" not in record["kernels"][5]
        samples = [named["samples_ns"] for named in record["kernels"]]
        assert {len(ns) for ns in samples} == {len(record["layerwise_ns"])} and len(record["forward_ns"]) >= 3
        for position, whole in enumerate(record["layerwise_ns"]):
            assert sum(ns[position] for ns in samples) <= whole
    memory = measured[-1]["memory_bytes"]
    assert 0 < memory["base"] <= memory["loaded"] <= memory["load_peak"] <= memory["peak"]
    assert records[-1]["owed"] == 0 and records[-1]["planned"] == 8
    again, _, more = whole_campaign(tmp_path, [*tasks, gemm_task(4)])
    assert again == 0 and len(measurements(more)) == 8


def test_a_probe_that_runs_other_kernels_fails_and_says_which(tmp_path):
    others = copy.deepcopy(kernels())
    others[3]["op"] = "AveragePool"
    status, _, records = whole_campaign(tmp_path, [task(kernels=others), task("probe-002")])
    bad, good = measurements(records)
    assert status == 0 and (bad["status"], good["status"]) == ("failed", "ok")
    assert "expected, not run: AveragePool 1x3x8x8 -> 1x3x1x1; run, not expected: GlobalAveragePool" in bad["reason"]


def test_a_model_that_cannot_be_loaded_fails_alone(tmp_path):
    bad = task("broken", model=base64.b64encode(b"no model").decode())
    _, _, records = whole_campaign(tmp_path, [bad, task()])
    assert [record["status"] for record in measurements(records)] == ["failed", "ok"]
    assert "does not load" in measurements(records)[0]["reason"]


def test_an_agent_killed_among_rounds_measures_nothing_twice(tmp_path):
    dice = random.Random(7)
    tasks = [task(f"probe-{name}", round=number) for number in range(4) for name in range(6)]
    for _ in range(4):
        agent = start_with_files(tmp_path, tasks)
        time.sleep(dice.uniform(1.0, 3.0))
        agent.kill()
        agent.communicate()
    status, errors, records = whole_campaign(tmp_path, tasks)
    keys = [record["key"] for record in measurements(records)]
    assert status == 0, errors
    assert len(keys) == len(set(keys)) == 24


def test_the_budget_stops_between_rounds(tmp_path):
    tasks = [task(f"probe-{name}", round=number) for number in range(3) for name in range(3)]
    status, _, records = whole_campaign(tmp_path, tasks, "--budget-s", "0.01")
    assert status == 1 and records[-1]["owed"] == 9 - len(measurements(records))
    assert len(measurements(records)) % 3 == 0


def test_a_python_without_onnx_runtime_says_so(tmp_path):
    package = tmp_path / "onnxruntime.py"
    package.write_text("raise ImportError('none here')")
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    status, errors, records = whole_campaign(tmp_path, [task()], env=environment)
    assert status == 0 and "no ONNX Runtime here" in errors
    assert measurements(records)[0]["status"] == "failed" and "none here" in measurements(records)[0]["reason"]


def node(op, inputs, outputs):
    return {"op": op, "inputs": inputs, "outputs": outputs}


def test_nodes_are_joined_by_op_shapes_and_occurrence_whatever_their_order():
    small, large = [1, 8, 4, 4], [1, 8, 8, 8]
    nodes = [node("Conv", [large, [8, 8, 3, 3]], [large]), node("ReorderInput", [small], [small]),
             node("Conv", [large, [8, 8, 1, 1]], [large]), node("ReorderInput", [large], [large]),
             node("Gemm", [[1, 3], [10]], [[1, 10]])]  # fmt: skip
    expected = [nodes[2], nodes[3], node("Gemm", [[1, 3], [10, 3], [10]], [[1, 10]]), nodes[0], nodes[1]]
    assert join(nodes, expected, "net") == [2, 3, 4, 0, 1]
    assert join([nodes[2], nodes[2]], [nodes[2], nodes[2]], "net") == [0, 1]
    with pytest.raises(Refused, match=r"run, not expected: Gemm 1x3 10 -> 1x10"):
        join(nodes, [*expected[:2], *expected[3:]], "net")


def test_a_profile_whose_runs_differ_is_refused():
    def event(name, ts):
        arguments = {"op_name": "Abs", "input_type_shape": [{"float": [1]}, {}], "output_type_shape": [{"float": []}]}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": ts, "args": arguments}

    events = [event("a", 3), event("a", 1), event("a", 2), {"cat": "Session", "name": "x", "ts": 0, "dur": 1}]
    (node,) = nodes_of(events, 3, 1)
    assert node["samples_ns"] == [2000, 3000] and node["inputs"] == [[1]] and node["outputs"] == [[]]
    for broken, runs in ((events[:2], 3), ([event("a", 1), event("b", 2)], 2), ([], 1)):
        with pytest.raises(Refused):
            nodes_of(broken, runs, 0)


def test_records_are_json_lines(tmp_path):
    whole_campaign(tmp_path, [task()])
    assert json.dumps(read(tmp_path))


def test_a_host_that_is_gone_ends_rounds_and_their_worker_and_keeps_what_was_sent(tmp_path):
    tasks = [task(f"probe-{name}", round=number) for number in range(20) for name in range(6)]
    agent = host(tmp_path)
    agent.stdin.write((lines([{"finished": []}, *tasks]) + "\n").encode())
    agent.stdin.flush()
    sent = []
    while not measurements(sent):
        line = agent.stdout.readline()
        sent += [json.loads(line)] if line.strip() else []
    agent.stdin.close()
    assert agent.wait(timeout=30) == 3 and b"its host is gone" in agent.stderr.read()
    assert not is_held(lock_name(tmp_path))


def test_two_agents_measure_rounds_one_after_the_other(tmp_path):
    (tmp_path / "first").mkdir()
    first = start_with_files(
        tmp_path / "first", [task(f"probe-{name}") for name in range(200)], "--lock", "sitecnn-test-both"
    )
    while not is_held("sitecnn-test-both"):
        time.sleep(0.05)
    status, errors, records = whole_campaign(
        tmp_path, [task()], "--lock", "sitecnn-test-both", changes="lock.LOCK_SECONDS = 1"
    )
    assert status == 2 and f"the agent with pid {first.pid}" in errors and not records
    first.kill()
    first.communicate()
    assert whole_campaign(tmp_path, [task()], "--lock", "sitecnn-test-both")[0] == 0


def test_a_host_knows_what_each_engine_still_owes(tmp_path):
    board = Board.model_validate({"name": "here", "python": sys.executable, "processors": {"cpu": {}}})
    tasks = [gemm_task(4), task(), task("net", "memory")]
    (tmp_path / "plan.jsonl").write_text(lines(tasks))
    done = campaign.profile(tmp_path, board, tmp_path / "plan.jsonl")["cpu-1-threads"]
    assert (done["planned"], done["owed"]) == (3, 0)
    records = campaign.Records(campaign.record_file(tmp_path, "here", "cpu", 1))
    assert set(records.stacks) == {"caffe", "onnxruntime"}
    assert records.owed(tasks) == 0 and records.owed([*tasks, task(round=1), gemm_task(5)]) == 2


def test_a_network_with_stored_variances_gives_finite_numbers_of_the_agents_weights(tmp_path, monkeypatch):
    """The weights of an older agent, which could be negative, are made anew."""
    monkeypatch.setattr("sitecnn.boards.agent.onnx_session.state_folder", lambda: str(tmp_path))
    engine = OnnxRuntime(1)
    network = load_network(Path(__file__).parents[2] / "config" / "networks" / "mobilenet-v1.prototxt")
    older = Path(engine.folder, "weights.bin")
    np.random.default_rng(0).normal(0, 0.05, external_bytes(network)).astype(np.float32).tofile(older)
    engine.make_weights(external_bytes(network))
    weights = np.fromfile(older, np.float32)
    assert weights.min() > 0.009 and weights.max() < 0.11 and weights.std() > 0.01
    session = engine.session(to_onnx(network, "external"))
    outputs = session.run(None, engine.inputs(session))
    assert all(np.isfinite(values).all() for values in outputs)
