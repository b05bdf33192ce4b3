"""Operators that exporters write out in parts: GELU, SiLU and layer normalisation, found whole."""

from collections.abc import Sequence

from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node


def _other(graph: Graph, node: Node, name: str) -> str | None:
    """The other of a node's two inputs."""
    others = [given for given in node.inputs if given != name]
    return others[0] if len(node.inputs) == 2 and len(others) == 1 else None


def _with_constant(graph: Graph, node: Node | None, *ops: str) -> str | None:
    """The data of a node of one of these operators whose other input is one constant value."""
    if node is None or node.op not in ops or len(node.inputs) != 2:
        return None
    data = graph.data(node)
    constant = [name for name in node.inputs if graph.is_weight(name)]
    alone = len(data) == 1 and len(constant) == 1 and sum(graph.shape(constant[0])) <= len(graph.shape(constant[0]))
    return data[0] if alone else None


def join(graph: Graph, parts: Sequence[Node], whole: Node) -> None:
    """Put one node in the place of several, of which the last makes its output."""
    whole.layers = tuple(dict.fromkeys(layer for part in (parts[-1], *parts[:-1]) for layer in part.layers))
    place = graph.nodes.index(parts[-1]) + 1
    behind = graph.nodes[place] if place < len(graph.nodes) else None
    for part in parts:
        graph.remove(part)
    graph.add(whole, before=behind)


def gelu(graph: Graph, node: Node) -> bool:
    """x·(1 + erf(x/√2))·½ in the orders that exporters write, gelu_fusion.cc; `node` is the Erf."""
    before = graph.makers.get(node.inputs[0]) if node.op == "Erf" else None
    data = _with_constant(graph, before, "Div", "Mul")
    plus = graph.follower(node)
    if before is None or data is None or plus is None or _with_constant(graph, plus, "Add") is None:
        return False
    first = graph.follower(plus)
    if first is None or first.op != "Mul":
        return False
    other = _other(graph, first, plus.output)
    halved = graph.makers.get(other or "")
    if other == data:
        if data in graph.makers and graph.makers[data].op == "Mul":
            return False  # it is taken for the halving one, and is none
        second = graph.follower(first)
        if second is None or _with_constant(graph, second, "Mul") is None:
            return False
        join(graph, (before, node, plus, first, second), Node("Gelu", [data], [second.output], ()))
        return True
    if halved is not None and _with_constant(graph, halved, "Mul") == data and graph.follower(halved) is first:
        join(graph, (before, halved, node, plus, first), Node("Gelu", [data], [first.output], ()))
        return True
    return False


def quick_gelu(graph: Graph, node: Node) -> bool:
    """x·sigmoid(αx), which is SiLU where α is 1, quick_gelu_fusion.cc; `node` is the Sigmoid."""
    product = graph.follower(node) if node.op == "Sigmoid" else None
    if product is None or product.op != "Mul":
        return False
    other = _other(graph, product, node.output)
    before = graph.makers.get(node.inputs[0])
    scaled = _with_constant(graph, before, "Mul")
    if other == node.inputs[0]:
        parts: tuple[Node, ...] = (node, product)
    elif before is not None and other is not None and scaled == other and graph.follower(before) is node:
        parts = (before, node, product)
    else:
        return False
    join(graph, parts, Node("QuickGelu", [other], [product.output], ()))
    return True


def bias_gelu(graph: Graph, node: Node) -> bool:
    """An Add of a constant vector before a Gelu, bias_gelu_fusion.cc; `node` is the Gelu."""
    before = graph.makers.get(node.inputs[0]) if node.op == "Gelu" else None
    if before is None or before.op != "Add" or graph.follower(before) is not node:
        return False
    data = graph.data(before)
    vectors = [name for name in before.inputs if graph.is_weight(name) and len(graph.shape(name)) == 1]
    if len(data) != 1 or len(vectors) != 1 or graph.shape(vectors[0]) != graph.dims(data[0])[-1:]:
        return False
    join(graph, (before, node), Node("BiasGelu", [data[0], vectors[0]], [node.output], ()))
    return True


def layer_normalization(graph: Graph, node: Node) -> bool:
    """(x - mean)/√(mean((x - mean)²) + ε)·scale + bias over the last axis, layer_norm_fusion.cc; `node` is the Div."""
    root_mean = _root_mean_square(graph, node)
    centred = graph.makers.get(node.inputs[0])
    scale = graph.follower(node)
    shift = graph.follower(scale) if scale is not None else None
    if not root_mean or centred is None or centred.op != "Sub" or scale is None or shift is None:
        return False
    mean = graph.makers.get(centred.inputs[1])
    if mean is None or not _is_mean_of_last_axis(graph, mean) or mean.inputs[0] != centred.inputs[0]:
        return False
    weights = [name for part in (scale, shift) for name in part.inputs if graph.is_weight(name)]
    if (scale.op, shift.op, len(weights)) != ("Mul", "Add", 2):
        return False
    parts = (mean, centred, *root_mean, node, scale, shift)
    whole = Node("LayerNormalization", [centred.inputs[0], *weights], [shift.output], (), {"axis": -1})
    join(graph, parts, whole)
    return True


def simplified_layer_normalization(graph: Graph, node: Node) -> bool:
    """x/√(mean(x²) + ε)·scale over the last axis, the class SimplifiedLayerNormFusion there; `node` is the Div."""
    root_mean = _root_mean_square(graph, node)
    scale = graph.follower(node)
    if not root_mean or scale is None or scale.op != "Mul":
        return False
    weights = [name for name in scale.inputs if graph.is_weight(name)]
    if len(weights) != 1 or graph.shape(weights[0]) != graph.shape(node.output)[-1:]:
        return False
    whole = Node("SimplifiedLayerNormalization", [node.inputs[0], *weights], [scale.output], (), {"axis": -1})
    join(graph, (*root_mean, node, scale), whole)
    return True


def _root_mean_square(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The parts of √(mean(x²) + ε) by which a Div divides its x; none where it divides by something else."""
    root = graph.makers.get(node.inputs[1])
    epsilon = graph.makers.get(root.inputs[0]) if root is not None and root.op == "Sqrt" else None
    mean = graph.makers.get(_with_constant(graph, epsilon, "Add") or "")
    square = graph.makers.get(mean.inputs[0]) if mean is not None and _is_mean_of_last_axis(graph, mean) else None
    if square is None or root is None or epsilon is None or mean is None:
        return ()
    is_square = square.op in ("Pow", "Mul") and square.inputs[0] == node.inputs[0]
    return (square, mean, epsilon, root) if is_square else ()


def _is_mean_of_last_axis(graph: Graph, node: Node) -> bool:
    axes = node.attributes.get("axes") or graph.values(node, 1)
    rank = len(graph.shape(node.inputs[0]))
    return node.op == "ReduceMean" and axes is not None and [int(axis) % rank for axis in axes] == [rank - 1]


def skip_layer_normalization(graph: Graph, node: Node) -> bool:
    """An Add before a LayerNormalization of three axes, skip_layer_norm_fusion.cc; a vector is added before it, too."""
    before = graph.makers.get(node.inputs[0]) if node.op == "LayerNormalization" else None
    if before is None or before.op != "Add" or graph.follower(before) is not node:
        return False
    dims = {graph.dims(name) for name in before.inputs}
    if len(dims) != 1 or len(next(iter(dims))) != 3 or len(graph.data(before)) != 2:
        return False
    if not graph.is_fixed(before.output, 1) or "" in graph.dims(before.output):
        return False
    inputs = [*before.inputs, *node.inputs[1:]]
    shifts = [graph.makers.get(name) for name in before.inputs]
    position = next((place for place, one in enumerate(shifts) if one is not None and _adds_vector(graph, one)), None)
    parts = [before, node]
    if position is not None and (shift := shifts[position]) is not None:
        (vector,) = (name for name in shift.inputs if graph.is_weight(name))
        inputs[position] = graph.data(shift)[0]
        inputs += ["", vector] if len(node.inputs) < 3 else [vector]
        parts.insert(0, shift)
    join(graph, parts, Node("SkipLayerNormalization", inputs, [node.output], (), node.attributes))
    return True


def _adds_vector(graph: Graph, node: Node) -> bool:
    """Whether an Add that one node reads adds a constant along the last axis, as its second input or to a product."""
    data, constants = graph.data(node), [graph.shape(name) for name in node.inputs if graph.is_weight(name)]
    if node.op != "Add" or graph.follower(node) is None or constants != [graph.shape(node.output)[-1:]]:
        return False
    maker = graph.makers.get(data[0])
    return data[0] == node.inputs[0] or (maker is not None and maker.op == "MatMul")
