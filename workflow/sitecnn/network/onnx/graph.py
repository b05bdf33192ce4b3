"""An ONNX file → its operators in order, with the shape of every tensor; by the onnx package's own checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import PurePosixPath
from typing import Any

import numpy
import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.checker import ValidationError
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError

from sitecnn.errors import SiteCNNError
from sitecnn.network.graph import Shape

LARGE_BYTES = 1 << 16
"""Tensors above this are weights: only their shape matters, and their values are dropped."""

FOLDED = frozenset(
    {
        *("Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Floor"),
        *("Gather", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Shape", "Slice"),
        *("Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
    }
)
"""Operators whose small constant results are worked out, as exporters compute shapes by them."""

MOST_FOLDED_VALUES = 4096


@dataclass(frozen=True)
class Operator:
    """One node: its attributes by name, and its tensors by name, an empty name where one is left out.

    `version` is the operator set of `domain` (empty: ONNX's own) in which the operator last changed.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    domain: str = ""
    version: int = 1

    @property
    def layer_type(self) -> str:
        """The type as layers have it: with its domain where that is not ONNX's own."""
        return f"{self.domain}.{self.type}" if self.domain else self.type


@dataclass(frozen=True)
class Graph:
    """Operators that work on data; of tensors the shapes, numpy's names of the types, the values of small constants.

    `guessed` are tensors of which only the data would tell the shape.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[Operator, ...]
    shapes: Mapping[str, Shape]
    types: Mapping[str, str]
    constants: frozenset[str]
    values: Mapping[str, Any]
    guessed: tuple[str, ...] = ()


def read_graph(data: bytes, origin: str, batch: int | None, inputs: Mapping[str, Shape]) -> tuple[Graph, list[str]]:
    """The checked and shaped graph, and notes; SiteCNNError for whatever the onnx package finds wrong with it."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise SiteCNNError(f"{origin}: not an ONNX file: its protobuf encoding is broken") from None
    _check_external_data(model.graph, origin)
    weights = _drop_weights(model.graph)
    data_inputs = [given for given in model.graph.input if given.name not in weights]
    inner = {name for node in model.graph.node for name in node.output}
    given = {name: shape for name, shape in inputs.items() if name not in inner}
    notes = _fix_inputs(data_inputs, batch, given, origin)
    try:
        _check(model)
        model, guessed = _guess(_fold(model), inputs)
    except (ValidationError, InferenceError, DecodeError, ValueError, TypeError) as error:
        raise SiteCNNError(f"{origin}: not a valid ONNX network: {_first_line(error)}") from None
    graph = _graph(model, weights)
    doubtful = tuple(name for name in guessed if name not in inputs)
    return replace(graph, shapes={**guessed, **graph.shapes}, guessed=doubtful), notes


def _first_line(error: Exception) -> str:
    """The onnx package's message in one printable line of readable length."""
    line = " ".join(str(error).split())
    return "".join(char if char.isprintable() else "?" for char in line)[:300]


def _check_external_data(graph: GraphProto, origin: str) -> None:
    """Weights in other files are never read here; a path out of the file's folder is an attack."""
    for tensor in _tensors(graph):
        for entry in tensor.external_data:
            path = PurePosixPath(entry.value.replace("\\", "/"))
            if entry.key == "location" and (path.is_absolute() or ".." in path.parts or ":" in entry.value):
                raise SiteCNNError(f"{origin}: tensor {tensor.name!r}: its data lies outside the file's folder")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of the graph and of the graphs within it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner) if inner.node or inner.initializer else ()


def _drop_weights(graph: GraphProto) -> set[str]:
    """Large or external initializers become inputs of their shape; the names of all initializers come back."""
    names = {tensor.name for tensor in graph.initializer}
    listed = {given.name for given in graph.input}
    small = [tensor for tensor in graph.initializer if not _is_large(tensor)]
    for tensor in graph.initializer:
        if _is_large(tensor) and tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del graph.initializer[:]
    graph.initializer.extend(small)
    return names


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or tensor.ByteSize() > LARGE_BYTES


def _fix_inputs(data: list[ValueInfoProto], batch: int | None, inputs: Mapping[str, Shape], origin: str) -> list[str]:
    """Give every input the shape asked for, in place; an open batch is 1, other open dimensions must be told."""
    names = {given.name for given in data}
    if unknown := inputs.keys() - names:
        known = ", ".join(sorted(names)) or "none"
        raise SiteCNNError(f"{origin}: no input is called {min(unknown)!r}; its inputs are: {known}")
    notes = []
    for given in data:
        dims = _dims(given, inputs.get(given.name), origin)
        if dims and (batch or dims[0] is None):
            notes += [f"input {given.name!r} has an open batch, taken as {batch or 1}"] if dims[0] is None else []
            dims[0] = batch or 1
        if None in dims:
            shown = "x".join("?" if dim is None else str(dim) for dim in dims)
            example = "x".join(map(str, _example(dims)))
            raise SiteCNNError(
                f"{origin}: input {given.name!r} is {shown}, open where there is a question mark; "
                f"give its shape, for example: --input {given.name}:{example}"
            )
        shape = given.type.tensor_type.shape
        del shape.dim[:]
        shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=dim) for dim in dims)
    return notes


def _dims(given: ValueInfoProto, asked: Shape | None, origin: str) -> list[int | None]:
    """Dimensions of an input, None where they are open."""
    if asked is not None:
        return list(asked)
    if not given.type.tensor_type.HasField("shape"):
        name = given.name
        raise SiteCNNError(f"{origin}: input {name!r} has no shape; give it: --input {name}:1x3x224x224")
    dims = given.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value != -1 else None for dim in dims]


def _example(dims: list[int | None]) -> list[int]:
    """A shape as an image's is: open channels are 3, open lengths 224; of what is no image, 128 steps."""
    if len(dims) != 4:
        return [128 if dim is None else dim for dim in dims]
    usual = (1, 224, 224, 3) if dims[3] in (1, 3) and dims[1] not in (1, 3) else (1, 3, 224, 224)
    return [likely if dim is None else dim for dim, likely in zip(dims, usual, strict=True)]


def _check(model: ModelProto) -> None:
    """Have the onnx package check the model; then forget the shapes it states, which another batch would belie."""
    outputs = [output.type.tensor_type for output in model.graph.output if output.type.HasField("tensor_type")]
    for output in outputs:
        # The checker asks for a shape, which the standard lets a file leave out.
        output.shape.SetInParent()
    onnx.checker.check_model(model)
    for output in outputs:
        output.ClearField("shape")
    del model.graph.value_info[:]


def _inferred(model: ModelProto) -> ModelProto:
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _fold(model: ModelProto) -> ModelProto:
    """The model with small constants worked out, in as many rounds as they need, and all shapes inferred."""
    while True:
        model = _inferred(model)
        shapes = _shapes(model.graph)
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        kept = []
        for node in model.graph.node:
            found = _worked_out(node, shapes, values, model.opset_import)
            values.update(found)
            model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in found.items())
            if not found:
                kept.append(node)
        if len(kept) == len(model.graph.node):
            return model
        del model.graph.node[:]
        model.graph.node.extend(kept)


def _guess(model: ModelProto, inputs: Mapping[str, Shape]) -> tuple[ModelProto, dict[str, Shape]]:
    """The model with shapes inferred from guesses, and the shapes that no inference could tell.

    What depends on the data (NonZero, NonMaxSuppression, Loop) is `inputs`' where that tells it, else its open lengths
    are 1, else it is shaped as the first input. What hangs on it then follows ONNX's rules.
    """
    guessed: dict[str, Shape] = {}
    for _ in range(len(model.graph.node) + 1):
        shapes = _shapes(model.graph)
        shapes |= guessed
        open_nodes = [node for node in model.graph.node if any(n and n not in shapes for n in node.output)]
        if not open_nodes:
            break
        ready = [node for node in open_nodes if all(n in shapes for n in node.input if n)]
        partial = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
        for node in ready or open_nodes[:1]:
            for name in node.output:
                if name and name not in shapes:
                    guessed[name] = inputs.get(name) or _likely(node, name, partial, shapes)
                    _set_shape(model, partial.get(name), name, guessed[name])
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return model, guessed


def _likely(node: NodeProto, name: str, partial: Mapping[str, ValueInfoProto], shapes: Mapping[str, Shape]) -> Shape:
    if name in partial and partial[name].type.tensor_type.HasField("shape"):
        dims = partial[name].type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)
    return next((shapes[given] for given in node.input if given in shapes), (1,))


def _set_shape(model: ModelProto, known: ValueInfoProto | None, name: str, shape: Shape) -> None:
    if known is None:
        known = model.graph.value_info.add(name=name)
    if not known.type.tensor_type.elem_type:
        known.type.tensor_type.elem_type = TensorProto.FLOAT
    del known.type.tensor_type.shape.dim[:]
    known.type.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=dim) for dim in shape)


def _worked_out(node: NodeProto, shapes: Mapping[str, Shape], values: Mapping[str, Any], opsets: Any) -> dict[str, Any]:
    """The node's results if they are few and known before any data is, else none."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDED:
        return {}
    if node.op_type == "Shape" and node.input[0] in shapes:
        dims = numpy.array(shapes[node.input[0]], dtype=numpy.int64)
        part = slice(_attributes(node).get("start", 0), _attributes(node).get("end", len(dims)))
        return {node.output[0]: dims[part]}
    given = {name: values[name] for name in node.input if name in values}
    if len(given) != len({name for name in node.input if name}) or not _is_small(node, given):
        return {}
    graph = onnx.helper.make_graph([node], "", [_untyped(name) for name in given], [_untyped(node.output[0])])
    try:
        results: Any = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, given)
    except Exception:  # numpy's own, of any kind: a constant that cannot be worked out stays unknown
        return {}
    result = numpy.asarray(results[0])
    return {node.output[0]: result} if result.size <= MOST_FOLDED_VALUES else {}


def _is_small(node: NodeProto, given: Mapping[str, Any]) -> bool:
    """Whether the result cannot be large, whatever a hostile file makes of it."""
    if node.op_type in ("ConstantOfShape", "Expand"):
        return bool(abs(numpy.prod(given[node.input[-1]].astype(float))) <= MOST_FOLDED_VALUES)
    return prod(int(value.size) or 1 for value in given.values()) <= MOST_FOLDED_VALUES**2


def _untyped(name: str) -> ValueInfoProto:
    return ValueInfoProto(name=name)


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    """The shape of every tensor whose dimensions are all known."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for given in (*graph.input, *graph.value_info, *graph.output):
        tensor = given.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[given.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes


def _types(graph: GraphProto) -> dict[str, str]:
    """Numpy's name of the type of every tensor."""
    numbers = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for given in (*graph.input, *graph.value_info, *graph.output):
        numbers[given.name] = given.type.tensor_type.elem_type
    names = {number: onnx.helper.tensor_dtype_to_np_dtype(number).name for number in set(numbers.values()) if number}
    return {tensor: names.get(number, "float32") for tensor, number in numbers.items()}


def _version(node: NodeProto, opsets: Mapping[str, int]) -> int:
    opset = opsets.get(node.domain, 1)
    try:
        return onnx.defs.get_schema(node.op_type, opset, node.domain).since_version
    except onnx.defs.SchemaError:
        return opset


def _attributes(node: NodeProto) -> dict[str, Any]:
    found = {given.name: onnx.helper.get_attribute_value(given) for given in node.attribute if given.type}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in found.items()
    }


def _graph(model: ModelProto, weights: set[str]) -> Graph:
    """What works on data; a tensor that comes of weights alone is a weight."""
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants = weights | values.keys()
    opsets = {"" if given.domain == "ai.onnx" else given.domain: given.version for given in model.opset_import}
    operators = []
    for index, node in enumerate(graph.node):
        if all(name in constants for name in node.input if name):
            constants = constants | set(node.output)
            continue
        name = node.name or node.output[0] or f"{node.op_type}_{index}"
        domain = "" if node.domain == "ai.onnx" else node.domain
        tensors = tuple(node.input), tuple(node.output)
        version = _version(node, opsets)
        operators.append(Operator(name, node.op_type, *tensors, _attributes(node), domain, version))
    inputs = tuple(given.name for given in graph.input if given.name not in weights)
    outputs = tuple(given.name for given in graph.output)
    shapes, types = _shapes(graph), _types(graph)
    return Graph(graph.name, inputs, outputs, tuple(operators), shapes, types, frozenset(constants), values)
