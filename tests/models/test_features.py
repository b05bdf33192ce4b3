"""The work that models count, against loops over what Caffe and a BLAS do."""

from itertools import product

import numpy as np
import pytest

from sitecnn.models.caffe_gpu_features import GPU_TILE
from sitecnn.models.feature import STACK_SIZES, stack_sizes
from sitecnn.models.features import features_named, features_of, least_elements, macs, matrix
from sitecnn.workload.kernels import SIZE_NAMES

# images, channels, rows, columns, outputs, kernel (h, w), stride, pad, group
CONVOLUTIONS = [
    (1, 3, 9, 11, 70, 3, 3, 2, 1, 1),
    (2, 8, 6, 6, 40, 1, 1, 1, 0, 1),
    (3, 6, 7, 5, 6, 3, 3, 1, 1, 6),
    (1, 12, 10, 8, 8, 5, 3, 1, 2, 2),
    (1, 4, 6, 7, 4, 1, 1, 2, 0, 1),
    (1, 4, 6, 7, 4, 1, 1, 1, 1, 1),
]


def convolution_sizes(images, channels, rows, columns, outputs, kernel_h, kernel_w, stride, pad, group, bias=1):
    out_h, out_w = (rows + 2 * pad - kernel_h) // stride + 1, (columns + 2 * pad - kernel_w) // stride + 1
    sizes = {
        "images": images,
        "channels": channels,
        "height": rows,
        "width": columns,
        "out_channels": outputs,
        "group": group,
    }
    sizes |= {"out_height": out_h, "out_width": out_w, "kernel_h": kernel_h, "kernel_w": kernel_w, "bias": bias}
    sizes |= {"stride_h": stride, "stride_w": stride, "pad_h": pad, "pad_w": pad, "dilation_h": 1, "dilation_w": 1}
    sizes |= {"in_elements": images * channels * rows * columns, "out_elements": images * outputs * out_h * out_w}
    return sizes | {"parameters": outputs * channels // group * kernel_h * kernel_w + bias * outputs}


def work(kind, name, sizes):
    columns = {size: np.array([float(sizes.get(size, np.nan))]) for size in (*SIZE_NAMES, *STACK_SIZES)}
    return float(matrix(features_named(kind, (name,)), columns)[0, 0])


def gemms(sizes):
    """The (m, n, k) of every matrix multiplication of a convolution, one by one."""
    for _ in product(range(sizes["images"]), range(sizes["group"])):
        window = sizes["kernel_h"] * sizes["kernel_w"]
        depth = sizes["channels"] // sizes["group"] * window
        yield sizes["out_channels"] // sizes["group"], sizes["out_height"] * sizes["out_width"], depth


def tiles(m, n, edge):
    return sum(1 for _ in product(range(0, m, edge), range(0, n, edge)))


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_multiply_accumulates_are_those_of_a_loop_over_outputs_and_weights(given):
    sizes = convolution_sizes(*given)
    outputs = sizes["images"] * sizes["out_channels"] * sizes["out_height"] * sizes["out_width"]
    per_output = sizes["channels"] // sizes["group"] * sizes["kernel_h"] * sizes["kernel_w"]
    assert work("convolution", "macs", sizes) == outputs * per_output


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_multiply_accumulates_of_tiles_count_every_tile_that_is_begun(given):
    sizes = convolution_sizes(*given)
    expected = sum(tiles(m, n, GPU_TILE) * GPU_TILE**2 * k for m, n, k in gemms(sizes))
    assert work("convolution", "block_macs", sizes) == expected


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_waves_count_every_wave_that_is_begun(given, at_once=32):
    sizes = convolution_sizes(*given)
    expected = 0
    for m, n, k in gemms(sizes):
        waves = len(range(0, tiles(m, n, GPU_TILE), at_once))
        expected += waves * at_once * GPU_TILE**2 * k
    assert work("convolution", f"waves_of_{at_once}_macs", sizes) == expected


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_im2col_copies_a_value_for_each_weight_of_each_window(given):
    images, channels, _, _, _, kernel_h, kernel_w, stride, pad, _ = given
    sizes = convolution_sizes(*given)
    positions = product(range(sizes["out_height"]), range(sizes["out_width"]), range(kernel_h), range(kernel_w))
    copied = images * channels * sum(1 for _ in positions)
    skipped = kernel_h == kernel_w == stride == 1 and pad == 0
    assert work("convolution", "im2col_elements", sizes) == (0 if skipped else copied)


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_what_a_blas_reads_is_counted_a_gemm_at_a_time(given):
    sizes = convolution_sizes(*given)
    multiplications = list(gemms(sizes))
    assert work("convolution", "weights_elements", sizes) == sum(m * k for m, _, k in multiplications)
    assert work("convolution", "packed_elements", sizes) == sum(n * k for m, n, k in multiplications if m > 1)
    assert work("convolution", "row_elements", sizes) == sum(n * k for m, n, k in multiplications if m == 1)
    assert work("convolution", "gemm_calls", sizes) == len(multiplications)
    assert work("convolution", "depth", sizes) == sum(k for _, _, k in multiplications)
    assert work("convolution", "calls", sizes) == 1


def test_only_what_no_cache_keeps_is_far():
    near = convolution_sizes(1, 64, 56, 56, 64, 3, 3, 1, 1, 1)
    large = convolution_sizes(1, 256, 56, 56, 64, 3, 3, 1, 1, 1)
    assert work("convolution", "far_packed_elements", near) == 0  # 4·576·3136 bytes: 7 MiB
    assert work("convolution", "far_packed_elements", large) == 256 * 9 * 56 * 56  # 28 MiB


def test_the_matrices_that_im2col_writes_of_all_groups_leave_the_near_caches_together():
    columns = 728 * 9 * 19 * 19  # 9 MiB, whatever the groups
    for group in (1, 728):
        sizes = convolution_sizes(1, 728, 19, 19, 728, 3, 3, 1, 1, group)
        assert work("convolution", "far_columns_elements", sizes) == columns
        assert work("convolution", "far_columns_elements", sizes | {"channels": 128, "group": 1}) == 0
    # Each image has its own: 1.6 MiB at a time.
    assert work("convolution", "far_columns_elements", convolution_sizes(8, 128, 19, 19, 128, 3, 3, 1, 1, 1)) == 0
    half = convolution_sizes(1, 128, 7, 160, 128, 3, 3, 1, 1, 1)  # 4.9 MiB, between 2 and 8
    assert 0 < work("convolution", "far_columns_elements", half) < 128 * 9 * 7 * 160


@pytest.mark.parametrize("kind", ["batch_norm", "scale"])
def test_a_layer_that_is_not_in_place_writes_a_blob_more(kind):
    sizes = {"in_elements": 500, "out_elements": 500, "bias": 1}
    assert work(kind, "out_elements", sizes) == work(kind, "out_elements", sizes | {"in_place": 1}) == 500
    if kind == "scale":  # it copies what it overwrites, for a backward pass
        assert work(kind, "kept_elements", sizes) == 0
        assert work(kind, "kept_elements", sizes | {"in_place": 1}) == 500
        assert [work(kind, "biased_elements", sizes | {"bias": bias}) for bias in (0, 1)] == [0, 500]
    else:
        assert work(kind, "own_elements", sizes) == 500
        assert work(kind, "own_elements", sizes | {"in_place": 1}) == 0


def test_products_read_a_weight_for_each_input_and_output():
    sizes = {
        "images": 7,
        "in_elements": 7 * 2048,
        "out_elements": 7 * 3000,
        "parameters": 2048 * 3000 + 3000,
        "bias": 1,
    }
    assert work("inner_product", "macs", sizes) == 7 * 2048 * 3000
    assert work("inner_product", "weights_elements", sizes) == 2048 * 3000
    assert work("inner_product", "many_images_macs", sizes) == 3 * 2048 * 3000  # beyond the fourth
    assert work("inner_product", "page_aliased_weights", sizes) == 2048 * 3000
    assert work("inner_product", "way_aliased_weights", sizes) == 0
    assert work("inner_product", "many_rows_weights", sizes) == 2048 * 3000
    assert work("inner_product", "many_rows_weights", sizes | {"out_elements": 7 * 2048}) == 0


def test_elements_new_in_a_window_are_those_that_the_window_to_its_left_did_not_have():
    kernel_h, kernel_w = 3, 3
    for stride in (1, 2, 3, 4):
        sizes = {
            "out_elements": 50,
            "kernel_h": kernel_h,
            "kernel_w": kernel_w,
            "stride_w": stride,
            "window": 9,
            "height": 28,
        }
        columns = set(range(stride, stride + kernel_w)) - set(range(kernel_w))
        assert work("pooling", "fresh_elements", sizes) == 50 * kernel_h * len(columns)
        assert work("pooling", "window_elements", sizes) == 50 * 9
        assert work("pooling", "early_window_elements", sizes) == 0
        assert work("pooling", "early_window_elements", sizes | {"height": 112}) == 50 * 9


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
@pytest.mark.parametrize("kind", ["convolution", "inner_product"])
def test_twice_the_images_are_never_less_work(kind, processor):
    one = convolution_sizes(1, 16, 14, 14, 32, 3, 3, 1, 1, 1)
    two = one | {name: 2 * one[name] for name in ("images", "in_elements", "out_elements")}
    for feature in features_of(kind, processor):
        assert work(kind, feature.name, two) >= work(kind, feature.name, one), feature.name


def test_kernels_that_do_not_multiply_have_no_multiply_accumulates():
    columns = {name: np.array([4.0, 9.0]) for name in SIZE_NAMES}
    assert macs("relu", columns).tolist() == [0, 0]
    assert macs("gemm", columns).tolist() == [64, 729]
    assert least_elements("relu", columns).tolist() == [4, 9]
    assert least_elements("convolution", columns).tolist() == [8, 18]


@pytest.mark.parametrize(
    ("stack", "threads"),
    [
        ("caffe-1.0.0+brocolli.9.0.2+openblas-0.3.21+2-threads+clock-unknown", 2),
        ("Caffe, OpenBLAS+16-threads", 16),
        ("Caffe, OpenBLAS 0.2.19", 0),
        ("tflite-gpu+fp16", 0),
    ],
)
def test_a_stacks_name_says_its_threads(stack, threads):
    assert stack_sizes(stack, 2)["threads"].tolist() == [threads, threads]
