"""ONNX Runtime's level BASIC: what is constant joins its neighbour, products and normalisations are found whole."""

from collections import defaultdict
from collections.abc import Callable

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.inference import tell_sizes
from sitecnn.workload.lowering.onnxruntime.patterns import layer_normalization
from sitecnn.workload.lowering.onnxruntime.rules import Rules
from sitecnn.workload.lowering.onnxruntime.size_arithmetic import remove_unread_makers, sizes_of_reshape
from sitecnn.workload.lowering.onnxruntime.transposes import move_transposes

Rule = Callable[[Graph, Node, Rules], bool]
"""Changes the graph at a node; whether it did."""


FUNCTIONS = {"HardSwish": ("HardSigmoid",), "Mish": ("Softplus", "Tanh")}
"""x times these, one after another, of x."""


FUNCTION_ATTRIBUTES = {"HardSigmoid": {"alpha": 1 / 6, "beta": 0.5}}


def optimise(graph: Graph, rules: Rules) -> None:
    """Apply all rules until none changes anything."""
    while sum(apply(graph, rules) for apply in STEPS) or not graph.is_folded:
        graph.is_folded = True


def _everywhere(rule: Rule, *ops: str) -> Callable[[Graph, Rules], bool]:
    """A rule applied to all nodes of these operators, or to all nodes; whether it changed any."""

    def apply(graph: Graph, rules: Rules) -> bool:
        return sum(node in graph and rule(graph, node, rules) for node in graph.of(*ops)) > 0

    return apply


def _drop(graph: Graph, node: Node, rules: Rules) -> bool:
    """Dropout and Identity, which only hand on."""
    return graph.drop(node, node.inputs[0])


NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}
"""The value that changes nothing."""


def _neutral(graph: Graph, node: Node, rules: Rules) -> bool:
    """Add of 0 and Mul by 1, as Python's `sum` of branches leaves them, noop_elimination.cc."""
    constants = [position for position, name in enumerate(node.inputs) if graph.is_weight(name)]
    if len(constants) != 1 or (constants == [0] and node.op in ("Sub", "Div")):
        return False
    constant, data = node.inputs[constants[0]], node.inputs[1 - constants[0]]
    if graph.weights[constant].values != (NEUTRAL[node.op],) or not graph.has_rank(data):
        return False
    if len(graph.shape(constant)) > len(graph.shape(data)):
        return False
    return graph.drop(node, data)


def _expand(graph: Graph, node: Node, rules: Rules) -> bool:
    """Expand to the size that a tensor has, expand_elimination.cc."""
    sizes, dims = graph.values(node, 1), graph.dims(node.inputs[0])
    if not sizes or len(sizes) > len(dims):
        return False
    same = all(size in (1, own) for size, own in zip(sizes[::-1], dims[::-1], strict=False))
    return same and graph.drop(node, node.inputs[0])


def _not(graph: Graph, node: Node, rules: Rules) -> bool:
    """A Where by what is not has its branches swapped, not_where_fusion.cc."""
    readers = list(graph.users[node.output])
    if not readers or any(one.op != "Where" or one.inputs.index(node.output) for one in readers):
        return False
    if not graph.drop(node, node.inputs[0]):
        return False
    readers[0].layers = (*readers[0].layers, *node.layers)
    for one in readers:
        one.inputs[1:] = one.inputs[:0:-1]
    return True


def _clip(graph: Graph, node: Node, rules: Rules) -> bool:
    """Relu before a Clip that cuts off what is below 0 itself, relu_clip_fusion.cc."""
    follower = graph.follower(node)
    return follower is not None and follower.op == "Clip" and graph.drop(node, node.inputs[0])


def _scale(graph: Graph, node: Node, rules: Rules) -> bool:
    """BatchNormalization, Mul and Add of one constant a channel join the convolution before them."""
    follower = graph.follower(node)
    if follower is None or follower.inputs[0] != node.output or not _is_constant_convolution(graph, node):
        return False
    channels = graph.shape(node.output)[1]
    if not _scales_channels(graph, node, follower, channels, rules):
        return False
    graph.fuse(node, follower)
    if len(node.inputs) < 3 and follower.op != "Mul":
        name = f"{node.output}/bias"
        graph.weights[name] = Constant((channels,))
        graph.set_input(node, 2, name)
    return True


def _is_constant_convolution(graph: Graph, node: Node) -> bool:
    return all(map(graph.is_weight, node.inputs[1:]))


def _scales_channels(graph: Graph, node: Node, follower: Node, channels: int, rules: Rules) -> bool:
    """Whether what follows is a constant multiplication or addition for each output channel."""
    if follower.op == "BatchNormalization":
        is_plain = node.op == "Conv" or rules.has("BatchNormalization joins ConvTranspose")
        return is_plain and len(follower.outputs) == 1 and all(map(graph.is_weight, follower.inputs[1:]))
    if node.op != "Conv" or follower.op not in ("Mul", "Add") or not graph.is_weight(follower.inputs[1]):
        return False
    shape = graph.shape(follower.inputs[1])
    return _is_per_channel(shape, channels, len(graph.shape(node.output))) or (follower.op == "Mul" and shape == ())


def _is_per_channel(shape: Shape, channels: int, rank: int) -> bool:
    ones = (1,) * (rank - 2)
    return shape in ((channels, *ones), (1, channels, *ones))


def _pad(graph: Graph, node: Node, rules: Rules) -> bool:
    """Pad with zeros before a Conv, or pooling where the version does so, pad_fusion.cc."""
    follower = graph.follower(node)
    if follower is None or follower.op not in rules.padding or follower.inputs[0] != node.output:
        return False
    if not graph.is_folded and any(graph.weights[name].worked_out for name in node.inputs if graph.is_weight(name)):
        return False  # until then equal ones have become one, which stays
    pads = node.attributes.get("pads") or graph.values(node, 1)
    value = node.attributes.get("value", 0.0) if len(node.inputs) < 3 else (graph.values(node, 2) or (1.0,))[0]
    if pads is None or node.attributes.get("mode", "constant") != "constant" or value != 0 or min(pads) < 0:
        return False
    rank = len(pads) // 2
    if any((*pads[:2], *pads[rank : rank + 2])) or follower.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return False
    added = (*pads[2:rank], *pads[rank + 2 :])
    given = follower.attributes.get("pads") or (0,) * len(added)
    follower.attributes["pads"] = tuple(int(one + more) for one, more in zip(given, added, strict=True))
    graph.set_input(follower, 0, node.inputs[0])
    follower.layers = (*follower.layers, *node.layers)
    graph.remove(node)
    return True


def _product(graph: Graph, node: Node, rules: Rules) -> bool:
    """MatMul and a constant vector added are a Gemm, matmul_add_fusion.cc; so are MatMul and BatchNormalization."""
    follower = graph.follower(node)
    if follower is None:
        return False
    given, matrix = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    reshapes = rules.has("MatMul and Add of more than two axes are Reshape, Gemm, Reshape")
    if len(matrix) != 2 or (len(given) != 2 and not (reshapes and _is_whole(graph, node))):
        return False
    if not _adds_vector(graph, node, follower, matrix[1]):
        return False
    bias = next((name for name in follower.inputs if name != node.output), "")
    output = follower.output
    graph.fuse(node, follower)
    node.op, node.attributes = "Gemm", {}
    graph.set_input(node, 2, bias)
    if len(given) != 2:
        _reshape_around(graph, node, output, (graph.shape(output)[-1], matrix[0]))
    return True


def _is_whole(graph: Graph, node: Node) -> bool:
    """Whether a product by a constant matrix is of a tensor whose sizes are known."""
    return graph.is_weight(node.inputs[1]) and graph.is_fixed(node.inputs[0])


def _adds_vector(graph: Graph, node: Node, follower: Node, columns: int) -> bool:
    if follower.op == "BatchNormalization":
        return len(graph.shape(node.output)) == 2 and all(map(graph.is_weight, follower.inputs[1:]))
    others = [name for name in follower.inputs if name != node.output]
    is_vector = len(others) == 1 and graph.shape(others[0]) in ((columns,), (1, columns), (1,))
    return follower.op == "Add" and is_vector and graph.is_weight(others[0])


def _reshape_around(graph: Graph, node: Node, output: str, columns: tuple[int, int]) -> None:
    """Two axes for a Gemm of (outputs, inputs) columns, and its output's axes again."""
    rows = _rows(graph.shape(node.inputs[0]))
    flat, product = f"{node.inputs[0]}/rows/{output}", f"{output}/rows"
    for name, count in zip((product, flat), columns, strict=True):
        graph.tell(name, (rows, count), (rows, count))
    sizes = [f"{name}/sizes" for name in (flat, product)]
    graph.weights |= {sizes[0]: Constant((2,), "int64"), sizes[1]: Constant((len(graph.shape(output)),), "int64")}
    graph.add(Node("Reshape", [node.inputs[0], sizes[0]], [flat], node.layers[:1]), before=node)
    after = graph.nodes.index(node) + 1
    graph.set_input(node, 0, flat)
    graph.set_output(node, product)
    reshape = Node("Reshape", [product, sizes[1]], [output], node.layers[:1])
    graph.add(reshape, before=graph.nodes[after] if after < len(graph.nodes) else None)


def _rows(shape: Shape) -> int:
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows


def _sum(graph: Graph, node: Node, rules: Rules) -> bool:
    """A Gemm without a bias adds the other of two inputs of a Sum, gemm_sum_fusion.cc."""
    follower = graph.follower(node)
    if len(node.inputs) > 2 or follower is None or follower.op != "Sum" or len(follower.inputs) != 2:
        return False
    other = next(name for name in follower.inputs if name != node.output)
    graph.fuse(node, follower)
    graph.set_input(node, 2, other)
    return True


def _reshape(graph: Graph, node: Node, rules: Rules) -> bool:
    """A Reshape and what only changes a shape behind it are one Reshape, reshape_fusion.cc."""
    maker = graph.makers.get(node.inputs[0])
    if not rules.has("of two Reshapes the first goes") or maker is None or maker.op != "Reshape":
        return False
    if graph.follower(maker) is not node or any(one.attributes.get("allowzero") for one in (maker, node)):
        return False
    shape = graph.shape(node.output)
    if not shape or not graph.is_fixed(node.output):
        return False
    given = maker.inputs[0]
    graph.remove(maker)
    graph.set_input(node, 0, given)
    for name in maker.inputs[1:]:
        remove_unread_makers(graph, name)
    node.layers = (*maker.layers, *node.layers)
    if node.op != "Reshape":
        node.op, node.attributes = "Reshape", {}
        sizes = f"{node.output}/sizes"
        graph.weights[sizes] = Constant((len(shape),), "int64", shape)
        graph.set_input(node, 1, sizes)
    return True


def _transposed_product(graph: Graph, node: Node, rules: Rules) -> bool:
    """A Gemm reads its input transposed by itself, gemm_transpose_fusion.cc."""
    maker = graph.makers.get(node.inputs[0])
    if maker is None or maker.op != "Transpose" or graph.follower(maker) is not node:
        return False
    node.attributes["transA"] = 1 - node.attributes.get("transA", 0)
    graph.set_input(node, 0, maker.inputs[0])
    node.layers = (*node.layers, *maker.layers)
    graph.remove(maker)
    return True


def _layer_normalization(graph: Graph, node: Node, rules: Rules) -> bool:
    """Where the file's operator set has the operator; else it is found at level EXTENDED."""
    is_early = rules.has("LayerNormalization is found before Transposes move")
    return is_early and graph.opset >= LAYER_NORMALIZATION_SINCE and layer_normalization(graph, node)


LAYER_NORMALIZATION_SINCE = 17
"""The first operator set that has LayerNormalization."""


def _reshape_sizes(graph: Graph, rules: Rules) -> bool:
    """Sizes to reshape to that need no arithmetic, and what is known through them."""
    changed = _everywhere(sizes_of_reshape, "Reshape")(graph, rules)
    if changed:
        tell_sizes(graph)
    return changed


def expand_functions(graph: Graph) -> None:
    """Operators that are functions of others and have no kernel of their own: HardSwish, Mish."""
    for node in graph.of(*FUNCTIONS):
        last = node.inputs[0]
        for part in FUNCTIONS[node.op]:
            name = f"{node.output}/{part}"
            graph.shapes[name] = graph.shapes[node.output]
            graph.add(Node(part, [last], [name], node.layers, dict(FUNCTION_ATTRIBUTES.get(part, ()))), before=node)
            last = name
        node.op = "Mul"
        graph.set_input(node, 1, last)


def _share_equal_nodes(graph: Graph, rules: Rules) -> bool:
    """Nodes of one operator on the same inputs are one node, common_subexpression_elimination.cc."""
    alike: dict[tuple[object, ...], list[Node]] = defaultdict(list)
    changed = False
    for node in [node for node in graph.nodes if not graph.outputs.intersection(node.outputs)]:
        weights = [graph.weights[name].values or name if graph.is_weight(name) else name for name in node.inputs]
        others = alike[node.op, *weights, len(node.outputs)]
        same = next((other for other in others if other.attributes == node.attributes), None)
        if same is None:
            others.append(node)
        else:
            graph.remove(node)
            for name, other in zip(node.outputs, same.outputs, strict=True):
                graph.replace(name, other)
            same.layers = (*same.layers, *node.layers)
            changed = True
    return changed


STEPS: tuple[Callable[[Graph, Rules], bool], ...] = (
    _everywhere(_drop, "Dropout", "Identity"),
    _everywhere(_neutral, *NEUTRAL),
    _everywhere(_expand, "Expand"),
    _everywhere(_not, "Not"),
    _everywhere(_clip, "Relu"),
    _everywhere(_sum, "Gemm"),
    _everywhere(_transposed_product, "Gemm"),
    _everywhere(_scale, "Conv", "ConvTranspose"),
    _everywhere(_pad, "Pad"),
    _share_equal_nodes,
    _everywhere(_product, "MatMul"),
    _reshape_sizes,
    _everywhere(_reshape, "Reshape", "Squeeze", "Unsqueeze"),
    _everywhere(_layer_normalization, "Div"),
    move_transposes,
)
"""In the order of graph_transformer_utils.cc, Level1."""
