"""Transposes that cancel: what is left of them when they are moved past elementwise operators."""

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
"""Operators of two inputs, one of them constant, that do so."""


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The order that a Transpose puts axes into; reversed where the file does not say."""
    return tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))


def cancel_transposes(graph: Graph, node: Node) -> bool:
    """Join a Transpose with the next one behind it, past operators that work on each value alone."""
    if node.op != "Transpose":
        return False
    between: list[Node] = []
    follower = graph.follower(node)
    while follower is not None and follower.op in (*ELEMENTWISE, *WITH_CONSTANT) and len(graph.data(follower)) == 1:
        between.append(follower)
        follower = graph.follower(follower)
    if follower is None or follower.op != "Transpose":
        return False
    rank = len(graph.shape(node.inputs[0]))
    first, second = permutation(node, rank), permutation(follower, rank)
    joint = tuple(first[axis] for axis in second)
    if joint != tuple(range(rank)) and between:
        return False
    return _without_first(graph, node, follower, between, joint)


def _without_first(graph: Graph, node: Node, last: Node, between: list[Node], joint: tuple[int, ...]) -> bool:
    """Take the first Transpose out, and the last too where the two undo each other."""
    given = node.inputs[0]
    order = permutation(node, len(graph.shape(given)))
    is_identity = joint == tuple(range(len(joint)))
    if is_identity and not between and last.output in graph.outputs:
        return False
    graph.remove(node)
    first = between[0] if between else last
    graph.set_input(first, first.inputs.index(node.output), given)
    for part in between:
        graph.shapes[part.output] = graph.shape(given)
        _turn_constants(graph, part, order)
    if not is_identity:
        last.attributes["perm"] = joint
        last.layers = (*last.layers, *node.layers)
    elif between:
        graph.fuse(between[-1], last)
        between[-1].layers = (*between[-1].layers, *node.layers)
    else:
        graph.remove(last)
        graph.replace(last.output, given)
    return True


def _turn_constants(graph: Graph, node: Node, order: tuple[int, ...]) -> None:
    """Have the constant of an elementwise operator lie as its data do without the Transpose before it."""
    if node.op not in WITH_CONSTANT:
        return
    position = next(position for position, name in enumerate(node.inputs) if graph.is_weight(name))
    constant = graph.weights[node.inputs[position]]
    if len(constant.shape) == 0:
        return
    padded = (1,) * (len(order) - len(constant.shape)) + constant.shape
    name = f"{node.output}/turned"
    shape = tuple(padded[order.index(axis)] for axis in range(len(order)))
    graph.weights[name] = Constant(shape, constant.dtype, constant.values)
    graph.set_input(node, position, name)
