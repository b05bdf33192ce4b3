"""Transposes that cancel: what is between them works in the other order, transpose_optimization/*.cc."""

from math import prod

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.rules import Rules

ELEMENTWISE = frozenset(
    {
        *("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "Elu", "Selu", "Softplus", "Softsign"),
        *("Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Gelu", "Reciprocal", "Floor", "Ceil", "Cast"),
    }
)
"""Operators of one input that work on each value alone."""

WITH_CONSTANT = frozenset({"Add", "Sub", "Mul", "Div", "Pow"})
"""Operators of several inputs, constants among them, that do so."""

MOVABLE = ELEMENTWISE | WITH_CONSTANT | {"Sum", "Max", "Min", "Concat", "Softmax", "LogSoftmax", "Pad"}
"""Operators that can work in another order of axes."""

PASSABLE = MOVABLE | {
    *("Transpose", "Gather", "Split", "Squeeze", "Unsqueeze", "Slice", "Tile", "Shape", "ArgMax", "Where", "Reshape"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "QuantizeLinear", "DequantizeLinear"),
}
"""Operators that a Transpose before them may go past, so that it may vanish."""

REDUCING = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"})

CARRYING = MOVABLE | REDUCING | {"Gather", "Split", "Squeeze", "Unsqueeze", "Slice", "Tile"}
"""Operators whose outputs are transposed where their inputs are."""


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The order that a Transpose puts axes into; reversed where the file does not say."""
    return tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))


def move_transposes(graph: Graph, node: Node, rules: Rules) -> bool:
    """Take Transposes before a node away or behind it; of nodes in their order, each meets what the one before left."""
    if not any(map(graph.is_transposed, node.inputs)):
        return False
    if node.op == "Reshape":
        return rules.has("a Transpose moves behind a Reshape that splits axes") and _split_axes(graph, node)
    return _cancel(graph, node) or _pass_parts(graph, node, rules) or _push_where_cheaper(graph, node)


def _cancel(graph: Graph, node: Node) -> bool:
    """Join a Transpose with one right before it, or have a reduction read what is before its own."""
    if node.op in REDUCING:
        return _reduce(graph, node)
    maker = graph.makers.get(node.inputs[0]) if node.op == "Transpose" else None
    return maker is not None and maker.op == "Transpose" and _join(graph, maker, node)


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def _join(graph: Graph, first: Node, last: Node) -> bool:
    """Two Transposes in a row are one, or none; the first stays where others read it."""
    rank = len(graph.shape(first.inputs[0]))
    one, two = permutation(first, rank), permutation(last, rank)
    joint, given = tuple(one[axis] for axis in two), first.inputs[0]
    if joint != tuple(range(rank)):
        graph.set_input(last, 0, given)
        last.attributes = {**last.attributes, "perm": joint}
    elif not _take_away(graph, last, given):
        return False
    if not graph.users[first.output] and first.output not in graph.outputs:
        graph.remove(first)
        if last in graph:
            last.layers = (*last.layers, *first.layers)
    return True


def _take_away(graph: Graph, node: Node, same: str) -> bool:
    """Remove a node whose output equals another tensor; where it is a result, that tensor's maker makes it instead."""
    if node.output not in graph.outputs:
        graph.remove(node)
        graph.replace(node.output, same)
        return True
    maker = graph.makers.get(same)
    if maker is None or same in graph.outputs or maker.output != same:
        return False
    graph.remove(node)
    graph.set_output(maker, node.output)
    graph.replace(same, node.output)
    return True


def _push_where_cheaper(graph: Graph, node: Node) -> bool:
    """Move a Transpose from before a node to behind it where that costs less, by the estimate of ProcessTranspose."""
    if node.op not in MOVABLE or not _keeps_rank(graph, node):
        return False
    makers = [graph.makers.get(name) for name in graph.data(node)]
    rank = len(graph.shape(node.output))
    for order in {permutation(maker, rank): None for maker in makers if maker is not None and maker.op == "Transpose"}:
        if _push_cost(graph, node, order) < 0:
            _push(graph, node, order)
            return True
    return False


def _push_cost(graph: Graph, node: Node, order: tuple[int, ...]) -> int:
    """Axes that more would be transposed of; only what comes to another Transpose gets its output's for nothing."""
    cost = sum(_input_cost(graph, name, order) for name in graph.data(node))
    if cost < 0 and not any(_leads_to_transpose(graph, name) for name in node.outputs):
        cost += _long_axes(graph, node.output)
    return cost


def _input_cost(graph: Graph, name: str, order: tuple[int, ...]) -> int:
    maker = graph.makers.get(name)
    if maker is None or maker.op != "Transpose":
        return _long_axes(graph, name)
    vanishes = name not in graph.outputs and all(user.op in PASSABLE for user in graph.users[name])
    return -_long_axes(graph, name) if vanishes and permutation(maker, len(order)) == order else 0


def _long_axes(graph: Graph, name: str) -> int:
    return sum(size != 1 for size in graph.shape(name))


def _leads_to_transpose(graph: Graph, name: str) -> bool:
    """Whether a tensor reaches a Transpose by operators that can work in another order."""
    waiting, seen = [name], {name}
    while waiting:
        for user in graph.users[waiting.pop()]:
            if user.op == "Transpose":
                return True
            if user.op in CARRYING and user.output not in seen:
                seen.update(user.outputs)
                waiting.extend(user.outputs)
    return False


def _push(graph: Graph, node: Node, order: tuple[int, ...]) -> None:
    """Have a node work in the order before its Transposes; what else it reads is transposed back, then its output."""
    output, shape = node.output, graph.shape(node.output)
    for position, name in enumerate(list(node.inputs)):
        maker = graph.makers.get(name)
        is_turned = maker is not None and maker.op == "Transpose" and permutation(maker, len(order)) == order
        if name and not graph.is_weight(name) and not is_turned:
            turned = f"{output}/turned{position}"
            graph.shapes[turned] = _turned(graph.shape(name), order)
            graph.add(Node("Transpose", [name], [turned], node.layers[:1], {"perm": _inverse(order)}), before=node)
            graph.set_input(node, position, turned)
    _turn(graph, node, order)
    graph.shapes[output] = shape
    _transpose_behind(graph, node, 0, output, order)


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


def _pass_parts(graph: Graph, node: Node, rules: Rules) -> bool:
    """Move a Transpose from before what takes parts of a tensor, or takes an axis away, to behind it where cheaper."""
    gather = ("Gather",) if rules.has("a Transpose moves behind a Gather") else ()
    maker = graph.makers.get(node.inputs[0]) if node.op in ("Split", "Slice", "Squeeze", *gather) else None
    if maker is None or maker.op != "Transpose":
        return False
    order = permutation(maker, len(graph.shape(maker.output)))
    axes = _axes(graph, node)
    if not axes or _push_cost(graph, node, order) >= 0:
        return False
    turned = [order[axis % len(order)] for axis in axes]
    left = order if len(graph.shape(node.output)) == len(order) else _without(order, set(turned))
    if node.op in ("Slice", "Squeeze"):
        _set_axes(graph, node, sorted(turned) if node.op == "Squeeze" else turned)
    else:
        node.attributes = {**node.attributes, "axis": turned[0]}
    _read_before(graph, node, maker)
    for position, output in enumerate(list(node.outputs)):
        _transpose_behind(graph, node, position, output, left)
    return True


def _axes(graph: Graph, node: Node) -> list[int]:
    """The axes of which a node takes parts or that it takes away; none where the file does not say which."""
    if node.op == "Gather" and len(graph.shape(node.inputs[1])) > 1:
        return []
    if node.op in ("Gather", "Split"):
        return [int(node.attributes.get("axis", 0))]
    return [int(axis) for axis in node.attributes.get("axes") or graph.values(node, _axes_position(node)) or ()]


def _axes_position(node: Node) -> int:
    """Which input names the axes."""
    return 3 if node.op == "Slice" else 1


def _read_before(graph: Graph, node: Node, transpose: Node) -> None:
    """Have a node read what is before a Transpose, which goes where nobody else reads it."""
    graph.set_input(node, 0, transpose.inputs[0])
    if not graph.users[transpose.output] and transpose.output not in graph.outputs:
        graph.remove(transpose)
        node.layers = (*node.layers, *transpose.layers)


def _split_axes(graph: Graph, node: Node) -> bool:
    """A Reshape that makes several axes of each splits those before the Transpose, which then turns the parts."""
    maker = graph.makers.get(node.inputs[0])
    if maker is None or maker.op != "Transpose":
        return False
    order = permutation(maker, len(graph.shape(maker.output)))
    groups = _groups(graph.shape(maker.output), graph.shape(node.output))
    if groups is None:
        return False
    unturned = [axis for place in _inverse(order) for axis in groups[place]]
    graph.set_input(node, 0, maker.inputs[0])
    layers = node.layers
    if not graph.users[maker.output] and maker.output not in graph.outputs:
        graph.remove(maker)
        layers = maker.layers
    _transpose_behind(graph, node, 0, node.output, _inverse(tuple(unturned)), layers)
    return True


def _groups(whole: Shape, split: Shape) -> list[list[int]] | None:
    """The axes of `split` that each axis of `whole` becomes, the fewest from the left; None where they do not fit."""
    groups: list[list[int]] = []
    axis = 0
    for size in whole:
        first = axis
        while axis < len(split) and (axis == first or prod(split[first:axis]) < size):
            axis += 1
        if prod(split[first:axis]) != size or axis == first:
            return None
        groups.append(list(range(first, axis)))
    return groups if axis == len(split) else None


def _set_axes(graph: Graph, node: Node, axes: list[int]) -> None:
    if "axes" in node.attributes:
        node.attributes = {**node.attributes, "axes": tuple(axes)}
        return
    name = f"{node.output}/axes"
    graph.weights[name] = Constant((len(axes),), "int64", tuple(axes))
    graph.set_input(node, _axes_position(node), name)


def _transpose_behind(
    graph: Graph, node: Node, position: int, output: str, order: tuple[int, ...], layers: tuple[int, ...] = ()
) -> None:
    """Have an output made in another order and turned behind it."""
    if order == tuple(range(len(order))):
        return
    name = f"{output}/unturned"
    graph.shapes[name] = _turned(graph.shape(output), order)
    node.outputs[position] = name
    graph.makers[name] = node
    place = graph.nodes.index(node) + 1
    behind = graph.nodes[place] if place < len(graph.nodes) else None
    graph.add(Node("Transpose", [name], [output], layers or node.layers[:1], {"perm": order}), before=behind)


def _reduce(graph: Graph, node: Node) -> bool:
    """A reduction reads what is before a Transpose, and what it leaves is turned where the order is another then."""
    maker = graph.makers.get(node.inputs[0])
    axes = _axes(graph, node)
    if maker is None or maker.op != "Transpose" or not axes:
        return False
    order = permutation(maker, len(graph.shape(maker.output)))
    turned = [order[axis % len(order)] for axis in axes]
    left = order if node.attributes.get("keepdims", 1) else _without(order, set(turned))
    if left != tuple(range(len(left))) and _push_cost(graph, node, order) >= 0:
        return False
    _set_axes(graph, node, sorted(turned))
    _read_before(graph, node, maker)
    _transpose_behind(graph, node, 0, node.output, left)
    return True


def _without(order: tuple[int, ...], gone: set[int]) -> tuple[int, ...]:
    """The order of the axes that are left when some go."""
    left = [axis for axis in order if axis not in gone]
    return tuple(sorted(left).index(axis) for axis in left)
