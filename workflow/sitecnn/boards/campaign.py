"""A campaign: one board's agent run over its plan until nothing is owed; what it measured stands in record files."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sitecnn import __version__
from sitecnn.boards.config import Board
from sitecnn.errors import SiteCNNError

AGENT = Path(__file__).parent / "agent" / "agent.py"


def record_file(root: Path, board: str, processor: str, threads: int) -> Path:
    """results/records/{board}/{processor}-{threads}-threads.jsonl."""
    return root / "results" / "records" / board / f"{processor}-{threads}-threads.jsonl"


def profile(root: Path, board: Board, plan: Path) -> dict[str, Any]:
    """Measure all that `plan` still owes on every processor and thread count of a board.

    Returns the `done` record of each stack. SiteCNNError if the agent cannot start or leaves something owed: a
    campaign is complete only when its last record says so, whatever the exit status.
    """
    if not plan.is_file():
        raise SiteCNNError(f"{plan}: no such plan; `sitecnn plan NETWORK... -o {plan}` writes one")
    done = {}
    for processor, settings in board.processors.items():
        for threads in settings.threads:
            records = record_file(root, board.name, processor, threads)
            records.parent.mkdir(parents=True, exist_ok=True)
            _run_agent(root, board, plan, records, processor, threads)
            done[f"{processor}-{threads}-threads"] = _last_done(records, board)
    return done


def probe(root: Path, board: Board) -> dict[str, Any]:
    """What the agent finds on the board; SiteCNNError if it cannot be started there."""
    finished = _agent(root, board, ["--probe"], capture_output=True)
    if finished.returncode:
        reason = (finished.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise SiteCNNError(f"board {board.name}: the agent's probe failed: {reason}")
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def _run_agent(root: Path, board: Board, plan: Path, records: Path, processor: str, threads: int) -> None:
    arguments = ["--plan", str(plan), "--records", str(records), "--processor", processor]
    arguments += ["--threads", str(threads), "--budget-s", str(board.budget_minutes * 60), "--commit", commit()]
    status = _agent(root, board, arguments).returncode
    if status not in (0, 1):
        raise SiteCNNError(
            f"board {board.name}: the agent stopped with status {status}, its own lines above say why;"
            f" what was measured is kept, run the same command again to go on (records: {records})"
        )


def commit() -> str:
    """What measures: the checkout's git commit, or the version of an installed SiteCNN."""
    command = ["git", "-C", str(AGENT.parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return f"sitecnn {__version__}"
    return found.stdout.strip()


def _agent(root: Path, board: Board, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [board_python(root, board), str(AGENT), *arguments]
    try:
        return subprocess.run(command, check=False, env=_clean_environment(), **options)
    except OSError as error:
        raise SiteCNNError(
            f"config/boards/{board.name}.yaml: python: {command[0]} cannot be started: {error.strerror};"
            " ./run report builds the local one"
        ) from error


def board_python(root: Path, board: Board) -> str:
    """The board's Python: a bare command is looked up on its PATH, a path is relative to the project."""
    return str((root / board.python).absolute()) if "/" in board.python else board.python


def _clean_environment() -> dict[str, str]:
    """This process's environment without what would lead the board's Python to the host's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _last_done(records: Path, board: Board) -> dict[str, Any]:
    last = None
    for record in _read(records):
        last = record if record["record"] == "done" else None
    if last is None or last["owed"]:
        owed = last["owed"] if last else "an unknown number of"
        raise SiteCNNError(
            f"board {board.name}: the campaign is interrupted, {owed} measurements are still owed;"
            f" run the same command again to go on (records: {records})"
        )
    return last


def _read(records: Path) -> Iterator[dict[str, Any]]:
    if records.exists():
        with records.open("rb") as lines:
            yield from map(json.loads, lines)
