"""Every number in the report equals the one in the Parquet or JSON that it comes from."""

import csv
import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from sitecnn.cli import main
from tests.report.fixtures import COST_S, make
from tests.report.page import read

NETWORKS = {"small": 24, "middle": 32, "large": 48}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("numbers"), NETWORKS)
    assert main(["--root", str(root), "report"]) == 0
    return root


@pytest.fixture(scope="module")
def tables(root):
    return read(root / "results" / "report" / "report.html").tables


@pytest.fixture(scope="module")
def passes(root):
    """The network records as the agent wrote them."""
    lines = (root / "results" / "records" / "bench" / "cpu-1-threads.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {record["network"]: record for record in found if record.get("task") == "network"}


def select(root: Path, query: str) -> list[tuple]:
    """Rows of an SQL query in which {results} is the results folder."""
    return duckdb.sql(query.format(results=root / "results")).fetchall()


SCALES = {"%": 0.01, "MiB": 2.0**20, "M": 1e6}


def test_the_text_of_every_cell_is_its_value_rounded(tables):
    """Whatever the cell shows, in whatever unit, is within half of its last digit of the value behind it."""
    checked = 0
    for name, table in tables.items():
        for row in table.rows:
            for title, (text, value) in zip(table.head, row, strict=True):
                if value is None:
                    continue
                shown = re.match(r"[+-]?[\d,]+(\.\d+)?", text)
                assert shown, f"{name}: {title}: {text!r}"
                unit = title.rpartition(", ")[2]
                scale = SCALES["%"] if text.endswith("%") else SCALES.get(unit, 1.0)
                half = 0.5 * 10 ** -len((shown[1] or ".")[1:]) * scale
                number = float(shown[0].replace(",", "")) * scale
                assert abs(number - value) <= half * 1.001 + 1e-8 * abs(value), f"{name}: {title}: {text!r} of {value}"
                checked += 1
    assert checked > 500


def test_every_value_is_in_the_csv_beside_it(root, tables):
    for name, table in tables.items():
        with (root / "results" / "report" / "tables" / f"{name}.csv").open(encoding="utf-8") as lines:
            rows = list(csv.reader(lines))[1:]
        assert len(rows) == len(table.rows), name
        for row, shown in zip(rows, table.rows, strict=True):
            held = [float(cell) for cell in row if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)]
            for _, value in shown:
                assert value is None or any(abs(value - one) <= 1e-8 * abs(one) for one in held), (name, value)


def shown_number(text):
    return float(re.search(r"[\d,.]+", text)[0].replace(",", ""))


def test_every_cell_of_the_answer_is_what_the_command_line_estimates_or_what_was_measured(root, passes, capsys):
    grid = read(root / "results" / "report" / "report.html").grids["answer"]
    checked = {"measured": 0, "estimated": 0}
    for (name, _), *cells in grid.rows:
        for head, (text, value) in zip(grid.head[1:], cells, strict=True):
            board, processor = head.split("\n")[0].split()
            network = root / "config" / "networks" / f"{name}.prototxt"
            command = ["--root", str(root), "estimate", str(network), "--board", board, "--processor", processor]
            capsys.readouterr()
            assert main([*command, "--json"]) == 0
            said = json.loads(capsys.readouterr().out)
            shown, how, rate, memory, *_ = text.split("\n")
            if how == "measured":
                expected = float(np.median(passes[name]["forward_ns"])) / 1e6
            else:
                expected = said["forward_ms"]["estimate"]
                low, high = map(shown_number, how.split(" – "))
                assert low == pytest.approx(said["forward_ms"]["low"], rel=6e-3)
                assert high == pytest.approx(said["forward_ms"]["high"], rel=6e-3)
            assert value == pytest.approx(expected, rel=1e-8)
            assert shown_number(shown) == pytest.approx(expected, rel=6e-3)
            assert shown_number(rate) == pytest.approx(1e3 / expected, rel=6e-3)
            assert shown_number(memory) == pytest.approx(said["memory_bytes"]["total"] / 2**20, abs=0.051)
            assert memory.endswith("+ engine") == (said["memory_bytes"]["base"] == 0)
            checked["measured" if how == "measured" else "estimated"] += 1
    assert checked["measured"] == len(NETWORKS)
    assert checked["estimated"] >= 5 * len(NETWORKS)


def test_advice_is_what_the_command_line_says(root, tables, capsys):
    table = tables["advice"]
    for name in NETWORKS:
        network = root / "config" / "networks" / f"{name}.prototxt"
        capsys.readouterr()
        assert main(["--root", str(root), "advise", str(network), "--board", "bench", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)["advice"]
        rows = [row for row in table.rows if row[0][0] == name]
        assert 1 <= len(rows) <= len(said)
        for (_, _, _, (change, _), (_, gain), (_, low), (_, high), *_), one in zip(rows, said, strict=False):
            assert change == one["change"]
            expected = one["gain_ms"] and [one["gain_ms"][key] for key in ("estimate", "low", "high")]
            assert [gain, low, high] == pytest.approx(expected or [None] * 3)


def test_networks_are_those_of_the_evaluation(root, tables):
    columns = "network, measured_ms, estimate_ms, low_ms, high_ms, error"
    wanted = select(root, f"select {columns} from '{{results}}/evaluation/bench-cpu/networks.parquet'")
    table = tables["networks"]
    titles = ["measured, ms", "estimated, ms", "90 % interval from, ms", "to, ms", "error"]
    shown = list(zip(table.words("network"), *map(table.column, titles), strict=True))
    assert [row[0] for row in shown] == [row[0] for row in wanted]
    np.testing.assert_allclose([row[1:] for row in shown], [row[1:] for row in wanted], rtol=1e-8)


def test_the_posters_table_1_is_the_sum_of_the_samples(tables, passes):
    table = tables["time"]
    groups = {"CONV, ms": "Convolution", "POOL, ms": "Pooling", "ReLU, ms": "ReLU", "FC, ms": "InnerProduct"}
    for title, kind in groups.items():
        for network, value in zip(table.words("network"), table.column(title), strict=True):
            of = [layer["samples_ns"] for layer in passes[network]["layers"] if layer["type"] == kind]
            assert value == pytest.approx(np.median(np.sum(of, axis=0)) / 1e6, rel=1e-8)
    for title, field in (("layerwise pass, ms", "layerwise_ns"), ("forward pass, ms", "forward_ns")):
        for network, value in zip(table.words("network"), table.column(title), strict=True):
            assert value == pytest.approx(np.median(passes[network][field]) / 1e6, rel=1e-8)


def test_layers_are_those_of_the_dataset_and_of_the_evaluation(root, tables):
    query = """
        select m.network, m.layer, m.median_ns / 1e6, l.macs, e.estimate_ms, e.error
        from '{results}/dataset/measurements/**/*.parquet' m
        join '{results}/networks/*/layers.parquet' l using (network, batch, layer)
        join '{results}/evaluation/bench-cpu/layers.parquet' e using (network, batch, layer)
        where m.subject = 'layer'
    """
    wanted = {row[:2]: row[2:] for row in select(root, query)}
    table = tables["layers-bench-cpu"]
    names = list(zip(table.words("network"), table.words("layer"), strict=True))
    assert sorted(names) == sorted(wanted)
    columns = zip(*(table.column(title) for title in ("ms", "MACs, M", "estimated, ms", "error")), strict=True)
    for name, shown in zip(names, columns, strict=True):
        assert shown == pytest.approx(wanted[name], rel=1e-8)


def test_memory_is_that_of_the_layers_and_of_the_records(root, tables):
    parts = ", ".join(f"sum({part}_bytes)" for part in ("weights", "data", "workspace", "workspace_poster", "touched"))
    query = f"select network, {parts} from '{{results}}/networks/*/layers.parquet' group by network"
    wanted = {name: sums for name, *sums in select(root, query)}
    table = tables["memory"]
    titles = ["weights, MiB", "data, MiB", "workspace (Caffe), MiB", "workspace (poster), MiB", "a pass touches, MiB"]
    for name, *shown in zip(table.words("network"), *map(table.column, titles), strict=True):
        assert shown == pytest.approx([float(value) for value in wanted[name]])
    query = """select network, base_bytes, total_bytes
        from '{results}/dataset/measurements/**/*.parquet' where subject = 'memory'"""
    measured = {name: values for name, *values in select(root, query)}
    table = tables["memory-measured"]
    titles = ["base, MiB", "base + what a pass touches, MiB", "measured, MiB"]
    for name, base, computed, total in zip(table.words("network"), *map(table.column, titles), strict=True):
        assert [base, total] == pytest.approx([float(value) for value in measured[name]])
        assert computed == pytest.approx(base + float(wanted[name][4]))


def test_multiplications_are_those_of_the_dataset(root, tables):
    query = """
        select m, n, k, trans_a, trans_b, accumulate, median_ns / 1e6, 2.0 * m * n * k / median_ns
        from '{results}/dataset/measurements/**/*.parquet'
        where subject = 'kernel' and kind = 'gemm' and mode = 'warm'
    """
    wanted = sorted(row[:3] + row[-2:] for row in select(root, query))
    table = tables["gemm-bench-cpu"]
    shown = sorted(zip(*map(table.column, ["m", "n", "k", "ms", "GFLOP/s"]), strict=True))
    np.testing.assert_allclose(shown, wanted, rtol=1e-8)


def test_coefficients_are_those_of_the_model(root, tables):
    model = json.loads((root / "results" / "models" / "bench-cpu.json").read_text())
    kinds = model["stacks"][0]["kinds"].values()
    table = tables["model-bench-cpu"]
    assert table.column("ns") == pytest.approx([ns for kind in kinds for ns in kind["coefficients_ns"]], rel=1e-8)
    errors = [ns for kind in kinds for ns in kind["standard_errors_ns"]]
    assert table.column("± ns") == pytest.approx(errors, rel=1e-8)


def test_counts_and_board_time_are_those_of_the_records(root, tables):
    lines = (root / "results" / "records" / "bench" / "cpu-1-threads.jsonl").read_text().splitlines()
    measured = [record for record in map(json.loads, lines) if record["record"] == "measurement"]
    table = tables["cost"]
    assert sum(table.column("measurements")) == len(measured)
    assert sum(table.column("minutes")) == pytest.approx(sum(record["seconds"] for record in measured) / 60)
    overview = tables["overview"]
    assert overview.column("board minutes") == pytest.approx([60.0 / 60])  # as the agent's last words have it
    assert overview.column("kernels") == [sum(record["task"] in ("gemm", "layer") for record in measured)]


def test_published_figures_are_the_posters(tables):
    """Table 1 and 2 as printed: Lu, Rallapalli, Chan and La Porta, 2017."""
    table = tables["published-times"]
    poster = [row for row in table.rows if row[0][0] == "poster"]
    assert [cell[0] for cell in poster[1][2:]] == [
        "TK1", "gpu", "263.1 ± 19.3 (75.7 %)", "7.2 ± 0.5 (2.1 %)", "17.5 ± 1.2 (5.0 %)", "57.6 ± 0.5 (16.6 %)",
        "347.6 ± 20.1", "326.7 ± 2.1",
    ]  # fmt: skip
    assert [cell[0] for cell in poster[2][4:8]] == [
        "1,952.9 ± 12.2 (69.1 %)", "71.3 ± 1.5 (2.5 %)", "52.5 ± 1.9 (1.9 %)", "747.7 ± 24.9 (26.5 %)"
    ]  # fmt: skip
    memory = tables["published-memory"].rows
    assert [cell[0] for cell in memory[2]] == ["poster", "workspace", "11", "168", "46", "79"]
    assert [cell[0] for cell in memory[6]] == ["poster", "TX1 gpu total", "589", "1,537", "226", "562"]


def test_the_data_behind_figures_is_the_evaluations(root):
    page = (root / "results" / "report" / "report.html").read_text(encoding="utf-8")
    specs = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    points = [row for rows in specs["layers-bench-cpu"]["datasets"].values() for row in rows if "layer" in row]
    shown = {(row["network"], row["layer"]): (row["measured_ms"], row["estimate_ms"]) for row in points}
    query = """select network, layer, measured_ms, estimate_ms from '{results}/evaluation/bench-cpu/layers.parquet'
        where measured_ms > 0 and estimate_ms > 0"""
    for network, layer, *values in select(root, query):
        assert shown[network, layer] == pytest.approx(values, abs=1e-6)


# ---- the walk: every number of every table -----------------------------------------------------------------------

DERIVED = {
    "accuracy": {"networks", "median |error|", "worst |error|", "mean error", "within ±5 %", "within ±10 %",
                 "network intervals that hold", "layer intervals that hold", "rank correlation of networks",
                 "of layers", "layers extrapolated"},
    "baselines-bench-cpu": {"networks", "median |error|", "worst |error|", "within ±10 %", "mean error"},
    "boards": {"bench cpu, ms"},
    "cost": {"measurements", "minutes"},
    "gemm-bench-cpu": {"GFLOP/s", "flop/byte"},
    "kinds": {"layers", "share of time", "median |error|", "90 % are under", "error of the sum",
              "intervals that hold", "extrapolated"},
    "layers-bench-cpu": {"share", "GMAC/s"},
    "memory": {"weights, MiB", "data, MiB", "workspace (Caffe), MiB", "workspace (poster), MiB",
               "zero-copy saves on a GPU, MiB"},
    "memory-measured": {"base + what a pass touches, MiB", "computed ÷ measured − 1"},
    "models": {"kinds"},
    "overhead": {"layerwise pass, ms", "forward pass, ms", "overhead"},
    "overview": {"networks", "layers", "kernels", "failed", "unstable", "board minutes"},
    "advice": {"gain an image, ms", "from, ms", "to, ms", "saves, MiB"},
    "placement": {"all on the CPU, ms", "all on the GPU, ms", "best placed, ms", "gain, ms", "layers on the GPU", "of",
                  "values that cross"},
    "published-memory": {"alexnet, MiB", "vgg16, MiB", "googlenet, MiB", "resnet50, MiB"},
    "published-times": {"CONV, ms", "POOL, ms", "ReLU, ms", "FC, ms", "layerwise pass, ms", "forward pass, ms"},
    "time": {"CONV, ms", "POOL, ms", "ReLU, ms", "FC, ms", "other, ms", "layerwise pass, ms", "forward pass, ms",
             "layerwise over forward"},
    "work": {"layers", "MACs, M", "poster FLOPs, M", "CONV, M", "FC, M", "POOL, M", "ReLU, M"},
}  # fmt: skip
"""Columns that are computed from several numbers; the tests of this file compute them another way."""


def leaves(found):
    """Every number in a JSON document."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        return [number for one in found for number in leaves(one)]
    return [float(found)] if isinstance(found, (int, float)) else []


def source_numbers(root: Path) -> np.ndarray:
    """Every number that stands in a Parquet or JSON file of results/, as it is, as ns in ms and as s in minutes."""
    numbers = []
    for path in (root / "results").rglob("*.parquet"):
        table = pd.read_parquet(path)
        for name in table.columns:
            values = pd.to_numeric(table[name], errors="coerce") if table[name].dtype != object else pd.Series([])
            numbers += values.dropna().astype(float).tolist()
    for path in (root / "results").rglob("*.json"):
        if ".kept" not in path.parts:
            numbers += leaves(json.loads(path.read_text(encoding="utf-8")))
    found = np.array(numbers)
    return np.unique(np.concatenate([found, found / 1e6, found / 60]))


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
        "networks": len(networks), "median |error|": errors.median(), "worst |error|": errors.max(),
        "mean error": (networks["estimate_ms"] / networks["measured_ms"]).mean() - 1,
        "within ±5 %": (errors <= 0.05).sum() / len(errors), "within ±10 %": (errors <= 0.1).sum() / len(errors),
        "network intervals that hold": networks["covered"].sum() / len(networks),
        "layer intervals that hold": layers["covered"].sum() / len(layers),
        "rank correlation of networks": networks["measured_ms"].rank().corr(networks["estimate_ms"].rank()),
        "of layers": layers["measured_ms"].rank().corr(layers["estimate_ms"].rank()),
        "layers extrapolated": layers["extrapolated"].sum() / len(layers),
    }  # fmt: skip
    assert {title: tables["accuracy"].column(title)[0] for title in wanted} == pytest.approx(wanted)
    table = tables["kinds"]
    for row, kind in enumerate(table.words("kind")):
        mine = layers[layers["kind"].str.replace("_", " ") == kind]
        sums = mine[["measured_ms", "estimate_ms"]].sum()
        assert table.column("layers")[row] == len(mine)
        assert table.column("share of time")[row] == pytest.approx(sums.iloc[0] / layers["measured_ms"].sum())
        assert table.column("error of the sum")[row] == pytest.approx(sums.iloc[1] / sums.iloc[0] - 1)
        off = abs(mine["estimate_ms"] / mine["measured_ms"] - 1)
        assert table.column("median |error|")[row] == pytest.approx(np.percentile(off, 50))
        assert table.column("90 % are under")[row] == pytest.approx(np.percentile(off, 90))
        assert table.column("intervals that hold")[row] == pytest.approx(mine["covered"].mean())
        assert table.column("extrapolated")[row] == mine["extrapolated"].sum()


def test_baselines_are_those_of_the_evaluation(root, tables):
    found = pd.read_parquet(root / "results" / "evaluation" / "bench-cpu" / "baselines.parquet")
    # These networks are families of their own: to leave out a family is to leave out its network.
    by_split = [found[found["split"] == split].drop(columns="split") for split in ("network", "family")]
    assert by_split[0].reset_index(drop=True).equals(by_split[1].reset_index(drop=True))
    found = found[found["split"] == "network"]
    table = tables["baselines-bench-cpu"]
    assert len(table.rows) == len(found[["split", "method"]].drop_duplicates())
    for row, key in enumerate(zip(table.words("left out"), table.words("method"), strict=True)):
        errors = found[(found["split"] == key[0]) & (found["method"] == key[1])]["error"]
        shown = [table.column(title)[row] for title in ("networks", "median |error|", "worst |error|", "mean error")]
        assert shown == pytest.approx([len(errors), abs(errors).median(), abs(errors).max(), errors.mean()])
        assert table.column("within ±10 %")[row] == pytest.approx((abs(errors) <= 0.1).sum() / len(errors))


def test_passes_are_told_the_same_way_wherever_they_stand(tables, passes):
    """The time table's are tested against the samples; the others must say the same."""
    time = tables["time"]
    forward = dict(zip(time.words("network"), time.column("forward pass, ms"), strict=True))
    layerwise = dict(zip(time.words("network"), time.column("layerwise pass, ms"), strict=True))
    overhead = tables["overhead"]
    for row, network in enumerate(overhead.words("network")):
        assert overhead.column("forward pass, ms")[row] == pytest.approx(forward[network])
        assert overhead.column("layerwise pass, ms")[row] == pytest.approx(layerwise[network])
        assert overhead.column("overhead")[row] == pytest.approx(layerwise[network] / forward[network] - 1)
        assert time.column("layerwise over forward")[time.words("network").index(network)] == pytest.approx(
            layerwise[network] / forward[network] - 1
        )
    boards = tables["boards"]
    assert dict(zip(boards.words("network"), boards.column("bench cpu, ms"), strict=True)) == pytest.approx(forward)
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
    found = [round(number, 6) for number in leaves(json.loads(capsys.readouterr().out))]
    for title in ("all on the CPU, ms", "all on the GPU, ms", "best placed, ms"):
        assert round(table.column(title)[row], 6) in found
    alone = min(table.column("all on the CPU, ms")[row], table.column("all on the GPU, ms")[row])
    assert table.column("gain, ms")[row] == pytest.approx(alone - table.column("best placed, ms")[row], abs=1e-9)


def test_where_board_time_went_is_what_the_agent_booked(tables):
    table = tables["account"]
    titles = ["timed calls, s", "warming up, s", "making inputs, s", "writing files, s", "anything else, s"]
    assert [table.column(title)[0] for title in titles] == list(COST_S.values())


def test_the_models_kinds_are_counted(root, tables):
    model = json.loads((root / "results" / "models" / "bench-cpu.json").read_text())
    assert tables["models"].column("kinds") == [len(stack["kinds"]) for stack in model["stacks"]]
