"""The memory that ONNX Runtime's graph needs at least: its weights, and the most of its values alive at once."""

from collections import Counter
from math import prod

from sitecnn.workload.kernels import FLOAT_BYTES
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.kernels import input_shape
from sitecnn.workload.lowering.onnxruntime.transposes import ELEMENTWISE, WITH_CONSTANT

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
"""Operators whose output is their input's buffer."""

IN_PLACE = ELEMENTWISE | WITH_CONSTANT | {"Sum", "QuickGelu", "BatchNormalization", "Mish"} - {"Cast"}
"""Operators that may write into the buffer of an input of the same size that nobody reads later (`MayInplace`)."""


def weights_bytes(graph: Graph) -> int:
    """Constants as they are executed: those of convolutions in blocks are whole blocks. A shared one counts once."""
    sizes: dict[str, int] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            if graph.is_weight(name):
                sizes[name] = prod(input_shape(graph, node, position))
    return FLOAT_BYTES * sum(sizes.values())


def activations_bytes(graph: Graph) -> int:
    """The most bytes of values that are alive at once, the network's inputs among them, in the order of the nodes."""
    uses = Counter(name for node in graph.nodes for name in set(graph.data(node)))
    uses.update(graph.outputs)
    buffer_of = {name: name for name in uses if name not in graph.makers}
    size_of = {name: prod(graph.shape(name)) for name in buffer_of}
    readers = Counter({name: uses[name] for name in buffer_of})
    alive = peak = sum(size_of.values())
    for node in graph.nodes:
        given = set(graph.data(node))
        for name in node.outputs:
            if not name:
                continue
            taken = _taken_buffer(graph, node, name, buffer_of, readers)
            buffer_of[name] = taken or name
            if not taken:
                size_of[name] = prod(graph.shape(name))
                alive += size_of[name]
            readers[buffer_of[name]] += uses[name]
        peak = max(peak, alive)
        for buffer in [buffer_of[name] for name in given]:
            readers[buffer] -= 1
        for buffer in {buffer_of[name] for name in (*given, *filter(None, node.outputs))}:
            if readers[buffer] == 0:
                alive -= size_of.pop(buffer, 0)
    return FLOAT_BYTES * peak


def _taken_buffer(
    graph: Graph, node: Node, output: str, buffer_of: dict[str, str], readers: Counter[str]
) -> str | None:
    """The buffer of an input that the output takes, None where it gets one of its own."""
    if node.op in VIEWS:
        return buffer_of.get(node.inputs[0])
    candidates = node.inputs[3:4] if node.op == "Conv" else graph.data(node) if node.op in IN_PLACE else []
    for name in candidates:
        if readers[buffer_of[name]] == 1 and graph.shape(name) == graph.shape(output):
            return buffer_of[name]
    return None
