"""Transposes that cancel: what is between them works in the other order, transpose_optimization/*.cc."""

from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.orders import Order, order_of, transpose_before
from sitecnn.workload.lowering.onnxruntime.rules import Rules
from sitecnn.workload.lowering.onnxruntime.transpose_handlers import Handler, handler_of

LONG_AXES_OF_UNKNOWN = 5
"""What is assumed of a tensor of which even the number of axes is not known."""


def move_transposes(graph: Graph, rules: Rules) -> bool:
    """Move Transposes behind the nodes that they stand before, where that costs less; whether any was moved.

    Of nodes in their order, each meets what the one before left.
    """
    leading = _leading_to_transposes(graph, rules)
    changed = False
    for node in list(graph.nodes):
        changed |= node in graph and _move_behind(graph, node, rules, leading)
    return changed


def _leading_to_transposes(graph: Graph, rules: Rules) -> set[str]:
    """Tensors from which a Transpose can come to another one."""
    leading: set[str] = set()
    for node in reversed(graph.nodes):
        handler = handler_of(graph, node, rules)
        if node.op == "Transpose":
            leading.add(node.inputs[0])
        elif handler is not None and handler.turns_output and leading.intersection(node.outputs):
            leading.update(node.inputs[position] for position in handler.positions(graph, node))
    return leading


def _move_behind(graph: Graph, node: Node, rules: Rules, leading: set[str]) -> bool:
    handler = handler_of(graph, node, rules)
    if handler is None or not any(transpose_before(graph, name) for name in node.inputs):
        return False
    positions = handler.positions(graph, node)
    for position in positions:
        maker = transpose_before(graph, node.inputs[position])
        if maker is None:
            continue
        order = order_of(graph, maker)
        is_cheaper = node.op == "Transpose" or _cost(graph, node, handler, order, rules, leading) < 0
        if is_cheaper and handler.move(graph, node, positions, order):
            return True
    return False


def _cost(graph: Graph, node: Node, handler: Handler, order: Order, rules: Rules, leading: set[str]) -> int:
    """Axes that more would be transposed of; what comes to another Transpose gets its output's for nothing."""
    names = [node.inputs[position] for position in handler.positions(graph, node)]
    cost = sum(_input_cost(graph, name, order, rules) for name in names)
    if cost < 0 and handler.turns_output and not _comes_to_another(graph, node, rules, leading):
        cost += max(_long_axes(graph, name) for name in node.outputs if name)
    return cost


def _input_cost(graph: Graph, name: str, order: Order, rules: Rules) -> int:
    if graph.is_weight(name):
        return 0
    maker = transpose_before(graph, name)
    if maker is None:
        return _long_axes(graph, name)
    passes = name not in graph.outputs and all(handler_of(graph, user, rules) for user in graph.users[name])
    return -_long_axes(graph, name) if passes and order_of(graph, maker) == order else 0


def _long_axes(graph: Graph, name: str) -> int:
    return sum(size != 1 for size in graph.dims(name)) if graph.has_rank(name) else LONG_AXES_OF_UNKNOWN


def _comes_to_another(graph: Graph, node: Node, rules: Rules, leading: set[str]) -> bool:
    if not leading.intersection(node.outputs):
        return False
    if not rules.has("a Transpose stays before a result, and before a Squeeze of several readers"):
        return True
    readers = {id(user) for user in graph.users[node.output]}
    return (len(readers) < 2 or node.op not in ("Squeeze", "Unsqueeze")) and not graph.outputs.intersection(
        node.outputs
    )
