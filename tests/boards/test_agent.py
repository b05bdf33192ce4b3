"""The agent's statistics against a closed form and simulation, and its record file against torn lines."""

import itertools
import json
import random
import statistics
from math import comb

import pytest

from sitecnn.boards.agent.groups import GEMMS_TOGETHER, groups
from sitecnn.boards.agent.hosts import RecordFile
from sitecnn.boards.agent.keys import task_key
from sitecnn.boards.agent.samples import (
    FEWEST_IN_TIME,
    FEWEST_SAMPLES,
    MOST_SAMPLES,
    measured,
    median,
    median_interval,
    stop_reason,
    warm_up,
)
from tests.boards.agents import gemm_task, network_task


@pytest.mark.parametrize("count", [9, 10, 15, 40, 60])
def test_median_interval_has_the_binomial_coverage_it_claims(count):
    ordered = list(range(count))
    low, high = median_interval(ordered)
    # The true median lies below the order statistic of rank `low` (from 0) if at most `low` samples fall below it.
    below = sum(comb(count, k) for k in range(low + 1)) / 2**count
    assert low + high == count - 1
    assert 1 - 2 * below >= 0.95
    one_narrower = sum(comb(count, k) for k in range(low + 2)) / 2**count
    assert 1 - 2 * one_narrower < 0.95


def test_median_is_the_standard_librarys():
    draw = random.Random(1)
    for count in (1, 2, 9, 10):
        values = [draw.random() for _ in range(count)]
        assert median(values) == statistics.median(values)


def test_nine_samples_are_the_fewest_without_extremes():
    assert median_interval(range(FEWEST_SAMPLES)) == (1, 7)
    assert median_interval(range(FEWEST_SAMPLES - 1))[0] == 0


def until_enough(turns, seconds_each):
    samples, reason = [], None
    while not reason:
        samples.append(next(turns))
        reason = stop_reason(samples, seconds_each * len(samples))
    return len(samples), reason


def test_sampling_stops_when_the_median_is_known_or_time_or_patience_is_over():
    assert until_enough(itertools.repeat(1000), 0) == (FEWEST_SAMPLES, "noise")
    assert until_enough(itertools.cycle([1000, 3000]), 0) == (MOST_SAMPLES, "count")
    assert until_enough(itertools.cycle([1000, 3000]), 1) == (FEWEST_IN_TIME, "time")


def test_a_median_that_is_not_known_says_so():
    assert measured([100.0] * 9, "noise")["status"] == "ok"
    found = measured([100.0, 200.0] * 5, "time")
    assert found["status"] == "unstable" and "known to 33 % only" in found["reason"]


def test_warm_up_forgets_a_slow_start():
    samples = iter([900, 500, 300, 110, 108, 100, 100])
    assert warm_up(lambda: next(samples)) == 5


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
