"""Where a network's data come from: layers that read it from elsewhere, and blobs that nothing makes, as inputs."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.caffe_pb2 import BlobShape, DataParameter, LayerParameter, TransformationParameter
from sitecnn.network.caffe.guesses import input_option
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import text
from sitecnn.network.graph import Shape

DATA_TYPES = ("Data", "AnnotatedData", "ImageData", "WindowData", "MemoryData", "HDF5Data", "VideoData")
DATA_PARAMS = (
    *("data_param", "image_data_param", "window_data_param", "memory_data_param", "hdf5_data_param"),
    *("video_data_param", "other_data_param"),
)
OF_TRAINING = re.compile(r"(?i)label|target|weight|gt_|mask|dim$|info$")
"""Names of blobs whose shape is never asked for: labels, and what goes with them."""

KNOWN_SHAPES = {"im_info": (1, 3), "gt_boxes": (1, 5)}
"""What R-CNN's data layers give beside the image."""

DATASETS = (
    (re.compile(r"(?i)mnist\w*siamese|siamese\w*mnist"), (2, 28, 28)),
    (re.compile(r"(?i)mnist"), (1, 28, 28)),
    (re.compile(r"(?i)cifar"), (3, 32, 32)),
    (re.compile(r"(?i)sift_?flow"), (3, 256, 256)),
)
"""Public data sets whose images all have one size, by the name of their file or of the layer that reads them."""

REGION_TYPES = ("ROIPooling", "ROIAlign", "PSROIPooling")
RECURRENT_TYPES = ("LSTM", "RNN")


@dataclass
class Sources:
    """The layers with inputs in the place of data, the blobs whose shape is a guess, and a note for each."""

    layers: list[LayerParameter]
    notes: list[str] = field(default_factory=list)
    guesses: set[str] = field(default_factory=set)


def with_inputs(
    layers: Sequence[LayerParameter],
    all_layers: Sequence[LayerParameter],
    given: Mapping[str, Shape],
    origin: str,
    *,
    strict: bool,
) -> Sources:
    """The layers with Input layers in the place of those that read data from elsewhere and of blobs that are `given`.

    `all_layers` are those of other phases too: one of them may tell a size that this phase's does not. Raises
    NetworkError that names every shape that the file does not tell, with an example that can be typed.
    """
    sources = Sources(list(layers))
    read = [blob for layer in layers for blob in layer.bottom]
    for index, layer in enumerate(layers):
        if _reads_data(layer, strict):
            sources.layers[index] = _input_for(layer, all_layers, set(read), given, sources, origin)
    produced = {top for layer in sources.layers for top in layer.top}
    extra = [blob for blob in dict.fromkeys(read) if blob in given and blob not in produced]
    sources.layers[:0] = [_input(blob, [blob], [given[blob]]) for blob in extra]
    return sources


def _reads_data(layer: LayerParameter, strict: bool) -> bool:
    """Whether a layer's blobs come from elsewhere: a data layer, or any other that is not known and reads none."""
    if not layer.top:
        return False
    if layer.type in DATA_TYPES:
        return True
    if layer.type == "Input":
        return not layer.input_param.shape
    return not (strict or layer.bottom or layer.type in LAYER_TYPES) and bool(layer.type)


def _input(name: str, tops: Iterable[str], shapes: Iterable[Shape]) -> LayerParameter:
    layer = LayerParameter(name=name, type="Input", top=tops)
    layer.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
    return layer


def _input_for(
    layer: LayerParameter,
    all_layers: Sequence[LayerParameter],
    read: Collection[str],
    given: Mapping[str, Shape],
    sources: Sources,
    origin: str,
) -> LayerParameter:
    """The Input layer for a data layer: its images, and of its other tops those that are read."""
    tops = [top for top in layer.top if top in read] or list(layer.top[:1])
    image, is_sure = _image(layer, all_layers, sources.layers)
    if image and not is_sure and layer.top[0] not in given:
        sources.guesses.add(layer.top[0])
    shapes: dict[str, Shape | None] = {top: given.get(top) for top in tops}
    if shapes.get(layer.top[0], ()) is None:
        shapes[layer.top[0]] = image
    first = next((shape for shape in shapes.values() if shape), None)
    images = first[0] if first else _batch_size(layer)
    for top in [top for top, shape in shapes.items() if shape is None and layer.type != "Input"]:
        if top != layer.top[0] and (layer.type in DATA_TYPES or OF_TRAINING.search(top)):
            shapes[top] = KNOWN_SHAPES.get(top, (images,))
            if layer.type != "Data":
                sources.guesses.add(top)
    _require_shapes(layer, shapes, sources, origin)
    if layer.type != "Input":
        of = f" of {text(image)}" if image else ""
        sources.notes.append(f"layer {layer.name!r} ({layer.type}) is read as an input{of}")
    return _input(layer.name, tops, [shape for shape in shapes.values() if shape])


def _image(
    layer: LayerParameter, all_layers: Sequence[LayerParameter], readers: Sequence[LayerParameter]
) -> tuple[Shape | None, bool]:
    """The shape of a data layer's images, and whether the file tells it: a data set's name and a Slice only hint."""
    if layer.type == "Input":
        return None, False
    shape = _image_shape(layer) or _told_by_another(layer, all_layers)
    if shape is None:
        paths = [*(param.source for param in _data_params(layer)), layer.python_param.layer]
        known = (size for pattern, size in DATASETS for path in paths if pattern.search(path))
        size = next(known, None)
        return ((_batch_size(layer), *size), False) if size else (None, False)
    points = [
        max(reader.slice_param.slice_point, default=0)
        for reader in readers
        if reader.type == "Slice" and layer.top[0] in reader.bottom and reader.slice_param.axis == 1
    ]
    least = max(points, default=0) + 1
    return (shape, True) if least <= shape[1] else ((shape[0], least, *shape[2:]), False)


def _require_shapes(layer: LayerParameter, shapes: Mapping[str, Shape | None], sources: Sources, origin: str) -> None:
    """Raise NetworkError that asks for every missing shape."""
    missing = [top for top, shape in shapes.items() if not shape]
    if missing:
        options = " ".join(input_option(blob, suggested(blob, sources.layers)) for blob in missing)
        what = f"layer {layer.name!r} ({layer.type}): it has no shape; give {'one' if len(missing) == 1 else 'them'}"
        raise NetworkError(f"{origin}: {what}: {options}")


def suggested(blob: str, layers: Iterable[LayerParameter]) -> str:
    """A shape for a blob, as an example that can be typed, by what reads it."""
    for layer in layers:
        if blob not in layer.bottom:
            continue
        position = list(layer.bottom).index(blob)
        if layer.type in REGION_TYPES and position == 1:
            return "300x5"
        if layer.type in RECURRENT_TYPES:
            return "16x1x1000" if position == 0 else "16x1"
        if layer.type == "Slice":
            return f"1x{_sliced_channels(layer)}x224x224"
    return "1x3x224x224"


def _sliced_channels(layer: LayerParameter) -> int:
    """Channels that a Slice can divide among its tops."""
    points = (0, *layer.slice_param.slice_point)
    return points[-1] + (points[-1] - points[-2] if len(points) > 1 else 3 * len(layer.top))


def _told_by_another(layer: LayerParameter, all_layers: Sequence[LayerParameter]) -> Shape | None:
    """The size of the same blob in another phase, with this layer's batch size."""
    for other in all_layers:
        if (
            other is not layer
            and other.top[:1] == layer.top[:1]
            and not other.bottom
            and (shape := _image_shape(other))
        ):
            return (_batch_size(layer), *shape[1:])
    return None


def _batch_size(layer: LayerParameter) -> int:
    """Images in a batch; 1 if the file does not give it."""
    return next((param.batch_size for param in _data_params(layer) if param.batch_size), 1)


def _data_params(layer: LayerParameter) -> list[DataParameter]:
    params: list[DataParameter] = []
    for name in DATA_PARAMS:
        param = getattr(layer, name)
        params += [param] if hasattr(param, "batch_size") else param
    return params


def _image_shape(layer: LayerParameter) -> Shape | None:
    """The size that its images are cropped or resized to, if given; colour unless it says otherwise."""
    if layer.type == "Input":
        return None
    params = _data_params(layer)
    size = next(filter(None, map(_cropped, (layer.transform_param, *layer.other_transform_param))), ())
    for param in params:
        if layer.type == "MemoryData" and param.channels and param.height and param.width:
            return (max(1, param.batch_size), param.channels, param.height, param.width)
        size = size or (param.crop_size, param.crop_size) if param.crop_size else size
        size = size or ((param.new_height, param.new_width) if param.new_height and param.new_width else ())
    if not size or layer.type == "MemoryData":
        return None
    return (_batch_size(layer), _channels(layer), *size)


def _channels(layer: LayerParameter) -> int:
    """Of one image; of VideoData, of all frames of a clip (video_data_layer.cpp of TSN's fork)."""
    gray = layer.transform_param.force_gray or any(not param.is_color for param in _data_params(layer))
    channels, frames = 1 if gray else 3, 1
    if layer.HasField("video_data_param"):
        param = layer.video_data_param
        channels = 2 if param.modality == DataParameter.FLOW else channels
        frames = max(1, param.new_length) * max(1, param.num_segments)
    return channels * frames


def _cropped(transform: TransformationParameter) -> tuple[int, ...]:
    """What images are cropped to, or resized to by SSD's data layers."""
    if transform.crop_size:
        return (transform.crop_size, transform.crop_size)
    pairs = [(transform.crop_h, transform.crop_w), (transform.crop_size_y, transform.crop_size_x)]
    pairs += [(policy.height, policy.width) for policy in transform.resize_param]
    return next((pair for pair in pairs if all(pair)), ())
