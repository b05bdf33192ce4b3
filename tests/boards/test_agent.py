"""The agent's record file against torn lines, what identifies a measurement, and what shares a process."""

import json
import os

import pytest

from sitecnn.boards.agent.capabilities import onnx_stack_of, stack_of
from sitecnn.boards.agent.groups import GEMMS_TOGETHER, groups
from sitecnn.boards.agent.hosts import RecordFile
from sitecnn.boards.agent.keys import task_key
from tests.boards.agents import gemm_task, network_task


def measurement(key):
    return {"record": "measurement", "key": key, "status": "ok"}


def test_a_torn_last_line_is_cut_off_and_owed_again(tmp_path):
    path = tmp_path / "records.jsonl"
    plan = tmp_path / "plan.jsonl"
    plan.write_text("")
    records = RecordFile(str(plan), str(path))
    records.append(measurement("a"))
    records.append(measurement("b"))
    whole = path.read_bytes()
    for length in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:length])
        again = RecordFile(str(plan), str(path))
        assert again.finished == {"a"}
        again.append(measurement("b"))
        assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_a_key_depends_on_task_and_stack_alone():
    task = {"task": "gemm", "kernel": {"m": 1}, "mode": "cold"}
    same = dict(reversed(task.items()))
    assert task_key(task, "stack") == task_key(same, "stack")
    others = {task_key(task, "other"), task_key(task | {"mode": "warm"}, "stack")}
    assert len(others | {task_key(task, "stack")}) == 3


def test_what_shares_a_process_is_a_round_of_one_engine_and_memory_is_always_alone():
    other = {"engine": "onnxruntime"}
    rounds = [
        network_task("", name, round=number, **more) for number in (0, 1) for more in ({}, other) for name in "ab"
    ]
    memory = [network_task("", name, "memory", **more) for name, more in (("a", {}), ("b", {}), ("a", other))]
    products = [gemm_task(m) for m in range(GEMMS_TOGETHER + 3)]
    owed = list(enumerate([*rounds, *memory, *products]))
    assert [len(group) for group in groups(owed)] == [2, 2, 2, 2, 1, 1, 1, GEMMS_TOGETHER, 3]
    assert [pair for group in groups(owed) for pair in group] == owed


def test_a_record_is_on_the_disk_before_the_next_is_measured(tmp_path, monkeypatch):
    (tmp_path / "plan.jsonl").write_text("")
    records, synced = RecordFile(str(tmp_path / "plan.jsonl"), str(tmp_path / "records.jsonl")), []

    def fsync(descriptor):
        assert descriptor == records.file.fileno()
        synced.append((tmp_path / "records.jsonl").read_text())

    monkeypatch.setattr(os, "fsync", fsync)
    records.append({"record": "run"})
    records.append({"record": "done"})
    assert synced == ['{"record":"run"}\n', '{"record":"run"}\n{"record":"done"}\n']


CAFFE_FACTS = {"engine": {"name": "caffe", "version": "1.0.0"}, "blas": "OpenBLAS 0.3.21 DYNAMIC_ARCH"}
CAFFE = "caffe-1.0.0+openblas-0.3.21"
ORT_FACTS = {"onnxruntime": {"version": "1.20.1", "nchwc_block": 8}}


@pytest.mark.parametrize(
    ("name", "facts", "threads", "now", "stack"),
    [
        (stack_of, CAFFE_FACTS, 4, {"governor": "performance"}, f"{CAFFE}+4-threads+performance"),
        (stack_of, CAFFE_FACTS, 1, {}, f"{CAFFE}+1-threads+clock-unknown"),
        (stack_of, CAFFE_FACTS | {"gpu": {"cuda": "8.0"}}, 1, {}, f"{CAFFE}+cuda-8.0+1-threads+clock-unknown"),
        (onnx_stack_of, ORT_FACTS, 2, {}, "onnxruntime-1.20.1+cpu+nchwc-8+fp32+2-threads+clock-unknown"),
        (onnx_stack_of, {"onnxruntime": {"version": "1.27.0", "nchwc_block": 0}}, 3, {"governor": "userspace"},
         "onnxruntime-1.27.0+cpu+fp32+3-threads+userspace"),
    ],
)  # fmt: skip
def test_a_stack_is_named_by_all_that_decides_its_times(name, facts, threads, now, stack):
    """Measurements are keyed by it: what it leaves out would be taken for the same."""
    assert name(facts, threads, now) == stack
