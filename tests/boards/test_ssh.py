"""Boards by real OpenSSH: whole campaigns, cut ones, and what is refused in one line."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from sitecnn.boards import campaign
from sitecnn.boards.config import Board, load_board_config
from sitecnn.boards.transports import ssh
from sitecnn.cli import main
from sitecnn.errors import SiteCNNError
from tests.boards.agents import gemm_task, lines, measurements
from tests.boards.sshd import SSHD, descendants, make_sshd

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(SSHD is None, reason="no sshd: apt-get install openssh-server"),
]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A started sshd; ssh's shared connections live in a folder of this test."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = make_sshd(folder)
    server.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(campaign, "WAITS_S", (0.2, 0.4, 0.8, 1.6))
    ssh.control_folder.cache_clear()
    sockets = Path("/tmp") / f"sitecnn-test-{os.getpid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
    sockets.mkdir(exist_ok=True)
    yield server
    for socket in sockets.glob("*/*"):
        subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "board"], capture_output=True, check=False)
    server.kill()
    ssh.control_folder.cache_clear()


def board(server, **changes):
    settings = {"name": "far", "transport": "ssh", "ssh": {"host": "board", "config_file": str(server.config_file)}}
    return Board.model_validate({**settings, "python": sys.executable, "processors": {"cpu": {}}, **changes})


def plan(root, count):
    path = root / "plan.jsonl"
    path.write_text(lines([gemm_task(m, 32, 32) for m in range(1, count + 1)]))
    return path


def records_of(root):
    records = root / "results/records/far/cpu-1-threads.jsonl"
    return [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []


def assert_whole(root, count):
    measured = measurements(records_of(root))
    assert sorted(record["kernel"]["m"] for record in measured) == list(range(1, count + 1))
    assert len({record["key"] for record in measured}) == count
    assert {record["status"] for record in measured} <= {"ok", "unstable"}


def test_a_campaign_over_ssh(server, tmp_path):
    done = campaign.profile(tmp_path, board(server), plan(tmp_path, 20))
    assert done["cpu-1-threads"]["owed"] == 0
    assert_whole(tmp_path, 20)
    copies = list((server.folder / "home/cache/sitecnn/agent").iterdir())
    assert [copy.suffix for copy in copies] == [".pyz"]
    # A finished campaign is asked for again: nothing is measured again.
    again = campaign.profile(tmp_path, board(server), plan(tmp_path, 20))
    assert again["cpu-1-threads"]["planned"] == 20
    assert_whole(tmp_path, 20)


@contextmanager
def at_some_progress(root, count, action):
    """`action` runs in a thread as soon as `count` measurements are kept; it has ended when this ends."""
    over = threading.Event()

    def wait():
        while len(measurements(kept_so_far(root))) < count:
            if over.wait(0.02):
                return
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kept_so_far(root):
    with suppress(ValueError, OSError):
        return records_of(root)
    return []


def test_a_board_that_loses_power_in_mid_campaign_goes_on_where_it_was(server, tmp_path):
    def fail():
        server.kill()
        time.sleep(0.5)
        server.start()

    with at_some_progress(tmp_path, 20, fail):
        campaign.profile(tmp_path, board(server), plan(tmp_path, 60))
    assert_whole(tmp_path, 60)
    assert sum(record["record"] == "run" for record in records_of(tmp_path)) == 2


def test_a_board_that_stays_away_is_an_interrupted_campaign_that_says_what_is_owed(server, tmp_path):
    gives_up = pytest.raises(SiteCNNError, match="measurements remain; run the same command again")
    with at_some_progress(tmp_path, 20, server.kill), gives_up as caught:
        campaign.profile(tmp_path, board(server), plan(tmp_path, 60))
    assert "\n" not in str(caught.value)
    note = json.loads((tmp_path / "results/campaigns/far/interrupted.json").read_text())
    assert note["owed"] == 60 - len(measurements(records_of(tmp_path))) and 0 < note["owed"] <= 40
    server.start()
    campaign.profile(tmp_path, board(server), plan(tmp_path, 60))
    assert_whole(tmp_path, 60)
    assert not (tmp_path / "results/campaigns/far/interrupted.json").exists()


def test_a_killed_host_leaves_no_agent_behind_and_its_records_are_gone_on_with(server, tmp_path):
    config = tmp_path / "config/boards"
    config.mkdir(parents=True)
    text = yaml.safe_dump(json.loads(board(server).model_dump_json(exclude_none=True)))
    (config / "far.yaml").write_text(text)
    command = [sys.executable, "-m", "sitecnn", "--root", str(tmp_path), "profile", "--board", "far"]
    host = subprocess.Popen([*command, "--plan", str(plan(tmp_path, 80))], stderr=subprocess.DEVNULL)
    with at_some_progress(tmp_path, 20, lambda: host.send_signal(signal.SIGKILL)):
        host.wait()
    deadline = time.time() + 30
    while agents_of(server) and time.time() < deadline:
        time.sleep(0.2)
    assert agents_of(server) == []
    campaign.profile(tmp_path, load_board_config(tmp_path, "far"), plan(tmp_path, 80))
    assert_whole(tmp_path, 80)


def agents_of(server):
    agents = []
    for pid in descendants(server.process.pid):
        with suppress(OSError):
            agents += [pid] if b"agent-" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return agents


def test_a_runtime_folder_too_deep_for_a_socket_is_passed_over(server, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    campaign.profile(tmp_path, board(server), plan(tmp_path, 2))
    assert_whole(tmp_path, 2)


def test_two_campaigns_on_one_board_take_turns(server, tmp_path, capfd):
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    runs = [threading.Thread(target=campaign.profile, args=(root, board(server), plan(root, 30))) for root in roots]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    spans = []
    for root in roots:
        assert_whole(root, 30)
        records = records_of(root)
        spans.append((records[0]["conditions"]["time"], records[-1]["conditions"]["time"]))
    (first, second) = sorted(spans)
    assert first[1] <= second[0]
    assert "which measures on it" in capfd.readouterr().err


@pytest.fixture
def root(server, tmp_path):
    (tmp_path / "config/boards").mkdir(parents=True)
    return tmp_path


def refusal(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    return said[-1]


def test_a_new_board_is_one_command(root, server, capsys):
    add = ["--root", root, "board", "add", "far", "--ssh", "board", "--ssh-config", server.config_file]
    assert main([str(word) for word in [*add, "--python", sys.executable]]) == 0
    assert json.loads(capsys.readouterr().out)["python"].startswith("3.")
    assert load_board_config(root, "far").ssh.host == "board"
    assert "is there already" in refusal(capsys, *add)


def test_the_doctor_has_an_answer_to_every_question(root, server, capsys):
    (root / "config/boards/far.yaml").write_text(
        yaml.safe_dump(json.loads(board(server).model_dump_json(exclude_none=True)))
    )
    main(["--root", str(root), "board", "doctor", "far"])
    said = capsys.readouterr().out
    for question in (
        "connection, host key",
        "Python",
        "Caffe",
        "BLAS",
        "CUDA",
        "ONNX Runtime",
        "clocks",
        "load",
        "power",
        "disk",
        "trial",
    ):
        assert f"  {question}: " in said
    assert "of 40 kernels measured steadily" in said


def test_a_changed_host_key_is_refused(root, server, capsys):
    server.kill()
    server.new_host_key()
    server.start()
    add = ["--root", root, "board", "add", "far", "--ssh", "board", "--ssh-config", server.config_file]
    said = refusal(capsys, *add)
    assert "Host key verification failed" in said and not list((root / "config/boards").iterdir())


def test_what_cannot_be_reached_is_one_line(root, server, capsys):
    add = ["--root", root, "board", "add", "far"]
    there = ["--ssh-config", server.config_file]
    assert "python: /no/python)" in refusal(capsys, *add, "--ssh", "board", *there, "--python", "/no/python")
    server.kill()
    assert "Connection refused" in refusal(capsys, *add, "--ssh", "board", *there)
    assert "resolve" in refusal(capsys, *add, "--ssh", "nowhere.invalid", *there)
    assert not list((root / "config/boards").iterdir())


@pytest.mark.parametrize("name", ["a/b", "../a", "a;b", "a b", "$(a)", "-a", ""])
def test_a_name_that_is_no_file_name_is_refused(root, capsys, name):
    # A name that looks like an option comes after `--`, as everywhere.
    assert main(["--root", str(root), "board", "add", "--ssh", "board", "--", name]) == 2
    assert "name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch pwned", "a b", "a;touch pwned", "$(touch pwned)", "`id`", "a|id", "nobody@a&id", ""]
)
def test_a_host_that_could_be_more_than_a_host_is_refused(root, capsys, host):
    assert main(["--root", str(root), "board", "add", "far", f"--ssh={host}"]) in (0, 2)
    assert not list(root.rglob("pwned")) and not Path("pwned").exists()
    assert not (root / "config/boards/far.yaml").exists() or host == ""


def test_hostile_values_reach_the_board_as_text(server, tmp_path):
    hostile = "/tmp/$(touch pwned)'; touch pwned; \"`touch pwned`"
    with pytest.raises(SiteCNNError):
        campaign.profile(tmp_path, board(server, python=hostile), plan(tmp_path, 1))
    campaign.profile(tmp_path, board(server, library_path=[hostile], program_path=[hostile]), plan(tmp_path, 2))
    assert_whole(tmp_path, 2)
    assert not list(server.folder.rglob("pwned")) and not Path("pwned").exists()


def test_an_unknown_transport_is_one_line(root, capsys):
    (root / "config/boards/odd.yaml").write_text("name: odd\ntransport: pigeon\nprocessors: {cpu: {}}\n")
    said = refusal(capsys, "--root", root, "board", "probe", "odd")
    assert "config/boards/odd.yaml: transport" in said and "pigeon" in said
