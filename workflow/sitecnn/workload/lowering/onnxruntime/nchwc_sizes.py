"""Lengths of axes of tensors in blocks that are known to be equal though nobody knows them, nchwc_transformer.cc."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sitecnn.network.graph import Shape
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node

FIRST_SPATIAL = 2


@dataclass(frozen=True)
class Length:
    """That of an axis of a tensor, halved so many times."""

    tensor: str
    halvings: int = 0


Lengths = tuple[Length, ...]
"""Of the four axes."""


def own_lengths(name: str) -> Lengths:
    """Those of a tensor of which nothing else is known."""
    return (Length(name),) * 4


def behind_window(node: Node, window: Shape, given: Lengths, made: Lengths) -> Lengths:
    """Those that a convolution or a pooling makes of its input's: it keeps the batch, and may keep or halve others."""
    attributes, axes = node.attributes, len(window)
    same = attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    pads = attributes.get("pads") if attributes.get("auto_pad", "NOTSET") == "NOTSET" else None
    pads = pads or (0,) * 2 * axes
    steps = [tuple(attributes.get(name) or (1,) * axes) for name in ("strides", "dilations")]
    lengths = [given[0], *made[1:]]
    for axis, (stride, dilation) in enumerate(zip(*steps, strict=True)):
        keeps = same or pads[axis] + pads[axes + axis] + 1 == window[axis]
        if keeps and dilation == 1 and stride in (1, 2):
            length = given[FIRST_SPATIAL + axis]
            lengths[FIRST_SPATIAL + axis] = replace(length, halvings=length.halvings + stride - 1)
    return tuple(lengths)


def are_equal(graph: Graph, names: Sequence[str], lengths: Sequence[Lengths]) -> bool:
    """Whether tensors (by their names in the plain layout) are as large as one another for all that is known."""
    told = [graph.dims(name) for name in names]
    return all(
        lengths[0][axis] == lengths[place][axis] or (told[place][axis] == told[0][axis] != "")
        for place in range(1, len(names))
        for axis in range(4)
    )
