"""Arithmetic between blobs or along a blob's axes."""

from math import prod

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import (
    NO_LIMIT,
    Inferred,
    Inputs,
    LayerType,
    canonical_axis,
    changed,
    read,
    require,
    text,
)
from sitecnn.network.settings import ArgMax, Eltwise, Reduction


def _eltwise(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """eltwise_layer.cpp."""
    settings = read(Eltwise, layer.eltwise_param)
    require(len(settings.coeff) in (0, len(inputs)), f"it needs a coeff for each of {len(inputs)} bottoms, or none")
    require(not settings.coeff or settings.operation != "PROD", "PROD takes no coeff")
    for other in inputs[1:]:
        if other != inputs[0]:
            require(False, f"its inputs must have one shape, are {text(inputs[0])} and {text(other)}")
    return Inferred((inputs[0],), settings=settings)


def _reduction(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """reduction_layer.cpp: all axes from `axis` on become one value."""
    settings = read(Reduction, layer.reduction_param)
    return Inferred((inputs[0][: canonical_axis(settings.axis, inputs[0])],), settings=settings)


def _arg_max(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """argmax_layer.cpp: the largest along an axis, or of each image with its values on demand."""
    param, shape = layer.argmax_param, inputs[0]
    axis = canonical_axis(param.axis, shape) if param.HasField("axis") else None
    require(bool(shape), "its input must have an axis")
    choices = prod(shape[1:]) if axis is None else shape[axis]
    require(1 <= param.top_k <= choices, f"top_k must be 1 to {choices}, is {param.top_k}")
    settings = ArgMax(param.out_max_val, param.top_k, axis)
    if axis is not None:
        return Inferred(((*shape[:axis], param.top_k, *shape[axis + 1 :]),), settings=settings)
    ones = (1,) * (max(len(shape), 3) - 3)
    return Inferred(((shape[0], 2 if param.out_max_val else 1, param.top_k, *ones),), settings=settings)


def _axpy(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """axpy_layer.cpp of SENet: scale·x + y, the scale one value a channel."""
    scale, first, second = inputs
    fits = scale[:2] == first[:2] and prod(scale[2:]) == 1 and first == second
    require(fits, f"its inputs of {text(scale)}, {text(first)} and {text(second)} do not fit each other")
    return Inferred((first,))


def _lstm_unit(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """lstm_unit_layer.cpp: a step of a cell and its four gates."""
    cell, gates, flags = inputs
    fits = len(cell) == 3 and cell[0] == 1 and gates == (1, cell[1], 4 * cell[2]) and flags == cell[:2]
    require(fits, f"its inputs of {text(cell)}, {text(gates)} and {text(flags)} do not fit each other")
    return Inferred((cell, cell))


TYPES = (
    LayerType("Eltwise", _eltwise, lambda settings: {"eltwise_param": changed(settings)}, bottoms=(2, NO_LIMIT)),
    LayerType("Reduction", _reduction, lambda settings: {"reduction_param": changed(settings)}),
    LayerType("ArgMax", _arg_max, lambda settings: {"argmax_param": changed(settings)}),
    LayerType("LSTMUnit", _lstm_unit, bottoms=(3, 3), tops=(2, 2)),
    LayerType("Axpy", _axpy, bottoms=(3, 3), fork="the SENet fork"),
)
