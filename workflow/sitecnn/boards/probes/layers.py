"""The layers that probes are built of, each a function of a graph and tensors' names that returns a tensor's name."""

from collections.abc import Sequence
from math import prod

import numpy as np

from sitecnn.boards.probes.graph import Graph

SIMPLE_ACTIVATIONS = {
    "relu": ("Relu", {}),
    "hard_swish": ("HardSwish", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.1}),
    "elu": ("Elu", {}),
    "softplus": ("Softplus", {}),
}
"""Activations that are one ONNX operator, with its attributes."""


def convolution(
    graph: Graph,
    given: str,
    outputs: int,
    kernel: int | tuple[int, int] = 1,
    *,
    stride: int = 1,
    group: int = 1,
    dilation: int = 1,
    pad: int | None = None,
    activation: str = "",
    bias: bool = True,
) -> str:
    """A convolution, padded to keep its size unless `pad` says otherwise, and its activation."""
    batch, channels, height, width = graph.shapes[given]
    kernel_h, kernel_w = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad_h, pad_w = (dilation * (k - 1) // 2 if pad is None else pad for k in (kernel_h, kernel_w))
    out_h = (height + 2 * pad_h - dilation * (kernel_h - 1) - 1) // stride + 1
    out_w = (width + 2 * pad_w - dilation * (kernel_w - 1) - 1) // stride + 1
    inputs = [given, graph.weights(outputs, channels // group, kernel_h, kernel_w)]
    inputs += [graph.weights(outputs)] if bias else []
    windows = {"kernel_shape": [kernel_h, kernel_w], "pads": [pad_h, pad_w, pad_h, pad_w]}
    windows |= {"strides": [stride, stride], "dilations": [dilation, dilation]}
    shape = (batch, outputs, out_h, out_w)
    return activate(graph, graph.node("Conv", inputs, shape, group=group, **windows), activation)


def depthwise(graph: Graph, given: str, kernel: int, *, stride: int = 1, activation: str = "") -> str:
    """A convolution of each channel by itself."""
    channels = graph.shapes[given][1]
    return convolution(graph, given, channels, kernel, stride=stride, group=channels, activation=activation)


def transposed(graph: Graph, given: str, outputs: int, kernel: int) -> str:
    """A transposed convolution of stride 2 that doubles height and width; `kernel` is even."""
    batch, channels, height, width = graph.shapes[given]
    inputs = [given, graph.weights(channels, outputs, kernel, kernel), graph.weights(outputs)]
    windows = {"kernel_shape": [kernel, kernel], "strides": [2, 2], "pads": [kernel // 2 - 1] * 4}
    return graph.node("ConvTranspose", inputs, (batch, outputs, 2 * height, 2 * width), **windows)


def activate(graph: Graph, given: str, activation: str) -> str:
    """An activation as exporters write it; none for an empty name."""
    shape = graph.shapes[given]
    if not activation:
        return given
    if activation == "relu6":
        return graph.node("Clip", [given, graph.scalar(0), graph.scalar(6)], shape)
    if activation == "silu":
        return graph.node("Mul", [given, graph.node("Sigmoid", [given], shape)], shape)
    if activation == "prelu":
        return graph.node("PRelu", [given, graph.weights(shape[1], 1, 1)], shape)
    if activation == "gelu":
        return _gelu(graph, given)
    operator, attributes = SIMPLE_ACTIVATIONS[activation]
    return graph.node(operator, [given], shape, **attributes)


def _gelu(graph: Graph, given: str) -> str:
    """x/2 · (1 + erf(x/√2)), node by node as PyTorch exports it."""
    shape = graph.shapes[given]
    error = graph.node("Erf", [graph.node("Div", [given, graph.scalar(2**0.5)], shape)], shape)
    share = graph.node("Add", [error, graph.scalar(1)], shape)
    return graph.node("Mul", [graph.node("Mul", [given, share], shape), graph.scalar(0.5)], shape)


def normalise(graph: Graph, given: str) -> str:
    """A BatchNormalization that follows no convolution; its variance is 1."""
    channels = graph.shapes[given][1]
    statistics = [graph.weights(channels) for _ in range(3)]
    inputs = [given, *statistics, graph.constant(np.ones(channels, np.float32))]
    return graph.node("BatchNormalization", inputs, graph.shapes[given])


def pool(graph: Graph, given: str, method: str, kernel: int, stride: int, pad: int = 0) -> str:
    """MaxPool or AveragePool, as `method` is `max` or `average`."""
    batch, channels, height, width = graph.shapes[given]
    out_h, out_w = ((size + 2 * pad - kernel) // stride + 1 for size in (height, width))
    operator = {"max": "MaxPool", "average": "AveragePool"}[method]
    windows = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [pad] * 4}
    return graph.node(operator, [given], (batch, channels, out_h, out_w), **windows)


def global_average(graph: Graph, given: str) -> str:
    """The mean of each channel, as 1 × 1 pixels."""
    return graph.node("GlobalAveragePool", [given], (*graph.shapes[given][:2], 1, 1))


def add(graph: Graph, one: str, other: str, activation: str = "") -> str:
    """A sum of two tensors of one shape, and an activation."""
    return activate(graph, graph.node("Add", [one, other], graph.shapes[one]), activation)


def concatenate(graph: Graph, parts: Sequence[str]) -> str:
    """Tensors side by side, channel after channel."""
    shapes = [graph.shapes[part] for part in parts]
    channels = sum(shape[1] for shape in shapes)
    return graph.node("Concat", parts, (shapes[0][0], channels, *shapes[0][2:]), axis=1)


def halves(graph: Graph, given: str) -> list[str]:
    """The first and the second half of the channels."""
    batch, channels, *image = graph.shapes[given]
    parts = [channels // 2, channels - channels // 2]
    shapes = [(batch, part, *image) for part in parts]
    return graph.nodes_of("Split", [given, graph.constant(np.array(parts, np.int64))], shapes, axis=1)


def squeeze_excite(graph: Graph, given: str, inner: int, activations: tuple[str, str]) -> str:
    """Each channel times what two 1×1 convolutions make of all channels' means (Hu et al. 2018)."""
    inner_activation, gate_activation = activations
    squeezed = convolution(graph, global_average(graph, given), inner, activation=inner_activation)
    gate = convolution(graph, squeezed, graph.shapes[given][1], activation=gate_activation)
    return graph.node("Mul", [given, gate], graph.shapes[given])


def shuffle_channels(graph: Graph, given: str) -> str:
    """Channels of two halves in turn (Zhang et al. 2018)."""
    batch, channels, height, width = graph.shapes[given]
    split = reshape(graph, given, (batch, 2, channels // 2, height, width))
    return reshape(graph, transpose(graph, split, (0, 2, 1, 3, 4)), (batch, channels, height, width))


def resize(graph: Graph, given: str, mode: str) -> str:
    """Height and width doubled: `nearest`, `linear` or `align_corners`."""
    batch, channels, height, width = graph.shapes[given]
    how = {
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "linear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        "align_corners": {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    }[mode]
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.node("Resize", [given, "", scales], (batch, channels, 2 * height, 2 * width), **how)


def flatten(graph: Graph, given: str) -> str:
    """All values of an image in a row."""
    batch, *rest = graph.shapes[given]
    return graph.node("Flatten", [given], (batch, prod(rest)), axis=1)


def fully_connected(graph: Graph, given: str, outputs: int, activation: str = "") -> str:
    """A Gemm on rows of values, with B transposed as exporters have it."""
    batch, inputs = graph.shapes[given]
    weights = [graph.weights(outputs, inputs), graph.weights(outputs)]
    return activate(graph, graph.node("Gemm", [given, *weights], (batch, outputs), transB=1), activation)


def linear(graph: Graph, given: str, outputs: int, activation: str = "") -> str:
    """A product with weights along the last axis, and a bias: MatMul and Add."""
    *rest, inputs = graph.shapes[given]
    product = graph.node("MatMul", [given, graph.weights(inputs, outputs)], (*rest, outputs))
    return activate(graph, graph.node("Add", [product, graph.weights(outputs)], (*rest, outputs)), activation)


def transpose(graph: Graph, given: str, order: Sequence[int]) -> str:
    """Axes in another order."""
    shape = graph.shapes[given]
    return graph.node("Transpose", [given], tuple(shape[axis] for axis in order), perm=list(order))


def reshape(graph: Graph, given: str, shape: tuple[int, ...]) -> str:
    """The same values in another shape."""
    return graph.node("Reshape", [given, graph.constant(np.array(shape, np.int64))], shape)


def layer_normalisation(graph: Graph, given: str) -> str:
    """LayerNormalization along the last axis."""
    shape = graph.shapes[given]
    return graph.node("LayerNormalization", [given, graph.weights(shape[-1]), graph.weights(shape[-1])], shape, axis=-1)


def softmax(graph: Graph, given: str, axis: int = -1) -> str:
    """Softmax, along the last axis unless told."""
    return graph.node("Softmax", [given], graph.shapes[given], axis=axis)


def local_response(graph: Graph, given: str) -> str:
    """AlexNet's normalisation across five channels."""
    return graph.node("LRN", [given], graph.shapes[given], size=5, alpha=1e-4, beta=0.75)


def attention(graph: Graph, given: str, heads: int) -> str:
    """Self-attention of (batch, tokens, channels) in `heads` heads, and its projection (Vaswani et al. 2017)."""
    batch, tokens, channels = graph.shapes[given]
    each = channels // heads
    orders = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    query, key, value = (
        transpose(graph, reshape(graph, linear(graph, given, channels), (batch, tokens, heads, each)), order)
        for order in orders
    )
    square = (batch, heads, tokens, tokens)
    scores = graph.node("MatMul", [query, key], square)
    scores = softmax(graph, graph.node("Mul", [scores, graph.scalar(each**-0.5)], square))
    mixed = transpose(graph, graph.node("MatMul", [scores, value], (batch, heads, tokens, each)), (0, 2, 1, 3))
    return linear(graph, reshape(graph, mixed, (batch, tokens, channels)), channels)
