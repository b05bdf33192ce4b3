"""Emulated ARM boards over SSH: the agent on 32 and 64 bits, from a new file to Parquet. Their times mean nothing."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sitecnn import estimate, load_board, load_network
from sitecnn.cli import main
from sitecnn.dataset import read_measurements, store
from tests.boards.agents import gemm_task, lines, network_task
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_agent_process import RELU

PROJECT = Path(__file__).parents[2]
MACHINES = {"armhf": "armv7l", "arm64": "aarch64"}


def system(arch):
    """The folder of an emulated system: SITECNN_EMULATED/ARCH, as emulated.sh makes it."""
    return Path(os.environ.get("SITECNN_EMULATED", "/nowhere")) / arch


@contextmanager
def board_on_the_net(arch):
    """The ssh configuration under which the emulated board is called `board`, while its sshd runs."""
    root = system(arch)
    if SSHD is None or not (root / ".whole").exists():
        pytest.skip(f"no emulated board: tests/boards/emulated.sh {arch} DIR/{arch}, then SITECNN_EMULATED=DIR")
    if subprocess.run(["mountpoint", "-q", root / "dev"], check=False).returncode:
        subprocess.run(["mount", "--bind", "/dev", root / "dev"], check=True)
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder:
        server = make_sshd(Path(folder), root)
        server.start()
        try:
            yield server.config_file
        finally:
            server.kill()


@pytest.mark.emulated
@pytest.mark.parametrize("arch", MACHINES)
def test_a_campaign_on_an_emulated_board(arch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config/boards").mkdir(parents=True)
    with board_on_the_net(arch) as ssh_config:
        there = ["--ssh", "board", "--ssh-config", str(ssh_config)]
        assert main(["--root", str(tmp_path), "board", "add", "arm", *there]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["machine"] == MACHINES[arch] and "OpenBLAS" in facts["blas"]
        tasks = [*(gemm_task(m) for m in range(1, 21)), network_task(RELU)]
        (tmp_path / "plan.jsonl").write_text(lines(tasks))
        config = tmp_path / "config/boards/arm.yaml"
        config.write_text(config.read_text().replace("budget_minutes: 15", "budget_minutes: 60"))
        profile = ["profile", "--board", "arm", "--plan", str(tmp_path / "plan.jsonl")]
        assert main(["--root", str(tmp_path), *profile]) == 0
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    runs = pq.read_table(store.existing(tmp_path) / "runs/runs.parquet").to_pylist()
    assert {run["machine"] for run in runs} == {MACHINES[arch]}
    rows = read_measurements(tmp_path, "arm", "cpu")
    assert len(rows) == 21 * len({run["stack"] for run in runs})
    measured = rows[rows["status"] != "failed"]
    assert set(measured["kind"]) == {"gemm"} and (measured["median_ns"] > 0).all()
    assert rows[rows["status"] == "failed"]["reason"].str.contains("pycaffe cannot be imported").all()


SMALL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 5 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 64 kernel_size: 5 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip" inner_product_param { num_output: 10 } }
"""


@pytest.mark.emulated
@pytest.mark.parametrize("arch", MACHINES)
def test_from_nothing_to_a_report_by_two_commands(arch, tmp_path, monkeypatch):
    """The board has no Caffe: its matrix multiplications are its model, and all else a guess that says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("Snakefile", "rules", "workflow"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "config/networks").mkdir(parents=True)
    (tmp_path / "config/networks/small.prototxt").write_text(SMALL)
    (tmp_path / "config/config.yaml").write_text("networks: [small]\nboards: [arm]\nsweep: false\n")
    begun = time.monotonic()
    with board_on_the_net(arch) as ssh_config:
        for command in (
            ["sitecnn", "board", "add", "arm", "--ssh", "board", "--ssh-config", str(ssh_config)],
            ["snakemake", "--cores", "4", "report"],
        ):
            program = Path(sys.executable).with_name(command[0])
            subprocess.run([program, *command[1:]], cwd=tmp_path, check=True, timeout=600)
    print(f"{arch}: from nothing to a report in {time.monotonic() - begun:.0f} s")
    page = (tmp_path / "results/report/report.html").read_text()
    assert "arm" in page and "small" in page
    model = load_board("arm", "cpu", root=tmp_path)
    estimated = estimate(load_network(tmp_path / "config/networks/small.prototxt"), model)
    # Multiplications alone were timed, so that every layer is a guess, and those that multiply are known of.
    assert {layer.name for layer in estimated.layers if not layer.unknown} >= {"conv1", "conv2", "ip"}
    assert "pool1" in estimated.unmodelled and estimated.is_whole


@pytest.mark.emulated
def test_onnxruntime_is_measured_on_an_emulated_board(tmp_path, monkeypatch, capsys):
    """The wheel for ARM64, whose convolutions stay in plain layout: probes join what our lowering says."""
    if not (system("arm64") / "usr/lib/python3/dist-packages/onnxruntime").exists():
        pytest.skip("no ONNX Runtime there: tests/boards/emulated.sh arm64 DIR/arm64, then SITECNN_EMULATED=DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config/boards").mkdir(parents=True)
    (tmp_path / "small.prototxt").write_text(SMALL)
    there = ["--root", str(tmp_path)]
    with board_on_the_net("arm64") as ssh_config:
        assert main([*there, "board", "add", "arm", "--ssh", "board", "--ssh-config", str(ssh_config)]) == 0
        assert json.loads(capsys.readouterr().out)["onnxruntime"]["nchwc_block"] == 0
        amount = ["--sweep", "--probes", "4", "--rounds", "1", "-o", str(tmp_path / "plan.jsonl")]
        assert main([*there, "plan", str(tmp_path / "small.prototxt"), "--board", "arm", *amount]) == 0
        config = tmp_path / "config/boards/arm.yaml"
        config.write_text(config.read_text().replace("budget_minutes: 15", "budget_minutes: 60"))
        assert main([*there, "profile", "--board", "arm", "--plan", str(tmp_path / "plan.jsonl")]) == 0
    assert main([*there, "aggregate"]) == 0
    rows = read_measurements(tmp_path, "arm", "cpu")
    rows = rows[rows["stack"].str.startswith("onnxruntime")]
    assert not rows["stack"].str.contains("nchwc").any() and set(rows["status"]) == {"ok"}
    kernels = rows[rows["subject"] == "kernel"]
    assert kernels["network"].nunique() == 5 and not kernels["kind"].str.contains("nchwc").any()
    assert "ort_conv_window" in set(kernels["kind"]) and (kernels["median_ns"] > 0).all()
