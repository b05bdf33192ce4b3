"""A chapter is made again exactly when something that it is made from has changed."""

import json
import re
import shutil

import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.report.chapters import MAKERS
from sitecnn.report.kept import READS
from tests.report.made import make


def write(root, *options):
    assert main(["--root", str(root), "report", *options]) == 0
    return root / "results" / "report"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("kept"), {"small": 24, "middle": 32})
    write(root)
    return root


def copied(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole, root, symlinks=True)
    return root


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def config(root):
    rewrite(root / "config" / "config.yaml", "sweep: false", "sweep: false\nlevel: 0.8")


def board(root):
    rewrite(root / "config" / "boards" / "bench.yaml", "name: bench", "name: bench\ndescription: another")


def definition(root):
    rewrite(root / "config" / "networks" / "small.prototxt", "dim: 24 dim: 24", "dim: 28 dim: 28")


def model(root):
    path = root / "results" / "models" / "bench-cpu.json"
    document = json.loads(path.read_text())
    document["stacks"][0]["forward_ratio"] = 0.5
    path.write_text(json.dumps(document))


def layers_of_a_network(root):
    path = root / "results" / "networks" / "small" / "layers.parquet"
    table = pd.read_parquet(path)
    table.assign(macs=table["macs"] + 1, weights_bytes=table["weights_bytes"] + 2**20).to_parquet(path)


def evaluation(root):
    path = root / "results" / "evaluation" / "bench-cpu" / "layers.parquet"
    table = pd.read_parquet(path)
    table.assign(estimate_ms=table["estimate_ms"] * 2).to_parquet(path)


def baselines(root):
    networks = pd.read_parquet(root / "results" / "evaluation" / "bench-cpu" / "networks.parquet")
    table = networks.assign(split="network", method="flops")
    table.to_parquet(root / "results" / "evaluation" / "bench-cpu" / "baselines.parquet")


def campaign(root):
    (root / "results" / "campaigns" / "bench").mkdir(parents=True)
    (root / "results" / "campaigns" / "bench" / "interrupted.json").write_text('{"reason": "the link was cut"}')


def measurements(root):
    path = root / "results" / "records" / "bench" / "cpu-1-threads.jsonl"
    lines = path.read_text().splitlines()
    memory = json.loads(next(line for line in lines if '"task": "memory"' in line))
    memory["memory_bytes"]["total"] += 2**20
    memory["memory_bytes"]["peak"] += 2**20
    path.write_text("\n".join([*lines, json.dumps({**memory, "key": "f" * 32})]) + "\n")
    assert main(["--root", str(root), "aggregate"]) == 0


CHANGES = {
    config: set(READS),
    board: set(READS),
    definition: {"placement"},
    model: {"accuracy", "placement", "provenance"},
    layers_of_a_network: {"time", "memory", "gemm", "published"},
    evaluation: {"summary", "time", "accuracy"},
    baselines: {"summary", "time", "accuracy"},
    campaign: {"summary", "cost"},
    measurements: set(READS),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_a_change_only_what_reads_it_is_made_and_the_report_is_that_made_from_nothing(whole, tmp_path, change):
    root = copied(whole, tmp_path)
    change(root)
    kept = {name: (whole / "results" / "report" / ".kept" / f"{name}.json").read_text() for name in READS}
    folder = write(root)
    now = {name: (folder / ".kept" / f"{name}.json").read_text() for name in READS}
    assert {name for name in READS if json.loads(now[name])["key"] != json.loads(kept[name])["key"]} == CHANGES[change]
    assert any(now[name] != kept[name] for name in CHANGES[change])
    assert contents(folder) == contents(from_nothing(root))


def contents(folder):
    """Every file's bytes; of PDFs, which vl-convert orders at random, only the names."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: b"" if path.suffix == ".pdf" else path.read_bytes() for name, path in found.items()}


def from_nothing(root):
    """The report with all its chapters made; drawings, which their own hash names, may stay."""
    for path in (root / "results" / "report").glob(".kept/*.json"):
        path.unlink()
    return write(root)


def test_nothing_is_computed_or_written_where_nothing_changed(whole, monkeypatch):
    def forbidden(results):
        raise AssertionError("a chapter was made again")

    for name in MAKERS:
        monkeypatch.setitem(MAKERS, name, forbidden)
    folder = whole / "results" / "report"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".html"}
    page = (folder / "report.html").read_bytes()
    write(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / "report.html").read_bytes() == page


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"key": 1}', ""])
def test_a_damaged_file_is_made_again(whole, tmp_path, damage):
    root = copied(whole, tmp_path)
    folder = root / "results" / "report"
    page = (folder / "report.html").read_bytes()
    (folder / ".kept" / "time.json").write_text(damage)
    next((folder / ".kept").glob("*.svg")).unlink()
    write(root)
    assert (folder / "report.html").read_bytes() == page
    assert contents(folder) == contents(from_nothing(root))


def test_an_older_folder_changes_the_comparison_alone(whole, tmp_path):
    root = copied(whole, tmp_path)
    folder = root / "results" / "report"
    kept = contents(folder / ".kept")
    write(root, "--before", str(whole))
    changed = {path.stem for path, content in contents(folder / ".kept").items() if kept.get(path) != content}
    assert changed == {"comparison"}
    page = (folder / "report.html").read_text()
    assert re.search("the older folder to this one: no type of work changed", page)
