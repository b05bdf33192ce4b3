"""What the time of ONNX Runtime's kernels is made of: countable work, after the loops of its CPU library, MLAS.

Kinds and sizes are those of `sitecnn.workload.lowering.onnxruntime.kernels`; channels in blocks are whole blocks.
"""

from collections.abc import Callable

import numpy as np

from sitecnn.models.feature import CALL, Array, Feature, Sizes

BLOCK = 16
"""Channels in a block with AVX-512; with blocks of 8 the same features count halves of these."""

SET_BLOCKS = 4
"""Blocks of outputs that MLAS computes at once, for one load of each input (snchwc.cpp, FilterSetSize)."""

ROW_PIXELS = 6
"""Pixels that it computes at once, for one load of each weight (SconvKernelAvx512F.S)."""

POINTWISE_CHANNELS = 128
"""Input channels after which a 1×1 convolution reads and writes its outputs again (snchwc.cpp)."""

NEAR_BYTES, FAR_BYTES = 1 << 20, 2 << 20
"""Tensors smaller than the first stay in the caches near a core (1 to 2 MiB), larger than the second do not."""

PANEL_ROWS, PANEL_COLUMNS = 6, 16
"""The edges that SGEMM fills up to whole tiles: a tile has 12 × 32 with AVX-512, 6 × 16 with FMA3, 4 × 16 on ARM."""

CHEAP, DEAR = 1, 2
"""Classes of activations: a few operations on each output after it was written; an exponential."""


def _pixels(sizes: Sizes) -> Array:
    return sizes["images"] * sizes["out_height"] * sizes["out_width"]


def _window(sizes: Sizes) -> Array:
    return sizes["kernel_h"] * sizes["kernel_w"]


def _group_channels(sizes: Sizes) -> Array:
    """Input channels that each output reads, in whole blocks unless the convolution reads the plain layout."""
    return sizes["channels"] / sizes["group"]


def _group_blocks(sizes: Sizes) -> Array:
    return np.ceil(sizes["out_channels"] / sizes["group"] / BLOCK)


def _sets(sizes: Sizes) -> Array:
    return sizes["group"] * np.ceil(_group_blocks(sizes) / SET_BLOCKS)


def _set_steps(blocks: int) -> Callable[[Sizes], Array]:
    """Multiplications of one input with a set of so many blocks: whole sets, or what the last one has."""

    def count(sizes: Sizes) -> Array:
        full, rest = np.divmod(_group_blocks(sizes), SET_BLOCKS)
        sets = full if blocks == SET_BLOCKS else rest == blocks
        return sizes["group"] * sets * _pixels(sizes) * _window(sizes) * _group_channels(sizes)

    return count


def _weight_loads(sizes: Sizes) -> Array:
    """Loads of a block of weights: one for ROW_PIXELS pixels of a row, or of the image where rows follow each other."""
    is_flat = (_window(sizes) * sizes["stride_h"] * sizes["stride_w"] == 1) & (sizes["pad_h"] + sizes["pad_w"] == 0)
    rows = sizes["images"] * np.where(is_flat, 1, sizes["out_height"])
    pixels = sizes["out_width"] * np.where(is_flat, sizes["out_height"], 1)
    blocks = sizes["group"] * _group_blocks(sizes)
    return rows * np.ceil(pixels / ROW_PIXELS) * blocks * _window(sizes) * _group_channels(sizes)


def _edge_steps(sizes: Sizes) -> Array:
    """Multiplications at the padded ends of rows, where pixels are computed one by one."""
    edges = np.minimum(2 * sizes["pad_w"], sizes["out_width"])
    steps = sizes["images"] * sizes["out_height"] * edges * _window(sizes) * _group_channels(sizes)
    return steps * _sets(sizes)


def _row_calls(sizes: Sizes) -> Array:
    """Calls of the inner loop: for each row, set, block of inputs and row of the window."""
    passes = np.ceil(_group_channels(sizes) / BLOCK)
    return sizes["images"] * sizes["out_height"] * _sets(sizes) * passes * sizes["kernel_h"]


def _accumulated(channels: int) -> Callable[[Sizes], Array]:
    """Outputs written, once more for each further so many input channels."""
    return lambda sizes: sizes["out_elements"] * np.ceil(_group_channels(sizes) / channels)


def _read_elements(sizes: Sizes) -> Array:
    """Inputs read: all of them for every set of outputs."""
    elements = sizes["images"] * sizes["channels"] * sizes["height"] * sizes["width"]
    return elements * np.ceil(_group_blocks(sizes) / SET_BLOCKS)


def _image_elements(sizes: Sizes) -> Array:
    return sizes["images"] * sizes["channels"] * sizes["height"] * sizes["width"]


def _far_share(sizes: Sizes) -> Array:
    """How much of what a kernel reads and writes lies beyond the near caches, from 0 to 1."""
    moved_bytes = 4 * (sizes["in_elements"] + sizes["out_elements"])
    share: Array = np.clip((moved_bytes - NEAR_BYTES) / (FAR_BYTES - NEAR_BYTES), 0, 1)
    return share


def _far_out_elements(sizes: Sizes) -> Array:
    return _far_share(sizes) * sizes["out_elements"]


def _far_elements(sizes: Sizes) -> Array:
    return _far_share(sizes) * (sizes["in_elements"] + sizes["out_elements"])


def _added_elements(sizes: Sizes) -> Array:
    return np.where(sizes["inputs"] > 1, sizes["out_elements"], 0.0)


def _activated(kind: int) -> Callable[[Sizes], Array]:
    return lambda sizes: np.where(sizes["activation"] == kind, sizes["out_elements"], 0.0)


def _whole(size: Array, tile: int) -> Array:
    """Sizes filled up to whole tiles."""
    filled: Array = np.ceil(size / tile) * tile
    return filled


def _plain_macs(sizes: Sizes) -> Array:
    """MACs of a convolution in plain layout, outputs and pixels of each group filled up to whole tiles."""
    rows = _whole(sizes["out_channels"] / sizes["group"], PANEL_ROWS)
    columns = _whole(_pixels(sizes), PANEL_COLUMNS)
    depth = _window(sizes) * _group_channels(sizes)
    return sizes["group"] * rows * columns * depth


def _columns_elements(sizes: Sizes) -> Array:
    return _pixels(sizes) * sizes["channels"] * _window(sizes)


def _product_macs(sizes: Sizes) -> Array:
    rows, columns = _whole(sizes["m"], PANEL_ROWS), _whole(sizes["n"], PANEL_COLUMNS)
    return sizes["images"] * rows * columns * sizes["k"]


def _many_rows(count: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
    """Of products with more than one row: with one, each weight is used once and its way from memory counts."""
    return lambda sizes: np.where(sizes["m"] > 1, count(sizes), 0.0)


def _one_row_weights(sizes: Sizes) -> Array:
    return np.where(sizes["m"] == 1, sizes["n"] * sizes["k"], 0.0)


def _packed_elements(sizes: Sizes) -> Array:
    """Elements of A that are read again for every PACKED_COLUMNS columns of B."""
    return sizes["m"] * sizes["k"] * np.ceil(sizes["n"] / PACKED_COLUMNS)


PACKED_COLUMNS = 128
"""Columns of B that SGEMM takes at a time (sgemm.cpp, MLAS_SGEMM_STRIDEN)."""


def _rows(sizes: Sizes) -> Array:
    """Rows of values that are each normalised by themselves."""
    return sizes["out_elements"] / sizes["window"]


def _windowed(sizes: Sizes) -> Array:
    return sizes["out_elements"] * sizes["window"]


def _transposed_rows(sizes: Sizes) -> Array:
    """Rows that a permutation moves as a whole: of as many elements as the last output axis has at least."""
    return sizes["out_elements"] / np.maximum(sizes["out_width"], 1)


OUT = Feature("out_elements", "element written", lambda sizes: sizes["out_elements"])
IN = Feature("in_elements", "element read", lambda sizes: sizes["in_elements"])
IMAGE = Feature("image_elements", "element read", _image_elements)
FAR_OUT = Feature("far_out_elements", "element written beyond near caches", _far_out_elements)
FAR = Feature("far_elements", "element moved beyond near caches", _far_elements)
WEIGHTS = Feature("weights", "weight read", lambda sizes: sizes["parameters"])
ADDED = Feature("added_elements", "element of a sum", _added_elements)
CHEAP_ACTIVATION = Feature("clipped_elements", "element clipped", _activated(CHEAP))
DEAR_ACTIVATION = Feature("exponentials", "element through an exponential", _activated(DEAR))
AFTER = (ADDED, CHEAP_ACTIVATION, DEAR_ACTIVATION, FAR_OUT, CALL)

SETS = tuple(
    Feature(f"steps_of_{blocks}", f"input times {blocks} blocks", _set_steps(blocks))
    for blocks in range(1, SET_BLOCKS + 1)
)
WEIGHT_LOADS = Feature("weight_loads", "block of weights loaded", _weight_loads)
EDGES = Feature("edge_steps", "step at a padded edge", _edge_steps)
ROW_CALLS = Feature("row_calls", "row of a window", _row_calls)
READ = Feature("read_elements", "element read by a set", _read_elements)
ACCUMULATED = Feature("accumulated_elements", "output read and written", _accumulated(BLOCK))
POINTWISE_OUT = Feature("accumulated_elements", "output read and written", _accumulated(POINTWISE_CHANNELS))
WINDOW_STEPS = Feature("window_steps", "element in a window", lambda sizes: sizes["out_elements"] * _window(sizes))
DEPTHWISE_ROWS = Feature(
    "row_calls", "row of a block", lambda sizes: sizes["images"] * sizes["out_height"] * sizes["channels"] / BLOCK
)
DEPTHWISE_EDGES = Feature(
    "edge_steps",
    "step at a padded edge",
    lambda sizes: sizes["images"] * sizes["out_height"] * sizes["channels"] * _window(sizes) * 2 * sizes["pad_w"],
)
PLAIN_MACS = Feature("tile_macs", "MAC in whole tiles", _plain_macs)
COLUMNS = Feature("columns_elements", "element copied to columns", _columns_elements)
GROUPS = Feature("groups", "group", lambda sizes: sizes["images"] * sizes["group"])
WINDOWED = Feature("window_elements", "element in a window", _windowed)
WINDOW_ROWS = Feature("rows", "row normalised", _rows)
BROADCAST_ROWS = Feature("channels", "channel", lambda sizes: sizes["images"] * sizes["channels"])

BLOCKED = (*SETS, WEIGHT_LOADS, WEIGHTS)
DEPTHWISE = (WINDOW_STEPS, OUT, IMAGE, DEPTHWISE_ROWS, DEPTHWISE_EDGES, *AFTER)
PLAIN = (PLAIN_MACS, COLUMNS, OUT, WEIGHTS, *AFTER)
MOVING = (OUT, FAR, CALL)
POOLING = (
    Feature("window_elements", "element in a window", _windowed), IMAGE, OUT, FAR, CALL,
)  # fmt: skip

ONNXRUNTIME_FEATURES: dict[str, tuple[Feature, ...]] = {
    "ort_nchwc_conv_first": (*BLOCKED, EDGES, READ, OUT, *AFTER),
    "ort_nchwc_conv_pointwise": (*BLOCKED, READ, POINTWISE_OUT, *AFTER),
    "ort_nchwc_conv_pixel": (WEIGHTS, POINTWISE_OUT, CHEAP_ACTIVATION, DEAR_ACTIVATION, ADDED, CALL),
    "ort_nchwc_conv_window": (*BLOCKED, EDGES, ROW_CALLS, READ, ACCUMULATED, *AFTER),
    "ort_nchwc_conv_grouped": (*BLOCKED, EDGES, ROW_CALLS, ACCUMULATED, *AFTER),
    "ort_nchwc_conv_depthwise": DEPTHWISE,
    "ort_conv_pointwise": (PLAIN_MACS, OUT, WEIGHTS, *AFTER),
    "ort_conv_pixel": (PLAIN_MACS, OUT, WEIGHTS, *AFTER),
    "ort_conv_window": PLAIN,
    "ort_conv_first": PLAIN,
    "ort_conv_volume": PLAIN,
    "ort_conv_grouped": (*PLAIN, GROUPS),
    "ort_conv_depthwise": (*PLAIN, GROUPS),
    "ort_conv_depthwise_3x3": (OUT, IMAGE, GROUPS, *AFTER),
    "ort_conv_transpose": (
        Feature("macs", "MAC", lambda sizes: _image_elements(sizes) * sizes["out_channels"] * _window(sizes)),
        Feature(
            "columns_elements",
            "element added to the image",
            lambda sizes: sizes["images"] * sizes["height"] * sizes["width"] * sizes["out_channels"] * _window(sizes),
        ),
        OUT,
        FAR,
        CALL,
    ),
    "ort_gemm": (
        Feature("one_row_weights", "weight used once", _one_row_weights),
        Feature("tile_macs", "MAC in whole tiles", _many_rows(_product_macs)),
        Feature("weights", "weight read", _many_rows(lambda sizes: sizes["n"] * sizes["k"])),
        Feature("packed_elements", "element of A read", _many_rows(_packed_elements)),
        Feature("out_elements", "element written", _many_rows(lambda sizes: sizes["out_elements"])),
        Feature("far_out_elements", "element written beyond near caches", _far_out_elements),
        DEAR_ACTIVATION,
        CALL,
    ),
    "ort_matmul": (
        Feature("tile_macs", "MAC in whole tiles", _product_macs),
        Feature("products", "product", lambda sizes: sizes["images"]),
        IN,
        OUT,
        CALL,
    ),
    # Most have one row, of classes: rows would take what a call costs, and ask it of each row of an attention.
    **dict.fromkeys(("ort_softmax", "ort_log_softmax"), (OUT, CALL)),
    **dict.fromkeys(("ort_layer_normalization", "ort_skip_layer_normalization"), (OUT, WINDOW_ROWS, FAR, CALL)),
    "ort_lrn": (WINDOWED, FAR, CALL),
    **dict.fromkeys(
        (f"ort_{layout}{method}_pool" for layout in ("", "nchwc_") for method in ("max", "average", "lp")), POOLING
    ),
    **dict.fromkeys(
        (f"ort_{layout}global_{method}_pool" for layout in ("", "nchwc_") for method in ("max", "average", "lp")),
        (IMAGE, BROADCAST_ROWS, FAR, CALL),
    ),
    "ort_transpose": (OUT, Feature("rows", "row moved", _transposed_rows), FAR, CALL),
    **dict.fromkeys(("ort_mul_broadcast", "ort_add_broadcast"), (OUT, BROADCAST_ROWS, FAR, CALL)),
}
"""The features of the kinds that multiply, look through windows or along rows."""


def onnxruntime_features(kind: str) -> tuple[Feature, ...]:
    """The features of one of ONNX Runtime's kinds; what moves elements only has those of MOVING."""
    return ONNXRUNTIME_FEATURES.get(kind, MOVING)
