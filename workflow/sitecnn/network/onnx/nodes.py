"""What ONNX says of a network: its operators as settings of layers, and as nodes with the names of their tensors."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy
from onnx import GraphProto, SparseTensorProto, TensorProto, TypeProto, numpy_helper

from sitecnn.network.graph import Network, OnnxNode
from sitecnn.network.onnx.from_caffe import caffe_nodes
from sitecnn.network.onnx.graph import Graph, Operator
from sitecnn.network.settings import FEW_VALUES, Constant, OnnxOperator

INPUT = "Input"
"""The type of nodes that stand for the network's inputs; their attribute `dtype` is numpy's name of their type."""

FEW_FLOATS = 8
"""Floating-point constants of at most so many values are settings (bounds, factors, scales)."""


def nodes(network: Network) -> tuple[tuple[int, OnnxNode], ...]:
    """A network as an ONNX engine is given it: its nodes in order, each with the index of the layer that it serves.

    Nodes have all their attributes, their constants by position, the names of the tensors that connect them, and the
    shapes of what they make. Inputs of the network are nodes of the type INPUT. Of a network that came from ONNX these
    are the file's nodes, without those that do nothing (Identity) and those of constants alone, as every engine
    leaves both out. Of a network that came from Caffe they are what `to_onnx` writes: nodes of the same outputs,
    several for some layers. Raises NetworkError for a layer of Caffe that ONNX has no operators for.
    """
    if any(layer.node for layer in network.layers):
        return tuple((index, layer.node) for index, layer in enumerate(network.layers) if layer.node is not None)
    return caffe_nodes(network)


def node_of(operator: Operator, graph: Graph, same: Mapping[str, str]) -> OnnxNode:
    """An operator of a graph as its layer carries it; `same` maps tensors that only hand on another to that other."""
    inputs = tuple(source(name, same) for name in operator.inputs)
    shapes = tuple(graph.shapes.get(name, ()) for name in operator.outputs)
    return OnnxNode(settings_of(operator, graph), inputs, operator.outputs, shapes)


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
    values = _few(graph.values[name]) if name in graph.values else None
    return Constant(shape, dtype, values, worked_out=name in graph.worked_out)


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
    if isinstance(value, float):
        return float(f"{value:.7g}")  # as it was meant: 32 bits make 0.0001 to 9.999999747378752e-05
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_plain(item) for item in value)
    return value


def _is_graph(value: Any) -> bool:
    """Whether an attribute is a graph, or another message that no setting comes of."""
    parts = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    return any(isinstance(part, GraphProto | SparseTensorProto | TypeProto) for part in parts)
