"""Layers of detection and segmentation forks whose rules are well known; none of them is Caffe's own."""

from math import isclose
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import InterpParameter, LayerParameter, UpsampleParameter
from sitecnn.network.caffe.layers.base import (
    Inferred,
    Inputs,
    LayerType,
    changed,
    image_size,
    read,
    require,
    text,
)
from sitecnn.network.settings import (
    Blocks,
    DetectionOutput,
    Pad,
    PriorBox,
    Proposal,
    RegionPooling,
    Resize,
    Shuffle,
)

SSD = "the SSD fork"
RCNN = "the R-CNN forks"
SEGMENTATION = "segmentation forks"


def _priors(settings: PriorBox) -> int:
    """Boxes a pixel: a distinct aspect ratio, and its inverse, for each size; one more for each larger size."""
    ratios = [1.0]
    for ratio in settings.aspect_ratio:
        if not any(isclose(ratio, known, rel_tol=0, abs_tol=1e-6) for known in ratios):
            ratios += [ratio, 1 / ratio] if settings.flip and ratio else [ratio]
    return len(ratios) * len(settings.min_size) + len(settings.max_size) + len(settings.width)


def _prior_box(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """prior_box_layer.cpp of SSD: means and variances of every box, once for all images."""
    height, width = image_size(inputs[0])
    settings = read(PriorBox, layer.prior_box_param)
    require(bool(settings.min_size or settings.width), "it needs a min_size, or Intel's width and height")
    require(len(settings.width) == len(settings.height), "it needs as many heights as widths")
    larger = len(settings.max_size)
    require(larger in (0, len(settings.min_size)), "it needs a max_size for each min_size, or none")
    return Inferred(((1, 2, height * width * _priors(settings) * 4),), settings=settings)


def _detection_output(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """detection_output_layer.cpp of SSD: one row of 7 until a forward pass has found more."""
    location, confidence, priors = inputs[:3]
    settings = read(DetectionOutput, layer.detection_output_param)
    require(settings.num_classes > 0, "it needs num_classes")
    require(len(priors) > 2 and min(len(location), len(confidence)) > 1, "its inputs have too few axes")
    boxes = priors[2] // 4
    sets = 1 if settings.share_location else settings.num_classes
    fits = location[1] == boxes * sets * 4 and confidence[1] == boxes * settings.num_classes
    require(fits, f"{boxes} boxes need other locations and confidences than {text(location)} and {text(confidence)}")
    return Inferred(((1, 1, 1, 7),), settings=settings)


def _write_detection_output(settings: DetectionOutput) -> dict[str, Any]:
    return {"detection_output_param": changed(settings)}


def _roi_pooling(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """roi_pooling_layer.cpp of Fast R-CNN: for each region its maxima on a grid of bins; ROIAlign interpolates."""
    features, regions = inputs
    param = layer.roi_align_param if layer.type == "ROIAlign" else layer.roi_pooling_param
    image_size(features)
    settings = RegionPooling((param.pooled_h, param.pooled_w), param.spatial_scale)
    require(bool(regions), "its second input must list regions")
    return Inferred(((regions[0], features[1], *settings.pooled),), settings=settings)


def _psroi_pooling(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """psroi_pooling_layer.cpp of R-FCN: each bin has channels of its own."""
    param, (features, regions) = layer.psroi_pooling_param, inputs
    image_size(features)
    bins = param.group_size
    fits = bins > 0 and features[1] == param.output_dim * bins**2
    require(fits, f"{features[1]} channels are not output_dim {param.output_dim} × group_size {bins}²")
    settings = RegionPooling((bins, bins), param.spatial_scale, param.output_dim)
    require(bool(regions), "its second input must list regions")
    return Inferred(((regions[0], param.output_dim, bins, bins),), settings=settings)


def _write_region_pooling(settings: RegionPooling) -> dict[str, Any]:
    high, wide = settings.pooled
    if settings.output_dim:
        sizes = {"output_dim": settings.output_dim, "group_size": high}
        return {"psroi_pooling_param": sizes | {"spatial_scale": settings.spatial_scale}}
    return {"roi_pooling_param": {"pooled_h": high, "pooled_w": wide, "spatial_scale": settings.spatial_scale}}


def _write_roi_align(settings: RegionPooling) -> dict[str, Any]:
    return {"roi_align_param": _write_region_pooling(settings)["roi_pooling_param"]}


def _proposal(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """proposal_layer.cpp of Faster R-CNN in C++: regions of 5 numbers, and their scores where asked for."""
    settings = read(Proposal, layer.proposal_param)
    require(bool(inputs[0]), "its first input must have an axis of images")
    regions = inputs[0][0] * settings.post_nms_topn
    return Inferred(((regions, 5), (regions,))[: len(layer.top)], settings=settings)


def _resized(inputs: Inputs, height: int, width: int, scale: int = 0) -> Inferred:
    """A new image size, which is all that matters of how it was told."""
    return Inferred(((*inputs[0][:2], height, width),), settings=Resize((height, width), scale))


def _interpolated(size: int, param: InterpParameter, requested: int) -> int:
    """interp_layer.cpp of DeepLab and PSPNet, for one axis."""
    size += param.pad_beg + param.pad_end
    shrinks, zooms = param.HasField("shrink_factor"), param.HasField("zoom_factor")
    if not (shrinks or zooms):
        return requested
    shrunk = (size - 1) // max(1, param.shrink_factor) + 1 if shrinks else size
    return shrunk + (shrunk - 1) * (param.zoom_factor - 1) if zooms else shrunk


def _interp(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """interp_layer.cpp; with a second input, its size is taken."""
    param, (height, width) = layer.interp_param, image_size(inputs[0])
    if len(inputs) == 2:
        return _resized(inputs, *image_size(inputs[1]))
    return _resized(inputs, _interpolated(height, param, param.height), _interpolated(width, param, param.width))


def _write_interp(settings: Resize) -> dict[str, Any]:
    return {"interp_param": {"height": settings.size[0], "width": settings.size[1]}}


def _upsampled(size: int, param: UpsampleParameter, axis: str) -> int:
    """upsample_layer.cpp of SegNet, for the axis `h` or `w`: told outright, or by a scale."""
    if param.HasField(f"upsample_{axis}"):
        return int(getattr(param, f"upsample_{axis}"))
    own = param.HasField(f"scale_{axis}")
    scale: int = getattr(param, f"scale_{axis}") if own else param.stride or param.scale
    return size * scale - int(getattr(param, f"pad_out_{axis}"))


def _upsample(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """upsample_layer.cpp: of SegNet with pooling's mask as its second input, of YOLO with one input."""
    param, (height, width) = layer.upsample_param, image_size(inputs[0])
    out = (_upsampled(height, param, "h"), _upsampled(width, param, "w"))
    return _resized(inputs, *out, param.scale if out == (height * param.scale, width * param.scale) else 0)


def _write_upsample(settings: Resize) -> dict[str, Any]:
    if settings.scale:
        return {"upsample_param": {"scale": settings.scale}}
    return {"upsample_param": {"upsample_h": settings.size[0], "upsample_w": settings.size[1]}}


def _resize(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """resize_layer.cpp of a fork."""
    param, (height, width) = layer.resize_param, image_size(inputs[0])
    if param.is_pyramid_test:
        return _resized(inputs, int(param.out_height_scale * height), int(param.out_width_scale * width))
    return _resized(inputs, param.height, param.width)


def _write_resize(settings: Resize) -> dict[str, Any]:
    return {"resize_param": {"height": settings.size[0], "width": settings.size[1]}}


def _shuffle(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """shuffle_channel_layer.cpp of ShuffleNet's forks."""
    settings = read(Shuffle, layer.shuffle_channel_param)
    image_size(inputs[0])
    fits = settings.group > 0 and inputs[0][1] % settings.group == 0
    require(fits, f"its {inputs[0][1]} channels do not divide into {settings.group} groups")
    return Inferred(inputs, settings=settings)


def _pixels_from_channels(inputs: Inputs, settings: Blocks) -> Inferred:
    """size² channels become a square of pixels."""
    height, width = image_size(inputs[0])
    channels, size = inputs[0][1], settings.size
    require(size > 0 and channels % size**2 == 0, f"its {channels} channels do not divide by {size}²")
    return Inferred(((inputs[0][0], channels // size**2, height * size, width * size),), settings=settings)


def _pixel_shuffle(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """pixelshuffle_layer.cpp of a fork."""
    return _pixels_from_channels(inputs, Blocks(layer.pixelshuffle_param.upscale_factor, reverse=True))


def _reorg(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """reorg_layer.cpp of YOLO v2's forks: a square of pixels becomes channels, or back."""
    settings = read(Blocks, layer.reorg_param, {"size": "stride"})
    if settings.reverse:
        return _pixels_from_channels(inputs, settings)
    (height, width), size = image_size(inputs[0]), settings.size
    fits = size > 0 and height % size == 0 and width % size == 0
    require(fits, f"its {height}×{width} pixels do not divide by stride {size}")
    batch, channels = inputs[0][:2]
    return Inferred(((batch, channels * size**2, height // size, width // size),), settings=settings)


def _pad(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """pad_layer.cpp of a fork: rows above and below, columns left and right."""
    shape, settings = inputs[0], read(Pad, layer.pad_param)
    require(2 <= len(shape) <= 4, f"its input must have 2 to 4 axes, is {text(shape)}")
    height, width = shape[-2] + settings.pad_u + settings.pad_d, shape[-1] + settings.pad_l + settings.pad_r
    return Inferred(((*shape[:-2], height, width),), settings=settings)


TYPES = (
    LayerType("PriorBox", _prior_box, lambda settings: {"prior_box_param": changed(settings)}, (2, 2), fork=SSD),
    LayerType("DetectionOutput", _detection_output, _write_detection_output, bottoms=(3, 5), fork=SSD),
    LayerType("ROIPooling", _roi_pooling, _write_region_pooling, bottoms=(2, 2), fork=RCNN),
    LayerType("ROIAlign", _roi_pooling, _write_roi_align, bottoms=(2, 2), fork=RCNN),
    LayerType("PSROIPooling", _psroi_pooling, _write_region_pooling, bottoms=(2, 2), fork=RCNN),
    LayerType(
        "Proposal",
        _proposal,
        lambda settings: {"proposal_param": changed(settings)},
        bottoms=(2, 4),
        tops=(1, 2),
        fork=RCNN,
    ),
    LayerType("Interp", _interp, _write_interp, bottoms=(1, 2), fork=SEGMENTATION),
    LayerType("Upsample", _upsample, _write_upsample, bottoms=(1, 2), fork=SEGMENTATION),
    LayerType("Resize", _resize, _write_resize, fork="a fork"),
    LayerType(
        "ShuffleChannel",
        _shuffle,
        lambda settings: {"shuffle_channel_param": {"group": settings.group}},
        fork="ShuffleNet's forks",
    ),
    LayerType(
        "PixelShuffle",
        _pixel_shuffle,
        lambda settings: {"pixelshuffle_param": {"upscale_factor": settings.size}},
        fork="a fork",
    ),
    LayerType(
        "Reorg",
        _reorg,
        lambda settings: {"reorg_param": changed(settings, {"size": "stride"})},
        fork="YOLO's forks",
    ),
    LayerType("Pad", _pad, lambda settings: {"pad_param": changed(settings)}, in_place=False, fork="a fork"),
)
