"""What Caffe's buffers could leave out is said of Caffe alone: other engines share theirs already."""

import json
import re
from pathlib import Path

import pytest

from sitecnn.cli import main

NETWORKS = Path(__file__).parents[2] / "config" / "networks"


def said(capsys, *command):
    assert main([str(word) for word in command]) == 0
    return capsys.readouterr().out


@pytest.fixture
def pixel4(capsys):
    return lambda command, *options: said(
        capsys, command, NETWORKS / "mobilenet-v2.onnx", "--board", "pixel4", "--processor", "gpu", *options
    )


def test_a_phone_is_told_nothing_of_caffes_buffers_and_files(pixel4):
    text = pixel4("estimate")
    assert not re.search(r"caffemodel|one buffer|last use|in place", text)
    document = json.loads(pixel4("estimate", "--json"))
    assert document["memory_plan_bytes"] is document["load_peak_bytes"] is None
    shown = {row: float(size) for row, size in re.findall(r"^(weights|values|total) +([\d.]+) MiB", text, re.MULTILINE)}
    parts = document["memory_bytes"]
    assert shown == pytest.approx(
        {row: parts[name] / 2**20 for row, name in (("weights", "weights"), ("values", "data"), ("total", "total"))},
        abs=0.005,
    )


def test_no_advice_saves_memory_that_is_not_there(pixel4):
    document = json.loads(pixel4("advise", "--json"))
    total = json.loads(pixel4("estimate", "--json"))["memory_bytes"]["total"]
    assert document["advice"]
    assert all((one["saves_bytes"] or 0) < total and "im2col" not in one["change"] for one in document["advice"])


def test_caffe_is_told_what_its_buffers_could_leave_out(capsys):
    tx1 = ("--board", "tx1", "--processor", "cpu")
    document = json.loads(said(capsys, "estimate", NETWORKS / "alexnet.prototxt", *tx1, "--json"))
    assert document["memory_plan_bytes"]["least_data"] < document["memory_bytes"]["data"]
    assert document["load_peak_bytes"] > document["memory_bytes"]["weights"]
    advice = json.loads(said(capsys, "advise", NETWORKS / "alexnet.prototxt", *tx1, "--json"))["advice"]
    assert any("im2col" in one["change"] for one in advice)
