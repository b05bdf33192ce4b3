"""The least memory that a network's values need: over all orders of its layers, by which buffers are alive when."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import FLOAT_BYTES

SHARING = frozenset({"Split", "Flatten", "Reshape"})
"""Types whose tops share their bottom's buffer in Caffe (`ShareData`); a Concat of one input does too."""

STATES = 20_000
"""Sets of finished layers that are looked at before the search settles for a bound: about a tenth of a second."""


@dataclass(frozen=True)
class Schedule:
    """What may run when, and what it holds.

    `after[i]`: layers that must have run before layer i. `touches[i]`: buffers that layer i reads or writes.
    `sizes`: bytes of each buffer. `kept`: buffers that hold a result and are never freed. `extra[i]`: bytes that
    layer i needs only while it runs.
    """

    after: tuple[frozenset[int], ...]
    touches: tuple[frozenset[int], ...]
    sizes: tuple[int, ...]
    results: frozenset[int]
    extra: tuple[int, ...]


@dataclass(frozen=True)
class Peak:
    """The most bytes alive at once; `exact` if no order of the layers needs less, else one order reaches it."""

    bytes: int
    exact: bool


def schedule(network: Network, extra_bytes: Callable[[Layer], int] = lambda layer: 0) -> Schedule:
    """The buffers of a network as Caffe shares them, and the orders of its layers that leave the results as they are.

    A layer that overwrites its input (in place) stays behind every layer that read it before, in the file's order.
    """
    buffer_of: dict[str, int] = {}
    named_by: dict[str, int] = {}
    written_by: dict[int, int] = {}
    read_by: dict[int, set[int]] = {}
    sizes: list[int] = []
    after: list[frozenset[int]] = []
    touches: list[frozenset[int]] = []
    unread: set[str] = set()
    for index, layer in enumerate(network.layers):
        given = [buffer_of[name] for name in layer.bottoms]
        before = {named_by[name] for name in layer.bottoms} | {written_by[buffer] for buffer in given}
        for buffer in given:
            read_by[buffer].add(index)
        unread -= set(layer.bottoms)
        for name, shape in zip(layer.tops, layer.outputs, strict=True):
            if _shares(layer):
                buffer_of[name] = given[0]
            elif name in layer.bottoms:
                before |= read_by[buffer_of[name]]
                written_by[buffer_of[name]], read_by[buffer_of[name]] = index, set()
            else:
                buffer_of[name] = len(sizes)
                written_by[len(sizes)], read_by[len(sizes)] = index, set()
                sizes.append(FLOAT_BYTES * prod(shape))
            named_by[name] = index
        unread |= set(layer.tops)
        after.append(frozenset(before - {index}))
        touches.append(frozenset(given) | {buffer_of[name] for name in layer.tops})
    results = frozenset(buffer_of[name] for name in unread)
    return Schedule(tuple(after), tuple(touches), tuple(sizes), results, tuple(map(extra_bytes, network.layers)))


def least_peak(plan: Schedule, states: int = STATES) -> Peak:
    """The least peak over all orders, exactly if at most `states` sets of finished layers have to be looked at.

    A search for the path of least maximum over sets of finished layers (Dijkstra's algorithm with max for +).
    Where a layer fits under the peak that is needed anyway and leaves no more alive than before, running it at
    once is never worse, which makes chains and most branches a single path.
    """
    walk = _Walk(plan)
    floor = max(map(walk.alone, range(len(plan.after))), default=0)
    queue = [(floor, 0, 0, 0, walk.ready(0))]
    best = {0: floor}
    while queue and len(best) <= states:
        peak, _, done, alive, ready = heapq.heappop(queue)
        if done == walk.all:
            return Peak(peak, exact=True)
        for layer in _safe(walk, peak, done, alive, ready) or ready:
            needs, stays = walk.step(done, alive, layer)
            then, reached = done | 1 << layer, max(peak, needs)
            if reached < best.get(then, reached + 1):
                best[then] = reached
                heapq.heappush(queue, (reached, -then.bit_count(), then, stays, walk.ready_after(then, ready, layer)))
    return Peak(min(_peak_in_file_order(walk), _greedy_peak(walk)), exact=False)


class _Walk:
    """Steps through sets of finished layers, which are bit masks."""

    def __init__(self, plan: Schedule) -> None:
        count = len(plan.after)
        self.plan = plan
        self.all = (1 << count) - 1
        self.after = [sum(1 << layer for layer in before) for before in plan.after]
        self.unlocks = [[later for later in range(count) if layer in plan.after[later]] for layer in range(count)]
        self.users = [0] * len(plan.sizes)
        for layer, buffers in enumerate(plan.touches):
            for buffer in buffers:
                self.users[buffer] |= 1 << layer

    def alone(self, layer: int) -> int:
        """The least bytes that a layer itself needs."""
        return sum(self.plan.sizes[buffer] for buffer in self.plan.touches[layer]) + self.plan.extra[layer]

    def ready(self, done: int) -> tuple[int, ...]:
        return tuple(layer for layer, needed in enumerate(self.after) if not done >> layer & 1 and not needed & ~done)

    def ready_after(self, done: int, ready: Sequence[int], layer: int) -> tuple[int, ...]:
        unlocked = [later for later in self.unlocks[layer] if not self.after[later] & ~done]
        return (*(other for other in ready if other != layer), *unlocked)

    def step(self, done: int, alive: int, layer: int) -> tuple[int, int]:
        """(bytes while the layer runs, bytes that stay alive after it) from `alive` bytes before it."""
        then = done | 1 << layer
        allocated = freed = 0
        for buffer in self.plan.touches[layer]:
            if not self.users[buffer] & done:
                allocated += self.plan.sizes[buffer]
            if not self.users[buffer] & ~then and buffer not in self.plan.results:
                freed += self.plan.sizes[buffer]
        return alive + allocated + self.plan.extra[layer], alive + allocated - freed


def _safe(walk: _Walk, peak: int, done: int, alive: int, ready: Sequence[int]) -> tuple[int, ...]:
    """The first ready layer that can run now without raising the peak later, if there is one."""
    for layer in ready:
        needs, stays = walk.step(done, alive, layer)
        if needs <= peak and stays <= alive:
            return (layer,)
    return ()


def _peak_in_file_order(walk: _Walk) -> int:
    return _peak(walk, lambda done, alive, ready: min(ready))


def _greedy_peak(walk: _Walk) -> int:
    """Always the layer that leaves the least alive."""
    return _peak(walk, lambda done, alive, ready: min(ready, key=lambda layer: walk.step(done, alive, layer)[1]))


def _peak(walk: _Walk, choose: Callable[[int, int, Sequence[int]], int]) -> int:
    done = alive = peak = 0
    ready = walk.ready(0)
    while ready:
        layer = choose(done, alive, ready)
        needs, alive = walk.step(done, alive, layer)
        peak, done = max(peak, needs), done | 1 << layer
        ready = walk.ready_after(done, ready, layer)
    return peak


def _shares(layer: Layer) -> bool:
    single = layer.type == "Concat" and len(layer.bottoms) == 1
    return bool(layer.bottoms) and (layer.type in SHARING or single)
