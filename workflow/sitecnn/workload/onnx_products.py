"""Matrix products of ONNX's operators, by the definitions of the ONNX standard (onnx/docs/Operators.md)."""

from collections.abc import Mapping
from math import prod

from sitecnn.network.graph import Layer, Shape
from sitecnn.network.settings import OnnxOperator

Product = tuple[int, int, int, int]
"""m, n, k, and how often."""

WEIGHTS = {
    **dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "DeformConv", "FusedConv"), 1),
    **dict.fromkeys(("MatMul", "MatMulInteger", "Gemm", "FusedMatMul", "FusedGemm"), 1),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), 3),
    "QGemm": 3,
}
"""At which position the second operand stands: quantised operators have scales and zero points between."""

RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")


def products(layer: Layer) -> list[Product]:
    """The matrix products of a layer of ONNX's own: (m, n, k, count), none for operators that have no product."""
    operator = layer.settings
    if not isinstance(operator, OnnxOperator):
        return []
    shapes = _shapes(layer, operator)
    if operator.type in RECURRENT:
        return _recurrent(operator, shapes)
    first, second = shapes.get(0), shapes.get(WEIGHTS.get(operator.type, -1))
    if not first or not second:
        return []
    if "Conv" in operator.type:
        return _convolution(operator, first, second, layer.outputs[0])
    if "Gemm" in operator.type or operator.type == "QGemm":
        depth = first[0] if operator.attribute("transA", 0) else first[-1]
        return [(layer.outputs[0][0], layer.outputs[0][-1], depth, 1)]
    return _matrices(operator, first, second, layer.outputs[0])


def _shapes(layer: Layer, operator: OnnxOperator) -> Mapping[int, Shape]:
    """Shapes of the inputs by position; those left out have none."""
    names = layer.node.inputs if layer.node else ()
    constants = dict(operator.constants)
    given = iter(layer.inputs)
    shapes = {}
    for position, name in enumerate(names):
        if position in constants:
            shapes[position] = constants[position].shape
        elif name:
            shapes[position] = next(given, ())
    return shapes


def _convolution(operator: OnnxOperator, data: Shape, weights: Shape, output: Shape) -> list[Product]:
    group = int(operator.attribute("group", 1))
    if operator.type == "ConvTranspose":
        return [(prod(weights[1:]), prod(data[2:]), data[1] // group, data[0] * group)]
    return [(weights[0] // group, prod(output[2:]), prod(weights[1:]), data[0] * group)]


def _matrices(operator: OnnxOperator, first: Shape, second: Shape, output: Shape) -> list[Product]:
    """Matrices of the last two axes, one product for each of the axes before; a matrix of weights takes all rows."""
    depth = first[-2] if operator.attribute("transA", 0) and len(first) > 1 else first[-1]
    if len(second) <= 2:
        columns = second[0 if operator.attribute("transB", 0) else -1] if len(second) == 2 else 1
        return [(prod(first) // depth, columns, depth, 1)]
    rows = prod(output) // (prod(output[:-2]) * output[-1]) if len(first) > 1 else 1
    columns = output[-1]
    return [(rows, columns, depth, prod(output) // (rows * columns))]


def _recurrent(operator: OnnxOperator, shapes: Mapping[int, Shape]) -> list[Product]:
    """For each step and direction the input's product and the state's, of all gates together.

    The quantised operator has its weights transposed (onnxruntime/docs/ContribOperators.md).
    """
    (steps, batch, size), directions = shapes[0], shapes[1][0]
    rows, hidden = sorted(shapes[2][1:], reverse=True) if operator.domain else shapes[2][1:]
    return [(batch, rows, size, steps * directions), (batch, rows, hidden, steps * directions)]
