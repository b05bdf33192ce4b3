"""Normalisation, and the learnable scale and bias that go with it."""

from dataclasses import replace
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import (
    Inferred,
    Inputs,
    LayerType,
    canonical_axis,
    changed,
    image_size,
    read,
    require,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import LRN, MVN, BatchNorm, Bias, Normalize, Scale

REGION = {"region": "norm_region"}
BIAS = {"bias": "bias_term"}


def _lrn(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """lrn_layer.cpp."""
    image_size(inputs[0])
    settings = read(LRN, layer.lrn_param, REGION)
    require(settings.local_size % 2 == 1, f"local_size must be odd, is {settings.local_size}")
    return Inferred(inputs, settings=settings)


def _batch_norm(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """batch_norm_layer.cpp: its blobs are the means, the variances and their common factor."""
    param, shape = layer.batch_norm_param, inputs[0]
    require(len(shape) >= 2, f"its input must have a channel axis, is {text(shape)}")
    settings = read(BatchNorm, param)
    stored = replace(settings, use_global_stats=param.use_global_stats or not param.HasField("use_global_stats"))
    channels = (shape[1],)
    return Inferred(inputs, (channels, channels, (1,)), stored)


def _write_batch_norm(settings: BatchNorm) -> dict[str, Any]:
    return {"batch_norm_param": {"use_global_stats": settings.use_global_stats} | changed(settings)}


def _mvn(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """mvn_layer.cpp: its output always has four axes."""
    shape = inputs[0]
    require(len(shape) <= 4, f"its input must have at most 4 axes, is {text(shape)}")
    return Inferred(((*shape, *(1,) * (4 - len(shape))),), settings=read(MVN, layer.mvn_param))


def _learned(shape: Shape, axis: int, num_axes: int) -> Shape:
    """The shape of a learned scale or bias: num_axes axes of the input from `axis` on, -1 for all of them."""
    start = canonical_axis(axis, shape)
    require(num_axes >= -1, f"num_axes must be at least -1, is {num_axes}")
    require(start + num_axes <= len(shape), f"axis {axis} and num_axes {num_axes} go past its {text(shape)} input")
    return shape[start:] if num_axes == -1 else shape[start : start + num_axes]


def _check_second(inputs: Inputs, axis: int) -> None:
    """A second input must fit the first from `axis` on; a scalar always does."""
    if len(inputs) == 1 or not inputs[1]:
        return
    shape, other = inputs
    start = canonical_axis(axis, shape)
    if shape[start : start + len(other)] != other:
        require(False, f"its second input of {text(other)} does not fit the first of {text(shape)} at axis {axis}")


def _scale(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """scale_layer.cpp: multiplies by its second input or a learned blob, then adds a learned bias if asked."""
    shape, alone = inputs[0], len(inputs) == 1
    settings = read(Scale, layer.scale_param, BIAS)
    _check_second(inputs, settings.axis)
    if not (alone or settings.bias):
        return Inferred((shape,), settings=settings)
    learned = _learned(shape, settings.axis, settings.num_axes if alone else len(inputs[1]))
    return Inferred((shape,), (learned,) * (alone + settings.bias), settings)


def _bias(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """bias_layer.cpp: adds its second input or a learned blob."""
    shape, settings = inputs[0], read(Bias, layer.bias_param)
    _check_second(inputs, settings.axis)
    learned = (_learned(shape, settings.axis, settings.num_axes),) if len(inputs) == 1 else ()
    return Inferred((shape,), learned, settings)


def _normalize(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """normalize_layer.cpp of SSD."""
    shape, settings = inputs[0], read(Normalize, layer.norm_param)
    require(2 <= len(shape) <= 4, f"its input must have 2 to 4 axes, is {text(shape)}")
    return Inferred(inputs, ((),) if settings.channel_shared else ((shape[1],),), settings)


def _bn(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """bn_layer.cpp of several forks: slope, bias, mean and variance of each channel."""
    shape = inputs[0]
    require(2 <= len(shape) <= 4, f"its input must have 2 to 4 axes, is {text(shape)}")
    return Inferred((shape,), ((1, shape[1], 1, 1),) * 4)


TYPES = (
    LayerType("LRN", _lrn, lambda settings: {"lrn_param": changed(settings, REGION)}),
    LayerType("BatchNorm", _batch_norm, _write_batch_norm),
    LayerType("MVN", _mvn, lambda settings: {"mvn_param": changed(settings)}),
    LayerType("Scale", _scale, lambda settings: {"scale_param": changed(settings, BIAS)}, bottoms=(1, 2)),
    LayerType("Bias", _bias, lambda settings: {"bias_param": changed(settings)}, bottoms=(1, 2)),
    LayerType("Normalize", _normalize, lambda settings: {"norm_param": changed(settings)}, fork="the SSD fork"),
    LayerType("BN", _bn, fork="forks with their own batch normalisation"),
)
