"""What the time of Caffe's kernels is made of on a CPU: counts of work, read off their sizes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sitecnn.models.caches import beyond_caches, share_beyond
from sitecnn.models.feature import CALL, Array, Feature, Sizes
from sitecnn.workload.kernels import KINDS_ON_ZEROS

FAR_BYTES = 16 << 20
"""More than a core has of a last level that all share: TX1 and RK3399 have none, a server 32 MiB for eight cores."""

NEAR_COLUMNS = (2 << 20, 8 << 20)
"""Bytes of im2col's matrix from which on it leaves the second-level cache, and by which a share of the last one."""

LONE_MACS = 2**18
"""Up to here OpenBLAS multiplies on one thread (interface/gemm.c: SMP_THRESHOLD_MIN · GEMM_MULTITHREAD_THRESHOLD)."""

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


def gemm_sizes(sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """(calls, m, n, k) of a convolution's matrix multiplications: one for each image and group (base_conv_layer.cpp).

    m = out_channels/group, n = out_h·out_w, k = channels/group·kh·kw.
    """
    calls = sizes["images"] * sizes["group"]
    window = sizes["kernel_h"] * sizes["kernel_w"]
    positions = sizes["out_height"] * sizes["out_width"]
    return calls, sizes["out_channels"] / sizes["group"], positions, sizes["channels"] / sizes["group"] * window


def convolution_macs(sizes: Sizes) -> Array:
    """Multiply-accumulates of all of a convolution's matrix multiplications."""
    calls, m, n, k = gemm_sizes(sizes)
    return calls * m * n * k


def _columns_elements(sizes: Sizes) -> Array:
    """Elements of the im2col matrices of all images and groups: channels·kh·kw × positions."""
    window = sizes["kernel_h"] * sizes["kernel_w"]
    return sizes["images"] * sizes["channels"] * window * sizes["out_height"] * sizes["out_width"]


def _packed_elements(sizes: Sizes) -> Array:
    """Elements of gemms' B that a BLAS packs: not where A has but one row, as in depthwise convolutions."""
    _, m, _, _ = gemm_sizes(sizes)
    return np.where(m > 1, _columns_elements(sizes), 0.0)


def _far_packed_elements(sizes: Sizes) -> Array:
    """Those of matrices beyond FAR_BYTES, which no cache keeps until they are packed."""
    _, _, n, k = gemm_sizes(sizes)
    return np.where(4 * n * k > FAR_BYTES, _packed_elements(sizes), 0.0)


def _row_elements(sizes: Sizes) -> Array:
    """Elements of gemms' B where A has one row: each is packed for one multiplication, as in depthwise convolutions."""
    _, m, _, _ = gemm_sizes(sizes)
    return np.where(m == 1, _columns_elements(sizes), 0.0)


def _shared_calls(sizes: Sizes) -> Array:
    """Gemms that several threads share, which wait for one another."""
    calls, m, n, k = gemm_sizes(sizes)
    return np.where((sizes["threads"] != 1) & (m * n * k > LONE_MACS), calls, 0.0)


def _im2col_elements(sizes: Sizes) -> Array:
    """As `_columns_elements`, but none for 1×1, stride 1, unpadded: Caffe multiplies the input itself there."""
    window = sizes["kernel_h"] * sizes["kernel_w"] * sizes["stride_h"] * sizes["stride_w"]
    is_pointwise = (window == 1) & (sizes["pad_h"] + sizes["pad_w"] == 0)
    return np.where(is_pointwise, 0.0, _columns_elements(sizes))


def _far_columns_elements(sizes: Sizes) -> Array:
    """Those that are no longer near when they are multiplied: im2col writes the matrices of all groups first."""
    columns = _im2col_elements(sizes)
    return share_beyond(NEAR_COLUMNS, 4 * columns / sizes["images"]) * columns


def _weights_read(sizes: Sizes) -> Array:
    """Every image reads all weights again: batch · out_channels · channels/group · kh · kw."""
    calls, m, _, k = gemm_sizes(sizes)
    return calls * m * k


def product_rows(sizes: Sizes) -> Array:
    """Rows of A of an inner product: all axes before `axis` (inner_product_layer.cpp, `M_`), most often the images."""
    return np.where(sizes["m"] > 0, sizes["m"], sizes["images"])


def product_macs(sizes: Sizes) -> Array:
    """Multiply-accumulates of an inner product."""
    return sizes["in_elements"] * sizes["out_elements"] / product_rows(sizes)


def _product_inputs(sizes: Sizes) -> Array:
    return sizes["in_elements"] / product_rows(sizes)


def product_weights(sizes: Sizes) -> Array:
    """Weights of an inner product, outputs × inputs, biases not among them."""
    return product_macs(sizes) / product_rows(sizes)


def _many_images_macs(sizes: Sizes) -> Array:
    return product_weights(sizes) * np.maximum(product_rows(sizes) - FEW_IMAGES, 0)


def _aliased_weights(elements: int) -> Callable[[Sizes], Array]:
    """Weights of matrices whose rows are multiples of `elements`."""
    return lambda sizes: np.where(_product_inputs(sizes) % elements == 0, product_weights(sizes), 0.0)


def _many_rows_weights(sizes: Sizes) -> Array:
    """Weights of matrices with more outputs than TLB_ROWS: a gemm packs a piece of every row, and then the next."""
    return np.where(sizes["out_elements"] / product_rows(sizes) > TLB_ROWS, product_weights(sizes), 0.0)


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

MACS = Feature("macs", "multiply-accumulate", convolution_macs)

IM2COL = Feature("im2col_elements", "element copied by im2col", _im2col_elements)

GEMM_CALLS = Feature("gemm_calls", "gemm call", lambda sizes: sizes["images"] * sizes["group"])

PRODUCT_MACS = Feature("macs", "multiply-accumulate", product_macs)

WEIGHTS, *FAR_WEIGHTS = beyond_caches("weights_elements", "weight read", product_weights)

MANY_IMAGES = Feature("many_images_macs", f"multiply-accumulate beyond {FEW_IMAGES} images", _many_images_macs)

CONVOLUTION = (
    MACS,
    IM2COL,
    Feature("packed_elements", "element of gemm's B that is packed", _packed_elements),
    Feature("far_packed_elements", "element of a gemm's B beyond the caches", _far_packed_elements),
    Feature("row_elements", "element of gemm's B for a single row of A", _row_elements),
    Feature("far_columns_elements", "element of im2col's matrix beyond near caches", _far_columns_elements),
    *beyond_caches("weights_elements", "element of gemm's A", _weights_read),
    OUT,
    GEMM_CALLS,
    Feature("shared_gemm_calls", "gemm call that threads share", _shared_calls),
    CALL,
)

INNER_PRODUCT = (
    PRODUCT_MACS,
    WEIGHTS,
    *FAR_WEIGHTS,
    MANY_IMAGES,
    *(
        Feature(f"{name}_aliased_weights", f"weight of rows of multiples of {size}", _aliased_weights(size))
        for name, size in ALIASED_ELEMENTS.items()
    ),
    Feature("many_rows_weights", "weight of a matrix with more rows than pages are known", _many_rows_weights),
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


class _Backwards(dict[str, Array]):
    """Sizes of deconvolutions as those of the convolutions that they run backwards, each taken when it is asked for."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def __missing__(self, name: str) -> Array:
        return self.sizes[BACKWARDS.get(name, name)]


def backwards(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The features of a convolution as its deconvolution has them: col2im stands where im2col did."""

    def reversed_count(count: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
        return lambda sizes: count(_Backwards(sizes))

    return tuple(replace(feature, count=reversed_count(feature.count)) for feature in features)


FREE_KINDS = frozenset({"input", "split", "flatten", "reshape", "silence"})
"""Kinds that move no data: a call each where they were timed, nothing where they were not."""

CAFFE_FEATURES: dict[str, tuple[Feature, ...]] = {
    "convolution": CONVOLUTION,
    "deconvolution": backwards(CONVOLUTION),
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
}
"""The features of each kind; a kind that is not here reads and writes elements (`ELEMENTWISE`)."""
