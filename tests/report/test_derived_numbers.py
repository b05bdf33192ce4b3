"""Every number in the report stands in a source, or is computed from several and computed here another way."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sitecnn.cli import main
from tests.report.fixtures import COST_S
from tests.report.page import KINDS

ERRORS = ("median absolute error", "largest absolute error", "mean signed error")
DERIVED = {
    "accuracy": {"networks", *ERRORS, "within ±5 %", "within ±10 %", "network intervals with the measured time",
                 "layer intervals with the measured time", "rank correlation of networks", "rank correlation of layers",
                 "layers extrapolated"},
    "baselines-bench-cpu": {"networks", *ERRORS, "within ±10 %"},
    "cost": {"measurements", "minutes"},
    "gemm-bench-cpu": {"GFLOP/s", "flop/byte"},
    "kinds": {"layers", "share of time", "median absolute error", "90 % are under", "error of the sum",
              "intervals with the measured time", "extrapolated"},
    "layers-bench-cpu": {"share", "GMAC/s"},
    "memory": {"weights, MiB", "data, MiB", "workspace (Caffe), MiB", "workspace (poster), MiB"},
    "memory-measured": {"base + what a pass touches, MiB", "error"},
    "models": {"kinds"},
    "overview": {"networks", "times of layers", "times of kernels", "failed", "unstable", "board minutes"},
    "advice": {"gain per image, ms", "from, ms", "to, ms", "saves, MiB"},
    "placement": {"all on the CPU, ms", "all on the GPU, ms", "best placed, ms", "gain, ms", "layers on the GPU",
                  "of layers", "copies between them"},
    "published-memory": {"alexnet, MiB", "vgg16, MiB", "googlenet, MiB", "resnet50, MiB"},
    "published-times": {"CONV, ms", "POOL, ms", "ReLU, ms", "FC, ms", "layerwise pass, ms", "forward pass, ms"},
    "time": {"CONV, ms", "POOL, ms", "ReLU, ms", "FC, ms", "other, ms", "layerwise pass, ms", "forward pass, ms",
             "layerwise over forward"},
    "work": {"layers", "MACs, M", "poster FLOPs, M", "CONV, M", "FC, M", "POOL, M", "ReLU, M"},
}  # fmt: skip
"""Columns that are computed from several numbers; the tests of this file compute them another way."""


def leaves(content):
    """Every number in a JSON document."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [number for one in content for number in leaves(one)]
    return [float(content)] if isinstance(content, (int, float)) else []


def source_numbers(root: Path) -> np.ndarray:
    """Every number that stands in a Parquet or JSON file of results/, as it is, as ns in ms and as s in minutes."""
    numbers = []
    for path in (root / "results").rglob("*.parquet"):
        table = pd.read_parquet(path)
        for name in table.columns:
            values = pd.to_numeric(table[name], errors="coerce") if table[name].dtype != object else pd.Series([])
            numbers += values.dropna().astype(float).tolist()
    for path in (root / "results").rglob("*.json"):
        numbers += leaves(json.loads(path.read_text(encoding="utf-8")))
    values = np.array(numbers)
    return np.unique(np.concatenate([values, values / 1e6, values / 60]))


def test_every_number_is_one_of_a_source_or_is_recomputed_here(root, tables):
    sources = source_numbers(root)
    walked = 0
    for name, table in tables.items():
        derived = DERIVED.get(name, set())
        for title in (title for title in table.head if title not in derived):
            values = np.array([value for value in table.column(title) if value is not None])
            if not len(values):
                continue
            places = np.clip(np.searchsorted(sources, values), 1, len(sources) - 1)
            nearest = np.minimum(abs(sources[places] - values), abs(sources[places - 1] - values))
            assert (nearest <= 1e-8 * abs(values)).all(), f"{name}: {title}: {values[nearest.argmax()]}"
            walked += len(values)
    assert walked > 500


def test_work_is_that_of_the_layers(root, tables):
    layers = pd.concat(map(pd.read_parquet, (root / "results" / "networks").glob("*/layers.parquet")))
    types = {"CONV, M": "Convolution", "FC, M": "InnerProduct", "POOL, M": "Pooling", "ReLU, M": "ReLU"}
    table = tables["work"]
    for row, network in enumerate(table.words("network")):
        mine = layers[layers["network"] == network]
        assert table.column("layers")[row] == len(mine)
        assert table.column("MACs, M")[row] == mine["macs"].sum()
        assert table.column("poster FLOPs, M")[row] == mine["poster_flops"].sum()
        for title, kind in types.items():
            assert table.column(title)[row] == mine.loc[mine["type"] == kind, "poster_flops"].sum()


def test_errors_are_those_of_the_evaluation(root, tables):
    folder = root / "results" / "evaluation" / "bench-cpu"
    networks, layers = (pd.read_parquet(folder / f"{name}.parquet") for name in ("networks", "layers"))
    errors = abs(networks["estimate_ms"] / networks["measured_ms"] - 1)
    wanted = {
        "networks": len(networks), "median absolute error": errors.median(), "largest absolute error": errors.max(),
        "mean signed error": (networks["estimate_ms"] / networks["measured_ms"]).mean() - 1,
        "within ±5 %": (errors <= 0.05).sum() / len(errors), "within ±10 %": (errors <= 0.1).sum() / len(errors),
        "network intervals with the measured time": networks["covered"].sum() / len(networks),
        "layer intervals with the measured time": layers["covered"].sum() / len(layers),
        "rank correlation of networks": spearmanr(networks["measured_ms"], networks["estimate_ms"]).statistic,
        "rank correlation of layers": spearmanr(layers["measured_ms"], layers["estimate_ms"]).statistic,
        "layers extrapolated": layers["extrapolated"].sum() / len(layers),
    }  # fmt: skip
    assert {title: tables["accuracy"].column(title)[0] for title in wanted} == pytest.approx(wanted)
    table = tables["kinds"]
    for row, kind in enumerate(table.words("kind")):
        mine = layers[layers["kind"].map(KINDS) == kind]
        sums = mine[["measured_ms", "estimate_ms"]].sum()
        assert table.column("layers")[row] == len(mine)
        assert table.column("share of time")[row] == pytest.approx(sums.iloc[0] / layers["measured_ms"].sum())
        assert table.column("error of the sum")[row] == pytest.approx(sums.iloc[1] / sums.iloc[0] - 1)
        off = abs(mine["estimate_ms"] / mine["measured_ms"] - 1)
        assert table.column("median absolute error")[row] == pytest.approx(np.percentile(off, 50))
        assert table.column("90 % are under")[row] == pytest.approx(np.percentile(off, 90))
        assert table.column("intervals with the measured time")[row] == pytest.approx(mine["covered"].mean())
        assert table.column("extrapolated")[row] == mine["extrapolated"].sum()


def test_baselines_are_those_of_the_evaluation(root, tables):
    baselines = pd.read_parquet(root / "results" / "evaluation" / "bench-cpu" / "baselines.parquet")
    # These networks are families of their own: to leave out a family is to leave out its network.
    by_split = [baselines[baselines["split"] == split].drop(columns="split") for split in ("network", "family")]
    assert by_split[0].reset_index(drop=True).equals(by_split[1].reset_index(drop=True))
    baselines = baselines[baselines["split"] == "network"]
    table = tables["baselines-bench-cpu"]
    assert len(table.rows) == len(baselines[["split", "method"]].drop_duplicates())
    for row, key in enumerate(zip(table.words("left out"), table.words("method"), strict=True)):
        errors = baselines[(baselines["split"] == key[0]) & (baselines["method"] == key[1])]["error"]
        shown = [table.column(title)[row] for title in ("networks", *ERRORS)]
        assert shown == pytest.approx([len(errors), abs(errors).median(), abs(errors).max(), errors.mean()])
        assert table.column("within ±10 %")[row] == pytest.approx((abs(errors) <= 0.1).sum() / len(errors))


def test_passes_are_told_the_same_way_wherever_they_stand(tables, passes):
    """The time table's are tested against the samples; the others must say the same."""
    time = tables["time"]
    forward = dict(zip(time.words("network"), time.column("forward pass, ms"), strict=True))
    layerwise = dict(zip(time.words("network"), time.column("layerwise pass, ms"), strict=True))
    for network, over in zip(time.words("network"), time.column("layerwise over forward"), strict=True):
        assert over == pytest.approx(layerwise[network] / forward[network] - 1)
    for network, value in zip(time.words("network"), time.column("other, ms"), strict=True):
        known = ("Convolution", "Pooling", "ReLU", "InnerProduct")
        of = [layer["samples_ns"] for layer in passes[network]["layers"] if layer["type"] not in known]
        assert value == pytest.approx(np.median(np.sum(of, axis=0)) / 1e6, rel=1e-8)


def test_shares_and_rates_of_layers(tables):
    table = tables["layers-bench-cpu"]
    names, ms = np.array(table.words("network")), np.array(table.column("ms"))
    sums = np.array([ms[names == name].sum() for name in names])
    assert table.column("share") == pytest.approx(list(ms / sums))
    for macs, took, rate in zip(table.column("MACs, M"), ms, table.column("GMAC/s"), strict=True):
        assert (rate is None) if not macs else rate == pytest.approx(macs / took / 1e6)
    gemms = tables["gemm-bench-cpu"]
    for m, n, k, shown in zip(*(gemms.column(title) for title in ("m", "n", "k", "flop/byte")), strict=True):
        assert shown == pytest.approx(2 * m * n * k / (4 * (m * k + k * n + m * n)))


def test_placement_is_that_of_its_command(root, tables, capsys):
    """`sitecnn placement --json` of the same network on the same board."""
    table = tables["placement"]
    row = table.words("network").index("small")
    board = table.words("board")[row]
    network = root / "config" / "networks" / "small.prototxt"
    capsys.readouterr()
    main(["--root", str(root), "placement", str(network), "--board", board, "--json"])
    placement = [round(number, 6) for number in leaves(json.loads(capsys.readouterr().out))]
    for title in ("all on the CPU, ms", "all on the GPU, ms", "best placed, ms"):
        assert round(table.column(title)[row], 6) in placement
    alone = min(table.column("all on the CPU, ms")[row], table.column("all on the GPU, ms")[row])
    assert table.column("gain, ms")[row] == pytest.approx(alone - table.column("best placed, ms")[row], abs=1e-9)


def test_where_board_time_went_is_what_the_agent_booked(root):
    runs = pd.read_csv(root / "results" / "report" / "tables" / "runs.csv")
    assert {name: runs[f"cost_{name}_s"][0] for name in COST_S} == COST_S


def test_the_models_kinds_are_counted(root, tables):
    model = json.loads((root / "results" / "models" / "bench-cpu.json").read_text())
    assert tables["models"].column("kinds") == [len(stack["kinds"]) for stack in model["stacks"]]
