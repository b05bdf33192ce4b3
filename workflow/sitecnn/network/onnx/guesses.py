"""Shapes that ONNX's rules do not tell: of what depends on the data, and of other libraries' operators."""

from collections.abc import Mapping

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from sitecnn.network.graph import Shape
from sitecnn.network.onnx.folding import shapes_of, tensor_of

STAND_INS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "FusedMatMul": ("MatMul", (0, 1)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearConcat": ("Concat", tuple(range(2, 302, 3))),
    **dict.fromkeys(("Gelu", "QuickGelu", "FastGelu", "BiasGelu", "QLinearSigmoid"), ("Identity", (0,))),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSoftmax", "LayerNormalization"), ("Identity", (0,))),
    **dict.fromkeys(("SkipLayerNormalization", "SimplifiedLayerNormalization"), ("Identity", (0,))),
    "EmbedLayerNormalization": ("Gather", (2, 0)),
    "DynamicQuantizeLSTM": ("LSTM", (0, 1, 2)),
}
"""Operators of ONNX Runtime's own, as docs/ContribOperators.md there has them: the operator of ONNX that makes a
tensor of the same shape, and which inputs it takes."""


def guess(model: ModelProto, inputs: Mapping[str, Shape]) -> tuple[ModelProto, dict[str, Shape], set[str]]:
    """The model with shapes inferred from guesses, the shapes that no inference could tell, and which are sure.

    What depends on the data (NonZero, NonMaxSuppression, Loop) is `inputs`' where that tells it, else its open lengths
    are 1, else it is shaped as the first input. What hangs on it then follows ONNX's rules. Operators of ONNX Runtime's
    own follow its documentation, and are sure.
    """
    guessed: dict[str, Shape] = {}
    sure: set[str] = set()
    for _ in range(len(model.graph.node) + 1):
        shapes = shapes_of(model.graph) | guessed
        open_nodes = [node for node in model.graph.node if any(n and n not in shapes for n in node.output)]
        if not open_nodes:
            break
        ready = [node for node in open_nodes if all(n in shapes for n in node.input if n)]
        partial = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
        types = {value.name: tensor_of(value).elem_type for value in (*model.graph.input, *partial.values())}
        for node in ready or open_nodes[:1]:
            told = _told(node, shapes, model)
            sure |= told.keys()
            for name in node.output:
                if name and name not in shapes:
                    guessed[name] = inputs.get(name) or told.get(name) or _likely(node, name, partial, shapes)
                    _set_shape(model, partial.get(name), name, guessed[name], _type(node, types))
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return model, guessed, sure


def _told(node: NodeProto, shapes: Mapping[str, Shape], model: ModelProto) -> dict[str, Shape]:
    """The outputs' shapes of an operator of ONNX Runtime's own, as far as its rule is known."""
    if node.domain != "com.microsoft" or not all(name in shapes for name in node.input if name):
        return {}
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "MatMulNBits" and {"N", "K"} <= settings.keys():
        return {node.output[0]: (*shapes[node.input[0]][:-1], int(settings["N"]))}
    kind, positions = STAND_INS.get(node.op_type, ("", ()))
    given = [node.input[position] for position in positions if position < len(node.input) and node.input[position]]
    if node.op_type == "Attention" and len(shapes[node.input[1]]) == 2 and not settings.get("qkv_hidden_sizes"):
        return {node.output[0]: (*shapes[node.input[0]][:-1], shapes[node.input[1]][1] // 3)}
    if not given or (kind == "MatMul" and any(name.startswith("trans") and settings[name] for name in settings)):
        return {}
    return _as_stand_in(kind, given, node, shapes)


def _as_stand_in(kind: str, given: list[str], node: NodeProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    schema = onnx.defs.get_schema(kind, 13)
    outputs = [name for name in node.output[: schema.max_output] if name]
    stand_in = onnx.helper.make_node(kind, given, node.output[: schema.max_output])
    stand_in.attribute.extend(one for one in node.attribute if one.name in schema.attributes)
    types = [TensorProto.INT64 if (kind, place) == ("Gather", 1) else TensorProto.FLOAT for place in range(len(given))]
    values = {
        name: onnx.helper.make_tensor_value_info(name, number, shapes[name])
        for name, number in zip(given, types, strict=True)
    }
    graph = onnx.helper.make_graph([stand_in], "", list(values.values()), [ValueInfoProto(name=one) for one in outputs])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    inferred = shapes_of(onnx.shape_inference.infer_shapes(model).graph)
    return {name: inferred[name] for name in outputs if name in inferred}


def _likely(node: NodeProto, name: str, partial: Mapping[str, ValueInfoProto], shapes: Mapping[str, Shape]) -> Shape:
    if node.op_type == "Loop" and name in node.output[: len(node.input) - 2]:
        # What a loop carries from step to step begins as its input, and mostly keeps its shape.
        return shapes.get(node.input[2 + list(node.output).index(name)], (1,))
    if name in partial and tensor_of(partial[name]).HasField("shape"):
        dims = tensor_of(partial[name]).shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)
    return next((shapes[given] for given in node.input if given in shapes), (1,))


def _type(node: NodeProto, types: Mapping[str, int]) -> int:
    """The type of what an operator makes, of those that ONNX has no rules for: the quantised stay so."""
    stays = node.op_type.startswith("QLinear") or node.op_type == "QGemm"
    _, positions = STAND_INS.get(node.op_type, ("", ()))
    return (stays and positions and types.get(node.input[positions[0]])) or TensorProto.FLOAT


def _set_shape(model: ModelProto, known: ValueInfoProto | None, name: str, shape: Shape, kind: int) -> None:
    if known is None:
        known = model.graph.value_info.add(name=name)
    tensor = tensor_of(known)
    if not tensor.elem_type:
        tensor.elem_type = kind
    del tensor.shape.dim[:]
    tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=dim) for dim in shape)
