"""A network on every board, processor and stack: the rows of the page's first table."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sitecnn.errors import ModelError, NetworkError
from sitecnn.estimation.budget_check import verdict
from sitecnn.estimation.change import Change, change, rate_change
from sitecnn.estimation.estimate import Estimate, estimate
from sitecnn.estimation.work import can_run
from sitecnn.explore.question import Question
from sitecnn.explore.reading import budget_of, network_of
from sitecnn.models.board_model import BoardModel, StackModel, load
from sitecnn.models.model_files import known_models
from sitecnn.network.graph import Network


@dataclass(frozen=True)
class Stack:
    """One stack of a board's processor, with its model alone in `board`, so that it cannot be taken for another."""

    board: BoardModel

    @property
    def model(self) -> StackModel:
        """The stack's model."""
        return self.board.stacks[0]

    @property
    def key(self) -> str:
        """What tells it from all others, for the page."""
        return "|".join((self.board.board, self.board.processor, self.model.stack, str(self.model.threads)))


def load_stacks(root: Path, boards: Sequence[str] = ()) -> list[Stack]:
    """Every stack that has a model, of `boards` or of all; ModelError for a board without a model."""
    models = known_models(root)
    if missing := [board for board in boards if all(board != name for name, _ in models)]:
        names = ", ".join(sorted({name for name, _ in models}))
        raise ModelError(f"board {missing[0]!r} has no model; boards with one: {names or 'none'}")
    wanted = [load(file) for (board, _), file in sorted(models.items()) if not boards or board in boards]
    return [Stack(replace(model, stacks=(one,))) for model in wanted for one in model.stacks]


def answers(question: Question, pinned: Question | None, stacks: Sequence[Stack]) -> list[dict[str, Any]]:
    """A row for each stack that can run the network, the fastest first, with changes since `pinned` if it is given."""
    network = network_of(question)
    before = network_of(pinned) if pinned else None
    rows = []
    for stack in stacks:
        with suppress(NetworkError):  # an engine that cannot run it
            rows.append(_row(network, before, stack, question))
    return sorted(rows, key=lambda row: (not row["is_whole"], float(row["forward_ms"]["estimate"])))


def _row(network: Network, before: Network | None, stack: Stack, question: Question) -> dict[str, Any]:
    estimated = estimate(network, stack.board, level=question.level)
    row = {
        "key": stack.key,
        "board": estimated.board,
        "processor": estimated.processor,
        "stack": estimated.stack,
        "engine": estimated.engine.name,
        "precision": estimated.precision,
        "threads": stack.model.threads,
        "forward_ms": asdict(estimated.forward_ms),
        "images_per_second": estimated.images_per_second,
        "memory_bytes": asdict(estimated.memory_bytes),
        "modelled_fraction": estimated.modelled_fraction,
        "extrapolated_fraction": estimated.extrapolated_fraction,
        "is_whole": estimated.is_whole,
        **asdict(verdict(estimated, budget_of(question))),
    }
    if before is not None and can_run(before, stack.model):
        row["change"] = _change(before, network, estimated, stack, question.level)
    return row


def _change(before: Network, network: Network, after: Estimate, stack: Stack, level: float) -> dict[str, Any]:
    earlier = estimate(before, stack.board, level=level)
    whole = change(before, network, stack.model, level)
    return {
        "forward_ms": asdict(whole),
        "images_per_second": asdict(_rate(earlier, after, whole, level)),
        "memory_bytes": after.memory_bytes.total - earlier.memory_bytes.total,
    }


def _rate(earlier: Estimate, after: Estimate, whole: Change, level: float) -> Change:
    times = (earlier.forward_ms, after.forward_ms)
    return rate_change(times, (earlier.batch, after.batch), whole, level)
