"""What a question is about: its network as read, its budgets, and the line of the text that an error is about."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sitecnn.errors import NetworkError
from sitecnn.estimation.budget_check import Budget
from sitecnn.explore.prototxt import layer_blocks
from sitecnn.explore.question import Question, Source
from sitecnn.network import load_network
from sitecnn.network.caffe.reader import parse_prototxt
from sitecnn.network.graph import Network, Shape
from sitecnn.network.load import MOST_TEXT_BYTES

PLACE = re.compile(r"line (\d+)(?:, column (\d+))?")
LAYER = re.compile(r"layer '((?:[^'\\]|\\.)*)'")


def network_of(question: Question) -> Network:
    """The network; NetworkError, without a path of this machine, for a file that is wrong."""
    return _network(question.source, question.batch, question.inputs)


def at_batch(question: Question, images: int) -> Network:
    """The same network with another number of images."""
    return network_of(replace(question, batch=images))


def at_inputs(question: Question, inputs: Mapping[str, Shape]) -> Network:
    """The same network with other shapes of its inputs, by blob name."""
    return network_of(replace(question, inputs=tuple({**dict(question.inputs), **inputs}.items())))


def budget_of(question: Question) -> Budget:
    """The budgets as the estimation has them; MB are 10⁶ bytes."""
    memory_bytes = None if question.budget_mb is None else int(question.budget_mb * 1e6)
    return Budget(question.budget_ms, question.budget_fps, memory_bytes)


@lru_cache(maxsize=32)
def _network(source: Source, batch: int | None, inputs: tuple[tuple[str, Shape], ...]) -> Network:
    if not source.file:
        if len(source.text.encode()) > MOST_TEXT_BYTES:
            raise NetworkError(f"{source.name}: larger than {MOST_TEXT_BYTES >> 20} MiB, which no definition is")
        return parse_prototxt(source.text, source.name, batch=batch, inputs=dict(inputs))
    try:
        return load_network(source.file, batch=batch, inputs=dict(inputs))
    except NetworkError as error:
        raise NetworkError(str(error).replace(source.file, source.name).replace(str(Path(source.file)), "")) from None


def line_of(message: str, text: str) -> int | None:
    """The line (from 1) that an error is about: as it says, or that of the layer it names; None where it names none."""
    if place := PLACE.search(message):
        return int(place[1])
    if not (layer := LAYER.search(message)):
        return None
    start = next((block.start for block in layer_blocks(text) if block.name == layer[1]), None)
    return None if start is None else text.count("\n", 0, start) + 1
