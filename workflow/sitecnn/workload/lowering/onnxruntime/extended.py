"""ONNX Runtime's level EXTENDED, and the sums of level ALL: operators of its own, which do the work of several."""

from collections.abc import Callable

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.patterns import bias_gelu, gelu, quick_gelu, skip_layer_normalization
from sitecnn.workload.lowering.onnxruntime.rules import CONV_ACTIVATIONS, Rules
from sitecnn.workload.lowering.onnxruntime.transposes import move_transposes, permutation

Pass = Callable[[Graph, Node, Rules], object]


def optimise(graph: Graph, rules: Rules) -> None:
    """One pass after another over all nodes, in ONNX Runtime's order (graph_transformer_utils.cc, Level2)."""
    for apply, *ops in PASSES:
        for node in graph.of(*ops):
            if node in graph:
                apply(graph, node, rules)


def _gemm_activation(graph: Graph, node: Node, rules: Rules) -> None:
    follower = graph.follower(node)
    if follower is not None and follower.op in rules.gemm_activations:
        fuse_activation(graph, node, follower)


def _conv_activation(graph: Graph, node: Node, rules: Rules) -> None:
    follower = graph.follower(node)
    if not node.activation and follower is not None and is_activation(graph, follower):
        fuse_activation(graph, node, follower)


def fuse_activation(graph: Graph, node: Node, activation: Node) -> None:
    """The node applies the activation to its output itself."""
    node.attributes = {**node.attributes, "activation": activation.op}
    graph.fuse(node, activation)


def is_activation(graph: Graph, node: Node) -> bool:
    """Whether a Conv can apply it itself: one of CONV_ACTIVATIONS, whose bounds are constant."""
    return node.op in CONV_ACTIVATIONS and all(graph.is_weight(name) or not name for name in node.inputs[1:])


def _scaled_product(graph: Graph, node: Node, rules: Rules) -> None:
    """A MatMul multiplies by a constant itself, matmul_scale_fusion.cc."""
    follower = graph.follower(node)
    if follower is not None and follower.op in ("Mul", "Div") and _is_by_one_value(graph, follower):
        node.op = "FusedMatMul"
        graph.fuse(node, follower)
    for position in range(2):
        maker = graph.makers.get(node.inputs[position])
        if maker is None or maker.op not in ("Mul", "Div") or graph.follower(maker) is not node:
            continue
        if _is_by_one_value(graph, maker):
            _take_over(graph, node, position, maker)


def _is_by_one_value(graph: Graph, node: Node) -> bool:
    shapes = [graph.shape(name) for name in node.inputs[1:] if graph.is_weight(name)]
    return len(shapes) == 1 and shapes[0] in ((), (1,))


def _transposed_product(graph: Graph, node: Node, rules: Rules) -> None:
    """A MatMul reads an input whose last two axes are swapped by itself, matmul_transpose_fusion.cc."""
    for position in range(2):
        maker = graph.makers.get(node.inputs[position])
        if maker is None or maker.op != "Transpose" or graph.follower(maker) is not node:
            continue
        rank = len(graph.shape(maker.inputs[0]))
        if permutation(maker, rank) == (*range(rank - 2), rank - 1, rank - 2):
            _take_over(graph, node, position, maker)
            key = ("transA", "transB")[position]
            node.attributes = {**node.attributes, key: 1 - node.attributes.get(key, 0)}


def _take_over(graph: Graph, node: Node, position: int, maker: Node) -> None:
    """The node does the work of the maker of one of its inputs."""
    node.op = "FusedMatMul"
    graph.set_input(node, position, maker.inputs[0])
    graph.remove(maker)
    node.layers = (*node.layers, *maker.layers)


def _split(graph: Graph, node: Node, rules: Rules) -> None:
    """Gathers that take every index of an axis are a Split, and a Squeeze each, gather_fusion.cc; at the first one."""
    if graph.is_weight(node.inputs[0]):
        return
    given = node.inputs[0]
    shape = graph.shape(given)
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    taken = {
        index: user for user in graph.users[given] if (index := _single_index(graph, user, axis, shape)) is not None
    }
    if len(taken) != shape[axis] or len(graph.users[given]) != len(taken) or len(taken) < 2:
        return
    part = (*shape[:axis], 1, *shape[axis + 1 :])
    names = [f"{taken[index].output}/part" for index in range(shape[axis])]
    graph.shapes |= dict.fromkeys(names, part)
    sizes, axes = f"{given}/sizes", f"{given}/axes"
    graph.weights |= {sizes: Constant((len(taken),), "int64"), axes: Constant((1,), "int64", (axis,))}
    first = min(taken.values(), key=graph.nodes.index)
    graph.add(Node("Split", [given, sizes], names, first.layers, {"axis": axis}), before=first)
    for index, name in enumerate(names):
        gather = taken[index]
        squeeze = Node("Squeeze", [name, axes], [gather.output], gather.layers)
        graph.add(squeeze, before=gather)
        graph.remove(gather)
        graph.makers[squeeze.output] = squeeze


def _single_index(graph: Graph, node: Node, axis: int, shape: Shape) -> int | None:
    """The index that a Gather takes of an axis, None where it takes several or is none."""
    if node.op != "Gather" or int(node.attributes.get("axis", 0)) % len(shape) != axis:
        return None
    values = graph.values(node, 1)
    return int(values[0]) % shape[axis] if values and graph.shape(node.inputs[1]) == () else None


PASSES: tuple[tuple[Pass, *tuple[str, ...]], ...] = (
    (_gemm_activation, "Gemm"),
    (_conv_activation, "Conv"),
    (lambda graph, node, rules: gelu(graph, node), "Erf"),
    (_split, "Gather"),
    *((move_transposes,),) * 3,
    (_transposed_product, "MatMul", "FusedMatMul"),
    (lambda graph, node, rules: bias_gelu(graph, node), "Gelu"),
    (lambda graph, node, rules: skip_layer_normalization(graph, node), "LayerNormalization"),
    (lambda graph, node, rules: quick_gelu(graph, node), "Sigmoid"),
    (_scaled_product, "MatMul", "FusedMatMul"),
)
"""Each pass with the operators of the nodes at which it looks, all where there are none."""


def add_sums(graph: Graph) -> None:
    """A Conv with a bias and without an activation adds what an Add adds to it, conv_add_act_fusion.cc."""
    for node in graph.of("Conv"):
        total = graph.follower(node) if node in graph and not node.nchwc else None
        taker = _summing_convolution(graph, total) if total is not None else None
        if total is None or taker is None:
            continue
        other = total.inputs[1 - total.inputs.index(taker.output)]
        graph.fuse(taker, total)
        graph.set_input(taker, 3, other)
        follower = graph.follower(taker)
        if follower is not None and is_activation(graph, follower):
            fuse_activation(graph, taker, follower)


def _summing_convolution(graph: Graph, total: Node) -> Node | None:
    """The first of an Add's two inputs that is a convolution which can take the other."""
    shapes = [graph.shape(name) for name in total.inputs] if total.op == "Add" else []
    if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 4:
        return None
    makers = [graph.makers.get(name) for name in total.inputs]
    return next((maker for maker in makers if maker is not None and _can_add(graph, maker)), None)


def _can_add(graph: Graph, node: Node) -> bool:
    plain = node.op == "Conv" and not node.nchwc and len(node.inputs) == 3 and not node.activation
    return plain and graph.follower(node) is not None
