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
    require,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import Convolution


def _per_axis(name: str, given: Sequence[int], axes: int, default: int | None) -> tuple[int, ...]:
    """A value for each spatial axis from none, one or all (base_conv_layer.cpp)."""
    if not given and default is not None:
        return (default,) * axes
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
        dilation=_per_axis("dilation", param.dilation, axes, 1),
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


MANY = (1, NO_LIMIT)
DEPTHWISE = "MobileNet's forks"

TYPES = (
    LayerType("Convolution", _convolution, _write, MANY, MANY, as_many_tops=True),
    LayerType("Deconvolution", _deconvolution, _write, MANY, MANY, as_many_tops=True),
    LayerType("Im2col", _im2col, _write),
    LayerType("DepthwiseConvolution", _depthwise, _write, MANY, MANY, as_many_tops=True, fork=DEPTHWISE),
    LayerType("ConvolutionDepthwise", _depthwise, _write, MANY, MANY, as_many_tops=True, fork=DEPTHWISE),
)
