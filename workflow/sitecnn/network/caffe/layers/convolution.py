"""Convolution, Deconvolution and Im2col."""

from collections.abc import Sequence
from math import prod
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import ConvolutionParameter, LayerParameter
from sitecnn.network.caffe.layers.base import (
    NO_LIMIT,
    Inferred,
    Inputs,
    LayerType,
    canonical_axis,
    image_size,
    require,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import Convolution, Correlation, DenseBlock


def _per_axis(name: str, given: Sequence[int], axes: int, default: int | None) -> tuple[int, ...]:
    """A value for each spatial axis from none, one or all (base_conv_layer.cpp)."""
    if not given and default is not None:
        return (default,) * axes
    require(bool(given) or axes == 0, f"it has no {name}")
    require(len(given) in (1, axes), f"{name} is given {len(given)} times for {axes} spatial axes")
    return tuple(given) if len(given) == axes else tuple(given) * axes


def _window(param: ConvolutionParameter, name: str, axes: int, default: int | None) -> tuple[int, ...]:
    """`name` singly or per axis, or as `_h` and `_w`: either alone leaves the other at its default."""
    short = name.removesuffix("_size")
    given: Sequence[int] = getattr(param, name)
    if not (param.HasField(f"{short}_h") or param.HasField(f"{short}_w")):
        return _per_axis(name, given, axes, default)
    require(axes == 2, f"{short}_h and {short}_w fit 2 spatial axes, its input has {axes}")
    require(not given, f"both {name} and {short}_h/{short}_w are given")
    return getattr(param, f"{short}_h"), getattr(param, f"{short}_w")


def _read_settings(param: ConvolutionParameter, shape: Shape) -> Convolution:
    """The settings for an input of this shape (base_conv_layer.cpp and im2col_layer.cpp, `LayerSetUp`)."""
    axis = canonical_axis(param.axis, shape)
    axes = len(shape) - axis - 1
    settings = Convolution(
        num_output=param.num_output,
        kernel=_window(param, "kernel_size", axes, None),
        stride=_window(param, "stride", axes, 1),
        pad=_window(param, "pad", axes, 0),
        dilation=_per_axis("dilation", param.dilation or param.hole, axes, 1),
        group=param.group,
        bias=param.bias_term,
        axis=axis,
    )
    require(0 not in settings.kernel, "kernel_size must be at least 1")
    require(0 not in settings.stride, "stride must be at least 1")
    return settings


def _extents(settings: Convolution) -> Shape:
    """Pixels a dilated kernel spans, per axis."""
    pairs = zip(settings.kernel, settings.dilation, strict=True)
    return tuple(dilation * (kernel - 1) + 1 for kernel, dilation in pairs)


def _convolved(image: Shape, settings: Convolution) -> Shape:
    """Output pixels (conv_layer.cpp, `compute_output_shape`); the division rounds towards zero, as C++ does."""
    out = []
    for size, pad, extent, stride in zip(image, settings.pad, _extents(settings), settings.stride, strict=True):
        span = size + 2 * pad - extent
        out.append((span // stride if span >= 0 else -(-span // stride)) + 1)
    if min(out, default=1) < 1:
        spans = text(_extents(settings))
        require(False, f"its kernel spans {spans} pixels, more than its padded input of {text(image)}")
    return tuple(out)


def _deconvolved(image: Shape, settings: Convolution) -> Shape:
    """deconv_layer.cpp, `compute_output_shape`."""
    sizes = zip(image, settings.pad, _extents(settings), settings.stride, strict=True)
    out = tuple(stride * (size - 1) + extent - 2 * pad for size, pad, extent, stride in sizes)
    require(min(out, default=1) > 0, f"its padding of {text(settings.pad)} leaves nothing of its output")
    return out


def _check_channels(settings: Convolution, channels: int) -> None:
    outputs, group = settings.num_output, settings.group
    require(outputs > 0, "num_output must be at least 1")
    require(group > 0, "group must be at least 1")
    require(channels % group == 0, f"its {channels} input channels do not divide into {group} groups")
    require(outputs % group == 0, f"num_output {outputs} does not divide into {group} groups")


def _convolve(layer: LayerParameter, inputs: Inputs, reverse: bool) -> Inferred:
    """base_conv_layer.cpp; `reverse` is a deconvolution, whose weights stand input-major."""
    shape = inputs[0]
    require(inputs.count(shape) == len(inputs), "all its inputs must have one shape")
    settings = _read_settings(layer.convolution_param, shape)
    channels, image = shape[settings.axis], shape[settings.axis + 1 :]
    _check_channels(settings, channels)
    out = _deconvolved(image, settings) if reverse else _convolved(image, settings)
    rows, depth = (channels, settings.num_output) if reverse else (settings.num_output, channels)
    weights = (rows, depth // settings.group, *settings.kernel)
    output = (*shape[: settings.axis], settings.num_output, *out)
    parameters = (weights, (settings.num_output,)) if settings.bias else (weights,)
    return Inferred((output,) * len(inputs), parameters, settings)


def _convolution(layer: LayerParameter, inputs: Inputs) -> Inferred:
    return _convolve(layer, inputs, reverse=False)


def _deconvolution(layer: LayerParameter, inputs: Inputs) -> Inferred:
    return _convolve(layer, inputs, reverse=True)


def _depthwise(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """A grouped convolution by its own code, in MobileNet's forks; group defaults to the channels."""
    definition = LayerParameter()
    definition.CopyFrom(layer)
    if not layer.convolution_param.HasField("group"):
        axis = canonical_axis(layer.convolution_param.axis, inputs[0])
        definition.convolution_param.group = inputs[0][axis]
    return _convolve(definition, inputs, reverse=False)


def _im2col(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """im2col_layer.cpp: a channel for every pixel of the kernel."""
    shape = inputs[0]
    settings = _read_settings(layer.convolution_param, shape)
    axis = settings.axis
    require(axis < len(shape) - 1, "its input needs a spatial axis after the channels")
    channels = shape[axis] * prod(settings.kernel)
    return Inferred(((*shape[:axis], channels, *_convolved(shape[axis + 1 :], settings)),), settings=settings)


def _write(settings: Convolution) -> dict[str, Any]:
    windows: tuple[tuple[str, tuple[int, ...], int | None], ...] = (
        ("kernel_size", settings.kernel, None),
        ("stride", settings.stride, 1),
        ("pad", settings.pad, 0),
        ("dilation", settings.dilation, 1),
    )
    param: dict[str, Any] = {"num_output": settings.num_output} if settings.num_output else {}
    for name, lengths, default in windows:
        if any(length != default for length in lengths):
            param[name] = lengths[:1] if len(set(lengths)) == 1 else lengths
    for name, value, usual in (("group", settings.group, 1), ("bias_term", settings.bias, True)):
        if value != usual:
            param[name] = value
    return {"convolution_param": param | ({"axis": settings.axis} if settings.axis != 1 else {})}


def _dense_block(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """denseblock_layer.cpp of the memory-efficient DenseNet: each transition reads all channels before it."""
    param = layer.denseblock_param
    settings = DenseBlock(param.numTransition, param.growthRate, param.use_BC)
    height, width = image_size(inputs[0])
    images, channels = inputs[0][:2]
    growth = settings.growth
    require(min(settings.transitions, growth) > 0, "numTransition and growthRate must be at least 1")
    require(settings.transitions <= MOST_TRANSITIONS, f"more than {MOST_TRANSITIONS} transitions")
    parameters: list[Shape] = []
    for depth in range(channels, channels + settings.transitions * growth, growth):
        parameters += (
            [(4 * growth, depth, 1, 1), (growth, 4 * growth, 3, 3)] if settings.bottleneck else [(growth, depth, 3, 3)]
        )
    out = (images, channels + settings.transitions * growth, height, width)
    return Inferred((out,), tuple(parameters), settings)


def _write_dense_block(settings: DenseBlock) -> dict[str, Any]:
    sizes = {"numTransition": settings.transitions, "growthRate": settings.growth}
    return {"denseblock_param": sizes | {"use_BC": settings.bottleneck}}


def _correlation(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """correlation_layer.cpp of FlowNet: a channel for each displacement."""
    param, shape = layer.correlation_param, inputs[0]
    image = image_size(shape)
    require(inputs[1] == shape, "both its inputs must have one shape")
    settings = Correlation(param.kernel_size, param.max_displacement, param.pad, param.stride_1, param.stride_2)
    require(settings.kernel % 2 == 1, f"kernel_size must be odd, is {settings.kernel}")
    require(min(settings.stride, settings.displacement_stride) > 0, "strides must be at least 1")
    border = settings.displacement + settings.kernel // 2
    out = [-(-(size + 2 * settings.pad - 2 * border) // settings.stride) for size in image]
    require(min(out) > 0, f"its displacements leave nothing of its input of {text(image)}")
    side = 2 * (settings.displacement // settings.displacement_stride) + 1
    return Inferred(((shape[0], side * side, *out),), settings=settings)


def _write_correlation(settings: Correlation) -> dict[str, Any]:
    sizes = {"kernel_size": settings.kernel, "max_displacement": settings.displacement, "pad": settings.pad}
    return {"correlation_param": sizes | {"stride_1": settings.stride, "stride_2": settings.displacement_stride}}


DEPTHWISE_TYPES = (
    *("DepthwiseConvolution", "ConvolutionDepthwise", "DepthWiseConvolution", "ConvolutionDepthWise"),
    *("Depthwise", "DepthwiseConv", "ConvDepthwise", "DepthConvolution"),
)
"""Names under which forks have a grouped convolution of their own code."""

MOST_TRANSITIONS = 1000
"""It bounds the work that a file can ask for; DenseNet-264 has 64 in one block."""

MANY = (1, NO_LIMIT)
DEPTHWISE = "MobileNet's forks"

TYPES = (
    LayerType("Convolution", _convolution, _write, MANY, MANY, as_many_tops=True),
    LayerType("Deconvolution", _deconvolution, _write, MANY, MANY, as_many_tops=True),
    LayerType("Im2col", _im2col, _write),
    *(LayerType(name, _depthwise, _write, MANY, MANY, as_many_tops=True, fork=DEPTHWISE) for name in DEPTHWISE_TYPES),
    LayerType("DenseBlock", _dense_block, _write_dense_block, fork="DenseNet's fork", is_guess=True),
    LayerType("Correlation", _correlation, _write_correlation, bottoms=(2, 2), fork="FlowNet's forks"),
)
