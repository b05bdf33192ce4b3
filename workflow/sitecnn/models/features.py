"""What the time of each kind of kernel is made of: countable work, read off its sizes.

A time is modelled as Σ coefficient · feature, so a coefficient reads as nanoseconds per unit of that work
(per multiply-accumulate, per element moved, per call). Sizes come as columns, so one call covers a whole
network, or many.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sizes = Mapping[str, Array]
"""Columns named as in `sitecnn.workload.kernels.SIZE_NAMES`, an entry per kernel, NaN where a kind has no such size."""


@dataclass(frozen=True)
class Feature:
    """One kind of work: `unit` is what a coefficient is per; `count` gives how much of it a kernel does."""

    name: str
    unit: str
    count: Callable[[Sizes], Array]


def _columns_elements(sizes: Sizes) -> Array:
    """Elements of the im2col matrices of all images and groups: channels·kh·kw × positions."""
    window = sizes["kernel_h"] * sizes["kernel_w"]
    positions = sizes["out_height"] * sizes["out_width"]
    return sizes["images"] * sizes["channels"] * window * positions


def _far_columns_elements(sizes: Sizes) -> Array:
    """Those elements of im2col matrices that no cache keeps between im2col and gemm: of matrices beyond FAR_BYTES."""
    elements = _columns_elements(sizes)
    return np.where(4 * elements / sizes["images"] > FAR_BYTES, elements, 0.0)


def _im2col_elements(sizes: Sizes) -> Array:
    """As `_columns_elements`, but none for 1×1, stride 1, unpadded: Caffe multiplies the input itself there."""
    window = sizes["kernel_h"] * sizes["kernel_w"] * sizes["stride_h"] * sizes["stride_w"]
    is_pointwise = (window == 1) & (sizes["pad_h"] + sizes["pad_w"] == 0)
    return np.where(is_pointwise, 0.0, _columns_elements(sizes))


def _convolution_macs(sizes: Sizes) -> Array:
    return _columns_elements(sizes) * sizes["out_channels"] / sizes["group"]


def _tile_macs(sizes: Sizes) -> Array:
    """MACs with m and n of each gemm filled up to whole tiles: what matrix multiplication wastes at its edges."""
    rows = _whole_tiles(sizes["out_channels"] / sizes["group"])
    columns = _whole_tiles(sizes["out_height"] * sizes["out_width"])
    depth = sizes["channels"] / sizes["group"] * sizes["kernel_h"] * sizes["kernel_w"]
    return sizes["images"] * sizes["group"] * rows * columns * depth


def _whole_tiles(length: Array) -> Array:
    return np.ceil(length / TILE) * TILE


def _weights_read(sizes: Sizes) -> Array:
    """Every image reads all weights again: batch · out_channels · channels/group · kh · kw."""
    window = sizes["kernel_h"] * sizes["kernel_w"]
    return sizes["images"] * sizes["out_channels"] * sizes["channels"] / sizes["group"] * window


FAR_BYTES = 8 << 20
"""More than the private caches of the CPUs at hand hold (TX1 and RK3399 2 MiB, server cores 2 MiB)."""

TILE = 64
"""A usual edge of the blocks that cuBLAS and OpenBLAS multiply at once."""

CALL = Feature("calls", "call", lambda sizes: np.ones_like(sizes["in_elements"]))
IN = Feature("in_elements", "element read", lambda sizes: sizes["in_elements"])
OUT = Feature("out_elements", "element written", lambda sizes: sizes["out_elements"])
WINDOW_OUT = Feature("window_elements", "element in a window", lambda sizes: sizes["out_elements"] * sizes["window"])

CONVOLUTION = (
    Feature("macs", "multiply-accumulate", _convolution_macs),
    Feature("tile_macs", "multiply-accumulate of whole tiles", _tile_macs),
    Feature("im2col_elements", "element copied by im2col", _im2col_elements),
    Feature("columns_elements", "element of gemm's B", _columns_elements),
    Feature("far_columns_elements", "element of a gemm's B beyond the caches", _far_columns_elements),
    Feature("weights_elements", "element of gemm's A", _weights_read),
    OUT,
    Feature("gemm_calls", "gemm call", lambda sizes: sizes["images"] * sizes["group"]),
    CALL,
)
INNER_PRODUCT = (
    Feature(
        "macs",
        "multiply-accumulate",
        lambda sizes: sizes["in_elements"] * sizes["out_elements"] / sizes["images"],
    ),
    Feature("weights_elements", "weight read", lambda sizes: sizes["parameters"]),
    CALL,
)
GEMM = (
    Feature("macs", "multiply-accumulate", lambda sizes: sizes["m"] * sizes["n"] * sizes["k"]),
    Feature("a_elements", "element of A", lambda sizes: sizes["m"] * sizes["k"]),
    Feature("b_elements", "element of B", lambda sizes: sizes["k"] * sizes["n"]),
    Feature("c_elements", "element of C", lambda sizes: sizes["m"] * sizes["n"]),
    Feature("calls", "call", lambda sizes: np.ones_like(sizes["m"])),
)
ELEMENTWISE = (IN, OUT, CALL)

FREE_KINDS = frozenset({"input", "split", "flatten", "reshape", "silence"})
"""Kinds that move no data: a call each where they were timed, nothing where they were not."""

FEATURES: dict[str, tuple[Feature, ...]] = {
    "convolution": CONVOLUTION,
    "deconvolution": CONVOLUTION,
    "inner_product": INNER_PRODUCT,
    "gemm": GEMM,
    "im2col": (
        Feature("columns_elements", "element copied", _columns_elements),
        Feature("calls", "call", lambda sizes: np.ones_like(sizes["channels"])),
    ),
    # In CNNs inputs and windows of pooling grow together: with both, one would get the other's share.
    "pooling": (WINDOW_OUT, OUT, CALL),
    "lrn": (WINDOW_OUT, *ELEMENTWISE),
    **dict.fromkeys(FREE_KINDS, (CALL,)),
}
"""The features of each kind; a kind that is not here reads and writes elements (`ELEMENTWISE`)."""


def features_of(kind: str) -> tuple[Feature, ...]:
    """The features that the time of a kind is made of."""
    return FEATURES.get(kind, ELEMENTWISE)


def matrix(features: tuple[Feature, ...], sizes: Sizes) -> Array:
    """(kernels × features) counts of work."""
    return np.column_stack([np.asarray(feature.count(sizes), dtype=np.float64) for feature in features])
