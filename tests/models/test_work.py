"""All that is counted of one kernel of each kind, worked out by hand: features, units and amounts of the whole kind.

Sizes are chosen so that no two of them, nor any two counts of a kind, are alike.
"""

import numpy as np
import pytest

from sitecnn.models.feature import STACK_SIZES
from sitecnn.models.features import features_named, features_of, least_elements, macs
from sitecnn.workload.kernels import SIZE_NAMES


def columns(sizes: dict[str, int]) -> dict[str, np.ndarray]:
    return {name: np.array([float(sizes.get(name, np.nan))]) for name in (*SIZE_NAMES, *STACK_SIZES)}


def counted(kind: str, sizes: dict[str, int], processor: str = "cpu") -> dict[str, float]:
    """Feature [unit] → how much of it the kernel does."""
    features = features_of(kind, processor)
    amounts = {f"{one.name} [{one.unit}]": float(one.count(columns(sizes))[0]) for one in features}
    assert len(amounts) == len(features)
    return amounts


# 2 images of 6 × 9 × 11 to 10 × 5 × 11, in 2 groups: 4 gemms of m = 5, n = 55 and k = 3·3·5 = 45.
CONVOLUTION = {
    "images": 2, "channels": 6, "height": 9, "width": 11, "out_channels": 10, "out_height": 5, "out_width": 11,
    "kernel_h": 3, "kernel_w": 5, "stride_h": 2, "stride_w": 1, "pad_h": 1, "pad_w": 2, "dilation_h": 1,
    "dilation_w": 1, "group": 2, "bias": 1, "inputs": 1, "in_elements": 2 * 6 * 99, "out_elements": 2 * 10 * 55,
    "parameters": 10 * 45 + 10, "activation": 0, "pass_bytes": 10 << 20,
}  # fmt: skip
ON_CPU = {
    "macs [multiply-accumulate]": 4 * 5 * 55 * 45,
    "im2col_elements [element copied by im2col]": 2 * 6 * 15 * 55,
    "packed_elements [element of gemm's B that is packed]": 4 * 55 * 45,
    "far_packed_elements [element of a gemm's B beyond the caches]": 0,
    # m is more than 1, and the matrices fit into any cache.
    "row_elements [element of gemm's B for a single row of A]": 0,
    "far_columns_elements [element of im2col's matrix beyond near caches]": 0,
    "weights_elements [element of gemm's A]": 4 * 5 * 45,
    # A pass of 10 MiB is half of the way from 4 to 16.
    "weights_elements_beyond_4_mb [element of gemm's A in a pass of 4 to 16 MiB]": 4 * 5 * 45 / 2,
    "weights_elements_beyond_16_mb [element of gemm's A in a pass of 16 to 32 MiB]": 0,
    "weights_elements_beyond_32_mb [element of gemm's A in a pass of 32 to 64 MiB]": 0,
    "out_elements [element written]": 1100,
    "gemm_calls [gemm call]": 4,
    # Each of 12,375 multiply-accumulates: too few to be shared.
    "shared_gemm_calls [gemm call that threads share]": 0,
    "calls [call]": 1,
}
ON_GPU = {
    "macs [multiply-accumulate]": 4 * 5 * 55 * 45,
    # A tile has 64 × 64, and holds each of these gemms; a wave has 32 tiles.
    "block_macs [multiply-accumulate of whole thread blocks]": 4 * 64 * 64 * 45,
    "waves_of_32_macs [multiply-accumulate of whole waves of 32]": 4 * 32 * 64 * 64 * 45,
    # Of each group all images at once, in tiles of 64 × 128: n = 110.
    "batched_macs [multiply-accumulate of whole thread blocks over the batch]": 2 * 64 * 128 * 45,
    # Smaller than 512³: in tiles of 32 × 32.
    "direct_macs [multiply-accumulate of small matrices]": 4 * 32 * 64 * 45,
    "thin_macs [multiply-accumulate of few rows]": 4 * 5 * 55 * 45,
    "im2col_elements [element copied by im2col]": 2 * 6 * 15 * 55,
    "depth [step along k]": 4 * 45,
    "lone_depth [step along a short k, or of few columns]": 4 * 45,
    "narrow_depth [step along k of few columns]": 4 * 45,
    "parameters [weight read once]": 460,
    "out_elements [element written]": 1100,
    "gemm_calls [gemm call]": 4,
    "calls [call]": 1,
}


@pytest.mark.parametrize(("processor", "expected"), [("cpu", ON_CPU), ("gpu", ON_GPU)])
def test_a_convolution(processor: str, expected: dict[str, float]) -> None:
    assert counted("convolution", CONVOLUTION, processor) == expected


@pytest.mark.parametrize(("processor", "expected"), [("cpu", ON_CPU), ("gpu", ON_GPU)])
def test_a_deconvolution_does_the_work_of_the_convolution_that_it_runs_backwards(
    processor: str, expected: dict[str, float]
) -> None:
    turned = {"channels": 10, "out_channels": 6, "height": 5, "out_height": 9, "width": 11, "out_width": 11}
    turned |= {"in_elements": 1100, "out_elements": 2 * 6 * 99}
    wanted = expected | {"out_elements [element written]": 2 * 6 * 99}
    assert counted("deconvolution", CONVOLUTION | turned, processor) == wanted
    # A width of its own, too: 3 columns are spread over 11.
    wide = turned | {"width": 3, "in_elements": 2 * 10 * 15}
    amounts = counted("deconvolution", CONVOLUTION | wide, processor)
    assert amounts["macs [multiply-accumulate]"] == 4 * 5 * 15 * 45


def gpu(m: int, n: int, k: int, images: int = 1) -> dict[str, float]:
    """A 1×1 convolution as one matrix product for each image."""
    sizes = {"images": images, "channels": k, "out_channels": m, "height": 1, "width": n, "out_height": 1, "group": 1}
    sizes |= {"out_width": n, "parameters": m * k, "in_elements": images * k * n, "out_elements": images * m * n}
    sizes |= {f"{name}_{axis}": value for name, value in (("kernel", 1), ("stride", 1), ("pad", 0)) for axis in "hw"}
    return {name.partition(" ")[0]: count for name, count in counted("convolution", sizes, "gpu").items()}


def test_what_a_gpu_does_with_small_and_large_matrices() -> None:
    # CLBlast's direct kernel takes what is smaller than 512³; rows are few up to 16, columns up to 64.
    assert gpu(512, 512, 511)["direct_macs"] == 512 * 512 * 511
    assert gpu(512, 512, 512)["direct_macs"] == 0
    assert [gpu(m, 100, 8)["thin_macs"] for m in (16, 17)] == [16 * 100 * 8, 0]
    assert [gpu(8, n, 1200)["narrow_depth"] for n in (64, 65)] == [1200, 0]
    # A k of 1,000 is shared out, unless the columns fill no tile.
    assert [gpu(8, 65, k)["lone_depth"] for k in (999, 1000)] == [999, 0]
    assert gpu(8, 64, 1000)["lone_depth"] == 1000
    # 33 tiles are two waves.
    assert gpu(64 * 3, 64 * 11, 7)["waves_of_32_macs"] == 64 * 64 * 64 * 7
    assert gpu(65, 100, 3, images=2)["batched_macs"] == 128 * 256 * 3


def test_a_packed_matrix_is_far_where_it_alone_is_larger_than_16_mib() -> None:
    """One image's and one group's B: 4·n·k bytes."""
    one = CONVOLUTION | {"images": 3, "group": 1, "out_height": 64, "out_width": 1024, "channels": 64 // 16}
    one |= {"kernel_h": 4, "kernel_w": 4, "out_channels": 8}
    far = "far_packed_elements [element of a gemm's B beyond the caches]"
    # k = 64 and n = 65,536 make 16 MiB: not more than fits.
    assert counted("convolution", one)[far] == 0
    assert counted("convolution", one | {"out_width": 1025})[far] == 3 * 64 * 64 * 1025
    depthwise = one | {"out_width": 1025, "group": 4, "out_channels": 4, "kernel_h": 16}
    assert counted("convolution", depthwise)[far] == 0


@pytest.mark.parametrize(("threads", "shared"), [(0, 6), (1, 0), (2, 6), (4, 6)])
def test_threads_share_a_gemm_of_more_than_two_to_the_eighteenth_multiplications(threads: int, shared: int) -> None:
    """m = 64, n = 64 and k = 64 are as many: one thread multiplies them (OpenBLAS, interface/gemm.c)."""
    one = CONVOLUTION | {"images": 3, "group": 2, "out_channels": 128, "out_height": 8, "out_width": 8, "channels": 32}
    one |= {"kernel_h": 2, "kernel_w": 2, "threads": threads}
    name = "shared_gemm_calls [gemm call that threads share]"
    assert counted("convolution", one)[name] == 0
    assert counted("convolution", one | {"out_width": 9})[name] == shared


PRODUCT = {"images": 6, "in_elements": 6 * 3000, "out_elements": 6 * 2100, "bias": 1, "parameters": 3000 * 2100}
PRODUCT |= {"pass_bytes": 40 << 20}


def test_an_inner_product() -> None:
    weights = 3000 * 2100
    assert counted("inner_product", PRODUCT) == {
        "macs [multiply-accumulate]": 6 * weights,
        "weights_elements [weight read]": weights,
        # A pass of 40 MiB is a quarter of the way from 32 to 64.
        "weights_elements_beyond_4_mb [weight read in a pass of 4 to 16 MiB]": weights,
        "weights_elements_beyond_16_mb [weight read in a pass of 16 to 32 MiB]": weights,
        "weights_elements_beyond_32_mb [weight read in a pass of 32 to 64 MiB]": weights / 4,
        "many_images_macs [multiply-accumulate beyond 4 images]": 2 * weights,
        "page_aliased_weights [weight of rows of multiples of 1024]": 0,
        "way_aliased_weights [weight of rows of multiples of 4096]": 0,
        "many_rows_weights [weight of a matrix with more rows than pages are known]": weights,
        "calls [call]": 1,
    }
    assert counted("inner_product", PRODUCT, "gpu") == {
        "macs [multiply-accumulate]": 6 * weights,
        "weights_elements [weight read]": weights,
        "many_images_macs [multiply-accumulate beyond 4 images]": 2 * weights,
        "direct_weights [weight of a small matrix]": weights,
        "calls [call]": 1,
    }
    # 8 · 4,096 · 4,096 multiplications are 512³, which is not small.
    large = PRODUCT | {"images": 8, "in_elements": 8 * 4096, "out_elements": 8 * 4096}
    assert counted("inner_product", large, "gpu")["direct_weights [weight of a small matrix]"] == 0


def test_an_inner_product_has_as_many_rows_as_axes_before_its_own_say() -> None:
    """Two images of five steps each are ten rows."""
    amounts = counted("inner_product", PRODUCT | {"images": 2, "m": 10, "in_elements": 10 * 7, "out_elements": 10 * 3})
    assert amounts["macs [multiply-accumulate]"] == 10 * 7 * 3
    assert amounts["many_images_macs [multiply-accumulate beyond 4 images]"] == 6 * 7 * 3


@pytest.mark.parametrize(("inputs", "page", "way"), [(2048, 1, 0), (8192, 1, 1), (1000, 0, 0)])
def test_rows_of_whole_pages_and_ways(inputs: int, page: int, way: int) -> None:
    amounts = counted("inner_product", PRODUCT | {"in_elements": 6 * inputs})
    assert amounts["page_aliased_weights [weight of rows of multiples of 1024]"] == page * inputs * 2100
    assert amounts["way_aliased_weights [weight of rows of multiples of 4096]"] == way * inputs * 2100


POOLING = {
    "images": 1, "channels": 5, "height": 40, "width": 50, "out_channels": 5, "out_height": 20, "out_width": 25,
    "kernel_h": 3, "kernel_w": 4, "stride_h": 2, "stride_w": 2, "pad_h": 0, "pad_w": 0, "window": 12,
    "in_elements": 10_000, "out_elements": 2500,
}  # fmt: skip


def test_poolings() -> None:
    # Of 3 × 4 elements, a window two columns further has 3 × 2 that are new.
    assert counted("pooling", POOLING) == {
        "window_elements [element in a window]": 2500 * 12,
        "early_window_elements [element in a window of a large blob]": 0,
        "fresh_elements [element new in a window]": 2500 * 6,
        "out_elements [element written]": 2500,
        "calls [call]": 1,
    }
    early = "early_window_elements [element in a window of a large blob]"
    assert [counted("pooling", POOLING | {"height": rows})[early] for rows in (79, 80)] == [0, 30_000]
    average = {
        "window_elements [element in a window]": 30_000,
        "out_elements [element written]": 2500,
        "calls [call]": 1,
    }
    assert counted("average_pooling", POOLING) == average
    for kind in ("pooling", "average_pooling"):
        assert counted(kind, POOLING, "gpu") == average | {"in_elements [element read]": 10_000}


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_kinds_that_look_at_neighbours_move_elements_or_do_nothing(processor: str) -> None:
    moved = {"in_elements [element read]": 70, "out_elements [element written]": 90, "calls [call]": 1}
    sizes = {"in_elements": 70, "out_elements": 90, "window": 5}
    for kind in ("lrn", "lrn_of_zeros"):
        assert counted(kind, sizes, processor) == moved | {"window_elements [element in a window]": 450}
    for kind in ("relu", "concat", "eltwise", "a kind of tomorrow"):
        assert counted(kind, sizes, processor) == moved
    for kind in ("input", "split", "flatten", "reshape", "silence"):
        assert counted(kind, sizes, processor) == {"calls [call]": 1}


def test_pieces_of_layers() -> None:
    assert counted("gemm", {"m": 3, "n": 5, "k": 7}) == {
        "macs [multiply-accumulate]": 105,
        "a_elements [element of A]": 21,
        "b_elements [element of B]": 35,
        "c_elements [element of C]": 15,
        "calls [call]": 1,
    }
    assert counted("im2col", CONVOLUTION) == {
        "columns_elements [element copied]": 2 * 6 * 15 * 55,
        "calls [call]": 1,
    }


@pytest.mark.parametrize(
    ("kind", "sizes", "count"),
    [
        ("convolution", CONVOLUTION, 4 * 5 * 55 * 45),
        ("inner_product", PRODUCT, 6 * 3000 * 2100),
        ("gemm", {"m": 3, "n": 5, "k": 7}, 105),
        ("pooling", POOLING, 0),
    ],
)
def test_floors_are_of_multiplications_and_of_elements_that_have_to_move(
    kind: str, sizes: dict[str, int], count: int
) -> None:
    given = columns(sizes)
    assert macs(kind, given).tolist() == [count]
    if kind != "gemm":
        weights = 0 if kind == "pooling" else sizes["parameters"]
        assert least_elements(kind, given).tolist() == [sizes["out_elements"] + weights]


def test_features_are_found_by_their_names_on_either_processor() -> None:
    names = ("depth", "packed_elements", "in_elements")
    assert tuple(one.name for one in features_named("convolution", names)) == names
    assert features_named("tflite_relu", ("slice_macs",))[0].unit == "multiply-accumulate of whole slices"
    with pytest.raises(KeyError, match="slice_macs"):
        features_named("convolution", ("slice_macs",))
    with pytest.raises(KeyError, match="depth"):
        features_named("pooling", ("depth",))


def test_a_kernel_that_was_timed_alone_finds_its_weights_in_a_cache() -> None:
    alone = counted("convolution", CONVOLUTION | {"pass_bytes": float("nan")})
    assert alone["weights_elements [element of gemm's A]"] == 4 * 5 * 45
    assert not any(count for name, count in alone.items() if "weights_elements_beyond" in name)
