"""The main job, whole: two small networks, real Caffe, from prototxt to report."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sitecnn.cli import main

PROJECT = Path(__file__).parents[1]
PYCAFFE = PROJECT / "envs" / "pycaffe" / ".venv" / "bin" / "python"

SMALL = """
name: "{name}"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {size} dim: {size} }} }} }}
layer {{ name: "conv1<script>alert(1)</script>" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param {{ num_output: 10 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""


def snakemake(root, *arguments):
    command = [Path(sys.executable).with_name("snakemake"), "--snakefile", PROJECT / "Snakefile"]
    command += ["--directory", root, "--cores", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_root(root, **changes):
    (root / "config" / "networks").mkdir(parents=True)
    (root / "config" / "boards").mkdir()
    for name, size, outputs in (("small", 32, 8), ("wide", 48, 24), ("odd", 40, 12)):
        text = SMALL.format(name=name, size=size, outputs=outputs)
        (root / "config" / "networks" / f"{name}.prototxt").write_text(text)
    config = {"networks": ["small", "wide"], "held_out": ["odd"], "boards": ["here"], "sweep": False, **changes}
    (root / "config" / "config.yaml").write_text(json.dumps(config))
    board = {"name": "here", "python": str(PYCAFFE), "processors": {"cpu": {}}}
    (root / "config" / "boards" / "here.yaml").write_text(json.dumps(board))
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the main job has run once."""
    if not PYCAFFE.exists():
        pytest.skip("no pycaffe environment: ./run test makes it")
    root = make_root(tmp_path_factory.mktemp("workflow"))
    done = snakemake(root, "report")
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.caffe
def test_every_planned_measurement_is_there_once(finished):
    planned = (finished / "results/campaigns/here/plan.jsonl").read_text().splitlines()
    lines = (finished / "results/records/here/cpu-1-threads.jsonl").read_text().splitlines()
    measured = [record for record in map(json.loads, lines) if record["record"] == "measurement"]
    assert len({record["key"] for record in measured}) == len(measured) == len(planned)
    assert {record["status"] for record in measured} <= {"ok", "unstable"}


@pytest.mark.caffe
def test_of_a_network_held_out_passes_are_measured_and_nothing_is_fitted(finished):
    tasks = [json.loads(line) for line in (finished / "results/campaigns/here/plan.jsonl").read_text().splitlines()]
    assert {task["task"] for task in tasks if task.get("network") == "odd"} == {"network", "memory"}
    model = json.loads((finished / "results/models/here-cpu.json").read_text())
    assert model["stacks"][0]["networks"] == ["small", "wide"]
    assert model["provenance"]["excluded_networks"] == ["odd"]


@pytest.mark.caffe
def test_held_out_networks_are_estimated(finished):
    held_out = pd.read_parquet(finished / "results/evaluation/here-cpu/networks.parquet")
    assert dict(zip(held_out["network"], held_out["split"], strict=True)) == {
        "small": "network",
        "wide": "network",
        "odd": "held out",
    }
    assert (held_out[["measured_ms", "estimate_ms", "low_ms", "high_ms"]] > 0).all(axis=None)
    assert (held_out["low_ms"] < held_out["estimate_ms"]).all()


@pytest.mark.caffe
def test_the_report_names_networks_and_board(finished):
    text = (finished / "results/report/report.html").read_text()
    assert all(word in text for word in ("small", "wide", "here"))


@pytest.mark.caffe
def test_the_report_shows_the_errors_that_were_found(finished):
    text = (finished / "results/report/report.html").read_text()
    held_out = pd.read_parquet(finished / "results/evaluation/here-cpu/networks.parquet")
    assert all(f"data-v={error:.10g}" in text for error in held_out["error"].tolist())


@pytest.mark.caffe
def test_the_report_fetches_nothing_and_runs_no_name(finished):
    text = (finished / "results/report/report.html").read_text()
    assert "<script>alert(1)" not in text
    assert not re.findall(r"<script[^>]+src=", text)
    page = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"<(?:link|img|iframe)[^>]+(?:src|href)=", page)
    assert not re.findall(r"@import|url\((?!['\"]?(?:data:|#))", page)


@pytest.mark.caffe
def test_a_second_run_measures_nothing(finished):
    records = finished / "results/records/here/cpu-1-threads.jsonl"
    before = records.read_bytes()
    done = snakemake(finished, "report")
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr + done.stdout
    assert records.read_bytes() == before


@pytest.mark.caffe
def test_estimate_after_the_workflow(finished):
    command = [sys.executable, "-m", "sitecnn", "--root", finished, "estimate", "--board", "here", "--json"]
    done = subprocess.run([*command, finished / "config/networks/wide.prototxt"], capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert document["forward_ms"]["low"] < document["forward_ms"]["estimate"] < document["forward_ms"]["high"]
    assert [layer["name"] for layer in document["layers"]][:3] == ["data", "conv1<script>alert(1)</script>", "relu1"]
    assert document["memory_bytes"]["total"] > document["memory_bytes"]["base"] > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"netwroks": ["small"]}, ["config.yaml", "netwroks", "networks"]),
        ({"boards": ["there"]}, ["config.yaml", "there", "here"]),
        ({"networks": ["smal"]}, ["smal", "small"]),
        ({"batch": 0}, ["config.yaml", "batch"]),
        ({"held_out": ["wide"]}, ["config.yaml", "held_out", "wide"]),
    ],
)
def test_bad_configuration_is_told(tmp_path, capsys, changes, named):
    assert main(["--root", str(make_root(tmp_path, **changes)), "config"]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in named) and said.count("\n") == 1, said


def test_bad_configuration_is_told_before_any_job(tmp_path):
    """The workflow checks it by what `sitecnn config` calls, and what --config sets over the file, too."""
    root = make_root(tmp_path)
    done = snakemake(root, "report", "--config", "boards=[nowhere]")
    assert done.returncode != 0
    assert "no file config/boards/nowhere.yaml" in done.stderr
    assert not (root / "results").exists()


def test_a_campaign_that_fails_is_a_job_that_failed(tmp_path):
    """Its log goes through a pipe, whose last command never fails."""
    root = make_root(tmp_path)
    board = {"name": "here", "python": "/nowhere/python", "processors": {"cpu": {}}}
    (root / "config" / "boards" / "here.yaml").write_text(json.dumps(board))
    done = snakemake(root, "profile")
    assert done.returncode != 0
    assert "Error in rule campaign" in done.stderr and "/nowhere/python cannot be started" in done.stderr
    assert "MissingOutputException" not in done.stderr
