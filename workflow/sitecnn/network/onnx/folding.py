"""Constants and shapes of an ONNX graph worked out before any data is, by the onnx package's own rules."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from sitecnn.network.graph import Shape

LARGE_BYTES = 1 << 16
"""Tensors above this are weights: only their shape matters, and their values are dropped."""

FOLDED = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Exp"),
        *("Expand", "Floor", "Gather", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual"),
        *(
            "Log",
            "Max",
            "Min",
            "Mod",
            "Mul",
            "Neg",
            "NonZero",
            "Not",
            "OneHot",
            "Or",
            "Pow",
            "Range",
            "Reciprocal",
            "ReduceMax",
        ),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "ScatterND", "Shape", "Sign"),
        *("Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Unsqueeze", "Where", "Xor"),
    }
)
"""Operators whose small constant results are worked out, as exporters compute shapes by them."""

MOST_FOLDED_VALUES = 4096


def fold(model: ModelProto, weights: set[str], *, through_values: bool = True) -> ModelProto:
    """The model with small constants worked out, in as many rounds as they need, and all shapes inferred.

    An If whose condition is known becomes its branch; names of large tensors there join `weights`.
    `through_values`: shapes are inferred from sizes that operators compute, too.
    """
    while True:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=through_values)
        shapes = shapes_of(model.graph)
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        left: list[NodeProto] = []
        changed = False
        types = {value.name: value.type for value in (*model.graph.input, *model.graph.value_info)}
        for node in model.graph.node:
            # Shapes that hang on what was folded in this round: each would take a round of its own.
            shapes.update(_inferred_shapes(node, shapes, types, values, model))
            results = _worked_out(node, shapes, values, model.opset_import)
            values.update(results)
            model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in results.items())
            branch = [] if results else _branch(node, values, model.graph, weights)
            left += [] if results else branch or [node]
            changed |= bool(results or branch)
        if not changed:
            return model
        # What was inferred while less was known would stay.
        del model.graph.value_info[:]
        del model.graph.node[:]
        model.graph.node.extend(left)


def _inferred_shapes(
    node: NodeProto, shapes: Mapping[str, Shape], types: Mapping[str, Any], values: Mapping[str, Any], model: ModelProto
) -> dict[str, Shape]:
    """Shapes of the outputs of a node of ONNX's own whose inputs have one, where they are not yet known."""
    names = {name for name in node.input if name}
    if all(name in shapes for name in node.output if name) or not all(n in shapes or n in values for n in names):
        return {}
    data = {name: numpy_helper.from_array(values[name], name) for name in names if name in values}
    given = {name: onnx.helper.make_tensor_type_proto(one.data_type, one.dims) for name, one in data.items()}
    given |= {
        name: onnx.helper.make_tensor_type_proto(types[name].tensor_type.elem_type, shapes[name])
        for name in names - data.keys()
        if name in types
    }
    opsets = {"" if one.domain == "ai.onnx" else one.domain: one.version for one in model.opset_import}
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[""], "" if node.domain == "ai.onnx" else node.domain)
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, node, given, data, opset_imports=list(model.opset_import), ir_version=model.ir_version
        )
    except Exception:  # of the onnx package's own, of any kind: the next round infers it, or says what is wrong
        return {}
    outputs = (ValueInfoProto(name=name, type=kind) for name, kind in inferred.items())
    return shapes_of(GraphProto(value_info=list(outputs)))


def _branch(node: NodeProto, values: Mapping[str, Any], graph: GraphProto, weights: set[str]) -> list[NodeProto]:
    """The nodes of the branch that an If of known condition takes, none for any other node."""
    if node.op_type != "If" or node.domain not in ("", "ai.onnx") or node.input[0] not in values:
        return []
    chosen = "then_branch" if values[node.input[0]].any() else "else_branch"
    branch = next(given.g for given in node.attribute if given.name == chosen)
    results = [given.name for given in branch.output]
    inner = {*inner_names(branch)}
    names = {name: f"{node.output[0]}/{name}" for name in inner}
    names.update((name, out) for name, out in zip(results, node.output, strict=False) if name in inner)
    for tensor in branch.initializer:
        tensor.name = names[tensor.name]
        if is_large(tensor):
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            weights.add(tensor.name)
        else:
            graph.initializer.append(tensor)
    for step in branch.node:
        _rename(step, names)
    # A branch may hand on a tensor from outside, or the same one twice.
    handed = [
        onnx.helper.make_node("Identity", [names.get(name, name)], [out])
        for name, out in zip(results, node.output, strict=False)
        if out and names.get(name) != out
    ]
    return [*branch.node, *handed]


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Rename tensors in place, in the graphs within the node too."""
    for tensors in (node.input, node.output):
        tensors[:] = [names.get(name, name) for name in tensors]
    for graph in graphs_of(node):
        for output in graph.output:
            output.name = names.get(output.name, output.name)
        for inner in graph.node:
            _rename(inner, names)


def graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs within a node: bodies of loops, branches."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def inner_names(graph: GraphProto) -> Iterator[str]:
    """Names of tensors that a graph makes itself."""
    yield from (given.name for given in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def stored(graph: GraphProto) -> set[str]:
    """Names of the constants that a file has, as weights or Constant nodes."""
    constants = {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    return constants.union(tensor.name for tensor in graph.initializer)


def reads(node: NodeProto) -> set[str]:
    """Tensors that a node reads, in the graphs within it too."""
    names = {name for name in node.input if name}
    for graph in graphs_of(node):
        within = {given.name for given in graph.output}.union(*(reads(inner) for inner in graph.node))
        names |= within - {*inner_names(graph)}
    return names


def is_large(tensor: TensorProto) -> bool:
    """Whether a tensor's values are dropped: it is a weight, or lies in another file."""
    return tensor.data_location == TensorProto.EXTERNAL or tensor.ByteSize() > LARGE_BYTES


def _worked_out(node: NodeProto, shapes: Mapping[str, Shape], values: Mapping[str, Any], opsets: Any) -> dict[str, Any]:
    """The node's results if they are few and known before any data is, else none."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDED:
        return {}
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        return {node.output[0]: _size(node, shapes[node.input[0]])}
    given = {name: values[name] for name in node.input if name in values}
    if len(given) != len({name for name in node.input if name}) or not _is_small(node, given):
        return {}
    names = [name for name in node.output if name]
    graph = onnx.helper.make_graph([node], "", [_untyped(name) for name in given], [_untyped(name) for name in names])
    try:
        results: Any = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, given)
    except Exception:  # numpy's own, of any kind: a constant that cannot be worked out stays unknown
        return {}
    arrays = [numpy.asarray(result) for result in results]
    return dict(zip(names, arrays, strict=True)) if max(array.size for array in arrays) <= MOST_FOLDED_VALUES else {}


def _size(node: NodeProto, shape: Shape) -> Any:
    if node.op_type == "Size":
        return numpy.array(prod(shape), dtype=numpy.int64)
    dims = numpy.array(shape, dtype=numpy.int64)
    return dims[attributes_of(node).get("start", 0) : attributes_of(node).get("end", len(dims))]


def _is_small(node: NodeProto, given: Mapping[str, Any]) -> bool:
    """Whether the result cannot be large, whatever a hostile file makes of it."""
    if node.op_type in ("ConstantOfShape", "Expand"):
        return bool(abs(numpy.prod(given[node.input[-1]].astype(float))) <= MOST_FOLDED_VALUES)
    if node.op_type == "Tile":
        return bool(
            given[node.input[0]].size * abs(numpy.prod(given[node.input[1]].astype(float))) <= MOST_FOLDED_VALUES
        )
    if node.op_type == "OneHot":
        depth = float(given[node.input[1]].ravel()[0])
        return bool(given[node.input[0]].size * abs(depth) <= MOST_FOLDED_VALUES)
    if node.op_type == "Range":
        start, limit, delta = (float(given[name].ravel()[0]) for name in node.input)
        return delta != 0 and abs((limit - start) / delta) <= MOST_FOLDED_VALUES
    return prod(int(value.size) or 1 for value in given.values()) <= MOST_FOLDED_VALUES**2


def _untyped(name: str) -> ValueInfoProto:
    return ValueInfoProto(name=name)


def tensor_of(value: ValueInfoProto) -> Any:
    """The type of a tensor, or of those that a sequence or an optional value holds."""
    kind = value.type
    while kind.HasField("sequence_type") or kind.HasField("optional_type"):
        kind = (kind.sequence_type if kind.HasField("sequence_type") else kind.optional_type).elem_type
    return kind.tensor_type


def shapes_of(graph: GraphProto) -> dict[str, Shape]:
    """The shape of every tensor whose dimensions are all known."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for given in (*graph.input, *graph.value_info, *graph.output):
        tensor = tensor_of(given)
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[given.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name, bytes as text."""
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute if one.type}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in given.items()
    }
