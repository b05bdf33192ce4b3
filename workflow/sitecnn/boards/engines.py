"""A board's plan: what each of its engines is to measure, as far as the board has them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sitecnn.boards.campaign import probe
from sitecnn.boards.config import Board
from sitecnn.errors import BoardError
from sitecnn.network.graph import Network
from sitecnn.workload.engines import CAFFE, ONNXRUNTIME, Engine


def board_engines(
    root: Path, board: Board, networks: Sequence[Network]
) -> tuple[dict[Engine, Sequence[Network]], int | None]:
    """(engines in the board's file that it has, each with the networks that it runs; bytes that its memory has free).

    Others are said on stderr. Only a board that has another engine than Caffe is asked what it has; of others the
    bytes are None. BoardError if nothing is left to measure.
    """
    if board.engines == [CAFFE]:
        return {Engine(CAFFE): networks}, None
    facts = probe(root, board)
    measured: dict[Engine, Sequence[Network]] = {}
    if CAFFE in board.engines and _has(board, "Caffe", facts.get("engine")):
        measured[Engine(CAFFE)] = _runnable_by_caffe(networks)
    if ONNXRUNTIME in board.engines and _has(board, "ONNX Runtime", facts.get("onnxruntime")):
        runtime = facts["onnxruntime"]
        engine = Engine(ONNXRUNTIME, version=runtime["version"], nchwc_block=runtime.get("nchwc_block") or 0)
        measured[engine] = _in_precision(networks, engine)
    if not measured:
        raise BoardError(
            f"board {board.name}: it has none of the engines in config/boards/{board.name}.yaml"
            f" ({', '.join(board.engines)}); install one for {board.python}, or correct `engines:`"
        )
    free = (facts.get("memory") or {}).get("MemAvailable")
    return measured, free if isinstance(free, int) else None


def _has(board: Board, name: str, answer: Any) -> bool:
    """Whether the agent found an engine on the board; if not, print the reason."""
    if isinstance(answer, dict) and "missing" not in answer:
        return True
    reason = answer.get("missing") if isinstance(answer, dict) else "the agent does not say why"
    print(f"board {board.name}: {name} is not measured: {reason}", file=sys.stderr)
    return False


def _in_precision(networks: Sequence[Network], engine: Engine) -> list[Network]:
    """The networks in the precision of the engine's stack; print which are left out."""
    for network in networks:
        if network.precision != engine.precision:
            reason = f"the file is {network.precision}, {engine.precision} alone is measured"
            print(f"{network.name}: ONNX Runtime does not measure it: {reason}", file=sys.stderr)
    return [network for network in networks if network.precision == engine.precision]


def _runnable_by_caffe(networks: Sequence[Network]) -> list[Network]:
    """The networks that have only layers of Caffe; print which are left out."""
    runnable = []
    for network in networks:
        lacking = next((layer for layer in network.layers if not layer.modelled), None)
        if lacking is None:
            runnable.append(network)
        else:
            why = f"layer {lacking.name!r} ({lacking.type})"
            print(f"{network.name}: Caffe does not measure it, it lacks {why}", file=sys.stderr)
    return runnable
