"""Whether a board is fit to measure: one line per question, each with what was found or how to fix it."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sitecnn.boards import transports
from sitecnn.boards.campaign import Records, probe, run_agent
from sitecnn.boards.config import Board
from sitecnn.errors import BoardError
from sitecnn.workload.kernels import gemm

HOT_C = 75
"""Jetson boards throttle from about 80 °C; a board that is this hot when idle will."""

LEAST_DISK_MB = 10
TRIAL_KERNELS = 40
"""Small multiplications that take about five seconds together, start included."""


@dataclass(frozen=True)
class Check:
    """A question, whether its answer is well, and the answer or the fix."""

    what: str
    well: bool
    answer: str


def examine(root: Path, board: Board, say: Callable[[str], None] = lambda doing: None) -> Iterator[Check]:
    """Connection, host key and Python first; without them there is nothing more to ask.

    `say` is told what is being done before each step that takes seconds.
    """
    say("connecting" + ("" if board.transport == "local" else f" by {board.transport}"))
    start = time.perf_counter()
    try:
        facts = probe(root, board)
    except BoardError as error:
        yield Check("connection, host key, Python", False, str(error))
        return
    yield Check("connection, host key", True, f"{board.transport}, answered in {time.perf_counter() - start:.1f} s")
    yield Check("Python", True, f"{board.python}, {facts['python']}, {facts['machine']}")
    yield from _libraries(board, facts)
    yield from _state(board, facts)
    yield _disk(board)
    say(f"measuring {TRIAL_KERNELS} small matrix multiplications, about 5 s")
    yield _trial(root, board)


def _libraries(board: Board, facts: dict[str, Any]) -> Iterator[Check]:
    fixes = {
        "engine": "only matrix multiplications can be measured; point python_path or program_path at Caffe",
        "blas": "install OpenBLAS or point library_path at it",
        "gpu": "point library_path at CUDA, or leave gpu out of processors",
    }
    for name, title in (("engine", "Caffe"), ("blas", "BLAS"), ("gpu", "CUDA")):
        part = facts[name]
        missing = isinstance(part, dict) and "missing" in part
        if missing and name == "gpu" and "gpu" not in board.processors:
            yield Check(title, True, "none, and none is asked for")
        elif missing:
            yield Check(title, False, f"{part['missing']}; {fixes[name]}")
        else:
            text = part if isinstance(part, str) else f"{part['name']} {part.get('version', '')}"
            yield Check(title, True, text.strip())
    runtime = facts["onnxruntime"]
    what = f"none: {runtime['missing']}" if "missing" in runtime else f"{runtime['version']}, {_layout(runtime)}"
    yield Check("ONNX Runtime", True, what)


def _layout(runtime: dict[str, Any]) -> str:
    block = runtime["nchwc_block"]
    return f"convolutions in blocks of {block} channels" if block else "no blocked layout of convolutions"


def _state(board: Board, facts: dict[str, Any]) -> Iterator[Check]:
    now, pinnable = facts["conditions"], facts["clocks_to_pin"]
    governor = now.get("governor", "unknown")
    if board.clocks == "pinned":
        fix = "there is nothing to pin: no cpufreq, devfreq or Tegra clocks are visible; set clocks: as_found"
        yield Check("clocks", bool(pinnable), f"{len(pinnable)} are pinned while measuring" if pinnable else fix)
    else:
        steady = governor in ("performance", "userspace", "unknown")
        fix = f"governor {governor} changes them while measuring; set clocks: pinned, or the governor to performance"
        yield Check("clocks", steady, f"as found, governor {governor}" if steady else fix)
    heat = max(now.get("temperature_c", []), default=None)
    if heat is not None:
        cool = heat < HOT_C
        yield Check("temperature", cool, f"{heat:.0f} °C" + ("" if cool else ", it will throttle: cool it, or wait"))
    idle = now["load"] < 0.5
    yield Check("load", idle, f"{now['load']:.2f}" + ("" if idle else ", something else runs there: stop it"))
    rails = facts.get("power_rails")
    yield Check("power", True, f"rails {', '.join(rails)}" if rails else "no rails, so no power is recorded")


def _disk(board: Board) -> Check:
    finished = subprocess.run(
        transports.command(board, ["df", "-Pm", "."]), capture_output=True, text=True, check=False
    )
    words = finished.stdout.splitlines()[-1].split() if finished.returncode == 0 else []
    if len(words) < 4 or not words[3].isdigit():
        return Check("disk", False, f"`df` gave no answer: {finished.stderr.strip() or finished.stdout.strip()}")
    free_mb = int(words[3])
    enough = free_mb >= LEAST_DISK_MB
    return Check("disk", enough, f"{free_mb} MB free" + ("" if enough else f", {LEAST_DISK_MB} MB are needed"))


def _trial(root: Path, board: Board) -> Check:
    tasks = [{"task": "gemm", "kernel": gemm(m, 64, 64).as_dict(), "mode": "warm"} for m in range(1, TRIAL_KERNELS + 1)]
    processor = next(iter(board.processors))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        records = Records(Path(folder) / "trial.jsonl")
        try:
            done, status, said = run_agent(root, board, tasks, records, processor, 1)
        except (BoardError, ConnectionError) as error:
            return Check("trial", False, str(error))
        lines = [json.loads(line) for line in records.path.read_text().splitlines()]
    steady = sum(line.get("status") == "ok" for line in lines)
    seconds = time.perf_counter() - start
    if not done or done["owed"]:
        return Check("trial", False, f"the agent ended with status {status}: {said}")
    text = f"{steady} of {len(tasks)} kernels measured steadily in {seconds:.1f} s"
    enough = steady >= 0.9 * len(tasks)
    return Check("trial", enough, text + ("" if enough else "; is something else running on the board?"))
