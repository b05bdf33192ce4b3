"""The answer to "does it fit?": an estimate held against budgets, with what else the person should know."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.estimation.estimate import Estimate, Milliseconds, estimate, estimate_memory, forward_ms
from sitecnn.estimation.memory_plan import MemoryPlan, largest_batch, memory_plan
from sitecnn.models.board_model import BoardModel, StackModel
from sitecnn.models.lookup import choose_stack, free_bytes
from sitecnn.network.graph import Network
from sitecnn.workload.engines import CAFFE

MOST_EXTRAPOLATED = 0.5
"""An estimate with a larger share of extrapolated time is not comparable with others."""


@dataclass(frozen=True)
class Budget:
    """What a pass may take; None is not asked."""

    ms: float | None = None
    images_per_second: float | None = None
    memory_bytes: int | None = None

    def limit_ms(self, batch: int) -> float | None:
        """The longest that a pass of `batch` images may take, from both time budgets."""
        limits = [] if self.ms is None else [self.ms]
        if self.images_per_second is not None:
            limits.append(batch / self.images_per_second * 1e3)
        return min(limits, default=None)


@dataclass(frozen=True)
class Verdict:
    """Whether a pass keeps `limit_ms` and its memory's budget, and how likely the former: None where no budget asks."""

    limit_ms: float | None
    fits_time: bool | None
    fits_memory: bool | None
    chance_in_time: float | None


def verdict(estimated: Estimate, budget: Budget) -> Verdict:
    """An estimate held against budgets."""
    limit_ms, limit_bytes = budget.limit_ms(estimated.batch), budget.memory_bytes
    return Verdict(
        limit_ms=limit_ms,
        fits_time=None if limit_ms is None else estimated.forward_ms.estimate <= limit_ms,
        fits_memory=None if limit_bytes is None else estimated.memory_bytes.total <= limit_bytes,
        chance_in_time=None if limit_ms is None else estimated.forward_ms.chance_below(limit_ms, estimated.level),
    )


@dataclass(frozen=True)
class BudgetCheck(Verdict):
    """An estimate with its verdict and its memory.

    `free_bytes` is what the board leaves to a process, None if its model does not know; `other_stacks` are the
    same pass on the other stacks of the board's processor. `largest_batch` is the most images a pass can have within
    the memory budget or else what is free, None if neither is known or the network's batch cannot be changed.
    `plan` is what Caffe's buffers would need at least, None for engines that share theirs.
    """

    estimate: Estimate
    plan: MemoryPlan | None
    budget: Budget
    free_bytes: int | None
    other_stacks: tuple[tuple[str, Milliseconds], ...]
    largest_batch: int | None

    @property
    def fits(self) -> bool:
        """Whether no budget is exceeded."""
        return self.fits_time is not False and self.fits_memory is not False

    @property
    def is_mostly_extrapolated(self) -> bool:
        """Whether more than half of the time rests on guesses or lies beyond what was measured."""
        return self.estimate.extrapolated_fraction > MOST_EXTRAPOLATED or not self.estimate.is_whole

    def to_dict(self) -> dict[str, Any]:
        """The `estimate --json` document."""
        document = self.estimate.to_dict()
        document["coverage"]["mostly_extrapolated"] = self.is_mostly_extrapolated
        return {
            **document,
            "load_peak_bytes": self.estimate.memory_bytes.load_peak if self.plan else None,
            "memory_plan_bytes": self.plan.to_dict() if self.plan else None,
            "fits": {"time": self.fits_time, "memory": self.fits_memory},
            "chance_in_time": self.chance_in_time,
            "free_bytes": self.free_bytes,
            "largest_batch": self.largest_batch,
            "other_stacks": [{"stack": name, "forward_ms": asdict(ms)} for name, ms in self.other_stacks],
        }


def check_budget(
    network: Network,
    board: BoardModel,
    budget: Budget,
    *,
    stack: str | None = None,
    threads: int | None = None,
    level: float = 0.9,
    engine: str | None = None,
    at_batch: Callable[[int], Network] | None = None,
) -> BudgetCheck:
    """An estimate held against a budget; ModelError for a stack that the board's model does not have.

    `at_batch` gives the same network with another number of images, for finding the largest that fits.
    """
    estimated = estimate(network, board, stack=stack, threads=threads, level=level, engine=engine)
    model = choose_stack(board, stack, threads, engine=engine, network=network)
    others = tuple(_others(network, [other for other in board.stacks if other is not model], level))
    limit_bytes = budget.memory_bytes if budget.memory_bytes is not None else free_bytes(board)
    return BudgetCheck(
        estimate=estimated,
        plan=memory_plan(network) if estimated.engine.name == CAFFE else None,
        budget=budget,
        **asdict(verdict(estimated, budget)),
        free_bytes=free_bytes(board),
        other_stacks=others,
        largest_batch=None
        if limit_bytes is None or at_batch is None
        else _largest(lambda batch: estimate_memory(at_batch(batch), model, board.processor).total, limit_bytes),
    )


def _others(network: Network, stacks: Sequence[StackModel], level: float) -> Iterator[tuple[str, Milliseconds]]:
    """The pass on the other stacks whose engine can run the network."""
    for stack in stacks:
        with suppress(NetworkError):
            yield stack.stack, forward_ms(network, stack, level)


def _largest(total_bytes: Callable[[int], int], limit_bytes: int) -> int | None:
    try:
        return largest_batch(total_bytes, limit_bytes)
    except NetworkError:
        # A network whose shapes are written out for one batch is refused at another.
        return None
