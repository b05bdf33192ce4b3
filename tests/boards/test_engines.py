"""A board's plan has what each of its engines can measure, and says what it leaves out."""

import sys

import pytest

from sitecnn.boards.config import Board
from sitecnn.boards.engines import board_engines
from sitecnn.boards.plan import Amount, plan
from sitecnn.errors import SiteCNNError
from sitecnn.network import parse_prototxt

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
RELU = parse_prototxt(f'{INPUT} layer {{ name: "relu" type: "ReLU" bottom: "x" top: "y" }}', "relu")
FORK = parse_prototxt(f'{INPUT} layer {{ name: "odd" type: "Foo" bottom: "x" top: "y" }}', "fork")
CAFFE = {"engine": {"name": "caffe", "version": "1.0"}}
RUNTIME = {"onnxruntime": {"version": "1.32.0", "nchwc_block": 8}}
NO_CAFFE = {"engine": {"missing": "no module named caffe"}}


def planned(monkeypatch, tmp_path, engines, facts, networks=(RELU,)):
    monkeypatch.setattr("sitecnn.boards.engines.probe", lambda root, board: facts)
    board = Board(name="here", python=sys.executable, engines=engines, processors={"cpu": {}})
    return plan(board_engines(tmp_path, board, networks)[0], Amount(probes=2, rounds=2), sweep=False)


def engine_of(task):
    return task.get("engine", "caffe")


def engines_of(tasks):
    return {engine_of(task) for task in tasks}


def test_each_engine_that_the_board_has_is_planned(monkeypatch, tmp_path):
    tasks = planned(monkeypatch, tmp_path, ["caffe", "onnxruntime"], CAFFE | RUNTIME)
    assert engines_of(tasks) == {"caffe", "onnxruntime"}
    rounds = [task["round"] for task in tasks if task["task"] == "probe" and engine_of(task) == "onnxruntime"]
    assert rounds == [0, 0, 1, 1]


def test_the_engine_is_the_release_and_layout_that_the_board_has_and_its_free_memory_is_known(monkeypatch, tmp_path):
    facts = RUNTIME | {"memory": {"MemTotal": 8 << 30, "MemAvailable": 3 << 30}}
    monkeypatch.setattr("sitecnn.boards.engines.probe", lambda root, board: facts)
    board = Board(name="here", python=sys.executable, engines=["onnxruntime"], processors={"cpu": {}})
    measured, free = board_engines(tmp_path, board, [RELU])
    (engine,) = measured
    assert (engine.name, engine.version, engine.nchwc_block, free) == ("onnxruntime", "1.32.0", 8, 3 << 30)


def test_a_board_without_caffe_measures_onnx_runtime_alone_and_says_so(monkeypatch, tmp_path, capsys):
    tasks = planned(monkeypatch, tmp_path, ["caffe", "onnxruntime"], NO_CAFFE | RUNTIME)
    assert engines_of(tasks) == {"onnxruntime"}
    assert "Caffe is not measured: no module named caffe" in capsys.readouterr().err


def test_a_board_with_caffe_alone_is_not_asked(monkeypatch, tmp_path):
    tasks = planned(monkeypatch, tmp_path, ["caffe"], None)
    assert engines_of(tasks) == {"caffe"}


def test_a_network_that_caffe_cannot_run_is_left_to_the_other_engine(monkeypatch, tmp_path, capsys):
    facts = CAFFE | {"onnxruntime": {"missing": "no such module"}}
    tasks = planned(monkeypatch, tmp_path, ["caffe", "onnxruntime"], facts, [RELU, FORK])
    assert {task["network"] for task in tasks if task["task"] == "network"} == {RELU.name}
    assert "it lacks layer 'odd' (Foo)" in capsys.readouterr().err


def test_a_board_with_none_of_its_engines_is_one_line(monkeypatch, tmp_path):
    with pytest.raises(SiteCNNError, match=r"board here: it has none of the engines"):
        planned(monkeypatch, tmp_path, ["onnxruntime"], {"onnxruntime": {"missing": "no such module"}})
