"""Agents as processes: cut off, killed, waited for, in the company of a bad task; with real BLAS and real Caffe."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from tests.boards.agents import (
    AGENT,
    CAFFE_PYTHON,
    command,
    gemm_task,
    is_held,
    lines,
    lock_name,
    measurements,
    network_task,
    quick_task,
    read,
    start_with_files,
)

needs_caffe = pytest.mark.skipif(not CAFFE_PYTHON.exists(), reason="real Caffe is not built: ./run test builds it")

INPUT = (
    'layer {{ name: "in0" type: "Input" top: "in0" input_param {{ shape {{ dim: 1 dim: {0} dim: {1} dim: {1} }} }} }}'
)
RELU = INPUT.format(4, 8) + ' layer { name: "layer0" type: "ReLU" bottom: "in0" top: "in0" }'
# Caffe checks shapes by CHECK: it aborts the process.
ABORTS = INPUT.format(4, 8) + (
    ' layer { name: "layer0" type: "Convolution" bottom: "in0" top: "y"'
    " convolution_param { num_output: 1 kernel_size: 50 } }"
)


def whole_campaign(folder, tasks, *arguments, **options):
    agent = start_with_files(folder, tasks, *arguments, **options)
    _, errors = agent.communicate(timeout=400)
    return agent.returncode, errors, read(folder)


def test_a_campaign_measures_its_plan_and_proves_it(tmp_path):
    tasks = [gemm_task(m) for m in range(1, 20)]
    status, _, records = whole_campaign(tmp_path, tasks)
    assert status == 0
    assert [record["kernel"]["m"] for record in measurements(records)] == list(range(1, 20))
    kinds = [record["record"] for record in records]
    assert kinds == ["run", "block", *["measurement"] * 16, "block", *["measurement"] * 3, "done"]
    block = None
    for record in records:
        block = record["block"] if record["record"] == "block" else block
        assert record.get("block", block) == block
    done = records[-1]
    assert (done["planned"], done["owed"]) == (19, 0)
    assert sum(done["cost_s"].values()) == pytest.approx(done["seconds"])
    for record in measurements(records):
        assert record["status"] in ("ok", "unstable") and len(record["samples_ns"]) >= 5
        assert min(record["samples_ns"]) <= record["low_ns"] <= record["median_ns"] <= record["high_ns"]


def test_overhead_spreads_over_a_fixed_number_of_calls(tmp_path):
    tasks = [gemm_task(8, mode="overhead", iterations=n) for n in (1, 64)]
    _, _, records = whole_campaign(tmp_path, tasks)
    assert [(record["mode"], record["iterations"]) for record in measurements(records)] == [
        ("overhead", 1),
        ("overhead", 64),
    ]


def test_an_agent_killed_at_random_moments_loses_no_line_and_measures_nothing_twice(tmp_path):
    dice, tasks = random.Random(2017), [quick_task(m) for m in range(1, 201)]
    before = b""
    for _ in range(int(os.environ.get("SITECNN_KILLS", "10"))):
        agent = start_with_files(tmp_path, tasks)
        time.sleep(dice.uniform(0.2, 1.0))
        agent.kill()
        agent.communicate()
        now = (tmp_path / "records.jsonl").read_bytes() if (tmp_path / "records.jsonl").exists() else b""
        whole = before[: before.rfind(b"\n") + 1]
        assert now.startswith(whole)
        before = now
    status, _, records = whole_campaign(tmp_path, tasks)
    keys = [record["key"] for record in measurements(records)]
    assert status == 0 and len(keys) == len(set(keys)) == 200


def test_a_budget_ends_a_campaign_that_says_what_is_owed(tmp_path):
    status, _, records = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 40)], "--budget-s", "0.3")
    assert status == 1
    assert records[-1]["owed"] == 39 - len(measurements(records)) > 0


def host(folder, **options):
    started = command(folder, "--plan", "-", "--records", "-", **options)
    return subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_host_streams_a_plan_and_gets_what_it_lacks(tmp_path):
    tasks = [gemm_task(m) for m in range(1, 6)]
    first = host(tmp_path)
    out, _ = first.communicate((lines([{"finished": []}, *tasks]) + "\n").encode() + b"\n" * 3, timeout=60)
    # A closed stdin is a host that is gone: the agent may not have finished.
    first_keys = [record["key"] for record in measurements(map(json.loads, filter(bytes.strip, out.splitlines())))]
    second = host(tmp_path)
    second.stdin.write((lines([{"finished": first_keys[:2]}, *tasks]) + "\n").encode())
    second.stdin.flush()
    records = []
    for line in second.stdout:
        if not line.strip():  # it says every five seconds that it is there
            continue
        records.append(json.loads(line))
        second.stdin.write(b"\n")
        second.stdin.flush()
        if records[-1]["record"] == "done":
            break
    second.stdin.close()
    assert second.wait(timeout=20) == 0
    assert len(measurements(records)) == 5 - len(first_keys[:2]) and records[-1]["owed"] == 0


def test_an_agent_whose_host_is_gone_or_silent_ends_itself_and_its_worker(tmp_path):
    tasks = [gemm_task(m, 512, 512) for m in range(1, 400)]
    plan = (lines([{"finished": []}, *tasks]) + "\n").encode()
    for changes, ends in (("hosts.LEASE_SECONDS = 20", True), ("hosts.LEASE_SECONDS = 2", False)):
        agent = host(tmp_path, changes=changes)
        agent.stdin.write(plan)
        agent.stdin.flush()
        said = iter(agent.stdout.readline, b"")
        assert json.loads(next(line for line in said if line.strip()))["record"] == "run"
        if ends:
            agent.stdin.close()
        assert agent.wait(timeout=20) == 3
        assert b"its host is gone" in agent.stderr.read()
        assert not is_held(lock_name(tmp_path))


def test_a_second_agent_waits_for_the_first_and_names_it(tmp_path):
    first = start_with_files(tmp_path, [gemm_task(m, 512, 512) for m in range(1, 400)])
    while not is_held(lock_name(tmp_path)):
        time.sleep(0.05)
    other = tmp_path / "other"
    other.mkdir()
    (other / "plan.jsonl").write_text(lines([gemm_task(1)]))
    files = ["--plan", str(other / "plan.jsonl"), "--records", str(other / "records.jsonl")]
    second = subprocess.run(
        command(tmp_path, *files, changes="lock.LOCK_SECONDS = 1"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 2 and str(first.pid) in second.stderr
    assert not (other / "records.jsonl").exists() or not read(other)
    # Killed, the first one's worker may outlive it by a moment: the lock is free only when both are gone.
    first.kill()
    third = subprocess.run(command(tmp_path, *files), capture_output=True, text=True, timeout=60, check=False)
    first.communicate()
    assert third.returncode == 0 and len(measurements(read(other))) == 1


def test_a_signal_ends_an_agent_tidily(tmp_path):
    agent = start_with_files(tmp_path, [gemm_task(m, 512, 512) for m in range(1, 400)])
    while not (tmp_path / "records.jsonl").exists() or not (tmp_path / "records.jsonl").read_text():
        time.sleep(0.05)
    agent.send_signal(signal.SIGTERM)
    _, errors = agent.communicate(timeout=20)
    assert agent.returncode == 3 and "signal 15" in errors


def test_a_board_without_caffe_measures_multiplications_and_says_what_is_missing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PATH"} | {"PATH": "/usr/bin"}
    status, errors, records = whole_campaign(tmp_path, [gemm_task(4), network_task(RELU)], env=environment)
    assert status == 0 and "no Caffe here" in errors
    by_task = {record["task"]: record for record in measurements(records)}
    assert by_task["gemm"]["status"] in ("ok", "unstable")
    assert by_task["network"]["status"] == "failed"
    assert "pycaffe cannot be imported" in by_task["network"]["reason"]


@needs_caffe
def test_a_task_that_aborts_caffe_fails_alone(tmp_path):
    bad = network_task(ABORTS, "bad")
    tasks = [gemm_task(3), network_task(RELU), bad, network_task(RELU.replace("dim: 4", "dim: 5"), "other")]
    status, _, records = whole_campaign(tmp_path, tasks, python=CAFFE_PYTHON)
    measured = measurements(records)
    assert status == 0 and [record["status"] == "failed" for record in measured] == [False, False, True, False]
    assert "Check failed" in measured[2]["reason"] and "signal 6" in measured[2]["reason"]


CONVOLUTION = INPUT.format(3, 32) + (
    ' layer { name: "conv" type: "Convolution" bottom: "in0" top: "c"'
    " convolution_param { num_output: 8 kernel_size: 3 } }"
)


@needs_caffe
def test_rounds_of_caffe_measure_layers_passes_and_memory(tmp_path):
    text = CONVOLUTION + ' layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }'
    tasks = [network_task(text, "caffe-probe-001", "probe", round=number) for number in (0, 1)]
    tasks += [network_task(text), network_task(text, task="memory")]
    status, _, records = whole_campaign(tmp_path, tasks, python=CAFFE_PYTHON)
    *passes, memory = measurements(records)
    assert status == 0 and [record["status"] for record in passes] == ["ok"] * 3
    assert [record["record"] for record in records].count("block") == 4
    for record in passes:
        assert [layer["name"] for layer in record["layers"]] == ["in0", "conv", "relu"]
        assert {len(layer["samples_ns"]) for layer in record["layers"]} == {len(record["layerwise_ns"])} == {4}
        assert len(record["forward_ns"]) == 3
        for index, total in enumerate(record["layerwise_ns"]):
            assert sum(layer["samples_ns"][index] for layer in record["layers"]) <= total
    sizes = memory["memory_bytes"]
    assert 0 < sizes["base"] <= sizes["loaded"] <= sizes["load_peak"] <= sizes["peak"]


@needs_caffe
def test_a_network_is_given_an_image_and_weights_that_keep_its_scale(tmp_path):
    """The agent's own engine in real Caffe's Python; an image's power falls as 1/f² along a row."""
    deep = "".join(
        f' layer {{ name: "c{n}" type: "Convolution" bottom: "{"in0" if not n else f"r{n - 1}"}" top: "r{n}"'
        " convolution_param { num_output: 32 kernel_size: 3 pad: 1 } }"
        f' layer {{ name: "r{n}" type: "ReLU" bottom: "r{n}" top: "r{n}" }}'
        for n in range(6)
    )
    code = (
        f"import sys; sys.path.insert(0, {str(AGENT)!r})\n"
        "from sitecnn_agent.caffe_net import PyCaffe\nimport numpy, json\n"
        f"net = PyCaffe(None).load_filled({INPUT.format(3, 64) + deep!r}); net.forward()\n"
        "image = net.blobs['in0'].data\npower = (abs(numpy.fft.fft(image, axis=3)) ** 2).mean(axis=(0, 1, 2))\n"
        "print(json.dumps([float(net.blobs['r5'].data.std()), float(power[1] / power[8]), float(image.std())]))"
    )
    ran = subprocess.run([str(CAFFE_PYTHON), "-c", code], capture_output=True, text=True, check=True)
    deepest, falls, image = json.loads(ran.stdout)
    assert 0.2 < deepest < 5 and falls > 4 and 0.9 < image < 1.1


@needs_caffe
def test_the_caffe_tool_serves_where_pycaffe_is_missing(tmp_path):
    environment = dict(os.environ, PATH=f"{CAFFE_PYTHON.parent}:/usr/bin:/bin")
    text = CONVOLUTION + (
        ' layer { name: "a" type: "ReLU" bottom: "c" top: "a" } layer { name: "b" type: "ReLU" bottom: "c" top: "b" }'
    )
    tasks = [network_task(text), network_task(RELU, "caffe-probe-001", "probe")]
    status, _, records = whole_campaign(tmp_path, tasks, env=environment)
    passes, probe = measurements(records)
    assert status == 0 and records[0]["board"]["engine"]["name"] == "caffe-time"
    assert [timed["name"] for timed in passes["layers"]] == ["in0", "conv", "c_conv_0_split", "a", "b"]
    assert probe["fill"] == "zeros" and [timed["name"] for timed in probe["layers"]] == ["in0", "layer0"]
