"""Sizes told anew: where sizes to reshape to have become constants, ONNX's rules tell more of what hangs on them."""

from typing import Any

import numpy
import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper

from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node


def tell_sizes(graph: Graph) -> None:
    """Have `told` say what ONNX's rules tell of the graph as it is now; what it says already stays said."""
    types: dict[str, int] = {}
    for node in graph.nodes:
        for name, inferred in _inferred(graph, node, types).items():
            types[name] = inferred.tensor_type.elem_type
            dims = inferred.tensor_type.shape.dim
            sizes = tuple(one.dim_value if one.HasField("dim_value") else one.dim_param for one in dims)
            before = graph.told.get(name, sizes)
            if inferred.tensor_type.HasField("shape") and len(before) == len(sizes):
                graph.told[name] = tuple(
                    new if isinstance(new, int) else old or new for old, new in zip(before, sizes, strict=True)
                )


def _inferred(graph: Graph, node: Node, types: dict[str, int]) -> dict[str, TypeProto]:
    """The types of a node's outputs by the onnx package; none where it cannot tell."""
    given = {name for name in node.inputs if name}
    data = {name: _tensor(name, graph.weights[name]) for name in given & graph.weights.keys()}
    kinds = {name: types.get(name, TensorProto.FLOAT) for name in given} | {
        name: tensor.data_type for name, tensor in data.items()
    }
    shaped = {
        name: helper.make_tensor_type_proto(kind, _sizes(graph, name) if graph.has_rank(name) else None)
        for name, kind in kinds.items()
    }
    known = {name: tensor for name, tensor in data.items() if graph.weights[name].values is not None}
    opset = helper.make_opsetid("", graph.opset)
    try:
        schema = onnx.defs.get_schema(node.op, graph.opset)
        return onnx.shape_inference.infer_node_outputs(
            schema, _proto(node), shaped, known, opset_imports=[opset], ir_version=8
        )
    except Exception:  # of the onnx package's own, of any kind: what is not told stays unknown
        return {}


def _sizes(graph: Graph, name: str) -> list[int | str | None]:
    return [None if size == "" else size for size in graph.dims(name)]


def _proto(node: Node) -> NodeProto:
    plain = {name: value for name, value in node.attributes.items() if not isinstance(value, Constant) and value != ()}
    return helper.make_node(node.op, node.inputs, node.outputs, **plain)


def _tensor(name: str, constant: Constant) -> TensorProto:
    if constant.values is None:
        return TensorProto(name=name, data_type=_number(constant), dims=constant.shape)
    return numpy_helper.from_array(numpy.array(constant.values, constant.dtype).reshape(constant.shape), name)


def _number(constant: Constant) -> Any:
    return helper.np_dtype_to_tensor_dtype(numpy.dtype(constant.dtype))
