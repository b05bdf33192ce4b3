"""An ONNX graph under construction, and the layers that networks are built of; all by the onnx package alone."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from onnx import NodeProto, TensorProto, helper, shape_inference

IMAGE = "image"
OPSET, IR_VERSION = 17, 8

WEIGHTS_FILE = "weights.bin"
WEIGHTS_BYTES = 64 << 20  # beyond it weights begin at the file's start again
PAGE_BYTES = 4096

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_swish": ("HardSwish", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6}),
}
"""Activations that are one operator, with its attributes."""


class Graph:
    """Nodes in the order in which they run, on an image of 3 × `size` × `size`; `channels` of tensors that have any."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.channels = {IMAGE: 3}
        self.offset = 0

    def weights(self, *shape: int) -> str:
        """A tensor of floats in WEIGHTS_FILE."""
        size_bytes = 4 * prod(shape)
        if self.offset + size_bytes > WEIGHTS_BYTES:
            self.offset = 0
        tensor = TensorProto(name=f"weights_{len(self.initializers)}", data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_FILE), ("offset", self.offset), ("length", size_bytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.offset += -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
        self.initializers.append(tensor)
        return tensor.name

    def constant(self, *values: float, scalar: bool = False) -> str:
        """A small tensor in the file itself: of 64-bit integers, or of floats."""
        dtype = TensorProto.FLOAT if isinstance(values[0], float) else TensorProto.INT64
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, dtype, [] if scalar else [len(values)], values))
        return name

    def node(self, operator: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        """A node of one output, whose name comes back; its channels are the first input's unless told."""
        return self.split(operator, *inputs, channels=[channels or self.channels.get(inputs[0], 0)], **attributes)[0]

    def split(self, operator: str, *inputs: str, channels: Sequence[int], **attributes: Any) -> list[str]:
        """A node with an output of each of these channels."""
        name = f"{operator}_{len(self.nodes)}"
        outputs = [name, *(f"{name}_{index}" for index in range(1, len(channels)))]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        self.channels.update(zip(outputs, channels, strict=True))
        return outputs

    def file(self, name: str) -> bytes:
        """The ONNX file; what no node reads is an output."""
        read = {given for node in self.nodes for given in node.input}
        outputs = [helper.make_empty_tensor_value_info(n) for node in self.nodes for n in node.output if n not in read]
        image = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, (1, 3, self.size, self.size))
        graph = helper.make_graph(self.nodes, name, [image], outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        shaped = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        del shaped.graph.value_info[:]
        return shaped.SerializeToString(deterministic=True)


def activate(graph: Graph, given: str, activation: str) -> str:
    """An activation as it is exported; none for an empty name."""
    if not activation:
        return given
    if activation == "silu":
        return graph.node("Mul", given, graph.node("Sigmoid", given))
    if activation == "relu6":
        return graph.node("Clip", given, graph.constant(0.0, scalar=True), graph.constant(6.0, scalar=True))
    operator, attributes = ACTIVATIONS[activation]
    return graph.node(operator, given, **attributes)


def conv(
    graph: Graph,
    given: str,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    activation: str = "",
    group: int = 1,
    pad: int | None = None,
    bias: bool = True,
) -> str:
    """A convolution, padded by half its kernel unless told, and its activation."""
    weights = [graph.weights(outputs, graph.channels[given] // group, kernel, kernel)]
    weights += [graph.weights(outputs)] if bias else []
    windows = {"dilations": [1, 1], "kernel_shape": [kernel] * 2, "strides": [stride] * 2}
    windows["pads"] = [kernel // 2 if pad is None else pad] * 4
    return activate(graph, graph.node("Conv", given, *weights, channels=outputs, group=group, **windows), activation)


def depthwise(graph: Graph, given: str, kernel: int, stride: int = 1, activation: str = "") -> str:
    """A convolution of each channel by itself."""
    channels = graph.channels[given]
    return conv(graph, given, channels, kernel, stride, activation=activation, group=channels)


def max_pool(graph: Graph, given: str, kernel: int, stride: int, pad: int = 0) -> str:
    """The largest of each window."""
    return graph.node("MaxPool", given, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)


def concat(graph: Graph, *parts: str) -> str:
    """Tensors side by side, channel after channel."""
    return graph.node("Concat", *parts, channels=sum(graph.channels[part] for part in parts), axis=1)


def halves(graph: Graph, given: str) -> list[str]:
    """The first and the second half of the channels."""
    half = graph.channels[given] // 2
    return graph.split("Split", given, graph.constant(half, half), channels=[half, half], axis=1)


def gemm(graph: Graph, given: str, outputs: int, activation: str = "") -> str:
    """A fully connected layer on an image's values in a row."""
    weights = graph.weights(outputs, graph.channels[given]), graph.weights(outputs)
    return activate(graph, graph.node("Gemm", given, *weights, channels=outputs, transB=1), activation)


def linear(graph: Graph, given: str, outputs: int) -> str:
    """A fully connected layer along the last axis: a product, and a bias before it in the sum."""
    product = graph.node("MatMul", given, graph.weights(graph.channels[given], outputs), channels=outputs)
    return graph.node("Add", graph.weights(outputs), product, channels=outputs)


def gate(graph: Graph, given: str, inner: int, activations: tuple[str, str]) -> str:
    """Squeeze and excitation (Hu et al. 2018): each channel times what two convolutions make of all means."""
    squeezed = conv(graph, graph.node("GlobalAveragePool", given), inner, activation=activations[0])
    factors = conv(graph, squeezed, graph.channels[given], activation=activations[1])
    return graph.node("Mul", factors, given)


def classify(graph: Graph, given: str) -> None:
    """Means of the channels and scores of ImageNet's 1000 classes."""
    gemm(graph, graph.node("Flatten", graph.node("GlobalAveragePool", given), axis=1), 1000)


def inverted_residual(
    graph: Graph,
    given: str,
    inner: int,
    outputs: int,
    kernel: int,
    stride: int,
    activation: str,
    gating: tuple[int, str, str] | None = None,
) -> str:
    """Wider, depthwise, gated if so, narrower, and added to what it was given where that fits (Sandler et al. 2018)."""
    fits = stride == 1 and graph.channels[given] == outputs
    wide = given if inner == graph.channels[given] else conv(graph, given, inner, activation=activation)
    wide = depthwise(graph, wide, kernel, stride, activation)
    wide = gate(graph, wide, gating[0], gating[1:]) if gating else wide
    narrow = conv(graph, wide, outputs)
    return graph.node("Add", given, narrow) if fits else narrow


def write_files(networks: Mapping[str, tuple[Callable[[Graph], None], int]], folder: Path) -> None:
    """Write each network, by what builds it and the size of its image, as NAME.onnx into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (build, size) in networks.items():
        graph = Graph(size)
        build(graph)
        (folder / f"{name}.onnx").write_bytes(graph.file(name))
