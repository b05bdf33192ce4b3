"""Transposes that cancel: what is between them works in the other order, transpose_optimization/*.cc."""

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node

ELEMENTWISE = frozenset(
    {
        *("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "Elu", "Selu", "Softplus", "Softsign"),
        *("Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Gelu", "Reciprocal", "Floor", "Ceil", "Cast"),
    }
)
"""Operators of one input that work on each value alone."""

WITH_CONSTANT = frozenset({"Add", "Sub", "Mul", "Div"})
"""Operators of several inputs, constants among them, that do so."""

MOVABLE = ELEMENTWISE | WITH_CONSTANT | {"Sum", "Max", "Min", "Concat", "Softmax", "LogSoftmax", "Pad"}
"""Operators that can work in another order of axes."""

REDUCING = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"})


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The order that a Transpose puts axes into; reversed where the file does not say."""
    return tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))


def cancel_transposes(graph: Graph, node: Node) -> bool:
    """Take a Transpose out together with those before it, past what can work in the other order between them."""
    if node.op in REDUCING:
        return _reduce(graph, node)
    if node.op != "Transpose":
        return False
    maker = graph.makers.get(node.inputs[0])
    if maker is not None and maker.op == "Transpose" and graph.follower(maker) is node:
        return _join(graph, maker, node)
    between = _between(graph, node)
    if not between:
        return False
    order = _inverse(permutation(node, len(graph.shape(node.output))))
    for part in between:
        _turn(graph, part, order)
    last = graph.makers[node.inputs[0]]
    graph.fuse(last, node)
    return True


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def _join(graph: Graph, first: Node, last: Node) -> bool:
    """Two Transposes in a row are one, or none."""
    rank = len(graph.shape(first.inputs[0]))
    one, two = permutation(first, rank), permutation(last, rank)
    joint, given = tuple(one[axis] for axis in two), first.inputs[0]
    if joint == tuple(range(rank)) and last.output in graph.outputs:
        return False
    graph.remove(first)
    if joint == tuple(range(rank)):
        graph.remove(last)
        graph.replace(last.output, given)
    else:
        graph.set_input(last, 0, given)
        last.attributes["perm"] = joint
        last.layers = (*last.layers, *first.layers)
    return True


def _between(graph: Graph, last: Node) -> list[Node]:
    """What lies between a Transpose and those before it that undo it, none where anything else does."""
    order = _inverse(permutation(last, len(graph.shape(last.output))))
    found: dict[int, Node] = {}
    waiting = [last.inputs[0]]
    while waiting:
        name = waiting.pop()
        maker = graph.makers.get(name)
        if maker is None or id(maker) in found:
            return []
        if maker.op == "Transpose" and permutation(maker, len(order)) == order:
            continue
        if maker.op not in MOVABLE or graph.follower(maker) is None or not _keeps_rank(graph, maker):
            return []
        found[id(maker)] = maker
        waiting += graph.data(maker)
    return list(found.values())


def _keeps_rank(graph: Graph, node: Node) -> bool:
    rank = len(graph.shape(node.output))
    return all(len(graph.shape(name)) == rank for name in graph.data(node))


def _turn(graph: Graph, node: Node, order: tuple[int, ...]) -> None:
    """Have a node work in the order before the Transposes in front of it, which go where nobody else reads them."""
    for position, name in enumerate(list(node.inputs)):
        maker = graph.makers.get(name)
        if graph.is_weight(name):
            _turn_constant(graph, node, position, order)
        elif maker is not None and maker.op == "Transpose" and permutation(maker, len(order)) == order:
            graph.set_input(node, position, maker.inputs[0])
            if not graph.users[name] and name not in graph.outputs:
                graph.remove(maker)
                node.layers = (*node.layers, *maker.layers)
    graph.shapes[node.output] = _turned(graph.shape(node.output), order)
    if node.op in ("Concat", "Softmax", "LogSoftmax"):
        axis = int(node.attributes.get("axis", -1)) % len(order)
        node.attributes = {**node.attributes, "axis": order[axis]}


def _turned(shape: Shape, order: tuple[int, ...]) -> Shape:
    """A shape that a Transpose with this order makes, before it."""
    return tuple(shape[order.index(axis)] for axis in range(len(order)))


def _turn_constant(graph: Graph, node: Node, position: int, order: tuple[int, ...]) -> None:
    """Have the constant of an operator lie as its data do: an elementwise one's axes, a Pad's sizes."""
    constant = graph.weights[node.inputs[position]]
    name = f"{node.output}/turned{position}"
    if node.op == "Pad" and position == 1 and constant.values:
        rank = len(order)
        halves = (constant.values[:rank], constant.values[rank:])
        values = tuple(half[order.index(axis)] for half in halves for axis in range(rank))
        graph.weights[name] = Constant(constant.shape, constant.dtype, values)
    elif node.op in WITH_CONSTANT and constant.shape:
        padded = (1,) * (len(order) - len(constant.shape)) + constant.shape
        graph.weights[name] = Constant(_turned(padded, order), constant.dtype, constant.values)
    else:
        return
    graph.set_input(node, position, name)


def move_transpose(graph: Graph, node: Node) -> bool:
    """Move a Transpose from before a Split or a Squeeze to behind it, where it may meet another."""
    maker = graph.makers.get(node.inputs[0]) if node.op in ("Split", "Squeeze") else None
    if maker is None or maker.op != "Transpose" or graph.follower(maker) is not node:
        return False
    order = permutation(maker, len(graph.shape(maker.output)))
    if node.op == "Split":
        axis = int(node.attributes.get("axis", 0)) % len(order)
        node.attributes = {**node.attributes, "axis": order[axis]}
        left = order
    else:
        axes = node.attributes.get("axes") or graph.values(node, 1)
        if not axes:
            return False
        gone = sorted(order[int(axis) % len(order)] for axis in axes)
        kept = [axis for axis in order if axis not in gone]
        left = tuple(sorted(kept).index(axis) for axis in kept)
        _set_axes(graph, node, gone)
    graph.set_input(node, 0, maker.inputs[0])
    graph.remove(maker)
    for position, output in enumerate(list(node.outputs)):
        _transpose_behind(graph, node, position, output, left)
    return True


def _set_axes(graph: Graph, node: Node, axes: list[int]) -> None:
    if "axes" in node.attributes:
        node.attributes = {**node.attributes, "axes": tuple(axes)}
        return
    name = f"{node.output}/axes"
    graph.weights[name] = Constant((len(axes),), "int64", tuple(axes))
    graph.set_input(node, 1, name)


def _transpose_behind(graph: Graph, node: Node, position: int, output: str, order: tuple[int, ...]) -> None:
    """Have an output made in another order and turned behind it."""
    if order == tuple(range(len(order))):
        return
    name = f"{output}/unturned"
    graph.shapes[name] = _turned(graph.shape(output), order)
    node.outputs[position] = name
    graph.makers[name] = node
    place = graph.nodes.index(node) + 1
    behind = graph.nodes[place] if place < len(graph.nodes) else None
    graph.add(Node("Transpose", [name], [output], node.layers[:1], {"perm": order}), before=behind)


def _reduce(graph: Graph, node: Node) -> bool:
    """A reduction reads what is before a Transpose where the axes that it leaves are in order then, too."""
    maker = graph.makers.get(node.inputs[0])
    axes = node.attributes.get("axes") or graph.values(node, 1)
    if maker is None or maker.op != "Transpose" or not axes or node.attributes.get("keepdims", 1):
        return False
    rank = len(graph.shape(maker.output))
    order = permutation(maker, rank)
    reduced = {int(axis) % rank for axis in axes}
    left = [order[axis] for axis in range(rank) if axis not in reduced]
    if left != sorted(left):
        return False
    graph.set_input(node, 0, maker.inputs[0])
    node.attributes = {**node.attributes, "axes": tuple(sorted(order[axis] for axis in reduced))}
    if not graph.users[maker.output] and maker.output not in graph.outputs:
        graph.remove(maker)
        node.layers = (*node.layers, *maker.layers)
    return True
