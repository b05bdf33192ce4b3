"""What networks would gain most by, found in processes beside the one that makes the chapters."""

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from sitecnn.config import Config, network_file
from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import AdviceContext, advise
from sitecnn.estimation.placement import ZERO_COPY, Copy, measured_copy
from sitecnn.models.board_model import BoardModel
from sitecnn.models.lookup import choose_stack
from sitecnn.network import load_network

MOST_ADVICE = 3
"""Of each network on a processor the changes that gain most; `sitecnn advise` has all."""

AdviceRows = list[dict[str, Any]]


def submit_advice(
    pool: Executor, root: Path, config: Config, own: list[tuple[str, str]], models: dict[tuple[str, str], BoardModel]
) -> list[Future[AdviceRows]]:
    """The advice for every network on every (board, processor) of `own` that has a model."""
    return [
        pool.submit(advice_rows, root, config, name, models[place], models.get((place[0], _other(place[1]))))
        for place in own
        if place in models
        for name in (*config.networks, *config.held_out)
    ]


def advice_rows(root: Path, config: Config, name: str, model: BoardModel, other: BoardModel | None) -> AdviceRows:
    """What the network would gain most by on a processor, ms per image and bytes; nothing where it cannot run.

    `other` is the model of the board's other processor.
    """
    file = network_file(root, name)
    try:
        network = load_network(file, batch=config.batch)
        now = AdviceContext(
            network=network,
            board=model,
            model=choose_stack(model, network=network),
            level=config.level,
            other=other,
            copy=_copy(model, other),
            at_batch=lambda batch: load_network(file, batch=batch),
            at_inputs=lambda inputs: load_network(file, batch=config.batch, inputs=inputs),
        )
        advice = advise(now)[:MOST_ADVICE]
    except NetworkError:
        return []
    rows = []
    for one in advice:
        gain = one.gain_ms
        row: dict[str, Any] = {"network": name, "board": model.board, "processor": model.processor}
        row |= {"change": one.change}
        row |= {"gain_ms": gain.estimate, "gain_low_ms": gain.low, "gain_high_ms": gain.high} if gain else {}
        rows.append(row | {"saves_bytes": one.saves_bytes, "note": one.note})
    return rows


def _other(processor: str) -> str:
    return "gpu" if processor == "cpu" else "cpu"


def _copy(model: BoardModel, other: BoardModel | None) -> Copy | None:
    """What moving values between the two processors costs, None where there is only one."""
    if other is None:
        return None
    gpu = other if other.processor == "gpu" else model
    return measured_copy(choose_stack(gpu)) or ZERO_COPY
