"""A board's plan: what each of its engines is to measure, as far as the board has them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sitecnn.boards.campaign import probe
from sitecnn.boards.config import Board
from sitecnn.boards.plan import Task, plan
from sitecnn.boards.probes import engine_plan
from sitecnn.errors import BoardError
from sitecnn.network.graph import Network
from sitecnn.workload.engines import CAFFE, ONNXRUNTIME, Engine
from sitecnn.workload.kernels import Kernel


def board_plan(
    root: Path,
    board: Board,
    networks: Sequence[Network],
    truth_only: Sequence[Network],
    *,
    sweep: bool,
    choose: Callable[[Sequence[Kernel]], Sequence[Kernel]],
    probes: Mapping[str, int],
) -> list[Task]:
    """The tasks of all engines in the board's file; what an engine cannot measure is said on stderr and left out.

    Only a board that has another engine than Caffe is asked what it has. BoardError if nothing is left to measure.
    """
    if board.engines == [CAFFE]:
        return plan(networks, sweep=sweep, truth_only=truth_only, choose=choose)
    facts = probe(root, board)
    tasks: list[Task] = []
    if CAFFE in board.engines and _has(board, "Caffe", facts.get("engine")):
        runnable, truth = (_runnable_by_caffe(some) for some in (networks, truth_only))
        tasks += plan(runnable, sweep=sweep, truth_only=truth, choose=choose)
    if ONNXRUNTIME in board.engines and _has(board, "ONNX Runtime", facts.get("onnxruntime")):
        found = facts["onnxruntime"]
        engine = Engine(ONNXRUNTIME, version=found["version"], nchwc_block=found.get("nchwc_block") or 0)
        tasks += engine_plan([*networks, *truth_only], engine, **probes)
    if not tasks:
        raise BoardError(
            f"board {board.name}: it has none of the engines in config/boards/{board.name}.yaml"
            f" ({', '.join(board.engines)}); install one for {board.python}, or correct `engines:`"
        )
    return tasks


def _has(board: Board, name: str, found: Any) -> bool:
    """Whether the agent found an engine there; if not, the reason is said."""
    if isinstance(found, dict) and "missing" not in found:
        return True
    reason = found.get("missing") if isinstance(found, dict) else "the agent does not say why"
    print(f"board {board.name}: {name} is not measured: {reason}", file=sys.stderr)
    return False


def _runnable_by_caffe(networks: Sequence[Network]) -> list[Network]:
    """The networks all of whose layers are Caffe's; the others are said."""
    runnable = []
    for network in networks:
        lacking = next((layer for layer in network.layers if not layer.modelled), None)
        if lacking is None:
            runnable.append(network)
        else:
            why = f"layer {lacking.name!r} ({lacking.type})"
            print(f"{network.name}: Caffe does not measure it, it lacks {why}", file=sys.stderr)
    return runnable
