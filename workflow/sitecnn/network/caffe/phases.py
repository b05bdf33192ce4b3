"""Which layers take part: the TEST phase's, without losses, with inputs in the place of data layers."""

from collections import Counter
from collections.abc import Iterable, Sequence

from sitecnn.network.caffe.caffe_pb2 import (
    TEST,
    BlobShape,
    LayerParameter,
    NetParameter,
    NetStateRule,
    ResizePolicyParameter,
    TransformationParameter,
)
from sitecnn.network.caffe.layers.base import text
from sitecnn.network.graph import Shape

MEASURES = ("Accuracy", "DetectionEvaluate", "HDF5Output")
"""Layers besides losses that judge or store a result and are no part of it."""

DATA_PARAMS = {
    "Data": "data_param",
    "AnnotatedData": "data_param",
    "ImageData": "image_data_param",
    "WindowData": "window_data_param",
    "MemoryData": "memory_data_param",
    "HDF5Data": "hdf5_data_param",
    "VideoData": "data_param",
}
"""Layers that read data from elsewhere, and where they keep their batch size."""


def in_test_phase(net: NetParameter) -> list[LayerParameter]:
    """The layers whose include and exclude rules fit the TEST phase, at level 0 (net.cpp, `FilterNet`)."""
    stages = set(net.state.stage)
    return [layer for layer in net.layer if _included(layer, stages)]


def _included(layer: LayerParameter, stages: set[str]) -> bool:
    if layer.include:
        return any(_meets(rule, stages) for rule in layer.include)
    return not any(_meets(rule, stages) for rule in layer.exclude)


def _meets(rule: NetStateRule, stages: set[str]) -> bool:
    """net.cpp, `StateMeetsRule`."""
    level_fits = rule.min_level <= 0 and (rule.max_level >= 0 or not rule.HasField("max_level"))
    phase_fits = rule.phase == TEST or not rule.HasField("phase")
    return phase_fits and level_fits and stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)


def without_measures(layers: Sequence[LayerParameter]) -> tuple[list[LayerParameter], list[str]]:
    """The layers without losses and accuracies whose outputs nothing else reads, and a note of which went."""
    kept = list(layers)
    read = Counter(blob for layer in kept for blob in layer.bottom)
    dropped = []
    for layer in reversed(layers):
        if _measures(layer) and not any(read[top] for top in layer.top if top not in layer.bottom):
            kept.remove(layer)
            read.subtract(layer.bottom)
            dropped.append(f"layer {layer.name!r} ({layer.type}) is left out: it only measures")
    return kept, dropped[::-1]


def _measures(layer: LayerParameter) -> bool:
    return layer.type.endswith("Loss") or layer.type in MEASURES


def with_inputs(layers: Iterable[LayerParameter]) -> tuple[list[LayerParameter], list[str]]:
    """The layers with Input layers in the place of those that read data from elsewhere, and a note for each."""
    layers = list(layers)
    read = {blob for layer in layers for blob in layer.bottom}
    notes = []
    for index, layer in enumerate(layers):
        if layer.type in DATA_PARAMS:
            layers[index], note = _input_for(layer, read)
            notes.append(f"layer {layer.name!r} ({layer.type}) is read as an input{note}")
    return layers, notes


def _input_for(layer: LayerParameter, read: set[str]) -> tuple[LayerParameter, str]:
    """The Input layer for a data layer: its images, and of its other tops those that are read."""
    tops = [top for position, top in enumerate(layer.top) if position == 0 or top in read]
    made = LayerParameter(name=layer.name, type="Input", top=tops)
    if image := _image_shape(layer):
        shapes = (image, *((image[0],) for _ in tops[1:]))
        made.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
        return made, f" of {text(image)}"
    return made, ""


def _image_shape(layer: LayerParameter) -> Shape | None:
    """What its images are cropped or resized to, if it says; colour unless told otherwise."""
    if layer.type == "MemoryData":
        memory = layer.memory_data_param
        return (memory.batch_size, memory.channels, memory.height, memory.width)
    param, transform = getattr(layer, DATA_PARAMS[layer.type]), layer.transform_param
    size = _cropped(transform) or _resized(transform.resize_param)
    if layer.type == "ImageData":
        size = size or (param.new_height, param.new_width)
    gray = transform.force_gray or (layer.type == "ImageData" and not param.is_color)
    return (param.batch_size, 1 if gray else 3, *size) if size and all(size) else None


def _cropped(transform: TransformationParameter) -> tuple[int, ...]:
    if transform.crop_size:
        return (transform.crop_size, transform.crop_size)
    return (transform.crop_h, transform.crop_w) if transform.crop_h and transform.crop_w else ()


def _resized(policy: ResizePolicyParameter) -> tuple[int, ...]:
    """What SSD's data layers resize images to."""
    return (policy.height, policy.width) if policy.height and policy.width else ()
