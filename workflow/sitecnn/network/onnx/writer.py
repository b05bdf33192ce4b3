"""Network → ONNX file: of any network, with weights that are random, given, or in a file beside it."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Literal

import numpy
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Network, OnnxNode, Shape
from sitecnn.network.onnx.nodes import INPUT, nodes
from sitecnn.network.settings import Constant

Weights = Literal["external", "random"] | Mapping[str, Any]

EXTERNAL_FILE = "weights.bin"
"""The file that external weights are read from, beside the model or in the folder that the session is given."""

EXTERNAL_BYTES = 64 << 20
"""How far weights are spread in that file before they overlap: beyond the caches, as a network's own weights are."""

PAGE_BYTES = 4096

IR_VERSION = 8
"""The format of files that ONNX Runtime 1.10 and all after it read; types of 4 bits need a newer one."""

DEFAULTS = {("BatchNormalization", 1): 1.0, ("BatchNormalization", 2): 0.0}
"""Constants that no blob of Caffe stands for, by operator and position: its BatchNorm neither scales nor shifts."""

FLOAT_TYPES = ("float16", "bfloat16", "float64")
"""Types that are written as float32: what is answered for a network is its form in fp32."""


def to_onnx(network: Network, weights: Weights = "random", *, seed: int = 0) -> bytes:
    """An ONNX file of the network: Caffe's layers and ONNX's operators alike.

    `weights`: "random" writes values of which activations keep their size; "external" points every weight into
    EXTERNAL_FILE, which must hold `external_bytes(network)` bytes, non-negative floats (variances are among them):
    the file itself stays at kilobytes. A mapping gives an array for each name that `weight_shapes` lists.
    Raises NetworkError for a layer that ONNX has no operator for, or a weight that is not given.
    """
    placed = [node for _, node in nodes(network)]
    inner = [node for node in placed if node.operator.type != INPUT]
    initializers = list(_initializers(network.name, inner, weights, seed))
    graph = helper.make_graph(
        [_node(node) for node in inner],
        network.name,
        [_input(node) for node in placed if node.operator.type == INPUT],
        [],
        initializers,
    )
    versions = operator_sets(network)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        ir_version=IR_VERSION if versions[""] < 21 else 10,
        producer_name="sitecnn",
    )
    model.graph.output.extend(_outputs(network, inner, model))
    return model.SerializeToString()


def weight_shapes(network: Network) -> dict[str, Shape]:
    """The weights that a file of the network has, by name; Caffe's blobs are called LAYER.INDEX after their owner.

    A BatchNorm of Caffe has LAYER.mean and LAYER.variance instead, both divided by its third blob.
    """
    shapes = {}
    for _, node in nodes(network):
        for position, constant in node.operator.constants:
            if constant.values is None and (node.operator.type, position) not in DEFAULTS:
                shapes[node.inputs[position]] = constant.shape
    return shapes


def external_bytes(network: Network) -> int:
    """How large the file of external weights must be: as their spread, or as the largest of them."""
    sizes = [_size(c) for _, node in nodes(network) for _, c in node.operator.constants if c.values is None]
    return max([EXTERNAL_BYTES, *sizes])


def _node(node: OnnxNode) -> NodeProto:
    operator = node.operator
    written = helper.make_node(operator.type, node.inputs, node.outputs, name=node.outputs[0], domain=operator.domain)
    for name, value in operator.attributes:
        plain = _tensor("", value) if isinstance(value, Constant) else value
        written.attribute.append(helper.make_attribute(name, plain, attr_type=_attribute_type(node, name)))
    return written


def _attribute_type(node: OnnxNode, name: str) -> int | None:
    """The type that ONNX gives an attribute: an empty list does not tell its own."""
    operator = node.operator
    if not onnx.defs.has(operator.type, operator.domain):
        return None
    schema = onnx.defs.get_schema(operator.type, operator.version, operator.domain)
    return schema.attributes[name].type if name in schema.attributes else None  # type: ignore[return-value]


def _input(node: OnnxNode) -> ValueInfoProto:
    dtype = _written_type(node.operator.attribute("dtype", "float32"))
    return helper.make_tensor_value_info(node.outputs[0], _number(dtype), node.shapes[0])


def operator_sets(network: Network) -> dict[str, int]:
    """The version of each domain that a file of the network names: its file's, or the oldest that has all operators."""
    versions = {"": max(7, network.opset)}
    for _, node in nodes(network):
        domain = node.operator.domain
        versions[domain] = max(versions.get(domain, 1), node.operator.version)
    return versions


def _outputs(network: Network, inner: list[OnnxNode], model: ModelProto) -> Iterator[ValueInfoProto]:
    """What the file says are its results, or all that no node reads, with types as ONNX infers them."""
    read = {name for node in inner for name in node.inputs}
    shapes = {name: shape for node in inner for name, shape in zip(node.outputs, node.shapes, strict=True) if name}
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    for name in network.outputs or [name for name in shapes if name not in read]:
        if name in shapes:
            yield helper.make_tensor_value_info(name, types.get(name) or TensorProto.FLOAT, shapes[name])


def _initializers(network: str, inner: list[OnnxNode], weights: Weights, seed: int) -> Iterator[TensorProto]:
    """Every constant once: small ones with their values, weights as asked for."""
    random = numpy.random.default_rng(seed)
    written: set[str] = set()
    offset = 0
    for node in inner:
        for position, constant in node.operator.constants:
            name = node.inputs[position]
            if name in written:
                continue
            written.add(name)
            if constant.values is not None:
                yield _tensor(name, constant)
            elif weights == "external":
                offset = 0 if offset + _size(constant) > EXTERNAL_BYTES else offset
                yield _external(name, constant, offset)
                offset += -(-_size(constant) // PAGE_BYTES) * PAGE_BYTES
            elif weights == "random":
                yield numpy_helper.from_array(_random(node, position, constant, random), name)
            else:
                yield numpy_helper.from_array(_given(network, node, position, constant, weights), name)


def _given(network: str, node: OnnxNode, position: int, constant: Constant, weights: Mapping[str, Any]) -> Any:
    name, default = node.inputs[position], DEFAULTS.get((node.operator.type, position))
    if name not in weights and default is not None:
        return numpy.full(constant.shape, default, _written_type(constant.dtype))
    if name not in weights:
        raise NetworkError(f"{network}: no values are given for the weight {name!r} of {constant.shape}")
    return numpy.asarray(weights[name], _written_type(constant.dtype)).reshape(constant.shape)


def _random(node: OnnxNode, position: int, constant: Constant, random: numpy.random.Generator) -> Any:
    """Weights of which activations keep their size (He et al., 2015); factors and variances of 1, biases of 0."""
    dtype = numpy.dtype(_written_type(constant.dtype))
    if (dtype.kind == "i" and dtype.itemsize == 1) or dtype.kind == "u":
        return random.integers(0, 127, constant.shape).astype(dtype)
    if dtype.kind != "f":
        return numpy.zeros(constant.shape, dtype)
    kind = node.operator.type
    if kind in ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"):
        return numpy.full(constant.shape, position in (1, 4), dtype)
    if kind in ("Mul", "Div", "Pow", "QuantizeLinear", "DequantizeLinear"):
        return numpy.ones(constant.shape, dtype)
    if len(constant.shape) < 2:
        return numpy.zeros(constant.shape, dtype)
    depth = constant.shape[-2] if kind == "MatMul" else prod(constant.shape[1:])
    return (random.standard_normal(constant.shape) * (2 / depth) ** 0.5).astype(dtype)


def _external(name: str, constant: Constant, offset: int) -> TensorProto:
    dtype = _written_type(constant.dtype)
    tensor = TensorProto(name=name, data_type=_number(dtype), dims=constant.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", EXTERNAL_FILE), ("offset", offset), ("length", _size(constant))):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _tensor(name: str, constant: Constant) -> TensorProto:
    values = constant.values if constant.values is not None else (0,) * prod(constant.shape)
    array = numpy.array(values, _written_type(constant.dtype)).reshape(constant.shape)
    return numpy_helper.from_array(array, name)


def _size(constant: Constant) -> int:
    return prod(constant.shape) * numpy.dtype(_written_type(constant.dtype)).itemsize


def _written_type(dtype: str) -> str:
    return "float32" if dtype in FLOAT_TYPES else dtype


def _number(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype))
