"""What reaches a goal: of all changes that make a pass fast enough, the smallest first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import BATCHES, AdviceContext, choices
from sitecnn.estimation.budget_check import Budget
from sitecnn.estimation.estimate import Milliseconds, estimate_memory, forward_ms
from sitecnn.estimation.offload import offload
from sitecnn.estimation.placement import place
from sitecnn.estimation.variants import WIDTHS, can_be_narrower, narrower, smaller
from sitecnn.models.board_model import StackModel
from sitecnn.models.lookup import free_bytes
from sitecnn.network.graph import Network
from sitecnn.workload.stack_names import stack_label


class Effort(IntEnum):
    """What a change asks of a person, from the least to the most."""

    SETTING = 0
    PROCESSOR = 1
    BATCH = 2
    IMAGES = 3
    WIDTH = 4
    OFFLOAD = 5

    @property
    def label(self) -> str:
        """As the command line and the JSON document have it."""
        return EFFORT_LABELS[self]


EFFORT_LABELS = {
    Effort.SETTING: "a setting",
    Effort.PROCESSOR: "other hardware of the board",
    Effort.BATCH: "more images at once",
    Effort.IMAGES: "smaller images",
    Effort.WIDTH: "a narrower network",
    Effort.OFFLOAD: "another machine",
}


@dataclass(frozen=True)
class Change:
    """One change that may reach the goal: a pass of `images` then takes `forward_ms`.

    `chance` is the probability that the pass keeps the goal.
    """

    change: str
    effort: Effort
    images: int
    forward_ms: Milliseconds
    chance: float
    note: str = ""


def reaching(now: AdviceContext, goal: Budget) -> tuple[list[Change], Change | None]:
    """The changes that reach the goal, the smallest first, and where none does, the one that comes nearest.

    Where none does alone, smaller networks on faster stacks are looked at. Of a kind that comes in steps (images,
    width, batch) it is the smallest step that reaches it.
    """
    alone = [*_settings(now), *_placed(now), *_batches(now), *_smaller(now), *_narrower(now), *_offloaded(now)]
    changes = _first_of_each(alone, now, goal)
    if not changes and (faster := _fastest(now)):
        name, model, effort = faster
        there = replace(now, model=model)
        both = [
            replace(one, change=f"{name} and {one.change}", effort=max(effort, one.effort))
            for one in (*_smaller(there), *_narrower(there))
        ]
        changes, alone = _first_of_each(both, now, goal), [*alone, *both]
    nearest = min(alone, key=lambda one: one.forward_ms.estimate / (goal.limit_ms(one.images) or 1.0), default=None)
    changes.sort(key=lambda one: (one.effort, one.forward_ms.estimate / one.images))
    return changes, None if changes else nearest


def keeps(goal: Budget, ms: Milliseconds, images: int, level: float) -> tuple[bool, float]:
    """(whether a pass of so many images keeps the goal, the probability that it does)."""
    limit_ms = goal.limit_ms(images)
    if limit_ms is None:
        return True, 1.0
    return ms.estimate <= limit_ms, ms.chance_below(limit_ms, level)


def _first_of_each(changes: list[Change], now: AdviceContext, goal: Budget) -> list[Change]:
    """Those that reach the goal; of steps along one way, which are of one effort, only the first."""
    first: dict[tuple[Effort, str], Change] = {}
    for one in changes:
        fits, chance = keeps(goal, one.forward_ms, one.images, now.level)
        if fits:
            way = one.change if one.effort <= Effort.PROCESSOR else ""
            first.setdefault((one.effort, way), replace(one, chance=chance))
    return list(first.values())


def _ways(now: AdviceContext) -> Iterator[tuple[str, StackModel, Effort]]:
    """(what it is called, model, effort) of every other stack of the board's processors."""
    for stack in choices(now, now.board.stacks):
        yield f"use {stack_label(stack.stack)}", stack, Effort.SETTING
    if now.other:
        for stack in choices(now, now.other.stacks):
            yield f"run on the {now.other.processor} ({stack_label(stack.stack)})", stack, Effort.PROCESSOR


def _fastest(now: AdviceContext) -> tuple[str, StackModel, Effort] | None:
    timed = [(forward_ms(now.network, way[1]).estimate, way) for way in _ways(now)]
    return min(timed, key=lambda one: one[0])[1] if timed else None


def _settings(now: AdviceContext) -> Iterator[Change]:
    for name, model, effort in _ways(now):
        yield _change(now, name, effort, now.network, model)


def _placed(now: AdviceContext) -> Iterator[Change]:
    if now.other is None or now.copy is None:
        return
    boards = {now.board.processor: now.board.only(now.model), now.other.processor: now.other}
    placed = place(now.network, boards["cpu"], boards["gpu"], now.copy, level=now.level)
    if placed.worthwhile:
        there = sum(placed.on_gpu)
        name = f"place {there} layers on the gpu and {len(placed.on_gpu) - there} on the cpu"
        yield Change(name, Effort.PROCESSOR, now.network.batch, placed.placed_ms, np.nan)


def _batches(now: AdviceContext) -> Iterator[Change]:
    free = free_bytes(now.board)
    for images in (batch for batch in BATCHES if now.at_batch and batch > now.network.batch):
        assert now.at_batch
        try:
            network = now.at_batch(images)
        except NetworkError:
            # Shapes written out for one batch are refused at another.
            return
        if free is not None and estimate_memory(network, now.model, now.board.processor).total > free:
            return
        yield _change(now, f"batch {images}", Effort.BATCH, network, now.model, "each image waits for its whole batch")


def _smaller(now: AdviceContext) -> Iterator[Change]:
    if now.at_inputs is None:
        return
    for name, network in smaller(now.network, now.at_inputs):
        yield _change(now, name, Effort.IMAGES, network, now.model, "check the accuracy; retrain the FC layers")


def _narrower(now: AdviceContext) -> Iterator[Change]:
    for share in WIDTHS if can_be_narrower(now.network, now.model.stack) else ():
        network = narrower(now.network, share)
        yield _change(now, f"{share:.0%} of the channels", Effort.WIDTH, network, now.model, "retrain the network")


def _offloaded(now: AdviceContext) -> Iterator[Change]:
    if now.server is None or now.link is None:
        return
    offloaded = offload(now.network, now.board.only(now.model), now.server, now.link, level=now.level)
    if offloaded.best.leaves_board:
        away = len(offloaded.best.on_board) - sum(offloaded.best.on_board)
        name = f"offload {away} of {len(offloaded.best.on_board)} layers"
        sent = f"sends {offloaded.best.sent_bytes / 1e6:,.2f} MB"
        yield Change(name, Effort.OFFLOAD, now.network.batch, offloaded.total_ms, np.nan, sent)


def _change(
    now: AdviceContext, name: str, effort: Effort, network: Network, model: StackModel, note: str = ""
) -> Change:
    return Change(name, effort, network.batch, forward_ms(network, model, now.level), np.nan, note)
