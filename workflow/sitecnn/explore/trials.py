"""What could be changed: the advice of `sitecnn advise`, and smaller sizes, each with the edit that makes it."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import (
    Advice,
    AdviceContext,
    Batch,
    Edit,
    InputShapes,
    Outputs,
    Width,
    advise,
    with_images,
    with_width,
)
from sitecnn.estimation.placement import ZERO_COPY, measured_copy
from sitecnn.estimation.variants import can_be_narrower, narrower, smaller, with_outputs
from sitecnn.explore.answers import Stack
from sitecnn.explore.edits import question_after
from sitecnn.explore.question import Question
from sitecnn.explore.reading import at_batch, at_inputs, network_of
from sitecnn.models.lookup import choose_stack, other_processor
from sitecnn.network.graph import Network, Shape

HALF = 0.5
"""Half the width, which the advice has not."""


def trials(question: Question, stack: Stack, root: Path) -> list[dict[str, Any]]:
    """Every change with its gain per image; `edit` is what the page can make of it, None where it can not."""
    now = advice_context(question, stack, root)
    advice = sorted([*advise(now), *_smaller(now)], key=_place)
    return [{**asdict(one), "sure": one.is_sure, "edit": _edit(question, now, one.edit)} for one in advice]


def _place(one: Advice) -> tuple[bool, bool, float]:
    """Time before memory, sure gains before doubtful ones, the largest first: as `advise` has them."""
    return not one.gain_ms, not one.is_sure, -(one.gain_ms.estimate if one.gain_ms else one.saves_bytes or 0)


def advice_context(question: Question, stack: Stack, root: Path) -> AdviceContext:
    """What the advice is about: the stack that was chosen, and the board's other processor."""
    network = network_of(question)
    other = other_processor(stack.board, root)
    gpu = stack.model if stack.board.processor == "gpu" else None
    if gpu is None and other:
        gpu = choose_stack(other, network=network)
    return AdviceContext(
        network=network,
        board=stack.board,
        model=stack.model,
        level=question.level,
        other=other,
        copy=(measured_copy(gpu) if gpu else None) or ZERO_COPY,
        at_batch=partial(at_batch, question),
        at_inputs=partial(at_inputs, question),
    )


def _smaller(now: AdviceContext) -> Iterator[Advice]:
    """Smaller images and fewer channels than the advice's."""
    sizes = list(smaller(now.network, now.at_inputs)) if now.at_inputs else []
    for change, network in sizes[len(sizes) // 2 :][:1]:
        yield with_images(now, change, network)
    if can_be_narrower(now.network, now.model.stack):
        yield with_width(now, HALF)


def _edit(question: Question, now: AdviceContext, edit: Edit | None) -> dict[str, Any] | None:
    """The edit, if the text can be made to say what the estimate is of; ONNX has no text, so nothing can."""
    if edit is None:
        return None
    try:
        after = network_of(question_after(question, edit, now.network))
        return asdict(edit) if _is_meant(after, edit, now) else None
    except NetworkError:
        return None


def _is_meant(after: Network, edit: Edit, now: AdviceContext) -> bool:
    """Whether the network that a text was made of is the one that the edit's gain was estimated of."""
    match edit:
        case Batch(images) if now.at_batch:
            return _sizes(after) == _sizes(now.at_batch(images))
        case InputShapes(inputs) if now.at_inputs:
            return _sizes(after) == _sizes(now.at_inputs(inputs))
        case Width(share):
            return _sizes(after) == _sizes(narrower(now.network, share))
        case Outputs(name, outputs):
            return _sizes(after) == _sizes(with_outputs(now.network, name, outputs))
    return False


def _sizes(network: Network) -> list[tuple[tuple[Shape, ...], list[Shape]]]:
    """Of each layer its outputs' shapes and its parameters'."""
    return [(layer.outputs, [one.shape for one in layer.parameters]) for layer in network.layers]
