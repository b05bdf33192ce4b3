"""The example that people copy: an architecture search on two boards."""

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

import sitecnn

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "search.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def table(example):
    return example["search"](40, {("tx1", "gpu"): 80.0, ("rk3399", "cpu"): 150.0})


def test_the_usual_widths_are_mobilenet_itself(example):
    network = example["variant"]("MobileNet-v1", 224, [1.0] * len(example["BLOCKS"]))
    published = sitecnn.load_network(SCRIPT.parents[2] / "config" / "networks" / "mobilenet-v1.prototxt")
    board = sitecnn.load_board("rk3399", "cpu")
    assert [layer.outputs for layer in network.layers] == [layer.outputs for layer in published.layers]
    assert sitecnn.estimate(network, board).forward_ms == sitecnn.estimate(published, board).forward_ms


def test_the_front_is_what_no_variant_beats(table):
    for name, row in table.iterrows():
        others = table.drop(index=name)
        as_good = (others["tx1_ms"] <= row["tx1_ms"]) & (others["rk3399_ms"] <= row["rk3399_ms"])
        as_good &= others["quality"] >= row["quality"]
        better = (others["tx1_ms"] < row["tx1_ms"]) | (others["rk3399_ms"] < row["rk3399_ms"])
        better |= others["quality"] > row["quality"]
        assert row["front"] == (not (as_good & better).any())


def test_what_fits_keeps_both_budgets(table):
    assert 0 < table["fits"].sum() < len(table)
    assert (table.loc[table["fits"], "tx1_ms"] <= 80).all()
    assert (table.loc[table["fits"], "rk3399_ms"] <= 150).all()


def test_the_script_writes_a_table_and_a_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search.py", str(tmp_path), "--variants", "20"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert capsys.readouterr().out.startswith("20 variants, ")
    assert len(pd.read_csv(tmp_path / "search.csv")) == 20
    assert "vega" in (tmp_path / "search.html").read_text(encoding="utf-8").lower()
