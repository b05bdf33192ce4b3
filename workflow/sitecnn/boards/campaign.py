"""A campaign: run a board's agent over a plan until all is measured, and keep its records in files."""

import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from sitecnn import __version__
from sitecnn.boards import transports
from sitecnn.boards.agent.errors import Refused
from sitecnn.boards.agent.keys import engine_of, task_key
from sitecnn.boards.agent.private import state_folder
from sitecnn.boards.config import Board
from sitecnn.errors import BoardError
from sitecnn.files import write_text
from sitecnn.workload.engines import CAFFE

RENEW_SECONDS = 4
"""The host sends a newline this often; the agent stops after 20 s without one."""

SILENT_SECONDS = 30
"""A running agent sends an empty line every 5 s. srun does not report a node that died."""

WAITS_S = (1, 2, 4, 8, 15, 30, 60)
"""Before each further try that brings nothing new; one that does begins the list anew."""

CANNOT_START = 2
"""The agent's status where it cannot begin at all."""

SHOWN_REASONS = 3
"""A line names so many reasons of failures; done.json has all."""


@dataclass
class Records:
    """A record file on the host: whole lines only, each measurement once."""

    path: Path
    finished: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, str] = field(default_factory=dict)
    """The stack of each engine that was last seen."""

    def __post_init__(self) -> None:
        """Cut off a torn last line and learn what is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open("r+b") as lines:
            good = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                good += len(line)
                self._learn(line)
            lines.truncate(good)

    def append(self, line: bytes) -> dict[str, Any] | None:
        """Keep a record, on the disk before this returns; None for a line that is none or is there already."""
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "record" not in record:
            print(f"{self.path.name}: not a record: {line[:200]!r}", file=sys.stderr)
            return None
        if record.get("record") == "measurement" and record.get("key") in self.finished:
            return None
        try:
            with self.path.open("ab") as out:
                out.write(line)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            fix = "what was measured is kept; fix that and run the same command again"
            raise BoardError(f"{self.path}: {error.strerror}; {fix}") from error
        self._learn(line)
        return record

    def _learn(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict) and record.get("record") == "measurement":
            self.finished.add(str(record.get("key")))
            if record.get("status") == "failed":
                self.failures[str(record.get("key"))] = str(record.get("reason"))
        elif isinstance(record, dict) and record.get("record") == "run":
            self.stacks[str(record.get("engine", "caffe"))] = str(record.get("stack"))

    def failed(self, tasks: list[dict[str, Any]]) -> dict[str, int]:
        """How many of the tasks failed, by the reason, the most frequent first."""
        keys = {task_key(task, self.stacks.get(engine_of(task), "")) for task in tasks}  # type: ignore[no-untyped-call]
        return dict(Counter(self.failures[key] for key in keys & self.failures.keys()).most_common())

    def owed(self, tasks: list[dict[str, Any]]) -> int:
        """How many of the tasks have no record yet on the stack that was last seen."""
        keys = {task_key(task, self.stacks.get(engine_of(task), "")) for task in tasks}  # type: ignore[no-untyped-call]
        return len(keys - self.finished)


def record_file(root: Path, board: str, processor: str, threads: int) -> Path:
    """results/records/{board}/{processor}-{threads}-threads.jsonl."""
    return root / "results" / "records" / board / f"{processor}-{threads}-threads.jsonl"


def profile(root: Path, board: Board, plan: Path) -> dict[str, Any]:
    """Measure all that `plan` still owes on every processor and thread count of a board.

    Returns the `done` record of each stack, with how many tasks `failed`, how many are `usable`, and the `reasons` of
    failures with their counts. BoardError if the agent cannot start or leaves something owed; then
    results/campaigns/{board}/interrupted.json says what. A campaign is complete only when its last record says so,
    whatever the exit status.
    """
    if not plan.is_file():
        raise BoardError(f"{plan}: no such plan; `sitecnn plan NETWORK... -o {plan}` writes one")
    tasks = [json.loads(line) for line in plan.read_text(encoding="utf-8").splitlines() if line]
    note = root / "results" / "campaigns" / board.name / "interrupted.json"
    done = {}
    with exclusively(board):
        for processor, settings in board.processors.items():
            # ONNX Runtime is measured on the CPU alone.
            mine = [task for task in tasks if processor == "cpu" or engine_of(task) == CAFFE]  # type: ignore[no-untyped-call]
            for threads in settings.threads:
                stack = f"{processor}-{threads}-threads"
                records = Records(record_file(root, board.name, processor, threads))
                try:
                    done[stack] = _until_done(root, board, mine, records, processor, threads)
                    done[stack] |= _with_failures(stack, mine, records)
                except (BoardError, KeyboardInterrupt) as error:
                    interruption = {
                        "stack": stack,
                        "owed": records.owed(mine),
                        "planned": len(mine),
                        "reason": str(error),
                    }
                    write_text(note, json.dumps({"board": board.name, **interruption}, indent=2) + "\n")
                    raise
    note.unlink(missing_ok=True)
    return done


def _with_failures(stack: str, tasks: list[dict[str, Any]], records: Records) -> dict[str, Any]:
    """A campaign's failures, which are also printed on stderr."""
    reasons = records.failed(tasks)
    failed = sum(reasons.values())
    if failed:
        why = "; ".join(f"{reason} ({count})" for reason, count in list(reasons.items())[:SHOWN_REASONS])
        more = "; and others" if len(reasons) > SHOWN_REASONS else ""
        print(
            f"{stack}: {failed} of {len(tasks)} measurements failed: {why}{more}; they are not tried again:"
            f" when that is fixed, move {records.path} away and run the same command",
            file=sys.stderr,
        )
    return {"failed": failed, "usable": len(tasks) - failed, "reasons": reasons}


def probe(root: Path, board: Board) -> dict[str, Any]:
    """What the agent finds on the board; BoardError if it cannot be started there."""
    try:
        command = transports.agent_command(root, board, ["--probe"])
        finished = subprocess.run(command, capture_output=True, check=False, env=transports.environment(board))
    except ConnectionError as error:
        raise BoardError(str(error)) from error
    except OSError as error:
        raise _no_program(board, error) from error
    if finished.returncode:
        reason = (finished.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        where = f"config/boards/{board.name}.yaml: python: {board.python}"
        raise BoardError(f"board {board.name}: the agent's probe failed: {reason} ({where})")
    facts: dict[str, Any] = json.loads(finished.stdout)
    return facts


def _until_done(
    root: Path, board: Board, tasks: list[dict[str, Any]], records: Records, processor: str, threads: int
) -> dict[str, Any]:
    """Start the agent, again after each lost connection or crash, until it reports that all is measured."""
    waits = deque(WAITS_S)
    while True:
        before = len(records.finished)
        try:
            transports.release(board)
            done, status, said = run_agent(root, board, tasks, records, processor, threads)
            if done and not done["owed"]:
                _give_back(board)
                return done
            if done:
                raise _over_budget(board, done, records)
            _raise_if_hopeless(board, status, said, records)
            reason = f"the agent ended with status {status}: {said or 'no message'}"
        except ConnectionError as error:
            reason = str(error)
        except OSError as error:
            raise _no_program(board, error) from error
        waits = deque(WAITS_S) if len(records.finished) > before else waits
        if not waits:
            raise BoardError(
                f"board {board.name}: given up after {len(WAITS_S)} tries that brought nothing: {reason};"
                f" {records.owed(tasks)} measurements remain; run the same command again to continue"
            )
        wait = waits.popleft()
        print(f"board {board.name}: {reason}; trying again in {wait} s", file=sys.stderr)
        time.sleep(wait)


def _give_back(board: Board) -> None:
    """Release a node again: if Slurm's controller was away at the first time, the node would stay allocated."""
    for wait in (*WAITS_S, None):
        try:
            transports.release(board)
            return
        except ConnectionError as error:
            if wait is None:
                print(f"{error}: all is measured, but the board may stay allocated until the next run", file=sys.stderr)
            else:
                time.sleep(wait)


def run_agent(
    root: Path, board: Board, tasks: list[dict[str, Any]], records: Records, processor: str, threads: int
) -> tuple[dict[str, Any] | None, int, str]:
    """Start the agent once and keep its records: (its `done` record or None, exit status, its last line on stderr).

    BoardError, ConnectionError or OSError if it cannot be started.
    """
    arguments = ["--plan", "-", "--records", "-", "--processor", processor, "--threads", str(threads)]
    arguments += ["--budget-s", str(board.budget_minutes * 60), "--commit", commit()]
    arguments += ["--pin-clocks"] if board.clocks == "pinned" else []
    command = transports.agent_command(root, board, arguments)
    return _run(command, transports.environment(board), tasks, records)


def _run(
    command: list[str], environment: dict[str, str], tasks: list[dict[str, Any]], records: Records
) -> tuple[dict[str, Any] | None, int, str]:
    """One run of an agent: (its `done` record or None, exit status, its last line on stderr)."""
    pipe = subprocess.PIPE
    agent = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
    assert agent.stdin and agent.stdout and agent.stderr
    lines = [{"finished": sorted(records.finished)}, *tasks]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines) + "\n"
    last, over = deque[str](maxlen=1), threading.Event()
    helpers = [
        threading.Thread(target=_speak, args=(agent.stdin, text.encode(), over), daemon=True),
        threading.Thread(target=_pass_on, args=(agent.stderr, last), daemon=True),
    ]
    for helper in helpers:
        helper.start()
    done = None
    try:
        for line in _lines(agent.stdout):
            record = records.append(line)
            done = record if record and record["record"] == "done" else done
    finally:
        over.set()
        status = _ended(agent)
        for helper in helpers:
            helper.join(timeout=5)
    return done, status, "".join(last)


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """Whole lines that are not empty; ConnectionError when an agent that has begun is silent for too long."""
    rest, begun = b"", False
    while True:
        if begun and not select.select([source], [], [], SILENT_SECONDS)[0]:
            raise ConnectionError(f"nothing was heard of the agent for {SILENT_SECONDS} s")
        part = os.read(source.fileno(), 1 << 16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            begun = True
            if line.strip():
                yield line + b"\n"


def _ended(agent: subprocess.Popen[bytes]) -> int:
    """Its exit status; it is ended if it still runs although nobody reads it any more."""
    try:
        return agent.wait(timeout=5)
    except subprocess.TimeoutExpired:
        agent.terminate()
    try:
        return agent.wait(timeout=10)
    except subprocess.TimeoutExpired:
        agent.kill()
    return agent.wait()


def _speak(target: IO[bytes], text: bytes, over: threading.Event) -> None:
    """The plan, then a sign of life every few seconds until the agent is done or gone."""
    try:
        target.write(text)
        target.flush()
        while not over.wait(RENEW_SECONDS):
            target.write(b"\n")
            target.flush()
        target.close()
    except OSError:
        over.set()


def _pass_on(source: IO[bytes], last: deque[str]) -> None:
    for line in source:
        text = line.decode(errors="replace").rstrip()
        print(text, file=sys.stderr, flush=True)
        last.extend([text] if text else [])


def _raise_if_hopeless(board: Board, status: int, said: str, records: Records) -> None:
    """BoardError for an end that another try would only repeat."""
    advice = f"what was measured is kept, run the same command again to go on (records: {records.path})"
    if status == CANNOT_START:
        raise BoardError(f"board {board.name}: the agent stopped with status 2: {said}; {advice}")
    if status in (126, 127) or "Traceback" in said or "can't open file" in said:
        where = f"config/boards/{board.name}.yaml: python: {board.python}"
        raise BoardError(f"{where}: cannot be started on the board (status {status}): {said}; {advice}")
    if board.transport == "local" and status not in (0, 1) and status > 0:
        raise BoardError(f"board {board.name}: the agent stopped with status {status}: {said}; {advice}")
    failure = transports.refused(board, status, said)
    if isinstance(failure, BoardError):
        raise failure


def _over_budget(board: Board, done: dict[str, Any], records: Records) -> BoardError:
    return BoardError(
        f"board {board.name}: its budget of {board.budget_minutes:g} minutes is used up, {done['owed']} of"
        f" {done['planned']} measurements remain; run the same command again to continue, or raise budget_minutes"
        f" (records: {records.path})"
    )


def _no_program(board: Board, error: OSError) -> BoardError:
    fix = "./run report builds the local one" if board.transport == "local" else "is it installed here?"
    return BoardError(
        f"config/boards/{board.name}.yaml: python: {error.filename or board.transport} cannot be started:"
        f" {error.strerror}; {fix}"
    )


@contextmanager
def exclusively(board: Board) -> Iterator[None]:
    """Hold a board among all workflows of this user on this host; another that holds it is named and waited for."""
    reached = board.ssh or board.slurm
    address = reached.model_dump_json() if reached else "this machine"
    try:
        folder = Path(state_folder())  # type: ignore[no-untyped-call]  # Python 2's
    except Refused as error:
        raise BoardError(str(error)) from error
    with (folder / f"{sha256(address.encode()).hexdigest()[:16]}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"board {board.name}: waiting for {lock.read().strip()}, which measures on it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} (board {board.name}, in {Path.cwd()})")
        lock.flush()
        yield


def commit() -> str:
    """What measures: the checkout's git commit, or the version of an installed SiteCNN."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return f"sitecnn {__version__}"
    return finished.stdout.strip()
