"""Inputs, convolutions, poolings and matrix products of Caffe as ONNX nodes."""

from math import prod
from typing import Any

from sitecnn.network.caffe.layers.pooling import spp_level
from sitecnn.network.graph import Shape
from sitecnn.network.onnx.from_caffe.site import INT64, NoOperatorError, Rule, Site, integers
from sitecnn.network.settings import SPP, Convolution, Embed, InnerProduct, Pooling, RegionPooling


def input_(site: Site, settings: Any) -> None:
    """Inputs, and data layers of every kind."""
    for top in range(len(site.outputs)):
        site.add("Input", top=top, dtype="float32")


def _parameter(site: Site, settings: Any) -> None:
    site.add("Identity", site.weight(0))


def _convolution(site: Site, settings: Convolution) -> None:
    if settings.axis != 1:
        raise NoOperatorError(f"its channels are axis {settings.axis}, ONNX's are axis 1")
    if len(site.layer.inputs[0]) < 3:
        raise NoOperatorError("its input has no axis but images and channels")
    reverse = site.layer.type == "Deconvolution"
    weights = [site.weight(index) for index in range(1 + settings.bias)]
    for top, name in enumerate(site.inputs):
        site.add(
            "ConvTranspose" if reverse else "Conv",
            name,
            *weights,
            top=top,
            kernel_shape=settings.kernel,
            strides=settings.stride,
            pads=settings.pad * 2,
            dilations=settings.dilation,
            group=settings.group,
        )


def _pooling(site: Site, settings: Pooling) -> None:
    if len(site.outputs) > 1:
        raise NoOperatorError("its mask of positions is not that of ONNX's MaxPool")
    _pool(site, settings, site.layer.outputs[0])


def _pool(site: Site, settings: Pooling, output: Shape, inner: bool = False) -> str:
    """A pooling of the layer's input.

    Windows past the edge: maxima take padding of just the size, which is exact in every version of ONNX Runtime;
    averages take `ceil_mode`, as Caffe's divisor counts the padding but not what lies past it.
    """
    shape = output if inner else None
    if settings.method not in ("MAX", "AVE"):
        raise NoOperatorError(f"{settings.method} pooling has no equal in ONNX")
    is_max = settings.method == "MAX"
    if settings.global_pooling:
        return site.add("GlobalMaxPool" if is_max else "GlobalAveragePool", site.inputs[0], shape=shape)
    past = [
        max((out - 1) * stride + kernel - size - 2 * pad, 0)
        for out, stride, kernel, size, pad in zip(
            output[2:], settings.stride, settings.kernel, site.layer.inputs[0][2:], settings.pad, strict=True
        )
    ]
    fields: dict[str, Any] = {"kernel_shape": settings.kernel, "strides": settings.stride}
    if is_max:
        after = tuple(pad + more for pad, more in zip(settings.pad, past, strict=True))
        return site.add("MaxPool", site.inputs[0], shape=shape, pads=settings.pad + after, **fields)
    fields |= {"pads": settings.pad * 2, "count_include_pad": 1, "ceil_mode": int(any(past))}
    return site.add("AveragePool", site.inputs[0], shape=shape, **fields)


def _spp(site: Site, settings: SPP) -> None:
    """A pooling of 2^level bins an axis for each level (spp_layer.cpp), flattened and joined."""
    batch, channels, height, width = site.layer.inputs[0]
    flat = []
    for level in range(settings.pyramid_height):
        bins, pooling = 2**level, spp_level(level, (height, width), settings.method)
        if settings.pyramid_height == 1:
            _pool(site, pooling, site.layer.outputs[0])
            return
        shape = (batch, channels, bins, bins)
        pooled = _pool(site, pooling, shape, inner=True)
        count = channels * bins * bins
        flat.append(site.add("Reshape", pooled, integers(batch, count), shape=(batch, count)))
    site.add("Concat", *flat, axis=1)


def _inner_product(site: Site, settings: InnerProduct) -> None:
    """Gemm takes matrices: other inputs are flattened before it, and its output is shaped behind it."""
    given, name = site.layer.inputs[0], site.inputs[0]
    rows, depth = prod(given[: settings.axis]), prod(given[settings.axis :])
    if given != (rows, depth):
        name = site.add("Flatten", name, shape=(rows, depth), axis=settings.axis)
    weights = [site.weight(index) for index in range(1 + settings.bias)]
    is_matrix = site.layer.outputs[0] == (rows, settings.num_output)
    shape = None if is_matrix else (rows, settings.num_output)
    product = site.add("Gemm", name, *weights, shape=shape, transB=int(not settings.transpose))
    if not is_matrix:
        site.add("Reshape", product, integers(*site.layer.outputs[0]))


def _embed(site: Site, settings: Embed) -> None:
    rows = site.add("Cast", site.inputs[0], shape=site.layer.inputs[0], to=INT64)
    row = site.add("Gather", site.weight(0), rows, shape=site.layer.outputs[0] if settings.bias else None)
    if settings.bias:
        site.add("Add", row, site.weight(1))


def _roi_pooling(site: Site, settings: RegionPooling) -> None:
    site.add("MaxRoiPool", *site.inputs, pooled_shape=settings.pooled, spatial_scale=settings.spatial_scale)


RULES: dict[str, Rule] = {
    "Input": input_,
    "Parameter": _parameter,
    "Convolution": _convolution,
    "DepthwiseConvolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Deconvolution": _convolution,
    "Pooling": _pooling,
    "SPP": _spp,
    "ROIPooling": _roi_pooling,
    "InnerProduct": _inner_product,
    "Embed": _embed,
}
"""What each layer type is in ONNX."""
