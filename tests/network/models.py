"""Small CNNs as exporters write them, built with onnx's own helper; and the real ones that the package ships."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SHIPPED = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


class Builder:
    """Nodes and weights of a model in the making; every method gives back the name of the tensor it makes."""

    def __init__(self, opset: int, shape: Sequence[int | str]) -> None:
        self.opset, self.shape = opset, list(shape)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, *shape: int) -> str:
        return self.constant(numpy.full(shape, 0.01, dtype=numpy.float32))

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.asarray(value, dtype=dtype), name))
        return name

    def __call__(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"t{len(self.nodes)}" if index == 0 else f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}{len(self.nodes)}", **attributes))
        return names[0]

    def conv(self, x: str, given: int, out: int, kernel: int, bias: bool = True, **attributes: Any) -> str:
        weights = [self.weight(out, given // attributes.get("group", 1), kernel, kernel)]
        if not {"pads", "auto_pad"} & attributes.keys():
            attributes["pads"] = [kernel // 2] * 4
        return self("Conv", x, *weights, *([self.weight(out)] * bias), **attributes)

    def norm(self, x: str, channels: int) -> str:
        return self("BatchNormalization", x, *(self.weight(channels) for _ in range(4)))

    def model(self, output: str, kind: int = TensorProto.FLOAT) -> ModelProto:
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shape)
        output_info = helper.make_tensor_value_info(output, kind, None)
        graph = helper.make_graph(self.nodes, "made", [given], [output_info], self.weights)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=min(8, helper.VERSION_TABLE[0][1] + 5))


def resnet() -> ModelProto:
    """Floor-mode max pooling, shortcuts, and a flattening that computes its shape, as PyTorch's exporter did."""
    b = Builder(9, ["batch", 3, 64, 64])
    x = b("Relu", b.norm(b.conv("image", 3, 8, 7, bias=False, strides=[2, 2]), 8))
    x = b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for given, out, stride in ((8, 8, 1), (8, 16, 2)):
        y = b("Relu", b.norm(b.conv(x, given, out, 3, bias=False, strides=[stride] * 2), out))
        y = b.norm(b.conv(y, out, out, 3, bias=False), out)
        short = x if stride == 1 else b.norm(b.conv(x, given, out, 1, bias=False, strides=[2, 2]), out)
        x = b("Relu", b("Add", y, short))
    x = b("GlobalAveragePool", x)
    size = b("Unsqueeze", b("Gather", b("Shape", x), b.constant(0, numpy.int64), axis=0), axes=[0])
    shape = b("Concat", size, b.constant([-1], numpy.int64), axis=0)
    return b.model(b("Gemm", b("Reshape", x, shape), b.weight(10, 16), b.weight(10), transB=1))


def mobilenet() -> ModelProto:
    """Inverted residuals: depthwise convolutions and ReLU6."""
    b = Builder(11, [1, 3, 32, 32])
    low, high = b.constant(0.0, numpy.float32), b.constant(6.0, numpy.float32)
    x = b("Clip", b.norm(b.conv("image", 3, 8, 3, bias=False, strides=[2, 2]), 8), low, high)
    y = b("Clip", b.conv(x, 8, 24, 1), low, high)
    y = b("Clip", b.conv(y, 24, 24, 3, group=24), low, high)
    x = b("Add", x, b.conv(y, 24, 8, 1))
    x = b("ReduceMean", x, axes=[2, 3], keepdims=0)
    return b.model(b("Softmax", b("Gemm", x, b.weight(8, 5), b.weight(5)), axis=1))


def squeezenet() -> ModelProto:
    b = Builder(7, [1, 3, 35, 35])
    x = b("Relu", b.conv("image", 3, 8, 3, strides=[2, 2], pads=[0] * 4))
    x = b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    s = b("Relu", b.conv(x, 8, 4, 1))
    x = b("Concat", b("Relu", b.conv(s, 4, 8, 1)), b("Relu", b.conv(s, 4, 8, 3)), axis=1)
    x = b("GlobalAveragePool", b("Dropout", b.conv(x, 16, 10, 1), ratio=0.5))
    return b.model(b("Softmax", b("Flatten", x)))


def densenet() -> ModelProto:
    b = Builder(13, [1, 3, 32, 32])
    x = b.conv("image", 3, 8, 7, strides=[2, 2])
    for given in (8, 12, 16):
        x = b("Concat", x, b.conv(b("Relu", b.norm(x, given)), given, 4, 3), axis=1)
    x = b("AveragePool", b.conv(x, 20, 10, 1), kernel_shape=[2, 2], strides=[2, 2])
    return b.model(b("Flatten", b("GlobalAveragePool", x)))


def inception() -> ModelProto:
    """Factorised convolutions, average pooling with a pad, and pooling that rounds up."""
    b = Builder(12, [2, 3, 29, 29])
    x = b("MaxPool", b.conv("image", 3, 8, 3), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    tall, wide = b.weight(6, 8, 7, 1), b.weight(6, 6, 1, 7)
    y = b("Conv", b("Conv", x, tall, pads=[3, 0, 3, 0]), wide, pads=[0, 3, 0, 3])
    z = b("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    x = b("Concat", y, b.conv(z, 8, 4, 1), x, axis=1)
    x = b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    return b.model(b("LRN", x, size=5))


def squeeze_and_excitation() -> ModelProto:
    """One factor a channel, as MobileNet v3 and EfficientNet have it."""
    b = Builder(14, [1, 3, 16, 16])
    x = b("HardSwish", b.conv("image", 3, 8, 3))
    gate = b("Sigmoid", b.conv(b("Relu", b.conv(b("GlobalAveragePool", x), 8, 2, 1)), 2, 8, 1))
    x = b("Mul", x, gate)
    return b.model(b("Mul", x, b("Sigmoid", x)))


def tensorflow() -> ModelProto:
    """Padding that is not even, told by its kind; means over axes; transposes around the network."""
    b = Builder(13, ["unk__1", 33, 33, 3])
    x = b("Transpose", "image", perm=[0, 3, 1, 2])
    x = b("LeakyRelu", b.conv(x, 3, 8, 3, strides=[2, 2], auto_pad="SAME_UPPER"), alpha=0.2)
    x = b("Pad", x, b.constant([0, 0, 0, 0, 0, 0, 1, 1], numpy.int64))
    x = b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID")
    x = b("Add", b("Mul", x, b.weight(8, 1, 1)), b.weight(1, 8, 1, 1))
    x = b("Squeeze", b("ReduceMean", x, axes=[2, 3], keepdims=1), b.constant([2, 3], numpy.int64))
    return b.model(b("Add", b("MatMul", x, b.weight(8, 4)), b.weight(4)))


def shufflenet() -> ModelProto:
    b = Builder(11, [1, 8, 14, 14])
    x = b("Reshape", b.conv("image", 8, 8, 1, group=2), b.constant([1, 2, 4, 14, 14], numpy.int64))
    x = b("Reshape", b("Transpose", x, perm=[0, 2, 1, 3, 4]), b.constant([1, -1, 14, 14], numpy.int64))
    left = b("Split", x, outputs=2, axis=1, split=[3, 5])
    return b.model(b("Concat", b.conv(left, 3, 3, 3), f"{left}_1", axis=1))


def segmentation() -> ModelProto:
    """Dilation, a transposed convolution, and an enlargement by a factor."""
    b = Builder(13, [1, 3, 24, 24])
    x = b("Elu", b.conv("image", 3, 8, 3, dilations=[2, 2], pads=[2, 2, 2, 2], strides=[2, 2]))
    x = b("ConvTranspose", x, b.weight(8, 6, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1])
    x = b("Resize", x, "", b.constant([1, 1, 2, 2], numpy.float32), mode="nearest")
    x = b("PRelu", x, b.weight(6, 1, 1))
    return b.model(b("ArgMax", x, axis=1), TensorProto.INT64)


def vgg() -> ModelProto:
    """A newer opset, where means take their axes as an input."""
    b = Builder(18, [1, 3, 32, 32])
    x = b("Relu", b.conv(b("Relu", b.conv("image", 3, 8, 3)), 8, 8, 3))
    x = b("Flatten", b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = b("Dropout", b("Relu", b("Gemm", x, b.weight(8 * 256, 12), b.weight(12))))
    return b.model(b("ReduceMean", b("Abs", x), b.constant([1], numpy.int64), keepdims=0))


def audio() -> ModelProto:
    """Convolution along one axis, and operators that Caffe has nothing equal to."""
    b = Builder(15, [1, 4, 50])
    x = b("Conv", "image", b.weight(6, 4, 5), strides=[2], pads=[2, 2])
    x = b("Softplus", b("Erf", x))
    return b.model(b("Sqrt", b("Pow", x, b.constant(2.0, numpy.float32))))


def vision_block() -> ModelProto:
    """Products of activations, which Caffe has no layer for; its other layers must keep their shapes."""
    b = Builder(17, [1, 8, 6, 6])
    x = b("Reshape", b.conv("image", 8, 8, 1), b.constant([0, 8, -1], numpy.int64))
    weights = b("Softmax", b("MatMul", b("Transpose", x, perm=[0, 2, 1]), x), axis=-1)
    x = b("MatMul", x, weights)
    return b.model(b("Max", b("Sub", x, b("Neg", x)), b("Exp", x)))


MODELS: dict[str, Callable[[], ModelProto]] = {
    model.__name__: model
    for model in (
        *(resnet, mobilenet, squeezenet, densenet, inception, squeeze_and_excitation, tensorflow),
        *(shufflenet, segmentation, vgg, audio, vision_block),
    )
}
