"""ONNX Runtime's level EXTENDED, and the sums of level ALL: operators of its own, which do the work of several."""

from collections.abc import Callable

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.orders import permutation
from sitecnn.workload.lowering.onnxruntime.patterns import (
    bias_gelu,
    gelu,
    layer_normalization,
    quick_gelu,
    simplified_layer_normalization,
    skip_layer_normalization,
)
from sitecnn.workload.lowering.onnxruntime.rules import CONV_ACTIVATIONS, Rules
from sitecnn.workload.lowering.onnxruntime.transposes import move_transposes

Pass = Callable[[Graph, Node, Rules], object]


def optimise(graph: Graph, rules: Rules) -> None:
    """One pass after another in ONNX Runtime's order (graph_transformer_utils.cc, Level2), until nothing changes."""
    graph.is_placed = True
    move_transposes(graph, rules)
    count = 0
    while len(graph.nodes) != count:
        count = len(graph.nodes)
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
        if maker is None or maker.op not in ("Mul", "Div") or not graph.has_rank(maker.inputs[0]):
            continue
        if _is_by_one_value(graph, maker):
            _take_over(graph, node, position, maker)


def _is_by_one_value(graph: Graph, node: Node) -> bool:
    shapes = [graph.shape(name) for name in node.inputs[1:] if graph.is_weight(name)]
    return len(shapes) == 1 and shapes[0] in ((), (1,))


def _transposed_product(graph: Graph, node: Node, rules: Rules) -> None:
    """A MatMul reads an input whose last two axes are swapped, or whose first comes before the last, by itself.

    matmul_transpose_fusion.cc.
    """
    for position, side in enumerate("AB"):
        maker = graph.makers.get(node.inputs[position])
        if maker is None or maker.op != "Transpose":
            continue
        rank = len(graph.shape(maker.inputs[0]))
        order, last = permutation(maker, rank), rank - 1
        swapped = (*range(rank - 2), last, rank - 2)
        batched = {(*range(1, last), 0, last): False, (*range(1, last), last, 0): True}
        is_batched = order in batched and len(graph.shape(node.inputs[1 - position])) == rank
        if order != swapped and (not is_batched or node.attributes.get(f"trans{side}")):
            continue
        _take_over(graph, node, position, maker)
        more = {f"trans{side}": 1 - node.attributes.get(f"trans{side}", 0)}
        if order != swapped:
            more = {f"trans{side}": int(batched[order]), f"transBatch{side}": 1}
        node.attributes = {**node.attributes, **more}


def _take_over(graph: Graph, node: Node, position: int, maker: Node) -> None:
    """The node does the work of the maker of one of its inputs."""
    node.op = "FusedMatMul"
    graph.set_input(node, position, maker.inputs[0])
    if not graph.users[maker.output] and maker.output not in graph.outputs:
        graph.remove(maker)
        node.layers = (*node.layers, *maker.layers)


def _split(graph: Graph, node: Node, rules: Rules) -> None:
    """Gathers and Slices that together take an axis once are one Split, gather_fusion.cc; a Gather's axis is squeezed.

    Up to 1.17 only Gathers, and only where nobody else reads the tensor.
    """
    given = node.inputs[0]
    takers = [user for user in graph.users[given] if user.op in ("Gather", "Slice") and user.inputs[0] == given]
    alone = len(takers) == len(graph.users[given]) and all(taker.op == "Gather" for taker in takers)
    if graph.is_weight(given) or len(takers) < 2 or not (alone or rules.has("Slices join a Split")):
        return
    if given in graph.makers and (len(graph.makers[given].outputs) > 1 or graph.makers[given].op == "Shape"):
        return
    shape = graph.shape(given)
    axis = _axis_taken(graph, takers[0], len(shape))
    ranges = {} if axis is None else {_range_taken(graph, taker, axis, shape): taker for taker in takers}
    taken = sorted(index for one in ranges for index in one)
    if axis is None or len(ranges) < len(takers) or taken != list(range(shape[axis])) or graph.dims(given)[axis] == "":
        return
    sizes = f"{given}/sizes"
    graph.weights[sizes] = Constant((len(ranges),), "int64")
    split = Node("Split", [given, sizes], [], takers[0].layers, {"axis": axis})
    graph.add(split, before=min(takers, key=graph.nodes.index))
    for one in sorted(ranges, key=lambda one: one.start):
        _take_part(graph, split, ranges[one])


def _take_part(graph: Graph, split: Node, taker: Node) -> None:
    """The next output of a Split is what a Slice took of its axis, or a Gather's before the axis is squeezed."""
    output = taker.output
    if taker.op == "Gather" and graph.shape(taker.inputs[1]) == ():
        axis = split.attributes["axis"]
        shape = graph.shape(output)
        output, axes = f"{output}/part", f"{split.inputs[0]}/axes"
        dims = graph.dims(taker.output)
        graph.tell(output, (*shape[:axis], 1, *shape[axis:]), (*dims[:axis], 1, *dims[axis:]))
        graph.weights[axes] = Constant((1,), "int64", (axis,))
        squeeze = graph.add(Node("Squeeze", [output, axes], [taker.output], taker.layers), before=taker)
        graph.remove(taker)
        graph.makers[squeeze.output] = squeeze
    else:
        graph.remove(taker)
        split.layers = tuple(sorted({*split.layers, *taker.layers}))
    split.outputs.append(output)
    graph.makers[output] = split


def _axis_taken(graph: Graph, node: Node, rank: int) -> int | None:
    """The one axis of which a Gather or a Slice takes a part; None where a Slice has several."""
    if node.op == "Gather":
        return int(node.attributes.get("axis", 0)) % rank
    axes = graph.values(node, 3)
    return int(axes[0]) % rank if axes and len(axes) == 1 else None


def _range_taken(graph: Graph, node: Node, axis: int, shape: Shape) -> range:
    """The indices of the axis that a Gather of a single index or a Slice takes; empty where it is neither."""
    size = shape[axis]
    starts, ends, steps = (graph.values(node, position) for position in (1, 2, 4))
    if _axis_taken(graph, node, len(shape)) != axis or not starts or len(starts) != 1 or node.version < 13:
        return range(0)
    if node.op == "Gather":
        return range(int(starts[0]) % size, int(starts[0]) % size + 1)
    return range(size)[int(starts[0]) : int(ends[0])] if ends and (steps or (1.0,)) == (1,) else range(0)


PASSES: tuple[tuple[Pass, *tuple[str, ...]], ...] = (
    (_gemm_activation, "Gemm"),
    (_conv_activation, "Conv"),
    (lambda graph, node, rules: gelu(graph, node), "Erf"),
    (lambda graph, node, rules: layer_normalization(graph, node), "Div"),
    (lambda graph, node, rules: simplified_layer_normalization(graph, node), "Div"),
    (_split, "Gather", "Slice"),
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
    """The convolution before an Add that can take its other input; of two the one that the file lists first."""
    dims = [graph.dims(name) for name in total.inputs] if total.op == "Add" else []
    if len(dims) != 2 or dims[0] != dims[1] or len(dims[0]) != 4 or "" in dims[0]:
        return None
    makers = [maker for name in total.inputs if (maker := graph.makers.get(name)) is not None]
    return min((one for one in makers if _can_add(graph, one)), key=lambda one: one.number, default=None)


def _can_add(graph: Graph, node: Node) -> bool:
    plain = node.op == "Conv" and not node.nchwc and len(node.inputs) == 3 and not node.activation
    return plain and graph.follower(node) is not None
