"""What another user of a board can put in an agent's way: folders, links, journals, files and the lock."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sitecnn.boards.agent.caffe_net import refuse_foreign
from sitecnn.boards.agent.caffe_tool import CaffeBinary
from sitecnn.boards.agent.errors import Refused
from sitecnn.boards.agent.hosts import RecordFile
from sitecnn.boards.agent.lock import take_file
from sitecnn.boards.agent.private import open_own, private_folder
from sitecnn.boards.transports import ssh
from tests.boards.agents import AGENT, CHANGED, gemm_task, is_held, lines, lock_name

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""The system's: folders of other ones may be closed to other users."""

USER = "sitecnn-other"


def open_folder(path):
    path.mkdir()
    path.chmod(0o777)


def link_to_own(path):
    own = path.with_name("own")
    own.mkdir(mode=0o700)
    path.symlink_to(own)


PLANTED = {
    "has mode 0777": open_folder,
    "has mode 0750": lambda path: path.mkdir(mode=0o750),
    "is a link or a file": link_to_own,
    "is a link or a file, ": lambda path: path.symlink_to("/nowhere"),
    "a link or a file, not": lambda path: path.write_text(""),
}


@pytest.mark.parametrize("reason", PLANTED)
def test_a_state_folder_that_was_prepared_is_refused(tmp_path, reason):
    PLANTED[reason](tmp_path / "agent")
    with pytest.raises(Refused, match=reason):
        private_folder(str(tmp_path / "agent"))


@pytest.mark.parametrize("reason", [None, *PLANTED])
@pytest.mark.parametrize("base", ["XDG_RUNTIME_DIR", "XDG_CACHE_HOME"])
def test_sockets_of_ssh_lie_in_a_folder_that_nobody_prepared(monkeypatch, base, reason):
    with tempfile.TemporaryDirectory() as short:
        wanted = Path(short) / {"XDG_RUNTIME_DIR": "sitecnn-ssh", "XDG_CACHE_HOME": "sitecnn/ssh"}[base]
        if reason:
            wanted.parent.mkdir(exist_ok=True)
            PLANTED[reason](wanted)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", "/" + 60 * "deep/")
        monkeypatch.setenv(base, short)
        folder = ssh.control_folder.__wrapped__()
        assert (folder == wanted) == (reason is None)
        status = folder.lstat()
        assert stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700 and status.st_uid == os.getuid()
        if reason:
            folder.rmdir()


def test_a_state_folder_is_made_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        made = private_folder(str(tmp_path / "cache" / "sitecnn" / "agent"))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (Path(made), *Path(made).parents[:2])] == [0o700] * 3
    assert private_folder(made) == made


def test_a_state_folder_below_one_that_all_may_write_in_is_refused(tmp_path):
    middle = tmp_path / "middle"
    middle.mkdir()
    private_folder(str(middle / "agent"))
    middle.chmod(0o777)
    with pytest.raises(Refused, match="can write in"):
        private_folder(str(middle / "agent"))
    middle.chmod(0o1777)  # sticky, as /tmp is: nobody else can move it away
    private_folder(str(middle / "agent"))


@pytest.mark.parametrize("kind", ["link", "second name", "pipe"])
def test_a_file_that_was_prepared_is_neither_read_nor_written(tmp_path, kind):
    victim, planted = tmp_path / "victim", tmp_path / "planted"
    victim.write_text("whole, without a last newline")
    make = {"link": planted.symlink_to, "second name": planted.hardlink_to, "pipe": lambda _: os.mkfifo(planted)}
    make[kind](victim)
    (tmp_path / "plan").write_text("")
    for use in (
        lambda: open_own(str(planted), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        lambda: RecordFile(str(tmp_path / "plan"), str(planted)),
    ):
        with pytest.raises(Refused, match="planted is"):
            use()
    assert victim.read_text() == "whole, without a last newline"


def test_without_abstract_sockets_the_lock_is_a_file_of_the_user(tmp_path):
    first = take_file(str(tmp_path))
    assert take_file(str(tmp_path)) is None
    first.close()
    take_file(str(tmp_path)).close()


@pytest.mark.parametrize(
    "layer",
    [
        'name: "x" type: "Python"',
        "type : 'HDF5Output'",
        'type: "Py" "thon"',
        'type: "\\x50ython"',
        'type: # why\n "Python"',
        'name: "a\\"" type: "ImageData"',
    ],
)
def test_a_definition_that_would_run_code_or_open_files_is_not_run(layer):
    refuse_foreign('name: "net" layer { name: "a#b" type: "ReLU" }')
    with pytest.raises(Refused, match="not run"):
        refuse_foreign("layer { " + layer + " }")


def test_an_empty_word_of_the_path_is_not_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "caffe").write_text("#!/bin/sh\n")
    (tmp_path / "caffe").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ":.")
    with pytest.raises(Refused, match="no `caffe` tool"):
        CaffeBinary(False)


@pytest.fixture(scope="module")
def other():
    """A real user of this machine, made for these tests."""
    if os.getuid() != 0 or not shutil.which("useradd"):
        pytest.skip("another user can only be made by root, with useradd")
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", USER], check=False, capture_output=True)
    yield pwd.getpwnam(USER)
    subprocess.run(["userdel", USER], check=True, capture_output=True)


@pytest.fixture
def shared():
    """A folder as /tmp is: all may write in it, and a copy of the agent that all may read."""
    with tempfile.TemporaryDirectory(prefix="sitecnn-shared-") as folder:
        Path(folder).chmod(0o1777)
        shutil.copy(AGENT, folder)
        yield Path(folder)


def start(shared, cache, *arguments, user=None, changes=""):
    """An agent in the shared folder, as root or another user."""
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(shared), "XDG_CACHE_HOME": str(cache)}
    program = [str(shared / AGENT.name)]
    if changes:
        program = ["-c", CHANGED.format(archive=str(shared / AGENT.name), changes=changes)]
    return subprocess.Popen(
        [PYTHON, *program, "--lock", lock_name(shared), *arguments],
        env=environment,
        cwd=shared,
        user=user,
        group=user and pwd.getpwnam(user).pw_gid,
        extra_groups=[] if user else None,
        stderr=subprocess.PIPE,
        text=True,
    )


def files(folder, count):
    """Arguments for a plan of some multiplications in a folder of one user's own."""
    (folder / "plan.jsonl").write_text(lines(gemm_task(m, 256, 256) for m in range(1, count + 1)))
    return ["--plan", str(folder / "plan.jsonl"), "--records", str(folder / "records.jsonl")]


def as_other(other, shared, code):
    """Run shell code as the other user in the shared folder."""
    subprocess.run(["sh", "-c", code], cwd=shared, user=other.pw_uid, group=other.pw_gid, extra_groups=[], check=True)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("plant", "status"),
    [
        # As agents up to protocol 3 kept them: nobody looks there any more.
        ("""echo '[["%s", "gone"]]' > sitecnn-agent.lock.clocks; ln -s %s sitecnn-agent.lock""", 0),
        ("mkdir -p cache/sitecnn/agent && chmod 700 cache/sitecnn/agent", 2),
        ("mkdir -p cache/sitecnn && ln -s %s cache/sitecnn/agent", 2),
        ("mkdir -p cache && chmod 1777 cache", 2),
        ("touch cache", 2),  # no folder can be made in the file
    ],
)
def test_what_another_user_prepared_turns_no_agent_against_root(other, shared, plant, status):
    own = Path(tempfile.mkdtemp())
    victim = own / "victim"
    victim.write_text("whole")
    names = plant.count("%s") * (str(victim),)
    as_other(other, shared, plant % names)
    agent_process = start(shared, shared / "cache", *files(own, 2))
    _, errors = agent_process.communicate(timeout=60)
    assert agent_process.returncode == status, errors
    assert victim.read_text() == "whole"
    if status:
        assert len([line for line in errors.splitlines() if "no Caffe" not in line]) == 1 and "Traceback" not in errors
    shutil.rmtree(own)


@pytest.mark.cluster
def test_agents_of_two_users_measure_one_after_the_other(other, shared):
    homes = {}
    for user in (None, USER):
        homes[user] = shared / f"of-{user or 'root'}"
        homes[user].mkdir(mode=0o700)
        if user:
            shutil.chown(homes[user], USER, other.pw_gid)
    for first, second in ((None, USER), (USER, None)):
        name = first or "root"
        holder = start(shared, homes[first], *files(homes[first], 400), user=first)
        while not is_held(lock_name(shared)):
            assert holder.poll() is None, holder.stderr.read()
        more = files(homes[second], 2)
        waiting = start(shared, homes[second], *more, user=second, changes="lock.LOCK_SECONDS = 1")
        _, errors = waiting.communicate(timeout=60)
        assert waiting.returncode == 2, errors
        assert f"the agent with pid {holder.pid} of user {name} has measured" in errors and "Traceback" not in errors
        holder.kill()
        holder.communicate()
        after = start(shared, homes[second], *more, user=second)
        _, errors = after.communicate(timeout=60)
        assert after.returncode == 0, errors
        for path in homes[second].glob("*.jsonl"):
            path.unlink()
