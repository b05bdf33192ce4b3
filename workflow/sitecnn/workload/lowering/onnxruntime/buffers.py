"""The buffers that ONNX Runtime plans for the values of its graph, and what its arena holds after some passes.

allocation_planner.cc: an output is its input's buffer where the kernel may write in place, else a dead buffer of the
same shape, else a new one. The first pass allocates each buffer when its node runs; later passes lay all of them into
one block, whose offsets are those of the first pass (mem_pattern_planner.h), so both are resident.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import prod

from sitecnn.workload.kernels import FLOAT_BYTES
from sitecnn.workload.lowering.onnxruntime.arena import Arena, rounded
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.kernels import input_shape

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Operators whose output is their input's buffer."""

IN_PLACE = frozenset(
    {
        *("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "Elu", "Selu", "Celu", "ThresholdedRelu"),
        *("Softplus", "Softsign", "Softmax", "LogSoftmax", "Cast"),
    }
)
"""Operators that write into their input's buffer if nobody reads it later; sums and products do not."""


@dataclass
class Step:
    """A node's run: buffers (by the value that they were made for) that it allocates and that are free after it."""

    allocated: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    scratch_bytes: int = 0


def weights_bytes(graph: Graph) -> int:
    """Constants as they are executed: those of convolutions in blocks are whole blocks. A shared one counts once."""
    sizes: dict[str, int] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            if graph.is_weight(name):
                sizes[name] = prod(input_shape(graph, node, position))
    return FLOAT_BYTES * sum(sizes.values())


def arena_bytes(graph: Graph) -> int:
    """What the arena holds in memory after the second pass, when it grows no more."""
    steps, arena = plan(graph), Arena()
    size_of = {name: FLOAT_BYTES * prod(graph.shape(name)) for step in steps for name in step.allocated}
    for node in graph.nodes:
        if node.op == "ConvTranspose" and graph.is_weight(node.inputs[1]):
            arena.allocate(FLOAT_BYTES * prod(graph.shape(node.inputs[1])))
    _pass(arena, steps, size_of)
    offsets, size = pattern(steps, size_of, graph.outputs)
    if size:
        block = arena.allocate(size, is_touched=False)
        for name, offset in offsets.items():
            arena.touch(block + offset, size_of[name])
    _pass(arena, steps, {name: size_of[name] for name in size_of if name not in offsets})
    return arena.touched_bytes()


def _pass(arena: Arena, steps: list[Step], size_of: dict[str, int]) -> None:
    """Allocate and release the buffers in `size_of` as a pass does."""
    held: dict[str, int] = {}
    for step in steps:
        for name in step.allocated:
            if name in size_of:
                held[name] = arena.allocate(size_of[name])
        if step.scratch_bytes:
            arena.release(arena.allocate(step.scratch_bytes))
        for name in step.released:
            if name in held:
                arena.release(held.pop(name))
    for address in held.values():
        arena.release(address)


def pattern(steps: list[Step], size_of: dict[str, int], outputs: set[str]) -> tuple[dict[str, int], int]:
    """(offset of each buffer in the block of a pass, its bytes): the gap that fits best, else behind the last one."""
    offsets: dict[str, int] = {}
    alive: list[tuple[int, int, str]] = []
    total = 0
    for step in steps:
        for name in step.allocated:
            if name in outputs:
                continue
            size = rounded(size_of[name])
            reached, best = 0, None
            place = alive[-1][0] + alive[-1][1] if alive else 0
            for start, length, _ in alive:
                gap = start - reached
                if gap >= size and (best is None or gap < best):
                    best, place = gap, reached
                reached = start + length
            offsets[name] = place
            alive.append((place, size, name))
            alive.sort()
            total = max(total, place + size)
        gone = set(step.released)
        alive = [one for one in alive if one[2] not in gone]
    return offsets, total


def plan(graph: Graph) -> list[Step]:
    """A step per node: what it allocates, and what nobody reads any more after it."""
    # Each value is used by its maker, too, until that has run; inputs and results are never free.
    uses = Counter(name for node in graph.nodes for name in (*graph.data(node), *filter(None, node.outputs)))
    uses.update(graph.outputs)
    buffer_of = {name: name for name in uses if name not in graph.makers}
    left = Counter({name: uses[name] + 1 for name in buffer_of})
    dead: list[str] = []
    steps, last = [Step() for _ in graph.nodes], dict[str, int]()
    for index, node in enumerate(graph.nodes):
        steps[index].scratch_bytes = _scratch_bytes(graph, node)
        for name in filter(None, node.outputs):
            buffer = None if name in graph.outputs else _reused(graph, node, name, buffer_of, left, dead)
            if buffer is None:
                steps[index].allocated.append(name)
            buffer_of[name] = buffer or name
            left[buffer_of[name]] += uses[name]
        for name in (*graph.data(node), *filter(None, node.outputs)):
            buffer = buffer_of[name]
            last[buffer] = index
            left[buffer] -= 1
            if not left[buffer]:
                dead.insert(0, buffer)
    for buffer, index in last.items():
        if buffer in graph.makers and buffer not in graph.outputs:
            steps[index].released.append(buffer)
    return steps


def _reused(
    graph: Graph, node: Node, output: str, buffer_of: dict[str, str], left: Counter[str], dead: list[str]
) -> str | None:
    """The buffer that an output takes over, None where it gets one of its own."""
    given = graph.data(node)
    if node.op in VIEWS and given and output == node.output:
        return buffer_of[given[0]]
    position = 3 if node.op == "Conv" else 0 if node.op in IN_PLACE else len(node.inputs)
    for name in node.inputs[position : position + 1]:
        if left[buffer_of.get(name, "")] == 1 and graph.shape(name) == graph.shape(output):
            return buffer_of[name]
    shape = graph.shape(output)
    for place, buffer in enumerate(dead if shape else ()):
        if graph.shape(buffer) == shape:
            return dead.pop(place)
    return None


def _scratch_bytes(graph: Graph, node: Node) -> int:
    """What a kernel allocates while it runs: a transposed convolution's columns of one group (conv_transpose.cc)."""
    if node.op != "ConvTranspose":
        return 0
    return FLOAT_BYTES * prod(graph.shape(node.inputs[1])[1:]) * prod(graph.shape(node.inputs[0])[2:])
