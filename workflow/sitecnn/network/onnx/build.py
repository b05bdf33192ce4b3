"""A shaped ONNX graph → Network: each operator as its layers of Caffe, or in its place under its own name."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import Inferred, text
from sitecnn.network.caffe.splits import Node, insert_splits
from sitecnn.network.graph import Layer, Network, OnnxNode, OpenForm, Parameter, Shape
from sitecnn.network.onnx.graph import Graph, Operator
from sitecnn.network.onnx.nodes import INPUT, node_of, nodes, source
from sitecnn.network.onnx.open_axes import open_form
from sitecnn.network.onnx.to_caffe import Task, to_layers
from sitecnn.network.settings import Constant, OnnxOperator

MOST_VALUES = 2**40
"""Tensors above this are no network's; it bounds what is computed from their sizes."""

FLOAT_BYTES = 4

FLOATS = ("float32", "float16", "bfloat16", "float64")

HALF = ("float16", "bfloat16")
INTEGER = ("ConvInteger", "MatMulInteger", "QGemm")

SETTING_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Constant inputs that are floating-point settings, not weights, by position."""

UNCOUNTED = ("Attention", "Einsum", "GroupQueryAttention", "MatMulNBits", "MultiHeadAttention")
"""Operators whose products are not counted."""

PRODUCTS = ("Conv", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
"""Parts of the names of operators that have products."""

KNOWN = ("", "com.microsoft")
"""Domains of operators that are known: of others nobody can tell the work."""

NOTE = "an operator of ONNX that no layer of Caffe is equal to"


@dataclass(frozen=True)
class _Entry:
    """A layer to be: its definition, the node that it carries, and whether it is ONNX's own instead of Caffe's.

    `counted` is false for control flow with products within, of which nobody can tell how often they run.
    """

    definition: LayerParameter
    node: OnnxNode | None
    own: bool = False
    counted: bool = True


def build(graph: Graph, origin: str, strict: bool, notes: Sequence[str]) -> Network:
    """The network; NetworkError names the first operator that cannot be sized, or is not Caffe's if `strict`."""
    same: dict[str, str] = {}
    entries = [_input(name, graph) for name in graph.inputs]
    for operator in graph.operators:
        task = Task(operator, graph)
        if _hands_on(task):
            same[operator.outputs[0]] = operator.inputs[0]
            continue
        _require_channels(task, origin)
        entries += _entries(task, same, origin, strict)
    layers = _layers(entries, graph)
    for layer in layers:
        _require_values(layer, origin)
    batch = next((shape[0] for name in graph.inputs if (shape := graph.shapes[name])), 1)
    outputs = tuple(source(name, same) for name in graph.outputs)
    said = (*notes, *_repeated_names(entries))
    network = Network(Path(origin).stem, batch, layers, said, outputs, _doubts(graph), _precision(graph), graph.opset)
    return replace(network, open_form=_open_form(network, graph, same))


def _open_form(network: Network, graph: Graph, same: Mapping[str, str]) -> OpenForm | None:
    if graph.opened is None:
        return None
    opened, dims = graph.opened
    same = dict(same)
    inner = []
    for operator in opened.operators:
        if _hands_on(Task(operator, opened)):
            same[operator.outputs[0]] = operator.inputs[0]
        else:
            inner.append(node_of(operator, opened, same))
    placed = {name: index for index, layer in enumerate(network.layers) if layer.node for name in layer.node.outputs}
    inputs = [(index, node) for index, node in nodes(network) if node.operator.type == INPUT]
    return open_form(inputs, inner, placed, dims)


def _precision(graph: Graph) -> str:
    """Int8 where an operator quantises, or works on what is; fp16 where a floating-point weight is."""
    if any("Quantize" in one.type or "QLinear" in one.type or one.type in INTEGER for one in graph.operators):
        return "int8"
    return "fp16" if any(graph.types.get(name) in HALF for name in graph.constants) else "fp32"


def _doubts(graph: Graph) -> tuple[str, ...]:
    """What is to be said of shapes that no rule tells, and of operators whose products are not counted."""
    return (*_guessed_shapes(graph), *_uncounted(graph))


def _uncounted(graph: Graph) -> list[str]:
    uncounted = [one for one in graph.operators if one.has_body or one.type in UNCOUNTED or one.domain not in KNOWN]
    if not uncounted:
        return []
    types = ", ".join(dict.fromkeys(one.layer_type for one in uncounted))
    return [f"the multiply-accumulates within these operators are not counted: {types}"]


def _guessed_shapes(graph: Graph) -> list[str]:
    if not graph.guessed:
        return []
    name = graph.guessed[0]
    shape = "x".join(map(str, graph.shapes[name])) or "1"
    maker = next((one for one in graph.operators if name in one.outputs), None)
    why = f"is not given by ONNX's rules ({maker.layer_type})" if maker and maker.domain else "depends on the data"
    more = f" and of {len(graph.guessed) - 1} more" if len(graph.guessed) > 1 else ""
    return [
        f"the shape of {name!r}{more} {why}: it is guessed, and so is everything that depends on it; "
        f"give it: --input {name}:{shape}"
    ]


CHANNELS: Mapping[str, Callable[[Task], tuple[int, int]]] = {
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger"), lambda task: _channels(task, 1)),
    "QLinearConv": lambda task: _channels(task, 3),
    "ConvTranspose": lambda task: (task.shape(0)[1], task.shape(1)[0]),
    "BatchNormalization": lambda task: (task.shape(0)[1], task.shape(1)[0]),
}
"""How many channels an operator's input has, and how many its weights take; the onnx package compares Gemm's alone."""


def _channels(task: Task, weights: int) -> tuple[int, int]:
    return task.shape(0)[1], task.shape(weights)[1] * int(task.operator.attributes.get("group", 1))


def _require_channels(task: Task, origin: str) -> None:
    """NetworkError where an input has other channels than the weights in the file take: --input may say so."""
    if task.operator.type not in CHANNELS or len(task.shape(0)) < 2:
        return
    given, taken = CHANNELS[task.operator.type](task)
    if given != taken:
        what = f"{origin}: layer {task.operator.name!r} ({task.operator.layer_type})"
        raise NetworkError(f"{what}: its input {text(task.shape(0))} has {given} channels, its weights take {taken}")


def _hands_on(task: Task) -> bool:
    """Whether an operator does nothing: Identity, a Cast to the same type, or to one that is fp32 in fp32's network."""
    if task.operator.type == "Cast":
        given, made = (task.graph.types.get(name) for name in (task.operator.inputs[0], task.operator.outputs[0]))
        return (given in FLOATS and made in FLOATS) or (given is not None and given == made)
    return task.operator.layer_type == "Identity"


def _input(name: str, graph: Graph) -> _Entry:
    shape = graph.shapes[name]
    definition = LayerParameter(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})
    operator = OnnxOperator(INPUT, (("dtype", graph.types.get(name, "float32")),))
    return _Entry(definition, OnnxNode(operator, (), (name,), (shape,)))


def _entries(task: Task, same: dict[str, str], origin: str, strict: bool) -> list[_Entry]:
    """An operator's layers, the first that makes its output with the operator itself."""
    definitions = to_layers(task)
    own = definitions is None
    if own and strict:
        what = f"{origin}: layer {task.operator.name!r} ({task.operator.layer_type})"
        raise NetworkError(f"{what}: not a layer type of Caffe; leave --strict out to keep it as unmodelled")
    node = node_of(task.operator, task.graph, same)
    maker = next((layer for layer in definitions or () if task.operator.outputs[0] in layer.top), None)
    entries = []
    for definition in definitions or [_unmodelled(task)]:
        for index, bottom in enumerate(definition.bottom):
            definition.bottom[index] = source(bottom, same)
        carried = node if own or definition is maker else None
        entries.append(_Entry(definition, carried, own, counted=not _hides_products(task.operator)))
    return entries


def _hides_products(operator: Operator) -> bool:
    """Whether a graph within the operator, or within one of that graph's, has products."""
    return any(any(part in node.op_type for part in PRODUCTS) for node in operator.inner_nodes)


def _require_values(layer: Layer, origin: str) -> None:
    for shape in (*layer.outputs, *(parameter.shape for parameter in layer.parameters)):
        if min(shape, default=1) < 1 or prod(shape) > MOST_VALUES:
            what = f"{origin}: layer {layer.name!r} ({layer.type})"
            raise NetworkError(f"{what}: a tensor of {text(shape)} has no size that can be; see to the input's shape")


def _unmodelled(task: Task) -> LayerParameter:
    """The operator under its own name, with those of its outputs that have a shape."""
    tops = [name for name in task.operator.outputs if name in task.graph.shapes]
    return LayerParameter(name=task.operator.name, type=task.operator.layer_type, bottom=task.data, top=tops)


def _layers(entries: Sequence[_Entry], graph: Graph) -> tuple[Layer, ...]:
    shapes: dict[str, Shape] = {}
    by_definition = {id(entry.definition): entry for entry in entries}
    return tuple(
        _layer(place, by_definition.get(id(place.definition)) or _Entry(place.definition, None), shapes, graph)
        for place in insert_splits([entry.definition for entry in entries])
    )


def _layer(place: Node, entry: _Entry, shapes: dict[str, Shape], graph: Graph) -> Layer:
    """One layer; `shapes` of all blobs so far, those behind Splits too, grow by its own."""
    definition = place.definition
    inputs = tuple(shapes[bottom] for bottom in place.bottoms)
    own = entry.node.operator if entry.own and entry.node else None
    if own:
        outputs = tuple(graph.shapes[top] for top in place.tops)
        weights = _weights(own)
        inferred = Inferred(outputs, tuple(constant.shape for constant in weights), own)
        stored = _stored_bytes(entry.node, graph)
        sizes = tuple(
            1 if constant.dtype in ("int8", "uint8") else stored.get(prod(constant.shape), FLOAT_BYTES)
            for constant in weights
        )
    else:
        inferred = LAYER_TYPES[definition.type].infer(definition, inputs)
        stored = _stored_bytes(entry.node, graph)
        sizes = tuple(stored.get(prod(shape), FLOAT_BYTES) for shape in inferred.parameters)
    shapes.update(zip(place.tops, inferred.outputs, strict=True))
    return Layer(
        name=definition.name,
        type=definition.type,
        bottoms=place.bottoms,
        tops=place.tops,
        inputs=inputs,
        outputs=inferred.outputs,
        parameters=tuple(
            Parameter(shape, value_bytes=size) for shape, size in zip(inferred.parameters, sizes, strict=True)
        ),
        settings=inferred.settings,
        modelled=own is None and not LAYER_TYPES[definition.type].fork,
        note=NOTE if own else _fork_note(definition.type),
        node=entry.node,
        counted=entry.counted,
    )


def _stored_bytes(node: OnnxNode | None, graph: Graph) -> dict[int, int]:
    """Bytes of one value by the number of values, for the weights of a node that the file keeps as integers."""
    names = {node.inputs[position]: constant for position, constant in node.operator.constants} if node else {}
    return {
        prod(constant.shape): 1 if graph.stored[name] in ("int8", "uint8") else FLOAT_BYTES
        for name, constant in names.items()
        if name in graph.stored
    }


def _fork_note(type_name: str) -> str:
    fork = LAYER_TYPES[type_name].fork
    return f"a layer of {fork}, not of Caffe" if fork else ""


def _weights(operator: OnnxOperator) -> list[Constant]:
    """The constant inputs that a file stores as weights: not the sizes, axes, bounds and factors among them."""
    settings = SETTING_INPUTS.get(operator.type, ())
    given = [constant for position, constant in operator.constants if position not in settings]
    return [constant for constant in given if constant.values is None or _is_vector_of_floats(constant)]


def _is_vector_of_floats(constant: Constant) -> bool:
    return "float" in constant.dtype and prod(constant.shape) > 1


def _repeated_names(entries: Sequence[_Entry]) -> list[str]:
    counts = Counter(entry.definition.name for entry in entries)
    return [f"{count} layers are called {name!r}" for name, count in counts.items() if count > 1]
