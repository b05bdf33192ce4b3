"""The examples of docs/dataset.md, run as they stand."""

import json
import re
import shutil
import statistics
from pathlib import Path

import pytest

from sitecnn.cli import main
from sitecnn.dataset import aggregate
from sitecnn.dataset.schema import MEASUREMENTS
from tests.dataset.records import gemm_record, network_record, run_record, write

PAGE = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write(tmp_path, [run_record(), *map(gemm_record, range(5)), network_record()])
    aggregate(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", range(3))
def test_example(folder, capsys, number):
    code = re.findall(r"```python\n(.*?)```", PAGE, re.S)[number]
    exec(compile(code, "docs/dataset.md", "exec"), {})
    said = capsys.readouterr().out
    expected = ("median_ns", "forward", "Convolution")[number]
    assert expected in said


def test_every_column_is_in_the_page(folder):
    table = PAGE[PAGE.index("## Columns (schema 3)") : PAGE.index("## See also")]
    from sitecnn.workload.kernels import SIZE_NAMES

    ranges = {*SIZE_NAMES, "loaded_bytes", "load_peak_bytes", "total_bytes", "sentinel_before_ns", "sentinel_after_ns"}
    assert [name for name in MEASUREMENTS.names if name not in ranges and f"`{name}`" not in table] == []


def test_commands(folder, capsys):
    assert main(["dataset", "summary"]) == 0
    assert "toy" in capsys.readouterr().out
    assert main(["dataset", "verify"]) == 0
    assert "10 measurements: no problems" in capsys.readouterr().out
    assert main(["dataset", "export", "--subject", "kernel", "-o", "kernels.csv"]) == 0
    import pandas as pd

    exported = pd.read_csv("kernels.csv")
    assert list(exported["m"]) == [1, 2, 3, 4, 5] and exported["samples_ns"][0] == "10 11 13.5"
    assert main(["dataset", "export", "-o", "all.parquet"]) == 0
    assert len(pd.read_parquet("all.parquet")) == 10
    assert main(["dataset", "export", "-o", "all.xlsx"]) == 2


def test_diff_finds_what_became_slower_and_nothing_else(tmp_path, capsys):
    draw = __import__("random").Random(2017)

    def timed(scale):
        samples = [scale * draw.gauss(100, 1) for _ in range(31)]
        return {"samples_ns": samples, "median_ns": statistics.median(samples), "low_ns": None, "high_ns": None}

    for folder, scale in (("old", 1.0), ("new", 1.2)):
        records = [gemm_record(n, **timed(scale if n == 7 else 1)) for n in range(40)]
        write(tmp_path / folder, [run_record(), *records])
        aggregate(tmp_path / folder)
    both = ["--root", str(tmp_path / "old"), "dataset", "diff", "--board", "b", "--processor", "cpu"]
    assert main([*both, "--other", str(tmp_path / "new")]) == 1
    assert "40 compared one by one: 1 slower" in capsys.readouterr().out
    assert main(both) == 0
    assert "40 compared one by one: 0 slower, 0 faster" in capsys.readouterr().out
    refusals = {
        ("--stack", "nothing"): "no stacks have 'nothing' in their name; name one with --stack or --against: caffe+1",
        ("--board", "c"): "no measurements of c cpu",
        ("--other", str(tmp_path / "empty")): "empty/results/dataset: no dataset yet",
    }
    for more, reason in refusals.items():
        assert main([*both, *more]) == 2
        assert reason in capsys.readouterr().err


def test_a_damaged_file_is_found_and_the_mend_that_is_named_mends_it(tmp_path, capsys):
    write(tmp_path, [run_record(), *map(gemm_record, range(10))])
    aggregate(tmp_path)
    (damaged,) = (tmp_path / "results" / "dataset" / "measurements").glob("*/*/*.parquet")
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:100] + b"x" + sound[101:])
    assert main(["--root", str(tmp_path), "dataset", "verify"]) == 1
    assert f"remove {tmp_path / 'results' / 'dataset'} and aggregate" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "results" / "dataset")
    aggregate(tmp_path)
    assert main(["--root", str(tmp_path), "dataset", "verify"]) == 0
    assert damaged.read_bytes() == sound


def test_diff_tells_by_type_what_few_samples_cannot(tmp_path, capsys):
    draw = __import__("random").Random(2017)
    for folder, scale in (("old", 1.0), ("new", 1.05)):
        records = []
        for number in range(40):
            samples = sorted((number + 1) * scale * draw.gauss(100, 1) for _ in range(3))
            values = {"samples_ns": samples, "median_ns": samples[1], "low_ns": samples[0], "high_ns": samples[2]}
            records.append(gemm_record(number, **values))
        write(tmp_path / folder, [run_record(), *records])
        aggregate(tmp_path / folder)
    both = ["--root", str(tmp_path / "old"), "dataset", "diff", "--board", "b", "--processor", "cpu", "--json"]
    assert main([*both, "--other", str(tmp_path / "new")]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["slower"] == document["faster"] == 0 and len(document["compared"]) == 40
    (shift,) = document["types"]
    assert (shift["subject"], shift["type"], shift["count"], shift["verdict"]) == ("kernel", "gemm", 40, "slower")
    assert 1.03 < shift["ratio"] < 1.07
    assert main([*both, "--other", str(tmp_path / "old")]) == 0
