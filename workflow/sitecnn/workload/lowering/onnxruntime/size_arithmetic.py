"""Sizes that a pass works out, of files with open axes: which of them ONNX Runtime knows without it."""

from math import prod

from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.rules import Rules


def sizes_of_reshape(graph: Graph, node: Node, rules: Rules) -> bool:
    """A Reshape to sizes of its own input and at most one other needs no arithmetic, reshape_fusion.cc."""
    joined = graph.makers.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if joined is None or joined.op != "Concat" or graph.follower(joined) is not node:
        return False
    sizes: list[float] = []
    for position, name in enumerate(joined.inputs):
        values = graph.values(joined, position)
        if values is None and not _is_one_value(graph, name):
            return False
        sizes += values or (0 if _is_own_size(graph, node.inputs[0], name, len(sizes), rules) else -1,)
    if sizes.count(-1) > 1:
        return False
    graph.remove(joined)
    graph.weights[joined.output] = Constant((len(sizes),), "int64", tuple(sizes))
    for name in joined.inputs:
        remove_unread_makers(graph, name)
    return True


def remove_unread_makers(graph: Graph, name: str) -> None:
    """Remove the node that makes a tensor that nobody reads, and those that then nobody reads either."""
    maker = graph.makers.get(name)
    if maker is None or any(graph.users[one] or one in graph.outputs for one in maker.outputs):
        return
    graph.remove(maker)
    for given in maker.inputs:
        remove_unread_makers(graph, given)


def _is_one_value(graph: Graph, name: str) -> bool:
    return prod(graph.shape(name)) == 1 and graph.is_fixed(name)


def _is_own_size(graph: Graph, given: str, name: str, axis: int, rules: Rules) -> bool:
    """Whether a value is the length of this axis of a tensor, taken of it or of one that is known to be as long."""
    chain = []
    for op in ("Unsqueeze", "Gather", "Shape"):
        maker = graph.makers.get(name)
        if maker is None or maker.op != op:
            return False
        chain.append(maker)
        name = maker.inputs[0]
    if graph.values(chain[1], 1) != (axis,):
        return False
    if not rules.has("a size of another tensor is known by its axis alone"):
        return name == given or (graph.dims(name) == graph.dims(given) and graph.is_fixed(name))
    lengths = {graph.dims(one)[axis : axis + 1] for one in (name, given)}
    return name == given or (len(lengths) == 1 and lengths.isdisjoint({(), ("",)}))
