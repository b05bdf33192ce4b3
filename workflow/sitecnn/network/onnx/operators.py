"""ONNX operators → Caffe layers that do the same work on the same shapes; one function per family of operators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import RefusedError
from sitecnn.network.graph import Shape
from sitecnn.network.onnx.graph import Graph, Operator


@dataclass(frozen=True)
class Task:
    """An operator with what it works on: its data inputs, the weights beside them, and its first output's shape."""

    operator: Operator
    graph: Graph

    @property
    def data(self) -> list[str]:
        """Tensors that depend on the network's input."""
        return [name for name in self.operator.inputs if name and name not in self.graph.constants]

    @property
    def output(self) -> Shape:
        """Shape of the first output."""
        return self.graph.shapes[self.operator.outputs[0]]

    def shape(self, index: int) -> Shape:
        """Shape of an input."""
        return self.graph.shapes[self.operator.inputs[index]]

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.operator.inputs) and bool(self.operator.inputs[index])

    def is_weight(self, index: int) -> bool:
        """Whether an input is given and a constant."""
        return self.has(index) and self.operator.inputs[index] in self.graph.constants

    def value(self, index: int, attribute: str, default: Any) -> Any:
        """What newer operators take as a small constant input and older ones as an attribute."""
        if self.has(index) and self.operator.inputs[index] in self.graph.values:
            return self.graph.values[self.operator.inputs[index]].tolist()
        return self.operator.attributes.get(attribute, default)

    def layer(self, type_name: str, bottoms: Sequence[str] | None = None, **fields: Any) -> LayerParameter:
        """A layer of the operator's name that makes its first output."""
        bottoms = self.data[:1] if bottoms is None else bottoms
        top = self.operator.outputs[:1]
        return LayerParameter(name=self.operator.name, type=type_name, bottom=bottoms, top=top, **fields)


MOST_PIXELS = 1024
"""Pooling windows above this are no network's; it bounds what is tried for them."""

Mapper = Callable[[Task], Sequence[LayerParameter] | None]
"""The layers for an operator, or None where there are none that do the same."""


def to_layers(task: Task) -> Sequence[LayerParameter] | None:
    """The Caffe layers for an operator, if Caffe's own rules give them the shapes that ONNX's give."""
    mapper = MAPPERS.get(task.operator.layer_type)
    if mapper is None:
        return None
    try:
        layers = mapper(task)
        return layers if layers and _fits(layers, task) else None
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # The checker does not see to it that attributes have the lengths and kinds that they should have.
        return None


def _fits(layers: Sequence[LayerParameter], task: Task) -> bool:
    shapes = dict(task.graph.shapes)
    made: dict[str, Shape] = {}
    for layer in layers:
        try:
            outputs = (
                LAYER_TYPES[layer.type]
                .infer(layer, tuple(made.get(b, shapes.get(b, ())) for b in layer.bottom))
                .outputs
            )
        except RefusedError:
            return False
        made.update(zip(layer.top, outputs, strict=True))
    return all(made[name] == shapes.get(name) for name in task.operator.outputs if name in made)


def _as(type_name: str, **fields: Any) -> Mapper:
    """A layer without settings, or always with the same."""
    return lambda task: [task.layer(type_name, **fields)]


def _spatial(task: Task, name: str, axes: int, default: int) -> list[int]:
    return list(task.operator.attributes.get(name, [default] * axes))


def _even_pads(task: Task, extents: list[int], strides: list[int], reverse: bool = False) -> list[list[int]]:
    """Paddings to try, the same on both sides as Caffe's are: half of what is added in all, rounded up, then down."""
    axes = len(extents)
    pads = task.operator.attributes.get("pads", [0] * 2 * axes)
    totals = [pads[axis] + pads[axes + axis] for axis in range(axes)]
    if task.operator.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        large, small = (task.output[2:], task.shape(0)[2:]) if reverse else (task.shape(0)[2:], task.output[2:])
        sizes = zip(large, small, extents, strides, strict=True)
        totals = [max((few - 1) * stride + extent - many, 0) for many, few, extent, stride in sizes]
    return [[-(-total // 2) for total in totals], [total // 2 for total in totals]]


def _convolution(task: Task) -> Sequence[LayerParameter] | None:
    """Conv and ConvTranspose with constant weights."""
    reverse = task.operator.type == "ConvTranspose"
    if not task.is_weight(1) or len(task.data) != 1:
        return None
    weights = task.shape(1)
    axes = len(weights) - 2
    strides, dilations = _spatial(task, "strides", axes, 1), _spatial(task, "dilations", axes, 1)
    extents = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, weights[2:], strict=True)]
    group = task.operator.attributes.get("group", 1)
    param = {
        "num_output": weights[1] * group if reverse else weights[0],
        "kernel_size": weights[2:],
        "stride": strides,
        "dilation": dilations,
        "group": group,
        "bias_term": task.has(2),
    }
    kind = "Deconvolution" if reverse else "Convolution"
    tries = (
        [task.layer(kind, convolution_param={**param, "pad": pad})]
        for pad in _even_pads(task, extents, strides, reverse)
    )
    return next((layers for layers in tries if _fits(layers, task)), None)


def _pool(task: Task) -> Sequence[LayerParameter] | None:
    """MaxPool and AveragePool. Caffe rounds up: for the same output its padding is made smaller if that does it,
    a window over all of the image becomes global pooling, or rounding is told to go down, which forks know.
    """
    kernel = list(task.operator.attributes["kernel_shape"])
    if len(kernel) != 2 or max(kernel) > MOST_PIXELS or _spatial(task, "dilations", 2, 1) != [1, 1]:
        return None
    strides = _spatial(task, "strides", 2, 1)
    whole = _even_pads(task, kernel, strides)
    smaller = [[max(size - less, 0) for size in whole[-1]] for less in range(1, min(kernel))]
    down: dict[str, Any] = {"ceil_mode": False}
    tried = [*((pad, {}) for pad in whole + smaller), *((pad, down) for pad in whole)]
    sizes = {"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": strides[0], "stride_w": strides[1]}
    method = {"pool": "MAX" if task.operator.type == "MaxPool" else "AVE"}
    params = [method | sizes | {"pad_h": pad[0], "pad_w": pad[1]} | rounding for pad, rounding in tried]
    params.insert(len(whole + smaller), method | {"global_pooling": True})
    made = ([task.layer("Pooling", pooling_param=param)] for param in params)
    return next((layers for layers in made if _fits(layers, task)), None)


def _global_pool(task: Task) -> Sequence[LayerParameter]:
    method = "MAX" if task.operator.type == "GlobalMaxPool" else "AVE"
    return [task.layer("Pooling", pooling_param={"pool": method, "global_pooling": True})]


def _gemm(task: Task) -> Sequence[LayerParameter] | None:
    """A matrix of constant weights, and a bias if there is one."""
    attributes = task.operator.attributes
    if not task.is_weight(1) or attributes.get("transA", 0) or len(task.data) != 1:
        return None
    rows, columns = task.shape(1)
    outputs = rows if attributes.get("transB", 0) else columns
    param = {"num_output": outputs, "bias_term": task.has(2), "transpose": not attributes.get("transB", 0)}
    return [task.layer("InnerProduct", inner_product_param=param)]


def _matmul(task: Task) -> Sequence[LayerParameter] | None:
    if not task.is_weight(1) or len(task.shape(1)) != 2 or task.is_weight(0):
        return None
    param = {"num_output": task.shape(1)[1], "bias_term": False, "transpose": True, "axis": -1}
    return [task.layer("InnerProduct", inner_product_param=param)]


def _batch_norm(task: Task) -> Sequence[LayerParameter]:
    """Caffe's own leaves scale and bias to a layer of their own, which works in place."""
    norm = task.layer("BatchNorm", batch_norm_param={"use_global_stats": True})
    return [norm, _in_place(task, "Scale", scale_param={"bias_term": True})]


def _instance_norm(task: Task) -> Sequence[LayerParameter]:
    return [task.layer("MVN"), _in_place(task, "Scale", scale_param={"bias_term": True})]


def _in_place(task: Task, kind: str, **fields: Any) -> LayerParameter:
    output = task.operator.outputs[0]
    return LayerParameter(
        name=f"{task.operator.name}_{kind.lower()}", type=kind, bottom=[output], top=[output], **fields
    )


def _arithmetic(task: Task) -> Sequence[LayerParameter] | None:
    """Add, Sub, Mul and Max: of blobs of one shape, of a blob and a weight, or of a blob and one value a channel."""
    shapes = [task.graph.shapes[name] for name in task.data]
    if len(task.data) == len(task.operator.inputs):
        return _between_blobs(task, shapes)
    if len(task.operator.inputs) != 2 or len(task.data) != 1:
        return None
    weight = task.shape(1) if task.is_weight(1) else task.shape(0)
    return _with_weight(task, shapes[0], weight)


def _between_blobs(task: Task, shapes: list[Shape]) -> Sequence[LayerParameter] | None:
    operation = {"Mul": "PROD", "Max": "MAX"}.get(task.operator.type, "SUM")
    if len(task.data) == 1:
        return [task.layer("Split")]
    if len(set(shapes)) == 1:
        coeff = [1, -1] if task.operator.type == "Sub" else []
        return [task.layer("Eltwise", task.data, eltwise_param={"operation": operation, "coeff": coeff})]
    large, small = sorted(zip(shapes, task.data, strict=True), key=lambda pair: -prod(pair[0]))[:2]
    if len(task.data) == 2 and task.operator.type == "Mul" and _one_a_channel(*small[:1], large[0]):
        flat = f"{task.operator.name}_factors"
        flatten = LayerParameter(name=flat, type="Flatten", bottom=[small[1]], top=[flat])
        return [flatten, task.layer("Scale", [large[1], flat], scale_param={"axis": 0})]
    return None


def _one_a_channel(small: Shape, large: Shape) -> bool:
    return len(small) == len(large) > 2 and small[:2] == large[:2] and prod(small[2:]) == 1


def _with_weight(task: Task, shape: Shape, weight: Shape) -> Sequence[LayerParameter] | None:
    """A scalar is a Power's; a vector along one axis is a learned Scale or Bias."""
    if task.operator.type not in ("Add", "Sub", "Mul"):
        return None
    scales = task.operator.type == "Mul"
    if prod(weight) == 1:
        return [task.layer("Power", power_param={"scale" if scales else "shift": 0.5})]
    padded = (1,) * (len(shape) - len(weight)) + weight
    wide = [axis for axis, size in enumerate(padded) if size != 1]
    if len(padded) != len(shape) or len(wide) != 1 or padded[wide[0]] != shape[wide[0]]:
        return None
    param = {"axis": wide[0]}
    return [task.layer("Scale", scale_param=param) if scales else task.layer("Bias", bias_param=param)]


def _clip(task: Task) -> Sequence[LayerParameter]:
    low, high = task.value(1, "min", -3.4e38), task.value(2, "max", 3.4e38)
    if (low, high) == (0, 6):
        return [task.layer("ReLU6")]
    return [task.layer("Clip", clip_param={"min": low, "max": high})]


def _softmax(task: Task) -> Sequence[LayerParameter]:
    return [
        task.layer(
            "Softmax", softmax_param={"axis": task.operator.attributes.get("axis", -1 if len(task.output) == 2 else 1)}
        )
    ]


def _prelu(task: Task) -> Sequence[LayerParameter] | None:
    slopes = prod(task.shape(1))
    if not task.is_weight(1) or slopes not in (1, task.output[1]):
        return None
    return [task.layer("PReLU", prelu_param={"channel_shared": slopes == 1 != task.output[1]})]


def _pow(task: Task) -> Sequence[LayerParameter] | None:
    exponent = task.value(1, "", None)
    return None if not isinstance(exponent, int | float) else [task.layer("Power", power_param={"power": exponent})]


def _lrn(task: Task) -> Sequence[LayerParameter]:
    given = task.operator.attributes
    param = {"local_size": given["size"], "alpha": given.get("alpha", 1e-4), "beta": given.get("beta", 0.75)}
    return [task.layer("LRN", lrn_param={**param, "k": given.get("bias", 1.0)})]


def _concat(task: Task) -> Sequence[LayerParameter] | None:
    if len(task.data) != len(task.operator.inputs):
        return None
    return [task.layer("Concat", task.data, concat_param={"axis": task.operator.attributes.get("axis", 1)})]


def _split(task: Task) -> Sequence[LayerParameter] | None:
    """Caffe's Slice: the points between the parts."""
    axis = task.operator.attributes.get("axis", 0) % len(task.shape(0))
    sizes = [task.graph.shapes.get(name, ()) for name in task.operator.outputs]
    if not all(sizes):
        return None
    points = [sum(shape[axis] for shape in sizes[: index + 1]) for index in range(len(sizes) - 1)]
    layer = task.layer("Slice", slice_param={"axis": axis, "slice_point": points})
    layer.top.extend(task.operator.outputs[1:])
    return [layer]


def _reshape(task: Task) -> Sequence[LayerParameter] | None:
    """Reshape, Flatten, Squeeze and Unsqueeze; a batch that stays is written as one that may change."""
    given, output = task.graph.shapes[task.data[0]], task.output
    if task.operator.type == "Flatten" and task.operator.attributes.get("axis", 1) == 1 and len(given) > 1:
        return [task.layer("Flatten")]
    dims = [0, *output[1:]] if given[:1] == output[:1] else list(output)
    return [task.layer("Reshape", reshape_param={"shape": {"dim": dims}})]


def _transpose(task: Task) -> Sequence[LayerParameter]:
    axes = range(len(task.output) - 1, -1, -1)
    return [task.layer("Permute", permute_param={"order": task.operator.attributes.get("perm", axes)})]


def _reduce(task: Task) -> Sequence[LayerParameter] | None:
    """Mean or sum over all axes from one on, or over the image, which is pooling."""
    rank = len(task.shape(0))
    axes = sorted(axis % rank for axis in task.value(1, "axes", list(range(rank))))
    operation = {"ReduceMean": "MEAN", "ReduceSum": "SUM"}[task.operator.type]
    if not task.operator.attributes.get("keepdims", 1) and axes == list(range(axes[0], rank)):
        return [task.layer("Reduction", reduction_param={"operation": operation, "axis": axes[0]})]
    if (operation, rank, axes) == ("MEAN", 4, [2, 3]) and task.operator.attributes.get("keepdims", 1):
        return [task.layer("Pooling", pooling_param={"pool": "AVE", "global_pooling": True})]
    return None


def _arg_max(task: Task) -> Sequence[LayerParameter] | None:
    if not task.operator.attributes.get("keepdims", 1):
        return None
    return [task.layer("ArgMax", argmax_param={"axis": task.operator.attributes.get("axis", 0)})]


def _resize(task: Task) -> Sequence[LayerParameter] | None:
    if len(task.output) != 4 or task.shape(0)[:2] != task.output[:2]:
        return None
    factors = {out / size for out, size in zip(task.output[2:], task.shape(0)[2:], strict=True)}
    if len(factors) == 1 and (factor := factors.pop()).is_integer():
        return [task.layer("Upsample", upsample_param={"scale": int(factor)})]
    sizes = {"upsample_h": task.output[2], "upsample_w": task.output[3]}
    return [task.layer("Upsample", upsample_param=sizes)]


def _pad(task: Task) -> Sequence[LayerParameter] | None:
    pads = task.value(1, "pads", [])
    if len(task.output) != 4 or len(pads) != 8 or any(pads[axis] for axis in (0, 1, 4, 5)):
        return None
    return [task.layer("Pad", pad_param={"pad_u": pads[2], "pad_l": pads[3], "pad_d": pads[6], "pad_r": pads[7]})]


def _blocks(task: Task) -> Sequence[LayerParameter]:
    size = task.operator.attributes["blocksize"]
    if task.operator.type == "DepthToSpace":
        return [task.layer("PixelShuffle", pixelshuffle_param={"upscale_factor": size})]
    return [task.layer("Reorg", reorg_param={"stride": size})]


MAPPERS: dict[str, Mapper] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "Relu": _as("ReLU"),
    "LeakyRelu": lambda task: [
        task.layer("ReLU", relu_param={"negative_slope": task.operator.attributes.get("alpha", 0.01)})
    ],
    "PRelu": _prelu,
    "Elu": lambda task: [task.layer("ELU", elu_param={"alpha": task.operator.attributes.get("alpha", 1.0)})],
    "Clip": _clip,
    "Sigmoid": _as("Sigmoid"),
    "HardSigmoid": _as("HardSigmoid"),
    "HardSwish": _as("HardSwish"),
    "Tanh": _as("TanH"),
    "Softplus": _as("BNLL"),
    "Abs": _as("AbsVal"),
    "Exp": _as("Exp"),
    "Log": _as("Log"),
    "Neg": _as("Power", power_param={"scale": -1}),
    "Sqrt": _as("Power", power_param={"power": 0.5}),
    "Reciprocal": _as("Power", power_param={"power": -1}),
    "Pow": _pow,
    "Softmax": _softmax,
    "Dropout": _as("Dropout"),
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Sum": _arithmetic,
    "Max": _arithmetic,
    "Concat": _concat,
    "Split": _split,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Transpose": _transpose,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "ArgMax": _arg_max,
    "Resize": _resize,
    "Upsample": _resize,
    "Pad": _pad,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
"""What each operator is in Caffe; operators that are not here keep their place as unmodelled layers."""
