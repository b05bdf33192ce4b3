"""Emulated ARM boards over SSH: the agent on 32 and 64 bits, from a new file to Parquet. Their times mean nothing."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sitecnn.cli import main
from sitecnn.dataset import read_measurements, store
from tests.boards.agents import gemm_task, layer_task, lines
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_agent_process import RELU

MACHINES = {"armhf": "armv7l", "arm64": "aarch64"}


def system(arch):
    """The folder of an emulated system: SITECNN_EMULATED/ARCH, as emulated.sh makes it."""
    return Path(os.environ.get("SITECNN_EMULATED", "/nowhere")) / arch


@pytest.mark.emulated
@pytest.mark.parametrize("arch", MACHINES)
def test_a_campaign_on_an_emulated_board(arch, tmp_path, monkeypatch, capsys):
    root = system(arch)
    if SSHD is None or not (root / ".whole").exists():
        pytest.skip(f"no emulated board: tests/boards/emulated.sh {arch} DIR/{arch}, then SITECNN_EMULATED=DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config/boards").mkdir(parents=True)
    subprocess.run(["mountpoint", "-q", root / "dev"], check=False).returncode and subprocess.run(
        ["mount", "--bind", "/dev", root / "dev"], check=True
    )
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder:
        server = make_sshd(Path(folder), root)
        server.start()
        try:
            there = ["--ssh", "board", "--ssh-config", str(server.config_file)]
            assert main(["--root", str(tmp_path), "board", "add", "arm", *there]) == 0
            found = json.loads(capsys.readouterr().out)
            assert found["machine"] == MACHINES[arch] and "OpenBLAS" in found["blas"]
            tasks = [*(gemm_task(m) for m in range(1, 21)), layer_task(RELU)]
            (tmp_path / "plan.jsonl").write_text(lines(tasks))
            config = tmp_path / "config/boards/arm.yaml"
            config.write_text(config.read_text().replace("budget_minutes: 15", "budget_minutes: 60"))
            assert (
                main(["--root", str(tmp_path), "profile", "--board", "arm", "--plan", str(tmp_path / "plan.jsonl")])
                == 0
            )
        finally:
            server.kill()
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    runs = pq.read_table(store.existing(tmp_path) / "runs/runs.parquet").to_pylist()
    assert {run["machine"] for run in runs} == {MACHINES[arch]}
    rows = read_measurements(tmp_path, "arm", "cpu")
    assert len(rows) == 21 * len({run["stack"] for run in runs})
    measured = rows[rows["status"] != "failed"]
    assert set(measured["kind"]) == {"gemm"} and (measured["median_ns"] > 0).all()
    assert rows[rows["status"] == "failed"]["reason"].str.contains("pycaffe cannot be imported").all()
