"""A campaign's outcome is what its records say, never an exit status."""

import json
import sys

import pytest

from sitecnn.boards.campaign import Records, profile
from sitecnn.boards.config import Board
from sitecnn.boards.plan import Amount, plan, plan_lines
from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network, parse_prototxt
from sitecnn.workload.engines import Engine
from tests.estimation.fixtures import NETWORKS

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'


def board(python=sys.executable):
    return Board(name="here", python=str(python), processors={"cpu": {}})


def test_a_missing_plan_is_no_success(tmp_path):
    with pytest.raises(SiteCNNError, match="no such plan"):
        profile(tmp_path, board(), tmp_path / "none.jsonl")


def test_an_agent_that_cannot_start_is_no_success_although_an_older_run_was_done(tmp_path):
    records = tmp_path / "results/records/here/cpu-1-threads.jsonl"
    records.parent.mkdir(parents=True)
    records.write_text(json.dumps({"record": "done", "owed": 0}) + "\n")
    (tmp_path / "plan.jsonl").write_text("")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 2\n")
    broken.chmod(0o755)
    with pytest.raises(SiteCNNError, match="stopped with status 2"):
        profile(tmp_path, board(broken), tmp_path / "plan.jsonl")


def test_a_python_that_is_not_there_names_the_boards_file(tmp_path):
    (tmp_path / "plan.jsonl").write_text("")
    with pytest.raises(SiteCNNError, match=r"config/boards/here.yaml: python: .*nowhere"):
        profile(tmp_path, board(tmp_path / "nowhere"), tmp_path / "plan.jsonl")


def test_a_layer_that_caffe_cannot_run_is_refused_before_any_measurement():
    network = parse_prototxt(f'{INPUT} layer {{ name: "odd" type: "Foo" bottom: "x" top: "y" }}', "test")
    with pytest.raises(SiteCNNError, match=r"layer 'odd' \(Foo\)"):
        plan({Engine(): [network]}, sweep=False)


def test_a_network_is_planned_in_every_round_and_its_memory_once(tmp_path):
    relus = (f'layer {{ name: "{top}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}' for bottom, top in ("xa", "ab"))
    text = " ".join([INPUT, *relus])
    path = tmp_path / "two.prototxt"
    path.write_text(text)
    tasks = [json.loads(line) for line in plan_lines(plan({Engine(): [load_network(path)]}, sweep=False)).splitlines()]
    assert [(task["task"], task.get("round")) for task in tasks] == [
        *(("network", number) for number in range(4)),
        ("memory", None),
    ]


def test_rounds_of_both_engines_take_turns_and_memory_and_products_come_last():
    network = load_network(NETWORKS / "alexnet.prototxt")
    engines = {Engine(): [network], Engine("onnxruntime", "1.32.0", 16): [network]}
    tasks = plan(engines, Amount(probes=2, rounds=3), sweep=True)
    turns = list(dict.fromkeys((task.get("round"), task.get("engine", "caffe")) for task in tasks if "round" in task))
    assert turns == [(number, engine) for number in range(3) for engine in ("caffe", "onnxruntime")]
    words = [task["task"] for task in tasks]
    assert words[-words.count("gemm") :] == ["gemm"] * words.count("gemm")
    assert words.count("memory") == 2 and "probe" not in words[words.index("memory") :]
    without = plan({Engine(): [network]}, sweep=False)
    assert not any(task["task"] == "probe" for task in without)
    assert len([task for task in without if task["task"] == "gemm"]) >= 8  # a board without Caffe has nothing else


def test_a_measurement_that_is_sent_twice_is_written_once(tmp_path):
    """After a cut link an agent sends again what its host may have had already."""
    records = Records(tmp_path / "records.jsonl")
    line = json.dumps({"record": "measurement", "key": "a"}).encode() + b"\n"
    assert records.append(line) == {"record": "measurement", "key": "a"}
    assert records.append(line) is None
    assert Records(records.path).append(line) is None  # nor by another host later
    assert records.path.read_bytes() == line


def test_what_is_no_record_is_not_written(tmp_path, capsys):
    records = Records(tmp_path / "records.jsonl")
    for line in (b"Last login: Mon\n", b"[1, 2]\n", b'{"text": 1}\n'):
        assert records.append(line) is None
    assert records.path.read_bytes() == b""
    assert "Last login" in capsys.readouterr().err


def test_a_torn_last_line_is_cut_off_and_measured_again(tmp_path):
    path = tmp_path / "records.jsonl"
    whole = json.dumps({"record": "measurement", "key": "a"}).encode() + b"\n"
    path.write_bytes(whole + b'{"record": "measurement", "key": "b"')
    assert Records(path).finished == {"a"}
    assert path.read_bytes() == whole


def test_a_gpu_is_not_given_what_onnx_runtime_measures_on_the_cpu(tmp_path, monkeypatch):
    given = {}

    def finish(root, board, tasks, records, processor, threads):
        given[processor] = [task.get("engine", "caffe") for task in tasks]
        return {"owed": 0, "planned": len(tasks)}

    monkeypatch.setattr("sitecnn.boards.campaign._until_done", finish)
    lines = [{"task": "memory"}, {"task": "probe", "engine": "onnxruntime"}]
    (tmp_path / "plan.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    both = Board(name="here", python=sys.executable, processors={"cpu": {}, "gpu": {}})
    profile(tmp_path, both, tmp_path / "plan.jsonl")
    assert given == {"cpu": ["caffe", "onnxruntime"], "gpu": ["caffe"]}
