"""Boards of little memory: a plan leaves out what does not fit, and what did not fit after all fails alone."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sitecnn.boards.plan import Amount, plan
from sitecnn.network import parse_prototxt
from sitecnn.workload.engines import Engine
from tests.boards.agents import CAFFE_PYTHON, command, lines, measurements, network_task, read
from tests.boards.test_agent_onnx import task

MIB = 2**20
RUNTIME, CAFFE = Engine("onnxruntime", "1.32.0", 16), Engine()
LAYERS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: %d dim: %d } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 64 kernel_size: 1 } }
"""


def network(size):
    return parse_prototxt(LAYERS % (size, size), f"net-{size}")


def names(tasks):
    return {one["network"] for one in tasks if "network" in one}


@pytest.mark.parametrize("engine", [RUNTIME, CAFFE], ids=["onnxruntime", "caffe"])
def test_what_takes_more_than_the_board_has_is_left_out_and_said(engine, capsys):
    """64 planes of 2048² floats are 1 GiB; those of 64² one MiB."""
    some = {engine: [network(64), network(2048)]}
    whole = plan(some, Amount(probes=24, rounds=1), sweep=True)
    assert capsys.readouterr().err == ""
    bounded = plan(some, Amount(probes=24, rounds=1, memory_bytes=512 * MIB), sweep=True)
    said = capsys.readouterr().err
    assert "net-64" in names(bounded) and "net-2048" not in names(bounded)
    # ONNX Runtime has the planes twice, in blocks and as the result.
    assert re.search(rf"net-2048: left out: {engine.name} takes [12],\d+ MiB for it, the board leaves 512 MiB", said)
    assert names(bounded) < names(whole)
    tight = plan(some, Amount(probes=24, rounds=1, memory_bytes=125 * MIB), sweep=True)
    left_out = names(whole) - names(tight) - {"net-64", "net-2048"}
    assert left_out and f"{len(left_out)} of " in capsys.readouterr().err


WORKER = """
import json, resource, sys
from sitecnn.boards.agent.onnx_bench import OnnxBench
large, small = json.load(sys.stdin)
bench = OnnxBench(1)
bench.attempt(small, lambda *_: None)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (400 << 20),) * 2)
print(json.dumps([bench.attempt(one, lambda *_: None) for one in (large, small)]))
"""


def test_a_probe_that_exceeds_a_workers_bound_fails_alone():
    tasks = [one for one in plan({RUNTIME: [network(2048)]}, Amount(rounds=1), sweep=False) if one["task"] == "network"]
    finished = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=json.dumps([tasks[0], task()]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    large, small = json.loads(finished.stdout)
    assert large["status"] == "failed" and "alloc" in large["reason"].lower()
    assert small["status"] == "ok"


@pytest.fixture
def one_gigabyte():
    """A shell command that moves its process into a cgroup of 1 GiB; skipped where none can be made."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    parent, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (new, "memory.max")
    group = parent / f"sitecnn-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(1 << 30))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"a memory cgroup cannot be made here: {error}")
    yield f"echo $$ > {group}/cgroup.procs && exec "
    group.rmdir()


@pytest.mark.skipif(not CAFFE_PYTHON.exists(), reason="real Caffe is not built: ./run test builds it")
def test_a_campaign_completes_on_a_board_of_one_gigabyte(one_gigabyte, tmp_path):
    """What does not fit is ended by the kernel, twice, and has failed; the agent tells a plan what there is."""
    tasks = [network_task(LAYERS % (size, size), f"net-{size}") for size in (64, 2200, 65)]
    (tmp_path / "plan.jsonl").write_text(lines(tasks))
    files = ["--plan", str(tmp_path / "plan.jsonl"), "--records", str(tmp_path / "records.jsonl")]
    agent = command(tmp_path, *files, python=CAFFE_PYTHON)
    subprocess.run(["sh", "-c", one_gigabyte + '"$@"', "sh", *agent], check=True, capture_output=True, timeout=300)
    *_, done = records = read(tmp_path)
    assert done["owed"] == 0
    assert [record["status"] for record in measurements(records)] == ["ok", "failed", "ok"]
    assert "signal 9" in measurements(records)[1]["reason"]
    assert max(record["board"]["memory"]["MemAvailable"] for record in records if "board" in record) <= 1 << 30
