"""What kernels of TFLite's GPU delegate spend their time on.

Its tensors lie in slices of four channels, and a work item computes a block of positions and slices
(tensorflow/lite/delegates/gpu/common/tasks/conv_generic.cc, winograd.cc, depthwise_conv.cc).
"""

from collections.abc import Callable

import numpy as np

from sitecnn.models.feature import CALL, Array, Feature, Sizes

SLICE = 4
WINOGRAD_TILE, WINOGRAD_POSITIONS = 4, 36
"""Edge of the outputs of a tile of F(4×4, 3×3) and positions that it is transformed to."""


def _slices(channels: Array) -> Array:
    return np.ceil(channels / SLICE)


def _blocks(sizes: Sizes, edge: int, side: str = "out_") -> Array:
    """Blocks of edge × edge positions in the maps of all images; of maps of which nothing is known one position."""
    images, height = (np.nan_to_num(sizes[name], nan=1.0) for name in ("images", f"{side}height"))
    width = np.where(np.isnan(sizes[f"{side}width"]), height, sizes[f"{side}width"])
    blocks: Array = images * np.ceil(height / edge) * np.ceil(width / edge)
    return blocks


def _positions(sizes: Sizes) -> Array:
    return _blocks(sizes, 1)


def _window(sizes: Sizes) -> Array:
    return np.square(np.nan_to_num(sizes["kernel_h"], nan=1.0))


def _group_slices(sizes: Sizes) -> Array:
    return _slices(sizes["channels"] / np.fmax(sizes["group"], 1))


def _read(sizes: Sizes) -> Array:
    return _blocks(sizes, 1, side="") * SLICE * _slices(sizes["channels"])


def _written(sizes: Sizes) -> Array:
    return _positions(sizes) * SLICE * _slices(sizes["out_channels"])


def _depth(sizes: Sizes) -> Array:
    return _group_slices(sizes) * _window(sizes)


def _weights(sizes: Sizes) -> Array:
    return SLICE**2 * _slices(sizes["out_channels"]) * _depth(sizes)


def _depthwise_weights(sizes: Sizes) -> Array:
    return sizes["out_channels"] * _window(sizes)


def _macs(sizes: Sizes) -> Array:
    return _positions(sizes) * _weights(sizes)


def _block_macs(slices: int) -> Callable[[Sizes], Array]:
    """MACs where blocks of 2 × 2 positions and so many slices are computed whole."""

    def count(sizes: Sizes) -> Array:
        positions = 4 * _blocks(sizes, 2)
        outputs = slices * np.ceil(_slices(sizes["out_channels"]) / slices)
        macs: Array = positions * SLICE**2 * outputs * _depth(sizes)
        return macs

    return count


def _tiles(sizes: Sizes) -> Array:
    return WINOGRAD_POSITIONS * _blocks(sizes, WINOGRAD_TILE)


def _added(sizes: Sizes) -> Array:
    return np.where(sizes["accumulate"] > 0, _written(sizes), 0.0)


MACS = Feature("slice_macs", "multiply-accumulate of whole slices", _macs)
BLOCKS = tuple(
    Feature(f"block_of_{n}_macs", f"multiply-accumulate of blocks of {n} slices", _block_macs(n)) for n in (1, 2)
)
READ, WRITTEN = Feature("read", "element read", _read), Feature("written", "element written", _written)
WEIGHTS = Feature("slice_weights", "weight of whole slices", _weights)
DEPTH = Feature("slice_depth", "step along slices and window", _depth)
ADDED = Feature("added", "element added", _added)
WINDOW = Feature("window_reads", "element in a window", lambda sizes: _written(sizes) * _window(sizes))
CONVOLUTION = (MACS, *BLOCKS, READ, WRITTEN, WEIGHTS, ADDED, DEPTH, CALL)

PAD, ELEMENTWISE = "tflite_pad", "tflite_elementwise"
"""What the published table does not list, known by the nodes that are missing in it."""

TFLITE_FEATURES: dict[str, tuple[Feature, ...]] = {
    "tflite_convolution_2d": CONVOLUTION,
    "tflite_convolution_2d_grouped": CONVOLUTION,
    "tflite_convolution_winograd_4x4_6x6": (
        Feature(
            "tiles_read",
            "element of a tile transformed",
            lambda sizes: _tiles(sizes) * SLICE * _slices(sizes["channels"]),
        ),
        Feature(
            "tile_macs",
            "multiply-accumulate of tiles",
            lambda sizes: _tiles(sizes) * SLICE**2 * _group_slices(sizes) * _slices(sizes["out_channels"]),
        ),
        Feature(
            "tiles_written",
            "element of a tile transformed back",
            lambda sizes: _tiles(sizes) * SLICE * _slices(sizes["out_channels"]),
        ),
        WEIGHTS,
        ADDED,
        CALL,
    ),
    "tflite_depthwise_convolution": (
        WINDOW,
        READ,
        WRITTEN,
        Feature("depthwise_weights", "weight", _depthwise_weights),
        CALL,
    ),
    "tflite_depthwise_conv_plus_1x1_conv": (READ, WRITTEN, CALL),
    "tflite_fully_connected": (WEIGHTS, DEPTH, WRITTEN, CALL),
    "tflite_pooling_2d": (WINDOW, READ, WRITTEN, CALL),
    "tflite_average_pooling_2d": (WINDOW, READ, WRITTEN, CALL),
    "tflite_mean": (READ, WRITTEN, CALL),
    "tflite_concat": (WRITTEN, CALL),
    PAD: (WRITTEN,),
    ELEMENTWISE: (WRITTEN,),
}
"""The features of each kind; one that is not here reads and writes."""

MOVING = (READ, WRITTEN, CALL)

CONVOLUTIONS = ("tflite_convolution_2d", "tflite_convolution_2d_grouped")
RELATED = {
    **dict.fromkeys(("tflite_convolution_winograd_4x4_6x6", "tflite_fully_connected", *CONVOLUTIONS), CONVOLUTIONS),
    "tflite_depthwise_conv_plus_1x1_conv": ("tflite_depthwise_convolution",),
    "tflite_mean": ("tflite_average_pooling_2d", "tflite_pooling_2d"),
    "tflite_average_pooling_2d": ("tflite_pooling_2d",),
}
"""What stands in for a kind of which none was measured, the first that was."""

NAMED = {feature.name: feature for features in TFLITE_FEATURES.values() for feature in features}


def tflite_features(kind: str) -> tuple[Feature, ...]:
    """The features of a kind of kernel of TFLite's GPU delegate."""
    return TFLITE_FEATURES.get(kind, MOVING)
