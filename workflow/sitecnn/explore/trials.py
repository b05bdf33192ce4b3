"""What could be changed: the advice of `sitecnn advise`, and sizes to try, each with the edit that makes it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import Situation, advise
from sitecnn.estimation.boards import choose_stack, other_processor
from sitecnn.estimation.placement import ZERO_COPY, measured_copy
from sitecnn.explore.answers import Stack
from sitecnn.explore.change import change
from sitecnn.explore.edits import with_batch, with_outputs, with_resolution, with_width
from sitecnn.explore.question import Question, Source
from sitecnn.explore.reading import at_batch, network_of
from sitecnn.network.graph import Network

BATCH = re.compile(r"batch (\d+)")
CHANNELS = re.compile(r"(\d+)% of the channels in all layers")
HALVES = re.compile(r"halve the outputs of (.+) \((\d+)\)", re.DOTALL)

SIZES = {"resolution": (0.875, 0.75, 0.5), "width": (0.5,)}


def trials(question: Question, stack: Stack, root: Path) -> list[dict[str, Any]]:
    """Every change with its gain per image; `edit` is what `applied` takes, None where the text has no such change."""
    found = advise(_situation(question, stack, root))
    advice = [{**asdict(one), "sure": one.is_sure, "edit": _edit(question, one.change)} for one in found]
    return [*advice, *_sizes(question, stack)]


def applied(text: str, edit: Mapping[str, Any]) -> str:
    """The text after an edit; NetworkError where the text has no such number."""
    match edit:
        case {"batch": int(images)}:
            return with_batch(text, images)
        case {"layer": str(layer), "outputs": int(outputs)}:
            return with_outputs(text, layer, outputs)
        case {"resolution": float(factor)}:
            return with_resolution(text, factor)
        case {"width": float(factor)}:
            return with_width(text, factor)
    raise NetworkError("no such edit")


def _situation(question: Question, stack: Stack, root: Path) -> Situation:
    other = other_processor(stack.board, root)
    gpu = (
        stack.model
        if stack.board.processor == "gpu"
        else choose_stack(other, network=network_of(question))
        if other
        else None
    )
    return Situation(
        network=network_of(question),
        board=stack.board,
        model=stack.model,
        level=question.level,
        other=other,
        copy=(measured_copy(gpu) if gpu else None) or ZERO_COPY,
        at_batch=partial(at_batch, question),
    )


def _edit(question: Question, advised: str) -> dict[str, Any] | None:
    if match := BATCH.fullmatch(advised):
        edit: dict[str, Any] = {"batch": int(match[1])}
    elif match := HALVES.fullmatch(advised):
        edit = {"layer": match[1], "outputs": max(int(match[2]) // 2, 1)}
    elif match := CHANNELS.fullmatch(advised):
        edit = {"width": int(match[1]) / 100}
    else:
        return None
    try:
        applied(question.source.text, edit)
    except NetworkError:
        # ONNX has no text; in a prototxt the number may come from elsewhere.
        return None
    return edit


def _sizes(question: Question, stack: Stack) -> list[dict[str, Any]]:
    """Smaller images and narrower layers; sizes at which the network cannot be are left out."""
    found = []
    for edit in ({what: factor} for what, factors in SIZES.items() for factor in factors):
        try:
            text = applied(question.source.text, edit)
            after = network_of(replace(question, source=Source(question.source.name, text)))
        except NetworkError:
            continue
        if text != question.source.text:
            found.append(_size(question, stack, edit, after))
    return found


def _size(question: Question, stack: Stack, edit: dict[str, float], after: Network) -> dict[str, Any]:
    network = network_of(question)
    images = network.batch
    whole = change(network, after, stack.model, question.level)
    gain = {"estimate": -whole.estimate / images, "low": -whole.high / images, "high": -whole.low / images}
    ((what, factor),) = edit.items()
    return {
        "change": f"{what} × {factor:g}",
        "gain_ms": gain,
        "saves_bytes": None,
        "note": "check the accuracy: the network has to be trained anew",
        "sure": gain["low"] > 0,
        "edit": edit,
    }
