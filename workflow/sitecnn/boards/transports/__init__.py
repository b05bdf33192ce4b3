"""How a command gets to a board: each transport makes of a command there a command here."""

import os
import shlex
import subprocess
from pathlib import Path

from sitecnn.boards.agent import install as copying
from sitecnn.boards.agent.errors import Refused
from sitecnn.boards.archive import agent_archive, agent_name
from sitecnn.boards.config import Board
from sitecnn.boards.transports import slurm, ssh
from sitecnn.errors import BoardError

# One round trip: the archive comes by stdin, argument 1 is its name. `-c` puts the current folder, whosever it is, on
# the path: nothing may be imported from there.
INSTALL = """import sys
sys.path[:] = [place for place in sys.path if place]
import tempfile
content = getattr(sys.stdin, "buffer", sys.stdin).read()
with tempfile.NamedTemporaryFile(suffix=".pyz") as archive:
    archive.write(content)
    archive.flush()
    sys.path.insert(0, archive.name)
    from sitecnn_agent import errors, install
    try:
        print("\\n" + install.install(sys.argv[1], content))
    except errors.Refused as reason:
        sys.exit("agent: %s" % reason)
"""


def command(board: Board, arguments: list[str]) -> list[str]:
    """What to start here so that `arguments` run on the board, stdin and stdout joined to theirs."""
    if board.ssh:
        return [*ssh.command(board.ssh), shlex.join(arguments)]
    if board.slurm:
        return [*slurm.command(board.slurm, board.name), *arguments]
    return arguments


def agent_command(root: Path, board: Board, arguments: list[str]) -> list[str]:
    """What to start here so that the agent runs on the board; it is copied there first, if it is not yet.

    Raises BoardError if the board cannot be reached, ConnectionError if that may be different a moment later.
    """
    if board.transport == "local":
        return [board_python(root, board), install_here(), *arguments]
    python = [*_with_variables(board), board.python]
    return command(board, [*python, install(board, python), *arguments])


def _with_variables(board: Board) -> list[str]:
    """What to write before a command so that the board's own environment gets the folders of its description."""
    variables = {"PYTHONPATH": board.python_path, "LD_LIBRARY_PATH": board.library_path}
    given = [f"{name}={':'.join(folders)}" for name, folders in variables.items() if folders]
    words = ["env", *given] if given else []
    if not board.program_path:
        return words
    # The board's own PATH is known only there; sh joins the two.
    joined = 'PATH="$1:$PATH"; export PATH; shift; exec "$@"'
    return ["sh", "-c", joined, "sh", ":".join(board.program_path), *words]


def release(board: Board) -> None:
    """End what a killed workflow of this host left behind; only for whoever holds the board.

    Raises BoardError or ConnectionError if that cannot be done: the board would be waited for in vain.
    """
    if board.slurm:
        status, said = slurm.release(board.name)
        if status:
            raise refused(board, status, said)


def install_here() -> str:
    """The agent's path on this machine; BoardError if this user has no folder of its own for it."""
    try:
        path: str = copying.install(agent_name(), agent_archive())  # type: ignore[no-untyped-call]  # Python 2's
    except Refused as error:
        raise BoardError(str(error)) from error
    return path


def install(board: Board, python: list[str]) -> str:
    """The agent's path on the board, copied there under its digest unless it is there already."""
    start = command(board, [*python, "-c", INSTALL, agent_name()])
    finished = subprocess.run(start, input=agent_archive(), capture_output=True, check=False)
    printed = finished.stdout.decode(errors="replace").strip().splitlines()
    if finished.returncode or not printed or not printed[-1].endswith(agent_name()):
        said = finished.stderr.decode(errors="replace")
        last = (said.strip().splitlines() or [""])[-1]
        if finished.returncode in (126, 127) or last.startswith("agent: "):
            where = f"config/boards/{board.name}.yaml: python: {board.python}"
            raise BoardError(f"board {board.name}: {last.removeprefix('agent: ')} ({where})")
        raise refused(board, finished.returncode, said)
    return printed[-1]


def refused(board: Board, status: int, said: str) -> Exception:
    """BoardError for what a person must fix, ConnectionError for what time may."""
    text = (said.strip().splitlines() or [f"status {status}, and nothing on stderr"])[-1].strip()
    fixes = {"ssh": ssh.fix, "slurm": slurm.fix}
    fix = fixes[board.transport](said) if board.transport in fixes else ""
    if fix:
        return BoardError(f"config/boards/{board.name}.yaml: {board.transport}: {text}; {fix}")
    return ConnectionError(f"board {board.name}: {text}")


def board_python(root: Path, board: Board) -> str:
    """The Python of a local board: a bare command is looked up on PATH, a path is relative to the project."""
    return str((root / board.python).absolute()) if "/" in board.python else board.python


def environment(board: Board) -> dict[str, str]:
    """The environment to start `agent_command` in; a local agent sees nothing that leads to the host's packages."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    if board.transport != "local":
        return variables
    for name, folders in (("PYTHONPATH", board.python_path), ("LD_LIBRARY_PATH", board.library_path)):
        variables |= {name: ":".join(folders)} if folders else {}
    return variables | {"PATH": ":".join([*board.program_path, variables.get("PATH", os.defpath)])}
