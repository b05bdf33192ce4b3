"""No answer passes for one of another precision: text, JSON, page, report, Python, and plans say which it is for."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest

import sitecnn
from sitecnn.boards.engines import board_engines
from sitecnn.boards.plan import plan
from sitecnn.cli import main
from sitecnn.errors import NetworkError
from sitecnn.models.lookup import choose_stack, load_board
from sitecnn.network import load_network
from sitecnn.report.chapters.answer import Contender, answer_cell, answers
from sitecnn.workload.engines import Engine

from ..network.models import Builder

SAID = "fp32 though the file is int8"


@pytest.fixture
def file(tmp_path):
    """A convolution of an input that is quantised and back."""
    b = Builder(13, [1, 3, 16, 16])
    scale, zero = b.constant(0.1, numpy.float32), b.constant(0, numpy.uint8)
    x = b("DequantizeLinear", b("QuantizeLinear", "image", scale, zero), scale, zero)
    (tmp_path / "net.onnx").write_bytes(b.model(b.conv(x, 3, 8, 3)).SerializeToString())
    return tmp_path / "net.onnx"


def test_an_int8_file_is_answered_for_fp32_and_told_so(file, tmp_path, capsys):
    main(["estimate", str(file), "--board", "tx1", "--root", str(tmp_path)])
    first, *others = capsys.readouterr().out.splitlines()
    assert SAID in first
    assert any(line.startswith("note") and "all figures are for fp32" in line for line in others)
    main(["describe", str(file)])
    assert "the file is int8" in capsys.readouterr().out.splitlines()[0]


def test_so_is_a_line_among_several_networks_and_the_document(file, tmp_path, capsys):
    main(["estimate", str(file), str(file), "--board", "tx1", "--processor", "cpu", "--root", str(tmp_path)])
    assert capsys.readouterr().out.count(SAID) == 2
    main(["estimate", str(file), "--board", "tx1", "--processor", "cpu", "--root", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["precision"], document["network_precision"]) == ("fp32", "int8")
    assert any("the file is int8" in doubt for doubt in document["coverage"]["doubts"])


def test_so_are_the_python_interface_and_the_page(file):
    pytest.importorskip("nicegui")
    from sitecnn.explore.answers import Stack, _row

    network, board = load_network(file), load_board("tx1", "cpu")
    assert sitecnn.estimate(network, board).precision == SAID
    row = _row(network, None, Stack(board), SimpleNamespace(level=0.9, budget_ms=None, budget_fps=None, budget_mb=None))
    assert row["precision"] == SAID


def test_so_is_a_cell_of_the_report(file):
    board = load_board("tx1", "cpu")
    results = SimpleNamespace(config=SimpleNamespace(level=0.9), times=sitecnn_times(), processors=[])
    network, stack = load_network(file), board.stacks[0].stack
    (row,) = answers(results, network, [Contender("tx1", "cpu", stack, board)])
    assert SAID in answer_cell(row).details
    (row,) = answers(results, replace(network, precision="fp32"), [Contender("tx1", "cpu", stack, board)])
    assert not any("file" in detail for detail in answer_cell(row).details)


def sitecnn_times():
    """No network was measured."""
    import pandas as pd

    return pd.DataFrame()


def test_a_stack_of_the_files_precision_comes_first(file):
    board = load_board("tx1", "cpu")
    one = replace(board.stacks[0], stack="onnxruntime-1.32.0+cpu+nchwc-0+fp32+1-threads")
    both = replace(board, stacks=(one, replace(one, stack=one.stack.replace("fp32", "int8"))))
    assert "int8" in choose_stack(both, network=load_network(file)).stack
    assert "fp32" in choose_stack(both, network=replace(load_network(file), precision="fp32")).stack


def test_a_file_of_another_precision_is_not_measured_as_fp32(file, tmp_path, capsys, monkeypatch):
    network = load_network(file)
    engine = Engine("onnxruntime", "1.32.0", 16)
    with pytest.raises(NetworkError, match="net: the file is int8, and only fp32 is measured yet"):
        plan({engine: [network]}, sweep=False)
    facts = {"onnxruntime": {"name": "onnxruntime", "version": "1.32.0", "nchwc_block": 16}}
    monkeypatch.setattr("sitecnn.boards.engines.probe", lambda root, board: facts)
    board = SimpleNamespace(name="x", engines=["onnxruntime"], python="python3")
    assert board_engines(tmp_path, board, [network]) == ({engine: []}, None)
    assert "net: ONNX Runtime does not measure it: the file is int8" in capsys.readouterr().err
