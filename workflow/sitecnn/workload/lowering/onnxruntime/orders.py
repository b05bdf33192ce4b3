"""Orders of axes: what a Transpose puts them into, and how a node comes to read or make a tensor in another order."""

from math import prod
from typing import TypeVar

from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node

Size = TypeVar("Size")

Order = tuple[int, ...]
"""The attribute `perm` of a Transpose."""


def permutation(node: Node, rank: int) -> Order:
    """The order that a Transpose puts axes into; reversed where the file does not say."""
    return tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))


def transpose_before(graph: Graph, name: str) -> Node | None:
    """The Transpose that makes a tensor."""
    maker = graph.makers.get(name)
    return maker if maker is not None and maker.op == "Transpose" else None


def order_of(graph: Graph, transpose: Node) -> Order:
    """The order that a Transpose of the graph puts axes into."""
    return permutation(transpose, len(graph.shape(transpose.inputs[0])))


def inverse(order: Order) -> Order:
    """The order that undoes another."""
    return tuple(order.index(axis) for axis in range(len(order)))


def composed(first: Order, last: Order) -> Order:
    """The order of two Transposes in a row."""
    return tuple(first[axis] for axis in last)


def is_identity(order: Order) -> bool:
    """Whether an order changes nothing."""
    return order == tuple(range(len(order)))


def turned(shape: tuple[Size, ...], order: Order) -> tuple[Size, ...]:
    """The shape that a Transpose makes of another."""
    return tuple(shape[axis] for axis in order)


def squeezed(order: Order, gone: set[int]) -> Order:
    """The order of the axes that are left when some go, as they are called before the Transpose."""
    left = [axis for axis in order if axis not in gone]
    return tuple(sorted(left).index(axis) for axis in left)


def unsqueezed(order: Order, added: set[int]) -> Order:
    """The order with axes of one that stay in their place."""
    places = [axis for axis in range(len(order) + len(added)) if axis not in added]
    moved = iter(order)
    return tuple(axis if axis in added else places[next(moved)] for axis in range(len(order) + len(added)))


def turn_input(graph: Graph, node: Node, position: int, order: Order) -> tuple[int, ...]:
    """Have a node read an input put into another order; the layers of a Transpose that goes therefore."""
    name = node.inputs[position]
    if graph.is_weight(name):
        _turn_constant(graph, node, position, order)
        return ()
    maker = transpose_before(graph, name)
    if maker is None:
        graph.set_input(node, position, _transposed(graph, node, name, order))
        return ()
    joint = composed(order_of(graph, maker), order)
    given = maker.inputs[0]
    graph.set_input(node, position, given if is_identity(joint) else _transposed(graph, node, given, joint))
    return maker.layers if remove_unread(graph, maker) else ()


def remove_unread(graph: Graph, node: Node) -> bool:
    """Remove a node whose output nobody reads any more; whether it went."""
    if graph.users[node.output] or node.output in graph.outputs:
        return False
    graph.remove(node)
    return True


def _transposed(graph: Graph, node: Node, name: str, order: Order) -> str:
    """A tensor in another order, of a Transpose that is there or a new one before the node."""
    for user in graph.users[name]:
        if user.op == "Transpose" and order_of(graph, user) == order:
            return user.output
    output = f"{name}/{''.join(map(str, order))}/{node.output}"
    graph.tell(output, turned(graph.shape(name), order), turned(graph.dims(name), order))
    return graph.add(Node("Transpose", [name], [output], node.layers[:1], {"perm": order}), before=node).output


def _turn_constant(graph: Graph, node: Node, position: int, order: Order) -> None:
    constant = graph.weights[node.inputs[position]]
    if len(constant.shape) == len(order) and prod(constant.shape) > 1:
        set_constant(graph, node, position, Constant(turned(constant.shape, order), constant.dtype, constant.values))


def set_constant(graph: Graph, node: Node, position: int, constant: Constant) -> None:
    """Have a node read a constant of its own."""
    name = f"{node.inputs[position] if position < len(node.inputs) else node.output}/of/{node.output}"
    graph.weights[name] = constant
    graph.set_input(node, position, name)


def turn_output(graph: Graph, node: Node, position: int, order: Order, layers: tuple[int, ...]) -> None:
    """Have an output made in another order and put into `order` behind the node, by a Transpose of these layers."""
    output = node.outputs[position]
    name = f"{output}/unturned"
    graph.tell(name, turned(graph.shape(output), inverse(order)), turned(graph.dims(output), inverse(order)))
    node.outputs[position] = name
    graph.makers[name] = node
    place = graph.nodes.index(node) + 1
    behind = graph.nodes[place] if place < len(graph.nodes) else None
    graph.add(Node("Transpose", [name], [output], layers, {"perm": order}), before=behind)


def move_behind(graph: Graph, node: Node, positions: list[int], order: Order, left: Order) -> bool:
    """Take Transposes of an order away from before a node; its outputs are put into the order `left` behind it."""
    freed = tuple(layer for at in positions for layer in turn_input(graph, node, at, inverse(order)))
    if is_identity(left):
        node.layers = (*node.layers, *freed)
        return True
    for at in [at for at, name in enumerate(node.outputs) if name]:
        turn_output(graph, node, at, left, freed or node.layers[:1])
    return True
