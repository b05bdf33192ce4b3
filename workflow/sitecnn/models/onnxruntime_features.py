"""What the time of ONNX Runtime's kernels is made of: countable work, after the loops of its CPU library, MLAS.

Kinds and sizes are those of `sitecnn.workload.lowering.onnxruntime.kernels`; channels in blocks are whole blocks.
"""

from collections.abc import Callable

import numpy as np

from sitecnn.models.blocked_loops import (
    SET_BLOCKS,
    accumulated,
    block,
    cycles,
    edge_pixels,
    edge_steps,
    far_accumulated,
    far_read,
    group_channels,
    image_elements,
    pixels,
    read_elements,
    row_calls,
    row_groups,
    set_steps,
    weight_loads,
    window,
    window_pixels,
    window_rows,
)
from sitecnn.models.caches import beyond_caches, moved
from sitecnn.models.feature import CALL, Array, Feature, Sizes


def _pointwise_channels(sizes: Sizes) -> Array:
    """Input channels after which a 1×1 convolution reads and writes its outputs again (snchwc.cpp)."""
    return np.full_like(sizes["channels"], 128)


PANEL_ROWS, PANEL_COLUMNS = 6, 16
"""The edges that SGEMM fills up to whole tiles: a tile has 12 × 32 with AVX-512, 6 × 16 with FMA3, 4 × 16 on ARM."""

CLIPPED, CHOSEN, DEAR = 1, 2, 3
"""Classes of activations of outputs that were written: a minimum and a maximum; a product more; an exponential."""


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
    columns = _whole(pixels(sizes), PANEL_COLUMNS)
    depth = window(sizes) * group_channels(sizes)
    return sizes["group"] * rows * columns * depth


def _columns_elements(sizes: Sizes) -> Array:
    return pixels(sizes) * sizes["channels"] * window(sizes)


def _strided_columns(sizes: Sizes) -> Array:
    """Those that are not copied a vector at a time, as their neighbours lie a stride apart (convolve.cpp)."""
    return np.where(sizes["stride_w"] > 1, _columns_elements(sizes), 0.0)


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
IMAGE = Feature("image_elements", "element read", image_elements)
FAR_OUT = moved("out_elements", "element written", lambda sizes: sizes["out_elements"])
FAR_IMAGE = moved("image_elements", "element read", image_elements)
FAR = moved("elements", "element moved", lambda sizes: sizes["in_elements"] + sizes["out_elements"])
WEIGHTS = beyond_caches("weights", "weight read", lambda sizes: sizes["parameters"])
ADDED = Feature("added_elements", "element of a sum", _added_elements)
CLIPPED_ACTIVATION = Feature("clipped_elements", "element clipped", _activated(CLIPPED))
CHOSEN_ACTIVATION = Feature("chosen_elements", "element multiplied or left", _activated(CHOSEN))
DEAR_ACTIVATION = Feature("exponentials", "element through an exponential", _activated(DEAR))
ACTIVATED = (CLIPPED_ACTIVATION, CHOSEN_ACTIVATION, DEAR_ACTIVATION)
AFTER = (ADDED, *ACTIVATED, *FAR_OUT, CALL)

SETS = tuple(
    Feature(f"steps_of_{blocks}", f"input times {blocks} blocks", set_steps(blocks))
    for blocks in range(1, SET_BLOCKS + 1)
)
WEIGHT_LOADS = Feature("weight_loads", "block of weights loaded", weight_loads)
EDGES = Feature("edge_steps", "step at a padded edge", edge_steps)
ROW_CALLS = Feature("row_calls", "row of a window", row_calls)
READ = Feature("read_elements", "element read by a set", read_elements)
FAR_READ = Feature("far_read_elements", "element read again beyond near caches", far_read)
ACCUMULATED = Feature("accumulated_elements", "output read and written", accumulated(block))
POINTWISE_OUT = Feature("accumulated_elements", "output read and written", accumulated(_pointwise_channels))
FAR_ACCUMULATED = Feature("far_accumulated", "output read and written beyond near caches", far_accumulated(block))
FAR_POINTWISE_OUT = Feature(
    "far_accumulated", "output read and written beyond near caches", far_accumulated(_pointwise_channels)
)
WINDOW_STEPS = Feature("window_steps", "element in a window", lambda sizes: window_pixels(sizes) * sizes["channels"])
PIXEL_GROUPS = Feature(
    "pixel_groups",
    "step of up to six pixels",
    lambda sizes: (
        sizes["images"]
        * window_rows(sizes)
        * sizes["channels"]
        / block(sizes)
        * (row_groups(sizes, lambda _: 1) * sizes["kernel_w"] + edge_pixels(sizes))
    ),
)
DEPTHWISE_ROWS = Feature(
    "row_calls",
    "row of a block",
    lambda sizes: sizes["images"] * sizes["out_height"] * sizes["channels"] / block(sizes),
)
DEPTHWISE_EDGES = Feature(
    "edge_steps",
    "step at a padded edge",
    lambda sizes: sizes["images"] * window_rows(sizes) * sizes["channels"] / block(sizes) * edge_pixels(sizes),
)
PLAIN_MACS = Feature("tile_macs", "MAC in whole tiles", _plain_macs)
COLUMNS = Feature("columns_elements", "element copied to columns", _columns_elements)
STRIDED_COLUMNS = Feature("strided_columns", "element copied to columns one by one", _strided_columns)
GROUPS = Feature("groups", "group", lambda sizes: sizes["images"] * sizes["group"])
WINDOWED = Feature("window_elements", "element in a window", _windowed)
WINDOW_ROWS = Feature("rows", "row normalised", _rows)
BROADCAST_ROWS = Feature("channels", "channel", lambda sizes: sizes["images"] * sizes["channels"])

CYCLES = Feature("cycles", "cycle of multiplications", cycles)
BLOCKED = (CYCLES, *SETS, WEIGHT_LOADS, *WEIGHTS)
DEPTHWISE = (WINDOW_STEPS, PIXEL_GROUPS, OUT, IMAGE, *FAR_IMAGE, DEPTHWISE_ROWS, DEPTHWISE_EDGES, *AFTER)
PLAIN = (PLAIN_MACS, COLUMNS, STRIDED_COLUMNS, OUT, *WEIGHTS, *AFTER)
MOVING = (OUT, *FAR, CALL)
POOLING = (
    Feature("window_elements", "element in a window", _windowed), IMAGE, OUT, *FAR, CALL,
)  # fmt: skip

ONNXRUNTIME_FEATURES: dict[str, tuple[Feature, ...]] = {
    "ort_nchwc_conv_first": (*BLOCKED, EDGES, READ, OUT, *AFTER),
    "ort_nchwc_conv_few_pointwise": (*BLOCKED, READ, OUT, *AFTER),
    "ort_nchwc_conv_pointwise": (*BLOCKED, READ, FAR_READ, POINTWISE_OUT, FAR_POINTWISE_OUT, *AFTER),
    "ort_nchwc_conv_pixel": (CYCLES, *WEIGHTS, POINTWISE_OUT, *ACTIVATED, ADDED, CALL),
    "ort_nchwc_conv_window": (*BLOCKED, EDGES, ROW_CALLS, READ, FAR_READ, ACCUMULATED, FAR_ACCUMULATED, *AFTER),
    "ort_nchwc_conv_grouped": (*BLOCKED, EDGES, ROW_CALLS, ACCUMULATED, FAR_ACCUMULATED, *AFTER),
    "ort_nchwc_conv_depthwise": DEPTHWISE,
    "ort_nchwc_conv_scale": (OUT, DEPTHWISE_ROWS, *AFTER),
    "ort_conv_pointwise": (PLAIN_MACS, OUT, *WEIGHTS, *AFTER),
    "ort_conv_pixel": (PLAIN_MACS, OUT, *WEIGHTS, *AFTER),
    "ort_conv_window": PLAIN,
    "ort_conv_first": PLAIN,
    "ort_conv_volume": PLAIN,
    "ort_conv_grouped": (*PLAIN, GROUPS),
    "ort_conv_depthwise": (*PLAIN, GROUPS),
    "ort_conv_depthwise_3x3": (OUT, IMAGE, GROUPS, *AFTER),
    "ort_conv_transpose": (
        Feature("macs", "MAC", lambda sizes: image_elements(sizes) * sizes["out_channels"] * window(sizes)),
        Feature(
            "columns_elements",
            "element added to the image",
            lambda sizes: sizes["images"] * sizes["height"] * sizes["width"] * sizes["out_channels"] * window(sizes),
        ),
        OUT,
        *FAR,
        CALL,
    ),
    "ort_gemm": (
        *beyond_caches("one_row_weights", "weight used once", _one_row_weights),
        Feature("tile_macs", "MAC in whole tiles", _many_rows(_product_macs)),
        *beyond_caches("weights", "weight read", _many_rows(lambda sizes: sizes["n"] * sizes["k"])),
        Feature("packed_elements", "element of A read", _many_rows(_packed_elements)),
        Feature("out_elements", "element written", _many_rows(lambda sizes: sizes["out_elements"])),
        *FAR_OUT,
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
    "ort_softmax_across": (OUT, WINDOW_ROWS, CALL),
    # Most have one row, of classes: rows would take what a call costs, and ask it of each row of an attention.
    **dict.fromkeys(("ort_softmax", "ort_log_softmax"), (OUT, CALL)),
    **dict.fromkeys(("ort_layer_normalization", "ort_skip_layer_normalization"), (OUT, WINDOW_ROWS, *FAR, CALL)),
    # A power of each value: memory is waited for by none of it, and a term for it would be fitted to noise.
    "ort_lrn": (WINDOWED, CALL),
    **dict.fromkeys(
        (f"ort_{layout}{method}_pool" for layout in ("", "nchwc_") for method in ("max", "average", "lp")), POOLING
    ),
    **dict.fromkeys(
        (f"ort_{layout}global_{method}_pool" for layout in ("", "nchwc_") for method in ("max", "average", "lp")),
        (IMAGE, BROADCAST_ROWS, *FAR, CALL),
    ),
    "ort_transpose": (OUT, Feature("rows", "row moved", _transposed_rows), *FAR, CALL),
    **dict.fromkeys(
        (f"ort_{op}_broadcast" for op in ("add", "sub", "mul", "div", "prelu")), (OUT, WINDOW_ROWS, *FAR, CALL)
    ),
}
"""The features of the kinds that multiply, look through windows or along rows."""


def onnxruntime_features(kind: str) -> tuple[Feature, ...]:
    """The features of one of ONNX Runtime's kinds; what moves elements only has those of MOVING."""
    return ONNXRUNTIME_FEATURES.get(kind, MOVING)
