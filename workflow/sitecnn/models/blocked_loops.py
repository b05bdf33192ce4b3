"""How often MLAS runs the loops of convolutions whose channels lie in blocks: sconv, snchwc.cpp."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sitecnn.models.caches import NEAR, share_beyond
from sitecnn.models.feature import Array, Sizes

SET_BLOCKS = 4
"""Blocks of outputs that MLAS computes at once, for one load of each input (snchwc.cpp, FilterSetSize)."""

AVX512_BLOCK = 16
"""Channels in a block with AVX-512. With 8, AVX2's, half as many registers hold half as many pixels."""

LARGEST_WINDOW = 16
"""Rows of a window that are looked at one by one: those outside the image are left out."""

MULTIPLICATIONS, LATENCY = 2, 4
"""Vectors that a core multiplies in a cycle, and cycles until a sum is known: server cores, Cortex-A72 and later."""


def block(sizes: Sizes) -> Array:
    """Channels in a block; 16 where the engine has no blocks, whose kernels none of these features is of."""
    own = sizes["nchwc_block"]
    return np.where(own > 0, own, AVX512_BLOCK)


def pixels(sizes: Sizes) -> Array:
    """Pixels of the outputs of a channel, of all images."""
    return sizes["images"] * sizes["out_height"] * sizes["out_width"]


def window(sizes: Sizes) -> Array:
    """Elements in a window of one channel."""
    return sizes["kernel_h"] * sizes["kernel_w"]


def window_positions(sizes: Sizes, side: str, axis: str) -> Array:
    """Positions of the windows of a line of outputs that lie inside the image; `side` is `height` or `width`.

    Source: ComputeEffectiveKernel, snchwc.cpp. Of 7 rows of outputs, a 3×3 window has 19 instead of 21.
    """
    kernel, stride, pad, dilation = (sizes[f"{name}_{axis}"] for name in ("kernel", "stride", "pad", "dilation"))
    reach = (sizes[f"out_{side}"] - 1) * stride + (kernel - 1) * dilation
    outside = np.zeros_like(reach)
    for beyond in (pad, reach - pad - (sizes[side] - 1)):
        for place in range(LARGEST_WINDOW):
            lines = np.ceil(np.maximum(beyond - place * dilation, 0) / stride)
            outside = outside + np.where(place < kernel, lines, 0)
    inside: Array = np.maximum(sizes[f"out_{side}"] * kernel - outside, sizes[f"out_{side}"])
    return inside


def window_rows(sizes: Sizes) -> Array:
    """Rows of the windows of a column of outputs that lie inside the image."""
    return window_positions(sizes, "height", "h")


def window_pixels(sizes: Sizes) -> Array:
    """Pixels of all windows of a channel inside the image."""
    return sizes["images"] * window_rows(sizes) * window_positions(sizes, "width", "w")


def edge_columns(sizes: Sizes) -> Array:
    """Columns of outputs whose windows reach beyond the image: they are computed one by one.

    Source: MlasNchwcPrepareWorkBlock, snchwc.cpp: of those whose windows end inside, all are computed together but the
    first few that begin in the padding.
    """
    pad, stride = sizes["pad_w"], sizes["stride_w"]
    reach = (sizes["kernel_w"] - 1) * sizes["dilation_w"] + 1
    ending_inside = np.clip((sizes["width"] + pad - reach) // stride + 1, 0, sizes["out_width"])
    return np.asarray(sizes["out_width"] - np.maximum(ending_inside - np.ceil(pad / stride), 0))


def edge_pixels(sizes: Sizes) -> Array:
    """Pixels of the windows of these columns inside the image's columns, of a row of outputs and one of windows."""
    between = sizes["out_width"] - edge_columns(sizes)
    return np.maximum(window_positions(sizes, "width", "w") - between * sizes["kernel_w"], 0)


def is_flat(sizes: Sizes) -> Array:
    """Whether rows follow each other: 1×1, stride 1, not padded."""
    flat: Array = (window(sizes) * sizes["stride_h"] * sizes["stride_w"] == 1) & (sizes["pad_h"] + sizes["pad_w"] == 0)
    return flat


def row_groups(sizes: Sizes, cost: Callable[[Any], Any]) -> Array:
    """Σ `cost` of the groups of pixels that a row of outputs is computed in, those at padded edges left out.

    Source: ProcessOutputCountN: six at once with AVX-512 (SconvKernelAvx512F.S), then three, two and one of what is
    left; three at once with AVX2 (SconvKernelFma3.S), then two and one.
    """
    between = sizes["out_width"] - edge_columns(sizes)
    pixels = np.where(is_flat(sizes), sizes["out_height"] * sizes["out_width"], between)
    sixes = np.where(block(sizes) == AVX512_BLOCK, pixels // 6, 0)
    threes, rest = np.divmod(pixels - 6 * sixes, 3)
    groups: Array = sixes * cost(6) + threes * cost(3)
    return groups + np.where(rest > 0, cost(rest), 0)


def tile_cycles(blocks: Any, pixels: Any) -> Any:
    """Cycles of a step of a tile: two multiplications a cycle, but each waits for the one before of its own output."""
    return np.maximum(blocks * pixels / MULTIPLICATIONS, LATENCY)


def cycles(sizes: Sizes) -> Array:
    """Cycles of all steps, of whole sets of blocks and of the last one."""
    full, rest = np.divmod(group_blocks(sizes), SET_BLOCKS)
    rows = sizes["images"] * np.where(is_flat(sizes), 1, window_rows(sizes)) * group_channels(sizes) * sizes["group"]

    def of_set(blocks: Any) -> Array:
        between = row_groups(sizes, lambda pixels: tile_cycles(blocks, pixels)) * sizes["kernel_w"]
        return np.asarray(between + edge_pixels(sizes) * tile_cycles(blocks, 1))

    return rows * (full * of_set(SET_BLOCKS) + np.where(rest > 0, of_set(rest), 0))


def group_channels(sizes: Sizes) -> Array:
    """Input channels that each output reads, in whole blocks unless the convolution reads the plain layout."""
    return sizes["channels"] / sizes["group"]


def group_blocks(sizes: Sizes) -> Array:
    """Blocks of outputs of a group."""
    return np.ceil(sizes["out_channels"] / sizes["group"] / block(sizes))


def sets(sizes: Sizes) -> Array:
    """Sets of blocks of outputs, of all groups."""
    return sizes["group"] * np.ceil(group_blocks(sizes) / SET_BLOCKS)


def set_steps(blocks: int) -> Callable[[Sizes], Array]:
    """Multiplications of one input with a set of so many blocks: whole sets, or what the last one has."""

    def count(sizes: Sizes) -> Array:
        full, rest = np.divmod(group_blocks(sizes), SET_BLOCKS)
        sets = full if blocks == SET_BLOCKS else rest == blocks
        return sizes["group"] * sets * window_pixels(sizes) * group_channels(sizes)

    return count


def weight_loads(sizes: Sizes) -> Array:
    """Loads of a block of weights: one for each group of pixels."""
    rows = sizes["images"] * np.where(is_flat(sizes), 1, window_rows(sizes))
    groups = row_groups(sizes, lambda _: 1) * sizes["kernel_w"] + edge_pixels(sizes)
    return rows * groups * sizes["group"] * group_blocks(sizes) * group_channels(sizes)


def edge_steps(sizes: Sizes) -> Array:
    """Steps at the padded ends of rows, where pixels are computed one by one."""
    return sizes["images"] * window_rows(sizes) * edge_pixels(sizes) * group_channels(sizes) * sets(sizes)


def row_calls(sizes: Sizes) -> Array:
    """Rows of windows that the inner loop is called for: of each row of outputs, set and block of inputs."""
    passes = group_channels(sizes) / block(sizes)
    return sizes["images"] * window_rows(sizes) * sets(sizes) * passes


def accumulated(channels: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
    """Outputs written, once more for each further so many input channels."""
    return lambda sizes: sizes["out_elements"] * np.ceil(group_channels(sizes) / channels(sizes))


def image_elements(sizes: Sizes) -> Array:
    """Elements of the input."""
    return sizes["images"] * sizes["channels"] * sizes["height"] * sizes["width"]


def read_elements(sizes: Sizes) -> Array:
    """Inputs read: all of them for every set of outputs."""
    return image_elements(sizes) * np.ceil(group_blocks(sizes) / SET_BLOCKS)


def far_accumulated(channels: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
    """Those of outputs that do not fit into the near caches: all rows of a set are written before the next inputs."""

    def count(sizes: Sizes) -> Array:
        blocks = np.minimum(group_blocks(sizes), SET_BLOCKS)
        set_bytes = 4 * block(sizes) * blocks * sizes["out_height"] * sizes["out_width"]
        again = np.ceil(group_channels(sizes) / channels(sizes)) - 1
        elements: Array = share_beyond(NEAR, set_bytes) * sizes["out_elements"] * again
        return elements

    return count


def far_read(sizes: Sizes) -> Array:
    """Inputs read by every set of outputs but the first from beyond the near caches."""
    return share_beyond(NEAR, 4 * sizes["in_elements"]) * (read_elements(sizes) - image_elements(sizes))
