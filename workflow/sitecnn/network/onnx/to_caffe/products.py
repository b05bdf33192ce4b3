"""Convolutions, pooling and matrix products."""

from collections.abc import Sequence
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.onnx.to_caffe.task import Mapper, Task, fits

MOST_PIXELS = 1024
"""Pooling windows above this are no network's; it bounds what is tried for them."""


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
    return next((layers for layers in tries if fits(layers, task)), None)


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
    candidates = ([task.layer("Pooling", pooling_param=param)] for param in params)
    return next((layers for layers in candidates if fits(layers, task)), None)


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


MAPPERS: dict[str, Mapper] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
