"""Layers that copy, cut, join or reshape blobs without arithmetic."""

from itertools import pairwise
from math import prod

from sitecnn.network.caffe.caffe_pb2 import ConcatParameter, LayerParameter, SliceParameter
from sitecnn.network.caffe.layers.base import (
    NO_LIMIT,
    Inferred,
    Inputs,
    LayerType,
    RefusedError,
    canonical_axis,
    changed,
    read,
    require,
    same_shape,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import Concat, Crop, Flatten, Permute, Reshape, Slice, Tile, Unsqueeze

DIMS = {"dims": "shape"}


def _joint_axis(param: ConcatParameter | SliceParameter, old_name: str, shape: Shape) -> int:
    """`axis`, or its old name, which does not count from the back (concat_layer.cpp, slice_layer.cpp)."""
    if not param.HasField(old_name):
        return canonical_axis(param.axis, shape)
    require(not param.HasField("axis"), f"both axis and {old_name} are given")
    axis: int = getattr(param, old_name)
    require(axis < len(shape), f"{old_name} {axis} is not an axis of its {text(shape)} input")
    return axis


def _concat(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """concat_layer.cpp."""
    first = inputs[0]
    axis = _joint_axis(layer.concat_param, "concat_dim", first)
    before, after = first[:axis], first[axis + 1 :]
    for other in inputs[1:]:
        if len(other) != len(first) or other[:axis] != before or other[axis + 1 :] != after:
            raise RefusedError(f"its inputs {text(first)} and {text(other)} differ elsewhere than on axis {axis}")
    return Inferred(((*before, sum(shape[axis] for shape in inputs), *after),), settings=Concat(axis))


def _slice(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """slice_layer.cpp: at the points given, or evenly."""
    param, shape, parts = layer.slice_param, inputs[0], len(layer.top)
    axis = _joint_axis(param, "slice_dim", shape)
    length, points = shape[axis], tuple(param.slice_point)
    if points:
        require(len(points) == parts - 1, f"its {parts} tops need {parts - 1} slice points, not {len(points)}")
    else:
        require(length % parts == 0, f"its {parts} tops do not divide {length} on axis {axis} evenly")
    edges = (0, *points, length) if points else tuple(range(0, length + 1, length // parts))
    sizes = [end - start for start, end in pairwise(edges)]
    require(min(sizes) > 0, f"slice points {text(points)} do not rise within {length}")
    return Inferred(tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes), settings=Slice(axis, points))


def _flatten(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """flatten_layer.cpp."""
    shape, settings = inputs[0], read(Flatten, layer.flatten_param)
    start, end = canonical_axis(settings.axis, shape), canonical_axis(settings.end_axis, shape) + 1
    require(start <= end, f"end_axis {settings.end_axis} stands before axis {settings.axis}")
    return Inferred(((*shape[:start], prod(shape[start:end]), *shape[end:]),), settings=settings)


def _reshape(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """reshape_layer.cpp."""
    param, shape = layer.reshape_param, inputs[0]
    settings = Reshape(tuple(param.shape.dim), param.axis, param.num_axes)
    start, end = _replaced_axes(settings, shape)
    before, after = shape[:start], shape[end:]
    dims = [_kept(shape, start + axis) if dim == 0 else dim for axis, dim in enumerate(settings.dims)]
    require(dims.count(-1) <= 1 and min(dims, default=1) >= -1, f"cannot reshape to {settings.dims}")
    if -1 in dims:
        dims[dims.index(-1)] = prod(shape) // max(1, prod(d for d in (*before, *dims, *after) if d != -1))
    output = (*before, *dims, *after)
    if prod(output) != prod(shape):
        require(False, f"cannot reshape {text(shape)} to {settings.dims}: the numbers of values differ")
    return Inferred((output,), settings=settings)


def _replaced_axes(settings: Reshape, shape: Shape) -> tuple[int, int]:
    """First and last (exclusive) axis of the input that `dims` replace; a negative axis counts from past the end."""
    start = settings.axis if settings.axis >= 0 else len(shape) + settings.axis + 1
    require(0 <= start <= len(shape), f"axis {settings.axis} is not an axis of its {text(shape)} input")
    end = len(shape) if settings.num_axes == -1 else start + settings.num_axes
    require(start <= end <= len(shape), f"num_axes {settings.num_axes} goes past its {text(shape)} input")
    return start, end


def _kept(shape: Shape, axis: int) -> int:
    require(axis < len(shape), f"dim 0 keeps axis {axis}, which its {text(shape)} input does not have")
    return shape[axis]


def _crop(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """crop_layer.cpp."""
    shape, wanted = inputs
    settings = read(Crop, layer.crop_param)
    start = canonical_axis(settings.axis, shape)
    axes = len(shape) - start
    require(len(settings.offset) in (0, 1, axes), f"it needs no offset, one, or {axes}")
    require(len(wanted) >= len(shape), f"its second input {text(wanted)} has fewer axes than {text(shape)}")
    offsets = settings.offset * axes if len(settings.offset) < 2 else settings.offset
    for offset, size, cut in zip(offsets or (0,) * axes, shape[start:], wanted[start:], strict=False):
        require(size - offset >= cut, f"cannot cut {text(wanted)} out of {text(shape)} at offset {offset}")
    return Inferred(((*shape[:start], *wanted[start : len(shape)]),), settings=settings)


def _tile(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """tile_layer.cpp."""
    shape, settings = inputs[0], read(Tile, layer.tile_param)
    axis = canonical_axis(settings.axis, shape)
    require(settings.tiles > 0, "tiles must be given, at least 1")
    return Inferred(((*shape[:axis], shape[axis] * settings.tiles, *shape[axis + 1 :]),), settings=settings)


def _permute(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """permute_layer.cpp of SSD: axes that are not named follow in their order."""
    shape, settings = inputs[0], read(Permute, layer.permute_param)
    named = settings.order
    fits = len(set(named)) == len(named) and all(axis < len(shape) for axis in named)
    require(fits, f"order {named} does not name axes of its {text(shape)} input, each once")
    order = (*named, *(axis for axis in range(len(shape)) if axis not in named))
    return Inferred((tuple(shape[axis] for axis in order),), settings=settings)


def _batch_reindex(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """batch_reindex_layer.cpp: images chosen by the second input."""
    shape, chosen = inputs
    require(len(chosen) == 1 and len(shape) > 0, f"its second input must have one axis, is {text(chosen)}")
    return Inferred(((chosen[0], *shape[1:]),))


def _filter(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """filter_layer.cpp: images chosen by the last input, all of them until the first forward pass."""
    *outputs, chosen = inputs
    require(len(layer.top) == len(outputs), f"it gives {len(outputs)} tops, has {len(layer.top)}")
    require(
        prod(chosen[1:]) == 1 and len(chosen) > 0, f"its last input must hold one value an image, is {text(chosen)}"
    )
    for shape in outputs:
        require(shape[:1] == chosen[:1], f"its inputs {text(shape)} and {text(chosen)} differ in images")
    return Inferred(tuple(outputs))


def _unsqueeze(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """unsqueeze.cpp of a fork: a new axis of 1."""
    shape, settings = inputs[0], read(Unsqueeze, layer.unsqueeze_param)
    dim = settings.dim
    axis = dim if dim >= 0 else dim + len(shape) + 1
    require(0 <= axis <= len(shape), f"dim {dim} is not a position in its {text(shape)} input")
    return Inferred(((*shape[:axis], 1, *shape[axis:]),), settings=settings)


def _nothing(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """silence_layer.cpp."""
    return Inferred(())


TYPES = (
    LayerType("Split", same_shape, tops=(1, NO_LIMIT), in_place=False),
    LayerType("Concat", _concat, lambda settings: {"concat_param": changed(settings)}, bottoms=(1, NO_LIMIT)),
    LayerType("Slice", _slice, lambda settings: {"slice_param": changed(settings)}, tops=(1, NO_LIMIT)),
    LayerType("Flatten", _flatten, lambda settings: {"flatten_param": changed(settings)}, in_place=False),
    LayerType(
        "Reshape",
        _reshape,
        lambda settings: {"reshape_param": changed(settings, DIMS) | {"shape": {"dim": settings.dims}}},
        in_place=False,
    ),
    LayerType("Crop", _crop, lambda settings: {"crop_param": changed(settings)}, bottoms=(2, 2)),
    LayerType("Tile", _tile, lambda settings: {"tile_param": changed(settings)}),
    LayerType("BatchReindex", _batch_reindex, bottoms=(2, 2), in_place=False),
    LayerType("Filter", _filter, bottoms=(2, NO_LIMIT), tops=(1, NO_LIMIT)),
    LayerType("Silence", _nothing, bottoms=(1, NO_LIMIT), tops=(0, 0)),
    LayerType("Permute", _permute, lambda settings: {"permute_param": changed(settings)}, fork="the SSD fork"),
    LayerType("Unsqueeze", _unsqueeze, lambda settings: {"unsqueeze_param": {"dim": settings.dim}}, fork="a fork"),
)
