"""Agents as processes: cut off, killed, waited for, in the company of a bad task; with real BLAS and real Caffe."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from tests.boards.agents import (
    CAFFE_PYTHON,
    command,
    gemm_task,
    is_held,
    layer_task,
    lines,
    lock_name,
    measurements,
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
    status, _, records = whole_campaign(
        tmp_path, tasks, changes="blocks.SENTINEL_DRIFT = campaign.SENTINEL_DRIFT = 1e9"
    )
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
    for found in measurements(records):
        assert found["status"] in ("ok", "unstable") and len(found["samples_ns"]) >= 5
        assert min(found["samples_ns"]) <= found["low_ns"] <= found["median_ns"] <= found["high_ns"]


def test_overhead_spreads_over_a_fixed_number_of_calls(tmp_path):
    tasks = [gemm_task(8, mode="overhead", iterations=n) for n in (1, 64)]
    _, _, records = whole_campaign(tmp_path, tasks)
    assert [(found["mode"], found["iterations"]) for found in measurements(records)] == [
        ("overhead", 1),
        ("overhead", 64),
    ]


def test_an_agent_killed_at_random_moments_loses_no_line_and_measures_nothing_twice(tmp_path):
    dice, tasks = random.Random(2017), [gemm_task(m) for m in range(1, 201)]
    kept = b""
    for _ in range(int(os.environ.get("SITECNN_KILLS", "10"))):
        agent = start_with_files(tmp_path, tasks)
        time.sleep(dice.uniform(0.2, 1.0))
        agent.kill()
        agent.communicate()
        now = (tmp_path / "records.jsonl").read_bytes() if (tmp_path / "records.jsonl").exists() else b""
        whole = kept[: kept.rfind(b"\n") + 1]
        assert now.startswith(whole)
        kept = now
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
        assert json.loads(agent.stdout.readline())["record"] == "run"
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
    status, errors, records = whole_campaign(tmp_path, [gemm_task(4), layer_task(RELU)], env=environment)
    assert status == 0 and "no Caffe here" in errors
    by_task = {record["task"]: record for record in measurements(records)}
    assert by_task["gemm"]["status"] in ("ok", "unstable")
    assert by_task["layer"]["status"] == "failed" and "pycaffe cannot be imported" in by_task["layer"]["reason"]


def test_a_block_that_was_disturbed_is_measured_again_when_the_others_are(tmp_path):
    # The third block is disturbed half way, the fourth all along; the third once more when its turn comes again.
    changes = (
        "sentinels = iter([1, 1, 1, 1.5, 1.5, 1] + 9 * [1]);"
        "campaign.Campaign.sentinel = lambda campaign: 1e5 * next(sentinels)"
    )
    status, _, records = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 65)], changes=changes)
    assert status == 0 and records[-1]["owed"] == 0
    assert [(record["kernel"]["m"] - 1) // 16 for record in measurements(records)[::16]] == [0, 1, 3, 2]
    assert [record["attempt"] for record in records if record["record"] == "block"] == [1, 1, 2, 3]
    assert not any("drifted" in record["reason"] for record in measurements(records))


def test_a_block_that_is_disturbed_each_time_is_kept_and_says_so(tmp_path):
    changes = (
        "import itertools; sentinels = itertools.cycle([1, 2]);"
        "campaign.Campaign.sentinel = lambda campaign: 1e5 * next(sentinels)"
    )
    status, _, records = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 20)], changes=changes)
    assert status == 0 and len(measurements(records)) == 19
    assert {record["status"] for record in measurements(records)} == {"unstable"}


def test_a_block_that_is_put_off_is_kept_when_the_time_is_up(tmp_path):
    changes = (
        "sentinels = iter([1, 1, 1, 1.5] + 9 * [1]);"
        "campaign.Campaign.sentinel = lambda campaign: 1e5 * next(sentinels);"
        "campaign.Campaign.over_budget = lambda campaign: len(campaign.sentinels) >= 4"
    )
    status, _, records = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 65)], changes=changes)
    found = measurements(records)
    assert status == 1 and records[-1]["owed"] == 16 and len({record["key"] for record in found}) == len(found) == 48
    assert {record["status"] for record in found if record["kernel"]["m"] > 32} == {"unstable"}


@needs_caffe
def test_a_task_that_aborts_caffe_fails_alone(tmp_path):
    bad = layer_task(ABORTS, "convolution")
    tasks = [gemm_task(3), layer_task(RELU), bad, layer_task(RELU.replace("dim: 4", "dim: 5"))]
    status, _, records = whole_campaign(tmp_path, tasks, python=CAFFE_PYTHON)
    found = measurements(records)
    assert status == 0 and [record["status"] == "failed" for record in found] == [False, False, True, False]
    assert "Check failed" in found[2]["reason"] and "signal 6" in found[2]["reason"]


@needs_caffe
def test_a_network_is_measured_in_processes_of_its_own(tmp_path):
    text = INPUT.format(3, 32) + (
        ' layer { name: "conv" type: "Convolution" bottom: "in0" top: "c"'
        " convolution_param { num_output: 8 kernel_size: 3 } }"
        ' layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }'
    )
    task = {"task": "network", "network": "small", "batch": 1, "prototxt": text}
    tasks = [task, {**task, "task": "memory"}]
    changes = "campaign.NETWORK_SECONDS = 0.3"
    status, _, records = whole_campaign(tmp_path, tasks, python=CAFFE_PYTHON, changes=changes)
    memory, passes = measurements(records)
    assert status == 0 and passes["processes"] == 5
    assert [layer["name"] for layer in passes["layers"]] == ["in0", "conv", "relu"]
    assert {len(layer["samples_ns"]) for layer in passes["layers"]} == {len(passes["forward_ns"])}
    for index, total in enumerate(passes["layerwise_ns"]):
        assert sum(layer["samples_ns"][index] for layer in passes["layers"]) <= total
    found = memory["memory_bytes"]
    assert 0 < found["base"] <= found["loaded"] <= found["load_peak"] <= found["peak"]


@needs_caffe
def test_the_caffe_tool_serves_where_pycaffe_is_missing(tmp_path):
    tool = CAFFE_PYTHON.parent
    environment = dict(os.environ, PATH=f"{tool}:/usr/bin:/bin")
    text = INPUT.format(3, 16) + (
        ' layer { name: "conv" type: "Convolution" bottom: "in0" top: "c"'
        " convolution_param { num_output: 8 kernel_size: 3 } }"
        ' layer { name: "a" type: "ReLU" bottom: "c" top: "a" } layer { name: "b" type: "ReLU" bottom: "c" top: "b" }'
    )
    network = {"task": "network", "network": "small", "batch": 1, "prototxt": text}
    status, _, records = whole_campaign(tmp_path, [network, layer_task(RELU)], env=environment)
    layer, passes = measurements(records)
    assert status == 0 and records[0]["board"]["engine"]["name"] == "caffe-time"
    assert [timed["name"] for timed in passes["layers"]] == ["in0", "conv", "c_conv_0_split", "a", "b"]
    assert (layer["mode"], layer["fill"]) == ("warm", "zeros") and layer["status"] != "failed"
