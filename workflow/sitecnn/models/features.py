"""What the time of each kind of kernel is made of: countable work, read off its sizes.

A time is modelled as Σ coefficient · feature, so a coefficient reads as nanoseconds per unit of that work
(per multiply-accumulate, per element moved, per call). Sizes come as columns, so one call covers a whole
network, or many. CPUs and GPUs spend their time on different things, so each has features of its own.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from sitecnn.models.caches import share_beyond
from sitecnn.models.feature import CALL, Array, Feature, Sizes
from sitecnn.models.onnxruntime_features import ONNXRUNTIME_FEATURES, onnxruntime_features
from sitecnn.models.tflite_features import NAMED as TFLITE_NAMED
from sitecnn.models.tflite_features import TFLITE_FEATURES, tflite_features
from sitecnn.workload.kernels import KINDS_ON_ZEROS, SIZE_NAMES

__all__ = ["CALL", "Array", "Feature", "Sizes", "features_of"]

FAR_BYTES = 16 << 20
"""More than a core has of a last level that all share: TX1 and RK3399 have none, a server 32 MiB for eight cores."""

NEAR_COLUMNS = (2 << 20, 8 << 20)
"""Bytes of im2col's matrix from which on it leaves the second-level cache, and by which a share of the last one."""

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

FEW_IMAGES = 4
"""Up to here a GPU reads an FC layer's weights no faster than it multiplies them."""

ALIASED_ELEMENTS = {"page": 1024, "way": 4096}
"""Rows of so many floats, or a multiple, start in the same set of a first-level cache with ways of 4 KiB (x86) or of
16 KiB (Cortex-A57, A72)."""

EARLY_ROWS = 80
"""Blobs of ImageNet networks with so many rows are behind one to four convolutions; a size stands for what a kernel
does not tell, how deep it lies. A core that mispredicts more takes 3.5 ns an element instead of 2.1 to 2.8 there."""

TLB_ROWS = 2048
"""Pages that a core's second-level TLB knows (1024 in a Cortex-A57 and A72, 1536 in a Skylake, 2048 in a Zen 2)."""


def _gemm(sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """(calls, m, n, k) of a convolution's matrix multiplications: one for each image and group (base_conv_layer.cpp).

    m = out_channels/group, n = out_h·out_w, k = channels/group·kh·kw.
    """
    calls = sizes["images"] * sizes["group"]
    window = sizes["kernel_h"] * sizes["kernel_w"]
    positions = sizes["out_height"] * sizes["out_width"]
    return calls, sizes["out_channels"] / sizes["group"], positions, sizes["channels"] / sizes["group"] * window


def _macs(sizes: Sizes) -> Array:
    calls, m, n, k = _gemm(sizes)
    return calls * m * n * k


def _columns_elements(sizes: Sizes) -> Array:
    """Elements of the im2col matrices of all images and groups: channels·kh·kw × positions."""
    window = sizes["kernel_h"] * sizes["kernel_w"]
    return sizes["images"] * sizes["channels"] * window * sizes["out_height"] * sizes["out_width"]


def _packed_elements(sizes: Sizes) -> Array:
    """Elements of gemms' B that a BLAS packs: not where A has but one row, as in depthwise convolutions."""
    _, m, _, _ = _gemm(sizes)
    return np.where(m > 1, _columns_elements(sizes), 0.0)


def _far_packed_elements(sizes: Sizes) -> Array:
    """Those of matrices beyond FAR_BYTES, which no cache keeps until they are packed."""
    _, _, n, k = _gemm(sizes)
    return np.where(4 * n * k > FAR_BYTES, _packed_elements(sizes), 0.0)


def _row_elements(sizes: Sizes) -> Array:
    """Elements of gemms' B where A has one row: each is packed for one multiplication, as in depthwise convolutions."""
    _, m, _, _ = _gemm(sizes)
    return np.where(m == 1, _columns_elements(sizes), 0.0)


def _im2col_elements(sizes: Sizes) -> Array:
    """As `_columns_elements`, but none for 1×1, stride 1, unpadded: Caffe multiplies the input itself there."""
    window = sizes["kernel_h"] * sizes["kernel_w"] * sizes["stride_h"] * sizes["stride_w"]
    is_pointwise = (window == 1) & (sizes["pad_h"] + sizes["pad_w"] == 0)
    return np.where(is_pointwise, 0.0, _columns_elements(sizes))


def _far_columns_elements(sizes: Sizes) -> Array:
    """Those that are no longer near when they are multiplied: im2col writes the matrices of all groups first."""
    columns = _im2col_elements(sizes)
    return share_beyond(NEAR_COLUMNS, 4 * columns / sizes["images"]) * columns


def _tile_macs(edge: int) -> Callable[[Sizes], Array]:
    """MACs with m and n of each gemm filled up to whole tiles: what matrix multiplication wastes at its edges."""

    def count(sizes: Sizes) -> Array:
        calls, m, n, k = _gemm(sizes)
        return calls * _whole(m, edge) * _whole(n, edge) * k

    return count


def _wave_macs(sizes: Sizes) -> Array:
    """MACs with the tiles of each gemm filled up to whole waves: the last wave leaves processors idle."""
    calls, m, n, k = _gemm(sizes)
    tiles = np.ceil(m / GPU_TILE) * np.ceil(n / GPU_TILE)
    return calls * _whole(tiles, WAVE) * GPU_TILE**2 * k


def _batched_macs(sizes: Sizes) -> Array:
    """MACs in whole tiles if all images of a batch are multiplied at once, as cuDNN does."""
    _, m, n, k = _gemm(sizes)
    return sizes["group"] * _whole(m, GPU_TILE) * _whole(sizes["images"] * n, 2 * GPU_TILE) * k


def _direct_macs(sizes: Sizes) -> Array:
    _, m, n, k = _gemm(sizes)
    return np.where(m * n * k < DIRECT_MACS, _tile_macs(DIRECT_TILE)(sizes), 0.0)


def _thin_macs(sizes: Sizes) -> Array:
    _, m, _, _ = _gemm(sizes)
    return np.where(m <= THIN_ROWS, _macs(sizes), 0.0)


def _whole(length: Array, edge: int) -> Array:
    return np.ceil(length / edge) * edge


def _weights_read(sizes: Sizes) -> Array:
    """Every image reads all weights again: batch · out_channels · channels/group · kh · kw."""
    calls, m, _, k = _gemm(sizes)
    return calls * m * k


def _depth(sizes: Sizes) -> Array:
    """Steps along k that no parallelism shortens: a GPU's time for matrices too small to fill it."""
    calls, _, _, k = _gemm(sizes)
    return calls * k


def _narrow_depth(sizes: Sizes) -> Array:
    _, _, n, _ = _gemm(sizes)
    return np.where(n <= GPU_TILE, _depth(sizes), 0.0)


def _lone_depth(sizes: Sizes) -> Array:
    """Those steps of matrices whose k is not worth sharing out, or whose columns fill no tile."""
    _, _, n, k = _gemm(sizes)
    return np.where((n <= GPU_TILE) | (k < SHARED_DEPTH), _depth(sizes), 0.0)


def product_rows(sizes: Sizes) -> Array:
    """Rows of A of an inner product: all axes before `axis` (inner_product_layer.cpp, `M_`), most often the images."""
    return np.where(sizes["m"] > 0, sizes["m"], sizes["images"])


def _product_macs(sizes: Sizes) -> Array:
    return sizes["in_elements"] * sizes["out_elements"] / product_rows(sizes)


def _product_inputs(sizes: Sizes) -> Array:
    return sizes["in_elements"] / product_rows(sizes)


def _product_weights(sizes: Sizes) -> Array:
    return _product_macs(sizes) / product_rows(sizes)


def _many_images_macs(sizes: Sizes) -> Array:
    return _product_weights(sizes) * np.maximum(product_rows(sizes) - FEW_IMAGES, 0)


def _direct_weights(sizes: Sizes) -> Array:
    return np.where(_product_macs(sizes) < DIRECT_MACS, _product_weights(sizes), 0.0)


def _aliased_weights(elements: int) -> Callable[[Sizes], Array]:
    """Weights of matrices whose rows are multiples of `elements`."""
    return lambda sizes: np.where(_product_inputs(sizes) % elements == 0, _product_weights(sizes), 0.0)


def _many_rows_weights(sizes: Sizes) -> Array:
    """Weights of matrices with more outputs than TLB_ROWS: a gemm packs a piece of every row, and then the next."""
    return np.where(sizes["out_elements"] / product_rows(sizes) > TLB_ROWS, _product_weights(sizes), 0.0)


def _fresh_elements(sizes: Sizes) -> Array:
    """Elements of each window that the window before it, a stride to the left, did not have.

    What a maximum has been compared with already seldom surprises a branch predictor.
    """
    return sizes["out_elements"] * sizes["kernel_h"] * np.minimum(sizes["stride_w"], sizes["kernel_w"])


def _window_elements(sizes: Sizes) -> Array:
    return sizes["out_elements"] * sizes["window"]


def _early_window_elements(sizes: Sizes) -> Array:
    """Those of large blobs, which few layers have worked on: their maxima change hands more often."""
    return np.where(sizes["height"] >= EARLY_ROWS, _window_elements(sizes), 0.0)


def _own_elements(sizes: Sizes) -> Array:
    """Elements written into a blob that is not the one that was read: one more is moved through the caches."""
    return np.where(sizes["in_place"] == 1, 0.0, sizes["out_elements"])


def _kept_elements(sizes: Sizes) -> Array:
    """Elements that a layer in place copies first, as its backward pass would need them (scale_layer.cpp)."""
    return np.where(sizes["in_place"] == 1, sizes["out_elements"], 0.0)


def _biased_elements(sizes: Sizes) -> Array:
    return np.where(sizes["bias"] == 1, sizes["out_elements"], 0.0)


IN = Feature("in_elements", "element read", lambda sizes: sizes["in_elements"])
OUT = Feature("out_elements", "element written", lambda sizes: sizes["out_elements"])
WINDOW_OUT = Feature("window_elements", "element in a window", _window_elements)
MACS = Feature("macs", "multiply-accumulate", _macs)
IM2COL = Feature("im2col_elements", "element copied by im2col", _im2col_elements)
GEMM_CALLS = Feature("gemm_calls", "gemm call", lambda sizes: sizes["images"] * sizes["group"])
PRODUCT_MACS = Feature("macs", "multiply-accumulate", _product_macs)
WEIGHTS = Feature("weights_elements", "weight read", _product_weights)
MANY_IMAGES = Feature("many_images_macs", f"multiply-accumulate beyond {FEW_IMAGES} images", _many_images_macs)

CONVOLUTION = (
    MACS,
    IM2COL,
    Feature("packed_elements", "element of gemm's B that is packed", _packed_elements),
    Feature("far_packed_elements", "element of a gemm's B beyond the caches", _far_packed_elements),
    Feature("row_elements", "element of gemm's B for a single row of A", _row_elements),
    Feature("far_columns_elements", "element of im2col's matrix beyond near caches", _far_columns_elements),
    Feature("weights_elements", "element of gemm's A", _weights_read),
    OUT,
    GEMM_CALLS,
    CALL,
)
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
INNER_PRODUCT = (
    PRODUCT_MACS,
    WEIGHTS,
    MANY_IMAGES,
    *(
        Feature(f"{name}_aliased_weights", f"weight of rows of multiples of {size}", _aliased_weights(size))
        for name, size in ALIASED_ELEMENTS.items()
    ),
    Feature("many_rows_weights", "weight of a matrix with more rows than pages are known", _many_rows_weights),
    CALL,
)
GPU_INNER_PRODUCT = (
    PRODUCT_MACS,
    WEIGHTS,
    MANY_IMAGES,
    Feature("direct_weights", "weight of a small matrix", _direct_weights),
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
OWN = Feature("own_elements", "element written into a blob of its own", _own_elements)
KEPT = Feature("kept_elements", "element kept before it is overwritten", _kept_elements)

BACKWARDS = {
    **{side: f"out_{side}" for side in ("channels", "height")},
    **{f"out_{side}": side for side in ("channels", "height", "width")},
    "width": "out_width",
}
"""A deconvolution's sizes as those of the convolution that it runs backwards (deconv_layer.cpp)."""


def _backwards(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The features of a convolution as its deconvolution has them: col2im stands where im2col did."""

    def reversed_count(count: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
        return lambda sizes: count({name: sizes[BACKWARDS.get(name, name)] for name in SIZE_NAMES})

    return tuple(replace(feature, count=reversed_count(feature.count)) for feature in features)


FREE_KINDS = frozenset({"input", "split", "flatten", "reshape", "silence"})
"""Kinds that move no data: a call each where they were timed, nothing where they were not."""

FEATURES: dict[str, tuple[Feature, ...]] = {
    "convolution": CONVOLUTION,
    "deconvolution": _backwards(CONVOLUTION),
    "inner_product": INNER_PRODUCT,
    "gemm": GEMM,
    "im2col": (
        Feature("columns_elements", "element copied", _columns_elements),
        Feature("calls", "call", lambda sizes: np.ones_like(sizes["channels"])),
    ),
    # In CNNs inputs and windows of pooling grow together: with both, one would get the other's share.
    "pooling": (
        WINDOW_OUT,
        Feature("early_window_elements", "element in a window of a large blob", _early_window_elements),
        Feature("fresh_elements", "element new in a window", _fresh_elements),
        OUT,
        CALL,
    ),
    "average_pooling": (WINDOW_OUT, OUT, CALL),
    **dict.fromkeys(("lrn", KINDS_ON_ZEROS["lrn"]), (WINDOW_OUT, *ELEMENTWISE)),
    # Not in place, it copies what it reads first (batch_norm_layer.cpp).
    "batch_norm": (*ELEMENTWISE, OWN),
    "scale": (*ELEMENTWISE, KEPT, Feature("biased_elements", "element that a bias is added to", _biased_elements)),
    **dict.fromkeys(FREE_KINDS, (CALL,)),
    **ONNXRUNTIME_FEATURES,
    **TFLITE_FEATURES,
}
"""The features of each kind; a kind that is not here reads and writes elements (`ELEMENTWISE`)."""

GPU_FEATURES = {
    "convolution": GPU_CONVOLUTION,
    "deconvolution": _backwards(GPU_CONVOLUTION),
    "inner_product": GPU_INNER_PRODUCT,
    # A GPU reads each input from memory once and the rest of its windows from caches.
    **dict.fromkeys(("pooling", "average_pooling"), (WINDOW_OUT, IN, OUT, CALL)),
}
"""Where a GPU's features are others."""


def features_of(kind: str, processor: str = "cpu") -> tuple[Feature, ...]:
    """The features that the time of a kind is made of on a `cpu` or `gpu`."""
    if processor == "gpu" and kind in GPU_FEATURES:
        return GPU_FEATURES[kind]
    if kind.startswith("tflite_"):
        return tflite_features(kind)
    if kind.startswith("ort_"):
        return onnxruntime_features(kind)
    return FEATURES.get(kind, ELEMENTWISE)


@cache
def features_named(kind: str, names: tuple[str, ...]) -> tuple[Feature, ...]:
    """The features of a kind by their names, on either processor; KeyError for one that it does not have."""
    of_tflite = TFLITE_NAMED if kind.startswith("tflite_") else {}
    known = {**of_tflite} | {
        feature.name: feature for feature in (*ELEMENTWISE, *GPU_FEATURES.get(kind, ()), *features_of(kind))
    }
    return tuple(known[name] for name in names)


def matrix(features: tuple[Feature, ...], sizes: Sizes) -> Array:
    """(kernels × features) counts of work."""
    return np.column_stack([np.asarray(feature.count(sizes), dtype=np.float64) for feature in features])


def macs(kind: str, sizes: Sizes) -> Array:
    """Multiply-accumulates of kernels of a kind; 0 for kinds that do not multiply matrices."""
    return _first(kind, sizes, "macs") if kind in MULTIPLYING else np.zeros_like(sizes["in_elements"])


def least_elements(kind: str, sizes: Sizes) -> Array:
    """Elements that a kernel of a kind has to read or write at least once, weights among them; NaN if unknown."""
    return sizes["out_elements"] + sizes["parameters"] if kind in MULTIPLYING else sizes["out_elements"]


MULTIPLYING = ("convolution", "deconvolution", "inner_product", "gemm")


def _first(kind: str, sizes: Sizes, name: str) -> Array:
    (feature,) = features_named(kind, (name,))
    return feature.count(sizes)
