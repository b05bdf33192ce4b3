"""Caffe's automatic Split layers: a blob that several layers read gets a copy for each (insert_splits.cpp)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.graph import Layer

Source = tuple[int, int]
"""Which layer makes a blob, and at which of its tops."""


@dataclass(frozen=True)
class Node:
    """A layer in its place: the definition, and the blobs it reads and writes once Splits stand between."""

    definition: LayerParameter
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]


def insert_splits(definitions: Sequence[LayerParameter]) -> list[Node]:
    """The layers in their order, a Split behind each whose top is read more than once.

    A top that counts as a loss is read by that too. A bottom that nothing has made yet is left as it is, for the
    reader to report.
    """
    sources = _sources(definitions)
    losses = _losses(definitions)
    readers = Counter(source for made_by in sources for source in made_by if source) + losses
    taken = Counter(losses)
    nodes = []
    for index, definition in enumerate(definitions):
        bottoms = list(definition.bottom)
        for position, source in enumerate(sources[index]):
            if source and readers[source] > 1:
                bottoms[position] = f"{_split_name(definitions, source)}_{taken[source]}"
                taken[source] += 1
        tops = tuple(definition.top)
        nodes.append(Node(definition, tuple(bottoms), tops))
        for position, blob in enumerate(tops):
            if (copies := readers[index, position]) > 1:
                nodes.append(_split(_split_name(definitions, (index, position)), blob, copies))
    return nodes


def _sources(definitions: Sequence[LayerParameter]) -> list[list[Source | None]]:
    """For each bottom, the last top of its name before its layer; an in-place layer makes a new one."""
    last: dict[str, Source] = {}
    sources: list[list[Source | None]] = []
    for index, definition in enumerate(definitions):
        sources.append([last.get(blob) for blob in definition.bottom])
        for position, blob in enumerate(definition.top):
            last[blob] = (index, position)
    return sources


def _losses(definitions: Sequence[LayerParameter]) -> Counter[Source]:
    """The tops that are given a loss weight."""
    return Counter(
        (index, position)
        for index, definition in enumerate(definitions)
        for position, weight in enumerate(definition.loss_weight[: len(definition.top)])
        if weight
    )


def _split_name(definitions: Sequence[LayerParameter], source: Source) -> str:
    index, position = source
    return f"{definitions[index].top[position]}_{definitions[index].name}_{position}_split"


def _split(name: str, blob: str, copies: int) -> Node:
    tops = tuple(f"{name}_{copy}" for copy in range(copies))
    return Node(LayerParameter(name=name, type="Split", bottom=[blob], top=tops), (blob,), tops)


def is_automatic_split(layer: Layer) -> bool:
    """Whether Caffe would insert this layer by itself: told by the names that it gives."""
    copies = tuple(f"{layer.name}_{copy}" for copy in range(len(layer.tops)))
    return layer.type == "Split" and layer.name.endswith("_split") and layer.tops == copies
