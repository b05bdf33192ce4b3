"""Every number in the report equals the one in the Parquet or JSON that it comes from."""

import csv
import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

from sitecnn.cli import main
from tests.report.fixtures import NETWORKS
from tests.report.page import read


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
        columns = [table.words("network"), table.words("change")]
        columns += [table.column(title) for title in ("gain per image, ms", "from, ms", "to, ms")]
        rows = [row for row in zip(*columns, strict=True) if row[0] == name]
        assert 1 <= len(rows) <= len(said)
        for (_, change, gain, low, high), one in zip(rows, said, strict=False):
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
    errors = [computed / total - 1 for computed, total in zip(*map(table.column, titles[1:]), strict=True)]
    assert table.column("error") == pytest.approx(errors, rel=1e-8)


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
    assert overview.column("times of kernels") == [sum(record["task"] == "gemm" for record in measured)]
    assert overview.column("times of layers") == [sum(len(record.get("layers", ())) for record in measured)]


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
    query = "select network, estimate_ms / measured_ms from '{results}/evaluation/bench-cpu/networks.parquet'"
    ratios = [row for rows in specs["estimates"]["datasets"].values() for row in rows if "label" in row]
    assert {row["network"]: row["ratio"] for row in ratios} == pytest.approx(dict(select(root, query)))
    query = """select network, (total_bytes - base_bytes) / 1048576
        from '{results}/dataset/measurements/**/*.parquet' where subject = 'memory'"""
    ticks = [row for rows in specs["memory"]["datasets"].values() for row in rows if "processor" in row]
    assert {row["network"]: row["mib"] for row in ticks} == pytest.approx(dict(select(root, query)))
    parts = [row for rows in specs["memory"]["datasets"].values() for row in rows if "part" in row]
    query = "select network, sum(touched_bytes) / 1048576 from '{results}/networks/*/layers.parquet' group by network"
    for network, touched in select(root, query):
        assert sum(row["mib"] for row in parts if row["network"] == network) == pytest.approx(touched)
