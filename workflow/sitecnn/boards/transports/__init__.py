"""How a command gets to a board: each transport makes of a command there a command here."""

import hashlib
import os
import shlex
import subprocess
from pathlib import Path

from sitecnn.boards.config import Board
from sitecnn.boards.transports import slurm, ssh
from sitecnn.errors import SiteCNNError

AGENT = Path(__file__).parents[1] / "agent" / "agent.py"

# One round trip: $1 is the agent's name. A file that is there is whole, because it got its name last.
INSTALL = (
    'folder="${XDG_CACHE_HOME:-$HOME/.cache}/sitecnn" && mkdir -p "$folder" && cd "$folder" && '
    '{ [ -s "$1" ] || { cat > "$1.$$" && mv "$1.$$" "$1"; }; } && printf "\\n%s\\n" "$PWD/$1"'
)


def command(board: Board, arguments: list[str]) -> list[str]:
    """What to start here so that `arguments` run on the board, stdin and stdout joined to theirs."""
    if board.ssh:
        return [*ssh.command(board.ssh), shlex.join(arguments)]
    if board.slurm:
        return [*slurm.command(board.slurm, board.name), *arguments]
    return arguments


def agent_command(root: Path, board: Board, arguments: list[str]) -> list[str]:
    """What to start here so that the agent runs on the board; it is copied there first, if it is not yet.

    Raises SiteCNNError if the board cannot be reached, ConnectionError if that may be different a moment later.
    """
    if board.transport == "local":
        return [board_python(root, board), str(AGENT), *arguments]
    variables = {"PYTHONPATH": board.python_path, "LD_LIBRARY_PATH": board.library_path}
    given = [f"{name}={':'.join(folders)}" for name, folders in variables.items() if folders]
    place = install(board)
    if board.program_path:
        # The board's own PATH is known only there; sh joins the two.
        joined = 'PATH="$1:$PATH"; export PATH; shift; exec "$@"'
        wrapped = ["sh", "-c", joined, "sh", ":".join(board.program_path)]
    else:
        wrapped = []
    return command(board, [*wrapped, *(["env", *given] if given else []), board.python, place, *arguments])


def release(board: Board) -> None:
    """End what a killed workflow of this host left behind; only for whoever holds the board.

    Raises SiteCNNError or ConnectionError if that cannot be done: the board would be waited for in vain.
    """
    if board.slurm:
        status, said = slurm.release(board.name)
        if status:
            raise refused(board, status, said)


def install(board: Board) -> str:
    """The agent's path on the board, copied there under its digest unless it is there already."""
    content = AGENT.read_bytes()
    name = f"agent-{hashlib.sha256(content).hexdigest()[:16]}.py"
    finished = subprocess.run(
        command(board, ["sh", "-c", INSTALL, "sh", name]), input=content, capture_output=True, check=False
    )
    found = finished.stdout.decode(errors="replace").strip().splitlines()
    if finished.returncode or not found or not found[-1].endswith(name):
        raise refused(board, finished.returncode, finished.stderr.decode(errors="replace"))
    return found[-1]


def refused(board: Board, status: int, said: str) -> Exception:
    """SiteCNNError for what a person must mend, ConnectionError for what time may."""
    text = (said.strip().splitlines() or [f"status {status}, and nothing on stderr"])[-1].strip()
    mends = {"ssh": ssh.mend, "slurm": slurm.mend}
    mend = mends[board.transport](said) if board.transport in mends else ""
    if mend:
        return SiteCNNError(f"config/boards/{board.name}.yaml: {board.transport}: {text}; {mend}")
    return ConnectionError(f"board {board.name}: {text}")


def board_python(root: Path, board: Board) -> str:
    """The Python of a local board: a bare command is looked up on PATH, a path is relative to the project."""
    return str((root / board.python).absolute()) if "/" in board.python else board.python


def environment(board: Board) -> dict[str, str]:
    """The environment to start `agent_command` in; a local agent sees nothing that leads to the host's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    if board.transport != "local":
        return kept
    for name, folders in (("PYTHONPATH", board.python_path), ("LD_LIBRARY_PATH", board.library_path)):
        kept |= {name: ":".join(folders)} if folders else {}
    return kept | {"PATH": ":".join([*board.program_path, kept.get("PATH", os.defpath)])}
