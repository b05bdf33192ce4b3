"""What a host makes of agents that die, fall silent, refuse or run out of time: each is played by a small script."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sitecnn.boards import campaign
from sitecnn.boards.agent.keys import task_key
from sitecnn.boards.campaign import Records, profile, record_file
from sitecnn.boards.config import Board
from sitecnn.errors import BoardError

PLAYED = """#!{python}
import json, os, sys, time
folder = {folder!r}
lives = len([name for name in os.listdir(folder) if name.startswith("life")])
first = json.loads(sys.stdin.readline())
tasks = [json.loads(line) for line in iter(sys.stdin.readline, "\\n")]
with open(os.path.join(folder, "life%d" % lives), "w") as file:
    json.dump({{"arguments": sys.argv[2:], "finished": first["finished"], "tasks": tasks}}, file)
def send(**record):
    print(json.dumps(record), flush=True)
def measured(*keys, **more):
    for key in keys:
        send(record="measurement", key=key, **dict({{"status": "ok"}}, **more))
def done(owed=0):
    send(record="done", owed=owed, planned=len(tasks))
def die(text, status):
    sys.stderr.write(text + "\\n")
    sys.exit(status)
{script}
"""


class Played:
    """A project with a board whose agent is a script, which knows how many `lives` it had before."""

    def __init__(self, folder: Path) -> None:
        self.root, self.python = folder, folder / "python"
        (folder / "lives").mkdir()

    def board(self, **settings: Any) -> Board:
        return Board.model_validate({"name": "far", "python": str(self.python), "processors": {"cpu": {}}, **settings})

    def profile(self, script: str, tasks: int = 3, **settings: Any) -> dict[str, Any]:
        text = PLAYED.format(python=sys.executable, folder=str(self.root / "lives"), script=script)
        self.python.write_text(text)
        self.python.chmod(0o755)
        plan = self.root / "plan.jsonl"
        plan.write_text("".join(json.dumps({"task": "memory", "network": f"n{n}"}) + "\n" for n in range(tasks)))
        return profile(self.root, self.board(**settings), plan)

    def lives(self) -> list[dict[str, Any]]:
        paths = sorted((self.root / "lives").iterdir(), key=lambda path: int(path.name[4:]))
        return [json.loads(path.read_text()) for path in paths]

    def measured(self) -> list[str]:
        lines = record_file(self.root, "far", "cpu", 1).read_text().splitlines()
        return [record["key"] for record in map(json.loads, lines) if record["record"] == "measurement"]

    def note(self) -> dict[str, Any]:
        note: dict[str, Any] = json.loads((self.root / "results/campaigns/far/interrupted.json").read_text())
        return note


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setattr(campaign, "WAITS_S", (0.01, 0.02))
    return Played(tmp_path)


def test_an_agent_is_given_what_is_finished_and_all_tasks_and_what_was_asked_for(played: Played) -> None:
    path = record_file(played.root, "far", "cpu", 1)
    Records(path).append(b'{"record": "measurement", "key": "z"}\n')
    Records(path).append(b'{"record": "measurement", "key": "a"}\n')
    done = played.profile("measured('b'); done()", budget_minutes=1.5, clocks="pinned")
    (life,) = played.lives()
    assert life["finished"] == ["a", "z"]
    assert life["tasks"] == [{"task": "memory", "network": f"n{number}"} for number in range(3)]
    arguments = " ".join(life["arguments"])
    assert arguments.startswith("--plan - --records - --processor cpu --threads 1 --budget-s 90.0 --commit ")
    assert arguments.endswith(f"{campaign.commit()} --pin-clocks")
    assert done["cpu-1-threads"]["owed"] == 0 and played.measured() == ["z", "a", "b"]


def test_each_processor_and_number_of_threads_is_a_campaign_of_its_own(played: Played) -> None:
    done = played.profile("done()", processors={"cpu": {"threads": [1, 4]}, "gpu": {}})
    assert list(done) == ["cpu-1-threads", "cpu-4-threads", "gpu-1-threads"]
    asked = [" ".join(life["arguments"]).split(" --budget-s")[0] for life in played.lives()]
    places = [("cpu", 1), ("cpu", 4), ("gpu", 1)]
    wanted = [f"--plan - --records - --processor {name} --threads {threads}" for name, threads in places]
    assert asked == wanted
    assert "--pin-clocks" not in played.lives()[0]["arguments"]


def test_an_agent_that_is_lost_is_started_again_and_measures_only_the_rest(played: Played, capsys) -> None:
    script = """
if lives < 5:
    measured("key%d" % lives)
    os.kill(os.getpid(), 9)
measured("key5"); done()
"""
    # Each life brings something: two waits are not too few for five deaths.
    played.profile(script)
    assert [life["finished"] for life in played.lives()] == [[f"key{n}" for n in range(count)] for count in range(6)]
    assert played.measured() == [f"key{number}" for number in range(6)]
    assert capsys.readouterr().err.count("board far: the agent ended with status -9: no message; trying again in") == 5
    assert not (played.root / "results/campaigns/far/interrupted.json").exists()


def test_lives_that_bring_nothing_are_counted_and_then_given_up(played: Played, capsys) -> None:
    with pytest.raises(BoardError) as error:
        played.profile("measured('key') if lives == 1 else None; die('out of luck', 1)")
    # Of four lives the second brought something; two more waits follow it.
    assert len(played.lives()) == 4
    assert str(error.value) == (
        "board far: given up after 2 tries that brought nothing: the agent ended with status 1: out of luck;"
        " 3 measurements remain; run the same command again to continue"
    )
    assert "trying again in 0.01 s" in capsys.readouterr().err
    assert played.note() == {
        "board": "far", "stack": "cpu-1-threads", "owed": 3, "planned": 3, "reason": str(error.value),
    }  # fmt: skip


def test_a_campaign_that_ends_well_takes_the_note_of_the_one_before_away(played: Played) -> None:
    with pytest.raises(BoardError):
        played.profile("die('no', 2)")
    assert played.note()["owed"] == 3
    played.profile("done()")
    assert not (played.root / "results/campaigns/far/interrupted.json").exists()


def test_a_budget_that_is_used_up_says_how_much_remains(played: Played) -> None:
    with pytest.raises(BoardError) as error:
        played.profile("measured('x'); done(owed=2); sys.exit(1)", budget_minutes=7.5)
    records = record_file(played.root, "far", "cpu", 1)
    assert len(played.lives()) == 1
    assert str(error.value) == (
        "board far: its budget of 7.5 minutes is used up, 2 of 3 measurements remain;"
        f" run the same command again to continue, or raise budget_minutes (records: {records})"
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("die('agent: no plan', 2)", "board far: the agent stopped with status 2: agent: no plan; what was measured"),
        ("die('sh: not found', 127)", "python: .* cannot be started on the board .status 127.: sh: not found; what"),
        ("die('denied', 126)", "python: .* cannot be started on the board .status 126.: denied; what"),
        ("die('Traceback (most recent', 1)", "cannot be started on the board .status 1.: Traceback"),
        ("die(\"can't open file 'x'\", 1)", "cannot be started on the board .status 1.: can't open file"),
        ("die('odd', 5)", "board far: the agent stopped with status 5: odd; what was measured is kept"),
    ],
)
def test_what_another_try_would_only_repeat_ends_a_campaign(played: Played, script: str, said: str) -> None:
    with pytest.raises(BoardError, match=said) as error:
        played.profile(script)
    assert len(played.lives()) == 1
    assert f"run the same command again to go on (records: {record_file(played.root, 'far', 'cpu', 1)})" in str(
        error.value
    )


def test_an_agent_that_falls_silent_is_ended_and_another_started(played: Played, monkeypatch, capsys) -> None:
    monkeypatch.setattr(campaign, "SILENT_SECONDS", 0.3)
    # Until its host hangs up.
    played.profile("measured('a')\nif not lives: sys.exit(sys.stdin.read().strip() and 9)\ndone()")
    assert len(played.lives()) == 2
    assert "nothing was heard of the agent for 0.3 s; trying again" in capsys.readouterr().err
    assert played.measured() == ["a"]


def test_an_agent_is_waited_for_until_it_has_said_its_first_line(played: Played, monkeypatch) -> None:
    """A queue may be long; signs of life are empty lines, and lines may come in pieces."""
    monkeypatch.setattr(campaign, "SILENT_SECONDS", 0.5)
    script = """
time.sleep(1)
for _ in range(4):
    print(flush=True); time.sleep(0.25)
text = json.dumps({"record": "measurement", "key": "a", "status": "ok"}) + "\\n"
for part in (text[:5], text[5:9], text[9:]):
    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.1)
done()
"""
    played.profile(script)
    assert len(played.lives()) == 1 and played.measured() == ["a"]


def test_a_host_says_that_it_is_there(played: Played, monkeypatch) -> None:
    monkeypatch.setattr(campaign, "RENEW_SECONDS", 0.1)
    signs = "signs = [sys.stdin.readline() for _ in range(3)]\nmeasured('a' if signs == ['\\n'] * 3 else 'b'); done()"
    played.profile(signs)
    assert played.measured() == ["a"]


def test_what_is_no_record_and_what_came_before_are_not_kept(played: Played, capsys) -> None:
    played.profile("print('Last login'); measured('a', 'b', 'a'); print('[1]'); done()")
    assert played.measured() == ["a", "b"]
    assert capsys.readouterr().err.count("cpu-1-threads.jsonl: not a record") == 2


def test_failures_are_told_by_their_reasons_the_most_frequent_first(played: Played, capsys) -> None:
    """Five reasons: one of three tasks, one of two, and three of one each; three are told."""
    tasks = [{"task": "memory", "network": f"n{number}"} for number in range(9)]
    reasons = ["few", "most", "more", "most", "more", "most", "x", "y"]
    script = "send(record='run', engine='caffe', stack='s')\n"
    for task, reason in zip(tasks, reasons, strict=False):
        script += f"measured({task_key(task, 's')!r}, status='failed', reason={reason!r})\n"
    script += f"measured({task_key(tasks[8], 's')!r}); measured('of another plan', status='failed', reason='most')\n"
    done = played.profile(script + "done()", tasks=9)["cpu-1-threads"]
    assert (done["failed"], done["usable"]) == (8, 1)
    assert list(done["reasons"].items())[:2] == [("most", 3), ("more", 2)]
    assert sorted(list(done["reasons"].items())[2:]) == [("few", 1), ("x", 1), ("y", 1)]
    said = capsys.readouterr().err
    records = record_file(played.root, "far", "cpu", 1)
    assert "cpu-1-threads: 8 of 9 measurements failed: most (3); more (2); " in said
    assert f"(1); and others; they are not tried again: when that is fixed, move {records} away" in said


def test_what_is_owed_is_counted_on_each_engines_last_stack(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.jsonl")
    caffe, runtime = {"task": "memory"}, {"task": "memory", "engine": "onnxruntime"}

    def append(**record: Any) -> None:
        records.append(json.dumps(record).encode() + b"\n")

    append(record="run", stack="old")
    append(record="run", engine="onnxruntime", stack="ort")
    append(record="measurement", key=task_key(caffe, "old"))
    append(record="measurement", key=task_key(runtime, "ort"), status="failed", reason="no")
    assert (records.owed([caffe, runtime, caffe]), records.failed([caffe, runtime])) == (0, {"no": 1})
    append(record="run", engine="caffe", stack="new")
    assert records.owed([caffe, runtime, caffe]) == 1
    again = Records(records.path)
    assert (again.finished, again.failures, again.stacks) == (records.finished, records.failures, records.stacks)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    records = Records(tmp_path / "r.jsonl")
    first, second = (b'{"record": "measurement", "key": "%s"}\n' % key for key in (b"a", b"b"))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    records.append(first)
    assert len(synced) == 1
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BoardError, match=r"r\.jsonl: No space left on device; what was measured is kept"):
        records.append(second)
    assert Records(records.path).finished >= {"a"}


def test_a_board_is_held_by_one_workflow_at_a_time(played: Played, capsys) -> None:
    other = played.board(name="other")
    with campaign.exclusively(played.board()):
        holder = Path(campaign.state_folder())
        (lock,) = holder.glob("*.lock")
        assert lock.read_text() == f"process {os.getpid()} (board far, in {Path.cwd()})"
    # All local boards are this machine, others are told apart by how they are reached.
    with campaign.exclusively(other):
        assert len(list(holder.glob("*.lock"))) == 1
    reached = played.board(transport="ssh", ssh={"host": "x"})
    with campaign.exclusively(reached):
        assert len(list(holder.glob("*.lock"))) == 2
    assert capsys.readouterr().err == ""


def test_what_measures_is_the_commit_or_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(campaign.commit()) == 40
    monkeypatch.setenv("PATH", "")
    assert campaign.commit() == f"sitecnn {campaign.__version__}"
