"""Caffe's layers that copy, cut, join or reshape blobs, and those that search them, as ONNX nodes."""

from math import prod
from typing import Any

from sitecnn.network.onnx.from_caffe.site import FLOAT, INT64, Rule, Site, integers, scalar


def _split(site: Site, settings: Any) -> None:
    """A copy for each top, which is nothing but another name."""
    for top in range(len(site.outputs)):
        site.add("Identity", site.inputs[0], top=top)


def _concat(site: Site, settings: Any) -> None:
    site.add("Concat", *site.inputs, axis=settings.axis)


def _slice(site: Site, settings: Any) -> None:
    sizes = integers(*(shape[settings.axis] for shape in site.layer.outputs))
    site.add_all("Split", site.inputs[0], sizes, axis=settings.axis)


def _reshape(site: Site, settings: Any) -> None:
    """Flatten, Reshape, Unsqueeze: the same values in the output's shape."""
    site.add("Reshape", site.inputs[0], integers(*site.layer.outputs[0]))


def _crop(site: Site, settings: Any) -> None:
    """What the second input's size leaves of the first."""
    given, output = site.layer.inputs[0], site.layer.outputs[0]
    axes = range(settings.axis % len(given), len(given))
    offsets = settings.offset * len(axes) if len(settings.offset) == 1 else settings.offset or (0,) * len(axes)
    ends = [offset + output[axis] for offset, axis in zip(offsets, axes, strict=True)]
    site.add("Slice", site.inputs[0], integers(*offsets), integers(*ends), integers(*axes))


def _tile(site: Site, settings: Any) -> None:
    rank = len(site.layer.inputs[0])
    repeats = (settings.tiles if axis == settings.axis % rank else 1 for axis in range(rank))
    site.add("Tile", site.inputs[0], integers(*repeats))


def _permute(site: Site, settings: Any) -> None:
    rest = (axis for axis in range(len(site.layer.inputs[0])) if axis not in settings.order)
    site.add("Transpose", site.inputs[0], perm=(*settings.order, *rest))


def _batch_reindex(site: Site, settings: Any) -> None:
    chosen = site.add("Cast", site.inputs[1], shape=site.layer.inputs[1], to=INT64)
    site.add("Gather", site.inputs[0], chosen)


def _arg_max(site: Site, settings: Any) -> None:
    """The positions of the largest as floats, or their values, or both (argmax_layer.cpp)."""
    given, name, count = site.layer.inputs[0], site.inputs[0], settings.top_k
    axis = settings.axis
    if axis is None:
        given, axis = (given[0], prod(given[1:])), 1
        name = site.add("Reshape", name, integers(*given), shape=given)
    shape = (*given[:axis], count, *given[axis + 1 :])
    values, positions = site.add_pair("TopK", name, integers(count), shape=shape, axis=axis)
    if settings.axis is not None and settings.out_max_val:
        site.add("Identity", values)
        return
    if settings.axis is not None:
        site.add("Cast", positions, to=FLOAT)
        return
    positions_cast = site.add("Cast", positions, shape=shape, to=FLOAT)
    if settings.out_max_val:
        positions_cast = site.add("Concat", positions_cast, values, shape=(given[0], 2 * count), axis=1)
    site.add("Reshape", positions_cast, integers(*site.layer.outputs[0]))


def _resize(mode: str, transform: str) -> Rule:
    def rule(site: Site, settings: Any) -> None:
        fields: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transform}
        if mode == "nearest":
            fields["nearest_mode"] = "floor"
        site.add("Resize", site.inputs[0], "", "", integers(*site.layer.outputs[0]), **fields)

    return rule


def _shuffle(site: Site, settings: Any) -> None:
    """Channels dealt out anew: as a matrix of groups, transposed."""
    batch, channels, *image = site.layer.inputs[0]
    groups, each = settings.group, channels // settings.group
    shape = (batch, groups, each, *image)
    grouped = site.add("Reshape", site.inputs[0], integers(*shape), shape=shape)
    dealt = site.add("Transpose", grouped, shape=(batch, each, groups, *image), perm=(0, 2, 1, 3, 4))
    site.add("Reshape", dealt, integers(*site.layer.outputs[0]))


def _blocks(site: Site, settings: Any) -> None:
    if settings.reverse:
        mode = "CRD" if site.layer.type == "PixelShuffle" else "DCR"
        site.add("DepthToSpace", site.inputs[0], blocksize=settings.size, mode=mode)
    else:
        site.add("SpaceToDepth", site.inputs[0], blocksize=settings.size)


def _pad(site: Site, settings: Any) -> None:
    before = (*(0 for _ in site.layer.outputs[0][2:]), settings.pad_u, settings.pad_l)
    after = (*(0 for _ in site.layer.outputs[0][2:]), settings.pad_d, settings.pad_r)
    pads = integers(*before, *after)
    site.add("Pad", site.inputs[0], pads, scalar(0.0))


RULES: dict[str, Rule] = {
    "Split": _split,
    "Silence": lambda site, settings: None,
    "Concat": _concat,
    "Slice": _slice,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Unsqueeze": _reshape,
    "Crop": _crop,
    "Tile": _tile,
    "Permute": _permute,
    "BatchReindex": _batch_reindex,
    "ArgMax": _arg_max,
    "Interp": _resize("linear", "align_corners"),
    "Upsample": _resize("nearest", "asymmetric"),
    "Resize": _resize("linear", "half_pixel"),
    "ShuffleChannel": _shuffle,
    "PixelShuffle": _blocks,
    "Reorg": _blocks,
    "Pad": _pad,
}
"""What each layer type is in ONNX."""
