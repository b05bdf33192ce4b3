"""`sitecnn dataset query`: what SQL says of the dataset, and that it says nothing else and writes nothing."""

import json

import pytest

from sitecnn.cli import main
from sitecnn.dataset import aggregate, store
from tests.dataset.records import gemm_record, network_record, run_record, write


@pytest.fixture
def root(tmp_path):
    write(tmp_path, [run_record(), *map(gemm_record, range(5)), network_record()])
    aggregate(tmp_path)
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    return tmp_path


def query(root, sql, *options):
    return main(["--root", str(root), "dataset", "query", sql, *options])


def test_tables_are_views(root, capsys):
    sql = "SELECT board, processor, count(*) AS rows, sum(m) AS m FROM measurements GROUP BY ALL"
    assert query(root, sql, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"board": "b", "processor": "cpu", "rows": 10, "m": 15}]
    joined = "SELECT n.layer, stack FROM measurements JOIN runs USING (run, stack) JOIN networks AS n USING (layer)"
    assert query(root, joined) == 0
    assert "conv" in capsys.readouterr().out


def test_times_and_lists_are_json(root, capsys):
    sql = "SELECT samples_ns, started_at FROM measurements JOIN runs USING (run) WHERE m = 1"
    assert query(root, sql, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {"samples_ns": [10, 11, 13.5], "started_at": "2026-11-23T10:00:00+00:00"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{root}/secret.csv')",
        "SELECT * FROM '{root}/secret.csv'",
        "SELECT * FROM read_text('{generation}/../../../../secret.csv')",
        "SELECT * FROM glob('/etc/*')",
        "COPY runs TO '{root}/out.csv'",
        "COPY runs TO '{generation}/out.csv'",
        "ATTACH '{root}/out.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA memory_limit = '9GB'",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW runs",
        "SELECT 1; SELECT 2",
        "SELECT * FROM query('COPY runs TO ''{root}/out.csv''')",
        "SELECT * FROM sql",
        "SELECT nonsense",
        "",
    ],
)
def test_what_is_no_reading_of_the_dataset_is_refused_in_one_line(root, capsys, sql):
    generation = store.existing(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert query(root, sql.format(root=root, generation=generation)) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and "secret\n" not in said.err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_no_dataset_is_said(tmp_path, capsys):
    assert query(tmp_path, "SELECT 1") == 2
    assert "no dataset yet" in capsys.readouterr().err
