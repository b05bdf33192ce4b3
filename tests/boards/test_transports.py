"""What is started here so that something runs on a board, word by word, and what is made of refusals."""

import getpass
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sitecnn.boards import transports
from sitecnn.boards.config import Board
from sitecnn.boards.transports import slurm, ssh
from sitecnn.errors import BoardError


def board(**settings: Any) -> Board:
    return Board.model_validate({"name": "far", "processors": {"cpu": {}}, **settings})


SSH = {"transport": "ssh", "ssh": {"host": "me@tx1"}}
SLURM = {"transport": "slurm", "slurm": {"constraint": "tx1", "gres": "board:1", "time_minutes": 30}}


def options(words: list[str]) -> dict[str, str]:
    return dict(words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "-o")  # type: ignore[misc]


def test_a_local_command_is_itself() -> None:
    assert transports.command(board(), ["echo", "a b"]) == ["echo", "a b"]


def test_ssh_asks_nothing_checks_the_hosts_key_and_notices_a_cut_link_before_the_lease_of_20_s_is_over() -> None:
    words = transports.command(board(**SSH), ["echo", "a b", "$HOME"])
    assert words[:2] == ["ssh", "-T"] and words[-3:] == ["--", "me@tx1", "echo 'a b' '$HOME'"]
    given = options(words)
    assert (given["BatchMode"], given["StrictHostKeyChecking"]) == ("yes", "yes")
    assert int(given["ServerAliveInterval"]) * int(given["ServerAliveCountMax"]) < 20
    assert given["ControlMaster"] == "auto" and given["ControlPath"].endswith("/%C")
    assert "-p" not in words and "-F" not in words
    more = ssh.command(board(**SSH | {"ssh": {"host": "tx1", "port": 2222, "config_file": "/c"}}).ssh)  # type: ignore[arg-type]
    assert more[-6:] == ["-p", "2222", "-F", "/c", "--", "tx1"]


def test_srun_is_one_task_that_has_the_node_to_itself() -> None:
    words = transports.command(board(**SLURM), ["echo", "a b"])
    name = f"sitecnn-far-{socket.gethostname()}"
    assert words[0] == "srun" and words[-2:] == ["echo", "a b"]
    assert set(words[1:-2]) == {
        "--constraint=tx1", "--gres=board:1", "--time=30", "--nodes=1", "--ntasks=1", "--exclusive", "--unbuffered",
        "--kill-on-bad-exit=1", f"--job-name={name}", "--quiet",
    }  # fmt: skip
    assert "--time" not in " ".join(transports.command(board(**SLURM | {"slurm": {"constraint": "x"}}), []))


def test_what_is_released_are_this_hosts_and_users_own_jobs_on_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def cancel(command: list[str], **how: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, len(asked) - 1, b"", b"slurm is away\n")

    monkeypatch.setattr(slurm.subprocess, "run", cancel)
    transports.release(board())
    transports.release(board(**SLURM))
    user, name = getpass.getuser(), f"sitecnn-far-{socket.gethostname()}"
    assert asked == [["scancel", "--quiet", f"--name={name}", f"--user={user}"]]
    with pytest.raises(ConnectionError, match=r"^board far: slurm is away$"):
        transports.release(board(**SLURM))

    def hang(command: list[str], **how: Any) -> None:
        raise subprocess.TimeoutExpired(command, how["timeout"])

    monkeypatch.setattr(slurm.subprocess, "run", hang)
    with pytest.raises(ConnectionError, match="no answer from Slurm's controller for 60 s"):
        transports.release(board(**SLURM))


@pytest.mark.parametrize(
    ("settings", "said", "fix"),
    [
        (SSH, "x\nHost key verification failed.\n", "connect once by hand with ssh and compare the key"),
        (SSH, "me@tx1: Permission denied (publickey).", "give it a key that needs no password: ssh-copy-id"),
        (SSH, "ssh: Could not resolve hostname tx1", "check `ssh: host:` or give it an entry"),
        (SLURM, "srun: error: Invalid partition name", "see `sinfo` for the partitions there are"),
        (SLURM, "srun: error: Invalid generic resource (gres)", "see `sinfo -o '%N %G'`"),
        (SLURM, "error: Could not establish a configuration source", "Slurm is not configured here"),
    ],
)
def test_what_a_person_must_mend_is_said_with_the_boards_file(settings: dict[str, Any], said: str, fix: str) -> None:
    error = transports.refused(board(**settings), 255, said)
    last = said.strip().splitlines()[-1]
    assert isinstance(error, BoardError)
    assert str(error).startswith(f"config/boards/far.yaml: {settings['transport']}: {last}; {fix}")


@pytest.mark.parametrize("settings", [SSH, SLURM, {}])
def test_what_time_may_mend_is_tried_again(settings: dict[str, Any]) -> None:
    error = transports.refused(board(**settings), 255, "a\nConnection timed out\n")
    assert isinstance(error, ConnectionError) and str(error) == "board far: Connection timed out"
    silent = transports.refused(board(**settings), 7, " \n")
    assert str(silent) == "board far: status 7, and nothing on stderr"


def test_folders_of_a_board_come_first_on_its_own_paths(tmp_path: Path) -> None:
    far = board(**SSH, python_path=["/p", "/q"], library_path=["/l"], program_path=["/bin-of-caffe", "/more"])
    words = transports._with_variables(far)
    told = (
        'import os, sys; print(os.environ["PATH"], os.environ["PYTHONPATH"], os.environ["LD_LIBRARY_PATH"], sys.argv)'
    )
    ran = subprocess.run([*words, sys.executable, "-c", told, "a b"], capture_output=True, text=True, check=True)
    path, python_path, library_path, arguments = ran.stdout.split(" ", 3)
    assert path == f"/bin-of-caffe:/more:{os.environ['PATH']}"
    assert (python_path, library_path, arguments.strip()) == ("/p:/q", "/l", "['-c', 'a b']")
    assert transports._with_variables(board(**SSH)) == []
    assert transports._with_variables(board(**SSH, library_path=["/l"])) == ["env", "LD_LIBRARY_PATH=/l"]


def test_a_local_agent_sees_its_own_folders_and_nothing_that_leads_to_the_hosts_packages(monkeypatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "OTHER"):
        monkeypatch.setenv(name, "host")
    monkeypatch.setenv("PATH", "/usr/bin")
    bare = transports.environment(board())
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & bare.keys()
    assert (bare["LD_LIBRARY_PATH"], bare["OTHER"], bare["PATH"]) == ("host", "host", "/usr/bin")
    own = transports.environment(board(python_path=["/p", "/q"], library_path=["/l"], program_path=["/b"]))
    assert (own["PYTHONPATH"], own["LD_LIBRARY_PATH"], own["PATH"]) == ("/p:/q", "/l", "/b:/usr/bin")
    far = transports.environment(board(**SSH, python_path=["/p"], program_path=["/b"]))
    assert "PYTHONPATH" not in far and far["PATH"] == "/usr/bin"


def test_a_local_python_is_a_command_or_a_path_from_the_project() -> None:
    root = Path("/somewhere")
    assert transports.board_python(root, board(python="python3.8")) == "python3.8"
    assert transports.board_python(root, board(python="envs/x/python")) == "/somewhere/envs/x/python"
    assert transports.board_python(root, board(python="/usr/bin/python3")) == "/usr/bin/python3"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch):
    """What the board answers when an agent is copied there."""

    def by(status: int, stdout: str, stderr: str = "") -> list[str]:
        def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[bytes]:
            assert how["input"] == transports.agent_archive() and command[-1] == transports.agent_name()
            return subprocess.CompletedProcess(command, status, stdout.encode(), stderr.encode())

        monkeypatch.setattr(transports.subprocess, "run", run)
        return transports.agent_command(Path(), board(**SLURM), ["--probe"])

    return by


def test_an_agent_is_started_where_the_board_says_that_it_lies(answered) -> None:
    path = f"/home/me/.cache/{transports.agent_name()}"
    words = answered(0, f"Welcome!\n\n{path}\n")
    assert words[-3:] == ["python3", path, "--probe"]


@pytest.mark.parametrize(
    ("status", "stderr", "kind", "text"),
    [
        (
            127,
            "sh: python3: not found",
            BoardError,
            "board far: sh: python3: not found .config/boards/far.yaml: python",
        ),
        (126, "denied", BoardError, "board far: denied .config/boards/far.yaml: python: python3."),
        (1, "agent: the folder is another's", BoardError, "board far: the folder is another's .config"),
        (1, "srun: Invalid partition", BoardError, "see `sinfo` for the partitions"),
        (1, "srun: node failure", ConnectionError, "board far: srun: node failure"),
        (0, "", ConnectionError, "board far: status 0, and nothing on stderr"),
    ],
)
def test_a_board_that_takes_no_agent_says_why(answered, status: int, stderr: str, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        answered(status, "Last login: Monday\n", stderr)


def test_a_board_is_local_unless_it_says_where_it_is_and_has_defaults() -> None:
    plain = board()
    assert (plain.transport, plain.python, plain.clocks, plain.budget_minutes) == ("local", "python3", "as_found", 15)
    assert (plain.engines, plain.processors["cpu"].threads) == (["caffe"], [1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transport": "ssh"}, "transport needs the section `ssh:`"),
        ({"transport": "slurm"}, "transport needs the section `slurm:`"),
        ({"ssh": {"host": "x"}}, "transport is local: leave out the section `ssh:`"),
        ({**SSH, "slurm": {}}, "transport is ssh: leave out the section `slurm:`"),
        ({"processors": {}}, "processors"),
        ({"processors": {"cpu": {"threads": []}}}, "threads"),
        ({"processors": {"cpu": {"threads": [0]}}}, "greater than or equal to 1"),
        ({"budget_minutes": 0}, "greater than 0"),
        ({"engines": []}, "engines"),
        ({"engines": ["caffe", "caffe"]}, "'caffe' is there more than once"),
        ({"processors": {"cpu": {"threads": [1, 2, 1]}}}, "1 is there more than once"),
    ],
)
def test_a_board_that_contradicts_itself_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        board(**settings)
