"""The cheapest way to part a graph in two: Dinic's algorithm, small enough for graphs of some hundred nodes."""

from collections.abc import Iterable, Sequence

Edge = tuple[int, int, float]
"""(from, to, capacity): what it costs if `from` is on the source's side and `to` is on the sink's."""


def minimum_cut(edges: Iterable[Edge], nodes: int, source: int, sink: int) -> set[int]:
    """The nodes on the source's side of a cheapest cut, as few of them as there can be.

    Nodes are numbered 0 … `nodes` - 1. Capacities are at least 0 and may be infinite, but no path from source to
    sink may be infinite throughout. Dinic 1970: shortest augmenting paths, at most nodes² · edges steps.
    """
    heads: list[int] = []
    free: list[float] = []
    leaving: list[list[int]] = [[] for _ in range(nodes)]
    for start, end, capacity in edges:
        leaving[start].append(len(heads))
        leaving[end].append(len(heads) + 1)
        heads += (end, start)
        free += (capacity, 0.0)
    while True:
        levels = _levels(leaving, heads, free, source)
        if levels[sink] < 0:
            return {node for node, level in enumerate(levels) if level >= 0}
        _block(leaving, heads, free, levels, source, sink)


def _levels(leaving: Sequence[Sequence[int]], heads: Sequence[int], free: Sequence[float], source: int) -> list[int]:
    """Distance of each node from the source along edges with capacity left; -1 where there is no way."""
    levels = [-1] * len(leaving)
    levels[source] = 0
    queue = [source]
    for node in queue:
        for edge in leaving[node]:
            if free[edge] > 0 and levels[heads[edge]] < 0:
                levels[heads[edge]] = levels[node] + 1
                queue.append(heads[edge])
    return levels


def _block(
    leaving: Sequence[Sequence[int]],
    heads: Sequence[int],
    free: list[float],
    levels: Sequence[int],
    source: int,
    sink: int,
) -> None:
    """Push flow along shortest paths until every one of them has an edge without capacity left.

    An edge and its reverse are neighbours in `free`: edge ^ 1 is the reverse of an edge.
    """
    untried = [0] * len(leaving)
    path: list[int] = []
    node = source
    while True:
        if node == sink:
            flow = min(free[edge] for edge in path)
            for edge in path:
                free[edge] -= flow
                free[edge ^ 1] += flow
            first_full = next(index for index, edge in enumerate(path) if free[edge] <= 0)
            node = heads[path[first_full] ^ 1]
            del path[first_full:]
        elif untried[node] < len(leaving[node]):
            edge = leaving[node][untried[node]]
            if free[edge] > 0 and levels[heads[edge]] == levels[node] + 1:
                path.append(edge)
                node = heads[edge]
            else:
                untried[node] += 1
        elif path:
            node = heads[path.pop() ^ 1]
            untried[node] += 1
        else:
            return
