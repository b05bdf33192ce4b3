"""The agent's campaign with a worker and a clock that a test plays: order, budget, deaths, records and the account."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sitecnn.boards.agent import bench, campaign, groups, hosts, keys, lock, process, samples
from sitecnn.boards.agent.campaign import Campaign, expected_seconds
from sitecnn.boards.agent.keys import task_key
from sitecnn.boards.agent.process import WorkerDied
from sitecnn.boards.agent.samples import Cost

OK = {"status": "ok", "median_ns": 5.0}


def test_constants_are_those_that_the_documentation_gives_with_their_reasons() -> None:
    """The table in docs/measuring.md, and its text on power and ONNX Runtime."""
    assert samples.SHORTEST_SAMPLE_NS == 2e6 and samples.FEWEST_SAMPLES == 9
    assert (samples.WANTED_PRECISION, samples.UNSTABLE_PRECISION, samples.WARM_UP_AGREEMENT) == (0.01, 0.1, 0.05)
    assert (samples.KERNEL_SECONDS, samples.FEWEST_IN_TIME, samples.MOST_SAMPLES) == (0.1, 5, 60)
    assert (samples.MOST_WARM_UP, bench.PASSES, groups.GEMMS_TOGETHER, campaign.TASK_TRIES) == (10, 4, 16, 2)
    assert (hosts.LEASE_SECONDS, lock.LOCK_SECONDS, keys.PROTOCOL) == (20, 60, 4)
    assert (bench.POWER_SECONDS, process.POWER_INTERVAL_S) == (1.0, 0.1)


class Played:
    """A host with tasks, whose worker answers by `answer`, and a clock that each answer moves on by a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.records, self.checked = 1000.0, [], 0  # type: ignore[var-annotated]
        self.workers: list[str] = []
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda task: dict(OK)
        self.finished: set[str] = set()
        played = self

        class Worker:
            def __init__(self, _: Namespace, engine: str) -> None:
                played.workers.append(engine)
                self.process, self.dead = self, False

            def poll(self) -> int | None:
                return 9 if self.dead else None

            def wait(self) -> None:
                return None

            def close(self) -> None:
                self.dead = True

            def ask(self, request: dict[str, Any], tick: Callable[[], None]) -> Iterator[tuple[str, Any]]:
                played.now += 1
                tick()
                try:
                    reply = played.answer(request["task"])
                except WorkerDied:
                    self.dead = True
                    raise
                yield "power", "sustained"
                tick()
                tick()
                yield "power", "rested"
                tick()
                yield "result", reply
                yield "end", {"timed": 0.5, "warm_up": 0.125}

        class Stack:
            def __init__(self, engine: str, *_: Any) -> None:
                self.name, self.run = f"stack of {engine}", f"run of {engine}"

            def record(self, common: dict[str, Any]) -> dict[str, Any]:
                return {**common, "record": "run", "run": self.run}

        monkeypatch.setattr(campaign, "Worker", Worker)
        monkeypatch.setattr(campaign, "Stack", Stack)
        monkeypatch.setattr(campaign, "conditions", lambda: {"load": 0.0})
        monkeypatch.setattr(campaign, "file_sha256", lambda path: "digest")
        monkeypatch.setattr(campaign, "power_rails", dict)
        monkeypatch.setattr(campaign.time, "time", lambda: self.now)

    def append(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def check(self) -> None:
        self.checked += 1

    def run(self, tasks: list[dict[str, Any]], budget_s: float | None = None) -> int:
        self.tasks = tasks
        arguments = Namespace(budget_s=budget_s, commit="c", processor="cpu", threads=3)
        owed: int = Campaign(arguments, self).execute()  # type: ignore[no-untyped-call]
        return owed

    def of(self, word: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["record"] == word]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


def task(name: str, number: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"task": "network", "network": name, **({} if number is None else {"round": number}), **more}


def test_each_round_has_a_block_and_a_process_and_each_task_a_record_without_its_model(played: Played) -> None:
    runtime = {"engine": "onnxruntime", "model": "long", "kernels": [1], "weights_bytes": 7}
    tasks = [task("a"), task("b"), task("a", **runtime), task("a", 1)]
    assert played.run([*tasks, tasks[0]]) == 0
    assert [record["record"] for record in played.records] == [
        *("run", "run"), *("block", "measurement", "measurement"), *("block", "measurement"),
        *("block", "measurement"), "done",
    ]  # fmt: skip
    assert played.workers == ["caffe", "onnxruntime", "caffe"]
    measured = played.of("measurement")
    assert [record["key"] for record in measured] == [
        task_key(one, f"stack of {one.get('engine', 'caffe')}") for one in tasks
    ]
    assert measured[2] == {
        "record": "measurement", "task": "network", "network": "a", "round": 0, "engine": "onnxruntime",
        "key": measured[2]["key"], "run": "run of onnxruntime", "block": played.of("block")[1]["block"],
        "seconds": 1.0, **OK,
    }  # fmt: skip
    assert len({block["block"] for block in played.of("block")}) == 3
    block = played.of("block")[0]
    assert (block["run"], block["attempt"], block["before"], block["after"]) == (
        "run of caffe", 1, {"load": 0.0}, {"load": 0.0},
    )  # fmt: skip
    run = played.of("run")[0]
    wanted = {"protocol": 4, "commit": "c", "agent_sha256": "digest", "processor": "cpu", "threads": 3}
    assert {name: run[name] for name in wanted} == wanted and run["conditions"] == {"load": 0.0}


def test_done_tells_what_was_planned_and_where_the_time_went(played: Played) -> None:
    played.finished = {task_key(task("a"), "stack of caffe")}
    played.run([task("a"), task("b"), task("b"), task("c")])
    (done,) = played.of("done")
    assert (done["run"], done["owed"], done["planned"], done["seconds"]) == ("run of caffe", 0, 3, 2.0)
    cost = done["cost_s"]
    assert set(cost) == {"timed", "warm_up", "inputs", "files", "other"}
    assert (cost["timed"], cost["warm_up"], cost["inputs"]) == (1.0, 0.25, 0.0)
    assert sum(cost.values()) == pytest.approx(2.0)


def test_nothing_owed_is_done_at_once(played: Played) -> None:
    played.finished = {task_key(task("a"), "stack of caffe")}
    assert played.run([task("a")]) == 0 and played.workers == []
    assert [record["record"] for record in played.records] == ["run", "done"]
    assert played.run([]) == 0 and played.records[-1]["planned"] == 0


def test_a_budget_is_looked_at_between_rounds_alone(played: Played) -> None:
    """Four tasks of a second each in a round: one that begins within the budget is finished."""
    tasks = [task(str(place), number) for number in range(3) for place in range(4)]
    assert played.run(tasks, budget_s=4.5) == 4
    (done,) = played.of("done")
    assert (done["owed"], done["planned"], len(played.of("measurement"))) == (4, 12, 8)
    assert played.run(tasks, budget_s=4.0) == 4 and played.run(tasks, budget_s=3.9) == 8


def test_a_task_that_ends_its_process_twice_has_failed_and_others_go_on(played: Played) -> None:
    deaths = {"once": 1, "always": 99}

    def answer(one: dict[str, Any]) -> dict[str, Any]:
        if deaths.get(one["network"], 0):
            deaths[one["network"]] -= 1
            raise WorkerDied(f"death of {one['network']}")
        return dict(OK)

    played.answer = answer
    assert played.run([task("fine"), task("once"), task("always"), task("last")]) == 0
    records = {record["network"]: record for record in played.of("measurement")}
    assert [records[name]["status"] for name in ("fine", "once", "always", "last")] == ["ok", "ok", "failed", "ok"]
    assert records["always"]["reason"] == "death of always" and deaths["always"] == 97
    # One for the round, one after each death before another task.
    assert played.workers == ["caffe"] * 4


def test_power_is_the_mean_of_the_readings_while_a_kernel_ran_on_end(played: Played, monkeypatch) -> None:
    readings = {"gpu": iter([100.0, 300.0]), "cpu": iter([None, 50.0])}
    rails = {name: lambda values=values: next(values) for name, values in readings.items()}
    monkeypatch.setattr(campaign, "power_rails", lambda: rails)
    played.run([task("a")])
    (record,) = played.of("measurement")
    assert (record["power_rails"], record["power_mw"]) == (["cpu", "gpu"], [50.0, 200.0])


def test_progress_is_told_every_five_seconds_at_the_pace_so_far(played: Played, capsys) -> None:
    """Ten passes of 1.5 s each as expected, which take a second each."""
    played.answer = lambda one: {"status": "failed" if one["network"] == "0" else "ok"}
    played.run([task(str(place)) for place in range(10)])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("agent:")]
    # Told while the sixth is measured, after 6 s: five are done.
    assert said[0] == "agent:  40 % of 10 measurements, 5 s so far, about 8 s to go, 1 failed"
    assert len(said) == 2


def test_what_a_task_is_expected_to_take() -> None:
    assert [expected_seconds({"task": one}) for one in ("probe", "network", "gemm", "memory")] == [0.3, 1.5, 0.05, 1.0]


def test_an_account_adds_up_by_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    cost, clock = Cost(), iter([1_000_000_000, 3_500_000_000, 4_000_000_000, 4_250_000_000])
    monkeypatch.setattr(samples, "now_ns", lambda: next(clock))
    for _ in range(2):
        with cost.of("timed"):
            pass
    cost.add("files", 0.5)
    assert cost.seconds == {"timed": 2.75, "files": 0.5}


def looped(bench_class: Any, monkeypatch: pytest.MonkeyPatch, call_ns: int) -> tuple[dict[str, Any], int]:
    """(what a loop of calls of so many ns found, how often it called) on a clock that only calls move."""
    clock = {"ns": 0, "calls": 0}

    def call() -> None:
        clock["ns"] += call_ns
        clock["calls"] += 1

    one = bench_class.__new__(bench_class)
    one.cuda, one.cost, one.check = None, Cost(), lambda: None
    monkeypatch.setattr(bench, "now_ns", lambda: clock["ns"])
    return one.loop(call, None), clock["calls"]


@pytest.mark.parametrize(("call_ns", "iterations"), [(3_000_000, 1), (2_000_000, 1), (1_999_999, 2), (1000, 2048)])
def test_a_sample_has_as_many_calls_as_make_it_long_against_the_timer(monkeypatch, call_ns, iterations) -> None:
    result, calls = looped(bench.Bench, monkeypatch, call_ns)
    assert (result["iterations"], result["warm_up"], result["stop"], result["status"]) == (iterations, 2, "noise", "ok")
    assert result["samples_ns"] == [call_ns] * 9 and result["median_ns"] == call_ns
    # Doubled from one call on, two samples that are forgotten, and nine.
    assert calls == (2 * iterations - 1) + 11 * iterations
