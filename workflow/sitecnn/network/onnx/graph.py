"""An ONNX file → its operators in order, with the shape of every tensor; by the onnx package's own checks."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Shape
from sitecnn.network.onnx.folding import attributes_of, fold, graphs_of, is_large, reads, shapes_of, stored
from sitecnn.network.onnx.guesses import guess
from sitecnn.network.onnx.open_axes import Dims, dims_of, folded_open, names_of_sizes, with_open_axes

SIZES = (
    (224, 224),
    (640, 640),
    (48, 320),
    (32, 128),
    (256, 256),
    (384, 384),
    (300, 300),
    (112, 112),
    (64, 64),
    (32, 32),
)
"""Heights and widths that images mostly have, tried in this order for an example that the network can take."""

CONSTANTS_APART = 4
"""The format from which on constants need not be inputs; inference in older ones does not see those that are not."""

STEPS = (128, 16, 1)
"""Open lengths of what is no image."""


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
    def has_body(self) -> bool:
        """Whether there are graphs within it, as in If and Loop."""
        return any(isinstance(value, GraphProto) for value in self.attributes.values())

    @property
    def inner_nodes(self) -> Iterator[NodeProto]:
        """The nodes of the graphs within it, and of those within them."""
        for value in self.attributes.values():
            yield from _nodes_within(value) if isinstance(value, GraphProto) else ()

    @property
    def layer_type(self) -> str:
        """The type as layers have it: with its domain where that is not ONNX's own."""
        return f"{self.domain}.{self.type}" if self.domain else self.type


@dataclass(frozen=True)
class Graph:
    """Operators that work on data; of tensors the shapes, numpy's names of the types, the values of small constants.

    `guessed` are tensors of which ONNX's rules do not tell the shape. `stored` has numpy's name of the type in which
    the file keeps a weight, where it is not the type that operators read it in. `opset` is ONNX's operator set.
    `worked_out` are constants that the file computes. `opened` has the operators that are left where the file's open
    axes stay open, with the sizes that are told then.
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
    stored: Mapping[str, str] = field(default_factory=dict)
    opset: int = 0
    worked_out: frozenset[str] = frozenset()
    opened: "tuple[Graph, Mapping[str, Dims]] | None" = None


def read_graph(data: bytes, origin: str, batch: int | None, inputs: Mapping[str, Shape]) -> tuple[Graph, list[str]]:
    """The checked and shaped graph, and notes; NetworkError for whatever the onnx package finds wrong with it."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise NetworkError(f"{origin}: not an ONNX file: its protobuf encoding is broken") from None
    _check_external_data(model.graph, origin)
    weights = _drop_weights(model.graph)
    in_file = stored(model.graph)
    model.ir_version = max(model.ir_version, CONSTANTS_APART)
    data_inputs = [given for given in model.graph.input if given.name not in weights]
    inner = {name for node in model.graph.node for name in node.output}
    requested = {name: shape for name, shape in inputs.items() if name not in inner}
    batch_names = _batch_names(data_inputs)
    if unsized := _open_inputs(data_inputs, requested, batch_names, origin):
        raise NetworkError(_question(unsized, data, origin, batch, inputs))
    as_given = with_open_axes(model)
    notes = _fix_inputs(data_inputs, batch, requested, batch_names)
    try:
        _check(model)
        model, guessed, sure = guess(fold(onnx.inliner.inline_local_functions(model), weights), inputs)
    except (ValidationError, InferenceError, DecodeError, RuntimeError, ValueError, TypeError) as error:
        raise NetworkError(f"{origin}: not a valid ONNX network: {_first_line(error)}") from None
    graph = _graph(model, weights, in_file)
    read = {name for node in model.graph.node for name in reads(node)} | set(graph.outputs)
    doubtful = tuple(name for name in guessed if name in read and name not in inputs and name not in sure)
    graph = replace(graph, shapes={**guessed, **graph.shapes}, guessed=doubtful)
    return replace(graph, opened=_opened(graph, as_given, weights, in_file) if as_given else None), notes


def _opened(
    graph: Graph, as_given: ModelProto, weights: set[str], in_file: set[str]
) -> tuple[Graph, Mapping[str, Dims]] | None:
    """None where an If cannot be decided, whose branches the fixed graph has: nobody can tell what is run."""
    _import_domains(as_given)
    weights, names = set(weights), names_of_sizes(as_given)
    model = folded_open(as_given, weights)
    if model is None or any(node.op_type == "If" for node in model.graph.node):
        return None
    return replace(_graph(model, weights, in_file), shapes=graph.shapes), dims_of(model, names)


INFERENCE_ERROR = re.compile(r"\(op_type:(\w+), node name: (.*?)\): \[\w+\] (.*?)(?= \(op_type:|$)")
"""Where the onnx package says which node has which fault; faults that follow from the first come behind it."""


def _first_line(error: Exception) -> str:
    """The onnx package's message, of several the first, in one printable line of readable length."""
    line = " ".join(str(error).split())
    if fault := INFERENCE_ERROR.search(line):
        line = f"node {fault[2]!r} ({fault[1]}): {fault[3]}"
    return "".join(char if char.isprintable() else "?" for char in line)[:300]


def _check_external_data(graph: GraphProto, origin: str) -> None:
    """Weights in other files are never read here; a path out of the file's folder is an attack."""
    for tensor in _tensors(graph):
        for entry in tensor.external_data:
            path = PurePosixPath(entry.value.replace("\\", "/"))
            if entry.key == "location" and (path.is_absolute() or ".." in path.parts or ":" in entry.value):
                raise NetworkError(f"{origin}: tensor {tensor.name!r}: its data lies outside the file's folder")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of the graph and of the graphs within it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner) if inner.node or inner.initializer else ()


def _nodes_within(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for inner in graphs_of(node):
            yield from _nodes_within(inner)


def _drop_weights(graph: GraphProto) -> set[str]:
    """Large or external initializers become inputs of their shape; the names of all initializers come back."""
    names = {tensor.name for tensor in graph.initializer}
    listed = {given.name for given in graph.input}
    small = [tensor for tensor in graph.initializer if not is_large(tensor)]
    large = [tensor for tensor in graph.initializer if is_large(tensor)]
    nodes = []
    for node in graph.node:
        values = [one.t for one in node.attribute if one.name == "value"]
        if node.op_type == "Constant" and len(node.output) == 1 and values and is_large(values[0]):
            values[0].name = node.output[0]
            large.append(values[0])
            names.add(node.output[0])
        else:
            nodes.append(node)
    for tensor in large:
        if tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    if len(nodes) < len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
    # Old files list constants among the inputs too; there they would count as what a caller may give anew.
    fixed = {tensor.name for tensor in small}
    inputs = [given for given in graph.input if given.name not in fixed]
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.initializer[:]
    graph.initializer.extend(small)
    return names


def _batch_names(data: list[ValueInfoProto]) -> set[str]:
    """What the file calls the batch: the names of first dimensions, but not one that stands for several at once."""
    names = set()
    for given in data:
        first, *others = [dim.dim_param for dim in given.type.tensor_type.shape.dim] or [""]
        names |= {first} - {"", *others}
    return names


def _batch_axis(given: ValueInfoProto, names: Collection[str]) -> int:
    """The dimension that has the batch's name, else the first."""
    dims = given.type.tensor_type.shape.dim
    return next((axis for axis, dim in enumerate(dims) if dim.dim_param in names), 0)


def _open_inputs(
    data: list[ValueInfoProto], requested: Mapping[str, Shape], batch_names: Collection[str], origin: str
) -> dict[str, list[int | None]]:
    """Inputs of which more than the batch is open, an empty list for one without a shape; refuses what has none."""
    names = {given.name for given in data}
    if unknown := requested.keys() - names:
        known = ", ".join(sorted(names)) or "none"
        raise NetworkError(f"{origin}: no input is called {min(unknown)!r}; its inputs are: {known}")
    unsized = {}
    for given in data:
        if not given.type.HasField("tensor_type"):
            kind = (given.type.WhichOneof("value") or "value without a type").removesuffix("_type")
            raise NetworkError(
                f"{origin}: input {given.name!r} is a {kind}; export the model with a tensor in its place"
            )
        dims = _dims(given, requested.get(given.name))
        if (of_file := _dims(given, None)) and dims and len(of_file) != len(dims):
            what = f"{_text(of_file)} in the file, but {_text(dims)} in --input: give {len(of_file)} dimensions"
            raise NetworkError(f"{origin}: input {given.name!r} is {what}")
        axis = _batch_axis(given, batch_names)
        if dims is None or None in dims[:axis] + dims[axis + 1 :]:
            unsized[given.name] = [1 if place == axis and not dim else dim for place, dim in enumerate(dims or [])]
    return unsized


def _text(dims: list[int | None]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims)


def _question(
    unsized: Mapping[str, list[int | None]], data: bytes, origin: str, batch: int | None, inputs: Mapping[str, Shape]
) -> str:
    """What to give, with the first usual example that the network can be read with."""
    examples = [
        {name: _example(dims, size, steps) for name, dims in unsized.items()}
        for size, steps in zip(SIZES, (STEPS + STEPS[-1:] * len(SIZES)), strict=False)
    ]
    taken = next((one for one in examples if _is_taken(one, data, origin, batch, inputs)), examples[0])
    typed = " ".join(f"--input {name}:{'x'.join(map(str, shape))}" for name, shape in taken.items())
    name, dims = next(iter(unsized.items()))
    what = f"is {_text(dims)}, open where there is a question mark" if dims else "has no shape"
    more = f"; open are also {', '.join(list(unsized)[1:])}" if len(unsized) > 1 else ""
    return f"{origin}: input {name!r} {what}{more}; give its shape, for example: {typed}"


def _is_taken(
    example: Mapping[str, Shape], data: bytes, origin: str, batch: int | None, inputs: Mapping[str, Shape]
) -> bool:
    try:
        graph, _ = read_graph(data, origin, batch, {**inputs, **example})
    except NetworkError:
        return False
    return all(min(shape, default=1) > 0 for shape in graph.shapes.values())


def _fix_inputs(
    data: list[ValueInfoProto], batch: int | None, requested: Mapping[str, Shape], batch_names: Collection[str]
) -> list[str]:
    """Give every input the shape asked for, in place; an open batch is 1."""
    notes = []
    for given in data:
        dims = _dims(given, requested.get(given.name)) or []
        axis = _batch_axis(given, batch_names)
        if dims and (batch or dims[axis] is None):
            notes += [f"input {given.name!r} has an open batch, taken as {batch or 1}"] if dims[axis] is None else []
            dims[axis] = batch or 1
        shape = given.type.tensor_type.shape
        shape.SetInParent()
        del shape.dim[:]
        shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=dim) for dim in dims)
    return notes


def _dims(given: ValueInfoProto, requested: Shape | None) -> list[int | None] | None:
    """Dimensions of an input, None where they are open: exporters write names, -1 or 0 for those."""
    if requested is not None:
        return list(requested)
    if not given.type.tensor_type.HasField("shape"):
        return None
    dims = given.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value not in (-1, 0) else None for dim in dims]


def _example(dims: list[int | None], size: tuple[int, int], steps: int) -> Shape:
    """A shape as an image's is, of 3 channels, or of so many steps."""
    if dims and len(dims) != 4:
        return tuple((1 if axis == 0 else steps) if dim is None else dim for axis, dim in enumerate(dims))
    last = len(dims) == 4 and dims[3] in (1, 3) and dims[1] not in (1, 3)
    usual = (1, *size, 3) if last else (1, 3, *size)
    return tuple(likely if dim is None else dim for dim, likely in zip(dims or [None] * 4, usual, strict=True))


def _check(model: ModelProto) -> None:
    """Have the onnx package check the model; then forget the shapes it states, which another batch would belie."""
    outputs = [output.type.tensor_type for output in model.graph.output if output.type.HasField("tensor_type")]
    for output in outputs:
        # The checker asks for a shape, which the standard lets a file leave out.
        output.shape.SetInParent()
    _import_domains(model)
    onnx.checker.check_model(model)
    for output in outputs:
        output.ClearField("shape")
    given = {value.name: value for value in model.graph.input}
    for value in model.graph.output:
        if value.name in given:
            value.CopyFrom(given[value.name])
    del model.graph.value_info[:]


def _import_domains(model: ModelProto) -> None:
    """Some exporters leave out the operator sets of other libraries, which the checker asks for."""
    imported = {"" if given.domain == "ai.onnx" else given.domain for given in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - imported - {"ai.onnx"}):
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


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


def _graph(model: ModelProto, weights: set[str], in_file: set[str]) -> Graph:
    """What works on data; a tensor that comes of weights alone is a weight. `in_file` are constants not computed."""
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants = weights | values.keys()
    shapes, types = shapes_of(graph), _types(graph)
    kept_as: dict[str, str] = {}
    opsets = {"" if given.domain == "ai.onnx" else given.domain: given.version for given in model.opset_import}
    operators = []
    for index, node in enumerate(graph.node):
        if reads(node) <= constants:
            constants.update(node.output)
            if node.input and (source := _stored_as(node, kept_as, types)):
                kept_as[node.output[0]] = source
            continue
        name = node.name or node.output[0] or f"{node.op_type}_{index}"
        domain = "" if node.domain == "ai.onnx" else node.domain
        tensors = tuple(node.input), tuple(node.output)
        version = _version(node, opsets)
        operators.append(Operator(name, node.op_type, *tensors, attributes_of(node), domain, version))
    inputs = tuple(given.name for given in graph.input if given.name not in weights)
    outputs = tuple(given.name for given in graph.output)
    whole = Graph(graph.name, inputs, outputs, tuple(operators), shapes, types, frozenset(constants), values)
    computed = frozenset(values.keys() - in_file)
    return replace(whole, stored=kept_as, opset=opsets.get("", 0), worked_out=computed)


def _stored_as(node: NodeProto, stored: Mapping[str, str], types: Mapping[str, str]) -> str:
    """The type in which the file keeps a weight that is worked out of another, empty where it is as it is read."""
    if node.op_type == "DequantizeLinear":
        return types.get(node.input[0], "")
    return stored.get(node.input[0], "")
