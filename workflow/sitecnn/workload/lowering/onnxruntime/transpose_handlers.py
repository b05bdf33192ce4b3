"""How a Transpose moves from before each operator behind it: the handlers of onnx_transpose_optimization.cc."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.orders import (
    Order,
    composed,
    inverse,
    is_identity,
    move_behind,
    order_of,
    remove_unread,
    set_constant,
    squeezed,
    transpose_before,
    unsqueezed,
)
from sitecnn.workload.lowering.onnxruntime.rules import Rules


@dataclass(frozen=True)
class Handler:
    """`move` changes the graph, or tells that it cannot; `positions` are of inputs that a Transpose may stand before.

    `turns_output`: a Transpose may follow.
    """

    move: Callable[[Graph, Node, list[int], Order], bool]
    positions: Callable[[Graph, Node], list[int]] = lambda graph, node: [0]
    turns_output: bool = True


def handler_of(graph: Graph, node: Node, rules: Rules) -> Handler | None:
    """What can be done with a Transpose before a node; None where it stays."""
    if node.op == "Gather" and not rules.has("a Transpose moves behind a Gather"):
        return None
    if node.op == "Reshape" and rules.has("a Transpose moves behind a Reshape that splits axes"):
        return _RESHAPE_THAT_SPLITS
    if node.op == "Gelu" and graph.opset < GELU_SINCE:
        return None  # ONNX Runtime's own, not ONNX's
    return HANDLERS.get(node.op)


GELU_SINCE = 20
"""The first operator set that has Gelu."""


def _all(graph: Graph, node: Node) -> list[int]:
    return [position for position, name in enumerate(node.inputs) if name]


def _not_single_values(graph: Graph, node: Node) -> list[int]:
    return [position for position in _all(graph, node) if graph.shape(node.inputs[position])]


def _whole(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    return move_behind(graph, node, positions, order, order)


def _broadcast(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    shapes = {position: graph.shape(node.inputs[position]) for position in positions}
    known = all(graph.has_rank(node.inputs[position]) for position in positions)
    if not known or max(map(len, shapes.values())) > len(order):
        return False
    for position, shape in shapes.items():
        if len(shape) < len(order):
            _add_axes(graph, node, position, len(order) - len(shape))
    return _whole(graph, node, positions, order)


def _add_axes(graph: Graph, node: Node, position: int, count: int) -> None:
    """Have a node read an input with axes of one in front."""
    name = node.inputs[position]
    shape = ((1,) * count) + graph.shape(name)
    if graph.is_weight(name):
        constant = graph.weights[name]
        set_constant(graph, node, position, Constant(shape, constant.dtype, constant.values))
        return
    output, axes = f"{name}/of/{node.output}", f"{node.output}/axes{position}"
    graph.tell(output, shape, (1,) * count + graph.dims(name))
    graph.weights[axes] = Constant((count,), "int64", tuple(range(count)))
    added = graph.add(Node("Unsqueeze", [name, axes], [output], node.layers[:1]), before=node)
    graph.set_input(node, position, output)
    maker = transpose_before(graph, name)
    if maker is not None:
        _unsqueeze(graph, added, [0], order_of(graph, maker))


def _with_axis(default: int) -> Callable[[Graph, Node, list[int], Order], bool]:
    def move(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
        axis = int(node.attributes.get("axis", default)) % len(order)
        node.attributes = {**node.attributes, "axis": order[axis]}
        return _whole(graph, node, positions, order)

    return move


def _softmax(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    if node.version >= SOFTMAX_OF_ONE_AXIS_SINCE:
        return _with_axis(-1)(graph, node, positions, order)
    first = int(node.attributes.get("axis", 1)) % len(order)
    return sorted(order[:first]) == list(range(first)) and _whole(graph, node, positions, order)


SOFTMAX_OF_ONE_AXIS_SINCE = 13
"""Before this operator set it worked on all axes from one on."""


def _pad(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    rank, back = len(order), inverse(order)
    places = [*back, *(rank + axis for axis in back)]
    if "pads" in node.attributes:
        node.attributes = {**node.attributes, "pads": tuple(node.attributes["pads"][place] for place in places)}
    else:
        _reorder_values(graph, node, 1, places)
    return _whole(graph, node, positions, order)


def _tile(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    _reorder_values(graph, node, 1, list(inverse(order)))
    return _whole(graph, node, positions, order)


def _resize(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """Only where the provider is known, at level EXTENDED, and only between channels first and last."""
    if not graph.is_placed or order not in ((0, 2, 3, 1), (0, 3, 1, 2)):
        return False
    for position in range(1, len(node.inputs)):
        if node.inputs[position]:
            _reorder_values(graph, node, position, list(inverse(order)))
    return _whole(graph, node, positions, order)


def _reorder_values(graph: Graph, node: Node, position: int, places: list[int]) -> None:
    """Have a node read a constant's values in another order."""
    constant = graph.weights.get(node.inputs[position])
    if constant is not None and constant.values and len(constant.values) == len(places):
        values = tuple(constant.values[place] for place in places)
        set_constant(graph, node, position, Constant(constant.shape, constant.dtype, values))


def _axes(graph: Graph, node: Node, position: int, rank: int) -> list[int] | None:
    """The axes that an attribute or an input names; None where the file does not say which."""
    given = node.attributes.get("axes") or graph.values(node, position)
    return [int(axis) % rank for axis in given] if given else None


def _set_axes(graph: Graph, node: Node, position: int, axes: list[int]) -> None:
    if "axes" in node.attributes:
        node.attributes = {**node.attributes, "axes": tuple(axes)}
    else:
        set_constant(graph, node, position, Constant((len(axes),), "int64", tuple(axes)))


def _reduce(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    keeps = bool(node.attributes.get("keepdims", 1))
    axes = _axes(graph, node, 1, len(order))
    if axes is None:
        if len(node.inputs) > 1 and node.inputs[1] and graph.values(node, 1) is None:
            return False
        return move_behind(graph, node, positions, order, order if keeps else ())
    read = sorted(order[axis] for axis in axes)
    _set_axes(graph, node, 1, read)
    return move_behind(graph, node, positions, order, order if keeps else squeezed(order, set(read)))


def _arg(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    axis = order[int(node.attributes.get("axis", 0)) % len(order)]
    node.attributes = {**node.attributes, "axis": axis}
    left = order if node.attributes.get("keepdims", 1) else squeezed(order, {axis})
    return move_behind(graph, node, positions, order, left)


def _squeeze(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    axes = _axes(graph, node, 1, len(order))
    if axes is None:
        return False
    read = sorted(order[axis] for axis in axes)
    _set_axes(graph, node, 1, read)
    return move_behind(graph, node, positions, order, squeezed(order, set(read)))


def _unsqueeze(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    axes = _axes(graph, node, 1, len(graph.shape(node.output)))
    return axes is not None and move_behind(graph, node, positions, order, unsqueezed(order, set(axes)))


def _slice(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    axes = _axes(graph, node, 3, len(order))
    if axes is None:
        return False
    _set_axes(graph, node, 3, [order[axis] for axis in axes])
    return _whole(graph, node, positions, order)


def _gather(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """Of a single index, whose axis goes."""
    if graph.shape(node.inputs[1]) != ():
        return False
    axis = order[int(node.attributes.get("axis", 0)) % len(order)]
    node.attributes = {**node.attributes, "axis": axis}
    return move_behind(graph, node, positions, order, squeezed(order, {axis}))


def _transpose(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    return _join(graph, node, order_of(graph, node))


def _reshape(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """One that only moves axes of one is a Transpose."""
    if not graph.is_fixed(node.inputs[0]) or not graph.is_fixed(node.output):
        return False
    own = _order_of_reshape(graph.shape(node.inputs[0]), graph.shape(node.output))
    return own is not None and len(own) == len(order) and _join(graph, node, own)


def _order_of_reshape(given: Shape, made: Shape) -> Order | None:
    """The order that puts the axes of one shape into those of another, of values that stay in their order."""
    order: list[int] = []
    for size in made if len(made) == len(given) else ():
        free = [axis for axis in range(len(given)) if axis not in order]
        axis = next((axis for axis in free if given[axis] == size), None)
        if axis is None or (size != 1 and any(given[other] != 1 for other in free if other < axis)):
            return None
        order.append(axis)
    return tuple(order) if order else None


def _join(graph: Graph, last: Node, order: Order) -> bool:
    """Two Transposes in a row are one, or none; the first stays where others read it."""
    first = transpose_before(graph, last.inputs[0])
    if first is None:
        return False
    joint, given = composed(order_of(graph, first), order), first.inputs[0]
    if not is_identity(joint):
        graph.set_input(last, 0, given)
        for position in range(len(last.inputs) - 1, 0, -1):
            graph.users[last.inputs.pop(position)].remove(last)
        last.op, last.attributes = "Transpose", {"perm": joint}
    elif not _take_away(graph, last, given):
        return False
    if remove_unread(graph, first) and last in graph:
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


def _split_axes(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """A Reshape that makes several axes of each splits those before the Transpose, which then turns the parts."""
    if _reshape(graph, node, positions, order):
        return True
    if not graph.is_fixed(node.inputs[0]) or not graph.is_fixed(node.output):
        return False
    groups = _groups(graph.shape(node.inputs[0]), graph.shape(node.output))
    if groups is None:
        return False
    left = inverse(tuple(axis for place in inverse(order) for axis in groups[place]))
    return move_behind(graph, node, positions, order, left)


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


def _shape(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """The sizes before the Transpose, and of them those that it puts where the Shape takes them."""
    sizes, places = f"{node.output}/unturned", f"{node.output}/order"
    taken = order[node.attributes.get("start", 0) : node.attributes.get("end", len(order))]
    node.attributes = {}
    for name, count in ((sizes, len(order)), (node.output, len(taken))):
        graph.tell(name, (count,), (count,))
    graph.weights[places] = Constant((len(taken),), "int64", taken)
    layers, output = node.layers[:1], node.output
    move_behind(graph, node, positions, order, tuple(range(len(order))))
    place = graph.nodes.index(node) + 1
    graph.set_output(node, sizes)
    behind = graph.nodes[place] if place < len(graph.nodes) else None
    graph.add(Node("Gather", [sizes, places], [output], layers, {"axis": 0}), before=behind)
    return True


def _stays(graph: Graph, node: Node, positions: list[int], order: Order) -> bool:
    """MaxPool: only of quantised values."""
    return False


_RESHAPE_THAT_SPLITS = Handler(_split_axes, turns_output=False)

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        (
            *("Cast", "Exp", "Gelu", "LeakyRelu", "Log", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Tanh", "Abs"),
            *("Not", "Ceil", "Floor", "Neg", "Erf", "HardSigmoid", "Round", "IsInf", "IsNaN", "Selu", "Shrink"),
            *("Sign", "Softplus", "Softsign", "ThresholdedRelu", "Celu", "Elu", "HardSwish", "Identity", "Sin", "Cos"),
            *("Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "Clip", "CastLike"),
        ),
        Handler(_whole),
    ),
    **dict.fromkeys(
        (
            *("Add", "Max", "Min", "Mul", "Sub", "Div", "And", "Or", "Xor", "Mod", "PRelu", "BitShift", "Equal"),
            *("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Mean", "Sum", "Pow", "Where"),
        ),
        Handler(_broadcast, _not_single_values),
    ),
    **{f"Reduce{kind}": Handler(_reduce) for kind in (
        *("LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare", "L1", "L2"),
    )},
    **dict.fromkeys(("ArgMin", "ArgMax"), Handler(_arg)),
    **dict.fromkeys(("Softmax", "Hardmax", "LogSoftmax"), Handler(_softmax)),
    "Concat": Handler(_with_axis(1), _all),
    "Split": Handler(_with_axis(0)),
    "Pad": Handler(_pad),
    "Tile": Handler(_tile),
    "Slice": Handler(_slice),
    "Squeeze": Handler(_squeeze),
    "Unsqueeze": Handler(_unsqueeze),
    "Gather": Handler(_gather),
    "Shape": Handler(_shape, turns_output=False),
    "Resize": Handler(_resize),
    "MaxPool": Handler(_stays),
    "Transpose": Handler(_transpose, turns_output=False),
    "Reshape": Handler(_reshape, turns_output=False),
}  # fmt: skip
"""By operator. Missing are those that work in one order, as convolutions, and those that join axes."""
