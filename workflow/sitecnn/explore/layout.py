"""A network as boxes and lines: layers from top to bottom, branches side by side, and the memory alive beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from fast_sugiyama import from_edges

from sitecnn.estimation.peak_memory import Schedule, schedule
from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.graph import Network, Shape

SPACING = 72
"""Between two rows and two columns of the layout."""

Edges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Box:
    """One box: the layers whose work is done in it, the first of which names it, at `column` (real) and `row`."""

    layers: tuple[int, ...]
    column: float
    row: int
    shapes: tuple[Shape, ...]
    alive_bytes: int


@dataclass(frozen=True)
class Line:
    """An edge between boxes, as the (column, row) that it passes."""

    points: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Drawing:
    """All boxes and lines, in rows and columns from 0."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    columns: float
    rows: int

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def draw(network: Network, fused_into: Mapping[str, str]) -> Drawing:
    """A network's drawing. `fused_into` names the layer in whose kernel another's work is done: they share a box.

    Automatic Splits, which no file names, are part of the lines. Layered layout: Sugiyama, Tagawa, Toda 1981.
    """
    home = _homes(network, fused_into)
    edges = tuple(dict.fromkeys(_edges(network, home)))
    spots, routes = _layout(edges, tuple(dict.fromkeys(one for one in home if one >= 0)))
    alive = alive_bytes(schedule(network))
    boxes = []
    for leader, (column, row) in spots.items():
        members = tuple(index for index, one in enumerate(home) if one == leader)
        shapes = network.layers[members[-1]].outputs
        boxes.append(Box(members, column, row, shapes, max(alive[index] for index in members)))
    boxes.sort(key=lambda box: box.layers[0])
    columns = max((box.column for box in boxes), default=0.0)
    columns = max([columns, *(column for line in routes for column, _ in line.points)])
    return Drawing(tuple(boxes), routes, columns, max((box.row for box in boxes), default=-1) + 1)


def alive_bytes(plan: Schedule) -> list[int]:
    """The bytes alive while each layer runs, in the file's order, if every buffer is freed after its last reader."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, buffers in enumerate(plan.touches):
        for buffer in buffers:
            first.setdefault(buffer, index)
            last[buffer] = len(plan.touches) - 1 if buffer in plan.results else index
    steps = [0] * (len(plan.touches) + 1)
    for buffer, index in first.items():
        steps[index] += plan.sizes[buffer]
        steps[last[buffer] + 1] -= plan.sizes[buffer]
    alive, now = [], 0
    for index, extra in enumerate(plan.extra):
        now += steps[index]
        alive.append(now + extra)
    return alive


def _homes(network: Network, fused_into: Mapping[str, str]) -> list[int]:
    """The layer in whose box each layer stands, -1 for automatic Splits."""
    place = {layer.name: index for index, layer in enumerate(network.layers)}
    homes = [place.get(fused_into.get(layer.name, ""), index) for index, layer in enumerate(network.layers)]
    return [-1 if is_automatic_split(layer) else home for layer, home in zip(network.layers, homes, strict=True)]


def _edges(network: Network, home: list[int]) -> list[tuple[int, int]]:
    """(maker, reader) of boxes."""
    maker: dict[str, int] = {}
    edges = []
    for index, layer in enumerate(network.layers):
        makers = [maker[name] for name in layer.bottoms if name in maker]
        if home[index] < 0:
            maker.update(dict.fromkeys(layer.tops, makers[0]))
            continue
        edges += [(one, home[index]) for one in makers if one != home[index]]
        maker.update(dict.fromkeys(layer.tops, home[index]))
    return edges


@lru_cache(maxsize=16)
def _layout(edges: Edges, nodes: tuple[int, ...]) -> tuple[dict[int, tuple[float, int]], tuple[Line, ...]]:
    """Where each box stands, and the lines with the points they pass. Parts without a line between stand side by side.

    The library adds a point to a line for every row that it crosses, numbered behind the boxes.
    """
    spots: dict[int, tuple[float, int]] = {}
    lines: list[Line] = []
    right = 0.0
    alone = [node for node in nodes if all(node not in edge for edge in edges)]
    for positions, _, _, segments in from_edges(list(edges), dummy_vertices=True) if edges else []:
        top, left = max(y for _, (_, y) in positions), min(x for _, (x, _) in positions)
        part = {int(node): ((x - left) / SPACING + right, round((top - y) / SPACING)) for node, (x, y) in positions}
        if _upside_down(part, edges):
            part = {node: (x, round(top / SPACING) - row) for node, (x, row) in part.items()}
        spots |= part
        lines += _routes(part, [(int(one), int(other)) for one, other in segments or edges], set(nodes))
        right = max(x for x, _ in part.values()) + 1
    for node in alone:
        spots[node] = (right, 0)
        right += 1
    return {node: spots[node] for node in nodes}, tuple(lines)


def _upside_down(part: Mapping[int, tuple[float, int]], edges: Edges) -> bool:
    return any(part[one][1] > part[other][1] for one, other in edges if one in part and other in part)


def _routes(part: Mapping[int, tuple[float, int]], segments: list[tuple[int, int]], nodes: set[int]) -> list[Line]:
    """Segments joined at the points between boxes, each of which has one way in and one out."""
    follows = {one: other for one, other in segments if one not in nodes}
    lines = []
    for one, other in segments:
        if one in nodes:
            path = [one, other]
            while path[-1] not in nodes:
                path.append(follows[path[-1]])
            lines.append(Line(tuple(part[point] for point in path)))
    return lines
