"""What ONNX says of a network: its operators as settings of layers, and as nodes with the names of their tensors."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy
from onnx import GraphProto, SparseTensorProto, TensorProto, TypeProto, numpy_helper

from sitecnn.network.graph import Network, OnnxNode
from sitecnn.network.onnx.graph import Graph, Operator
from sitecnn.network.settings import FEW_VALUES, Constant, OnnxOperator

FEW_FLOATS = 8
"""Floating-point constants of at most so many values are settings (bounds, factors, scales)."""


def nodes(network: Network) -> tuple[tuple[int, OnnxNode], ...]:
    """Every node of a network that ONNX described, in order, each with the index of the layer that does its work.

    This is what an ONNX engine is given: operators with all their attributes, constants by position, and tensors by
    the names that connect them. Nodes without work (Identity) and those of constants alone are left out, as every
    engine folds them. `Network.layers` says the shapes: of each node's data inputs and of its outputs.
    """
    return tuple((index, layer.node) for index, layer in enumerate(network.layers) if layer.node is not None)


def node_of(operator: Operator, graph: Graph, same: Mapping[str, str]) -> OnnxNode:
    """An operator of a graph as its layer carries it; `same` maps tensors that only hand on another to that other."""
    inputs = tuple(source(name, same) for name in operator.inputs)
    return OnnxNode(settings_of(operator, graph), inputs, operator.outputs)


def source(name: str, same: Mapping[str, str]) -> str:
    """The tensor that a name stands for."""
    while name in same:
        name = same[name]
    return name


def settings_of(operator: Operator, graph: Graph) -> OnnxOperator:
    """An operator without the names of its tensors."""
    given = sorted((name, _plain(value)) for name, value in operator.attributes.items() if not _is_graph(value))
    constants = tuple(
        (position, _constant(name, graph))
        for position, name in enumerate(operator.inputs)
        if name and name in graph.constants
    )
    return OnnxOperator(operator.type, tuple(given), constants, operator.domain, operator.version)


def _constant(name: str, graph: Graph) -> Constant:
    shape, dtype = graph.shapes.get(name, ()), graph.types.get(name, "float32")
    return Constant(shape, dtype, _few(graph.values[name]) if name in graph.values else None)


def _few(values: Any) -> tuple[float, ...] | None:
    """The values that are settings, None for weights."""
    array = numpy.asarray(values)
    most = FEW_VALUES if array.dtype.kind in "iub" else FEW_FLOATS
    return tuple(array.ravel().tolist()) if array.dtype.kind in "iubf" and array.size <= most else None


def _plain(value: Any) -> Any:
    """An attribute's value as one that can be hashed."""
    if isinstance(value, TensorProto):
        array = numpy_helper.to_array(value)
        return Constant(array.shape, array.dtype.name, _few(array))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_plain(item) for item in value)
    return value


def _is_graph(value: Any) -> bool:
    """Whether an attribute is a graph, or another message that no setting comes of."""
    parts = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    return any(isinstance(part, GraphProto | SparseTensorProto | TypeProto) for part in parts)
