"""What the time of Caffe's kernels is made of on a GPU, where it is other work than on a CPU."""

from collections.abc import Callable

import numpy as np

from sitecnn.models.caffe_features import (
    GEMM_CALLS,
    IM2COL,
    IN,
    MACS,
    MANY_IMAGES,
    OUT,
    PRODUCT_MACS,
    WEIGHTS,
    WINDOW_OUT,
    backwards,
    convolution_macs,
    gemm_sizes,
    product_macs,
    product_weights,
)
from sitecnn.models.feature import CALL, Array, Feature, Sizes

DIRECT_TILE = 32
"""Edges that CLBlast's direct kernel fills (WGD 8 to 64: CLBlast, src/tuning/kernels/xgemm_direct.cpp)."""

GPU_TILE = 64
"""A usual edge of the blocks of C that one thread block of cuBLAS, cuDNN or CLBlast computes (32 to 128)."""

WAVE = 32
"""Tiles that a GPU computes at once: 2 multiprocessors in a TX1, 20 in a GTX 1080, a few tiles on each."""

DIRECT_MACS = 512**3
"""CLBlast multiplies smaller matrices by a slower kernel, without packing them: XGEMM_MIN_INDIRECT_SIZE by default
(CLBlast, src/database/kernel_selection.hpp; 384³ on Intel's and 768³ on NVIDIA's GPUs).
"""

THIN_ROWS = 16
"""Up to here TX1's cuBLAS takes longer for fewer rows: 16 outputs of 128 channels a third longer than 32."""

SHARED_DEPTH = 1000
"""From such a k on, cuBLAS computes small matrices by a kernel that takes half the time a step: 47 to 60 ns instead of
75 to 115 on a GTX 1080, in networks whose k are up to 832 or from 1008 on."""


def _tile_macs(edge: int) -> Callable[[Sizes], Array]:
    """MACs with m and n of each gemm filled up to whole tiles: what matrix multiplication wastes at its edges."""

    def count(sizes: Sizes) -> Array:
        calls, m, n, k = gemm_sizes(sizes)
        return calls * _whole(m, edge) * _whole(n, edge) * k

    return count


def _wave_macs(sizes: Sizes) -> Array:
    """MACs with the tiles of each gemm filled up to whole waves: the last wave leaves processors idle."""
    calls, m, n, k = gemm_sizes(sizes)
    tiles = np.ceil(m / GPU_TILE) * np.ceil(n / GPU_TILE)
    return calls * _whole(tiles, WAVE) * GPU_TILE**2 * k


def _batched_macs(sizes: Sizes) -> Array:
    """MACs in whole tiles if all images of a batch are multiplied at once, as cuDNN does."""
    _, m, n, k = gemm_sizes(sizes)
    return sizes["group"] * _whole(m, GPU_TILE) * _whole(sizes["images"] * n, 2 * GPU_TILE) * k


def _direct_macs(sizes: Sizes) -> Array:
    _, m, n, k = gemm_sizes(sizes)
    return np.where(m * n * k < DIRECT_MACS, _tile_macs(DIRECT_TILE)(sizes), 0.0)


def _thin_macs(sizes: Sizes) -> Array:
    _, m, _, _ = gemm_sizes(sizes)
    return np.where(m <= THIN_ROWS, convolution_macs(sizes), 0.0)


def _whole(length: Array, edge: int) -> Array:
    return np.ceil(length / edge) * edge


def _depth(sizes: Sizes) -> Array:
    """Steps along k that no parallelism shortens: a GPU's time for matrices too small to fill it."""
    calls, _, _, k = gemm_sizes(sizes)
    return calls * k


def _narrow_depth(sizes: Sizes) -> Array:
    _, _, n, _ = gemm_sizes(sizes)
    return np.where(n <= GPU_TILE, _depth(sizes), 0.0)


def _lone_depth(sizes: Sizes) -> Array:
    """Those steps of matrices whose k is not worth sharing out, or whose columns fill no tile."""
    _, _, n, k = gemm_sizes(sizes)
    return np.where((n <= GPU_TILE) | (k < SHARED_DEPTH), _depth(sizes), 0.0)


def _direct_weights(sizes: Sizes) -> Array:
    return np.where(product_macs(sizes) < DIRECT_MACS, product_weights(sizes), 0.0)


GPU_CONVOLUTION = (
    MACS,
    Feature("block_macs", "multiply-accumulate of whole thread blocks", _tile_macs(GPU_TILE)),
    Feature("waves_of_32_macs", "multiply-accumulate of whole waves of 32", _wave_macs),
    Feature("batched_macs", "multiply-accumulate of whole thread blocks over the batch", _batched_macs),
    Feature("direct_macs", "multiply-accumulate of small matrices", _direct_macs),
    Feature("thin_macs", "multiply-accumulate of few rows", _thin_macs),
    IM2COL,
    Feature("depth", "step along k", _depth),
    Feature("lone_depth", "step along a short k, or of few columns", _lone_depth),
    Feature("narrow_depth", "step along k of few columns", _narrow_depth),
    Feature("parameters", "weight read once", lambda sizes: sizes["parameters"]),
    OUT,
    GEMM_CALLS,
    CALL,
)

GPU_INNER_PRODUCT = (
    PRODUCT_MACS,
    WEIGHTS,
    MANY_IMAGES,
    Feature("direct_weights", "weight of a small matrix", _direct_weights),
    CALL,
)

CAFFE_GPU_FEATURES = {
    "convolution": GPU_CONVOLUTION,
    "deconvolution": backwards(GPU_CONVOLUTION),
    "inner_product": GPU_INNER_PRODUCT,
    # A GPU reads each input from memory once and the rest of its windows from caches.
    **dict.fromkeys(("pooling", "average_pooling"), (WINDOW_OUT, IN, OUT, CALL)),
}
"""Kinds whose time on a GPU is made of other work than on a CPU."""
