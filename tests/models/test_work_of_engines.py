"""All that is counted of one kernel of each kind of ONNX Runtime and of TFLite's GPU delegate, worked out by hand."""

import numpy as np
import pytest

from sitecnn.models.features import features_of
from sitecnn.models.tflite_features import RELATED, tflite_features
from sitecnn.workload.kernels import SIZE_NAMES

MIB = 2**20


def counted(kind: str, sizes: dict[str, int]) -> dict[str, float]:
    """Feature [unit] → how much of it the kernel does."""
    given = {"nchwc_block": 16, **sizes}
    columns = {name: np.array([float(given.get(name, np.nan))]) for name in (*SIZE_NAMES, "nchwc_block")}
    features = features_of(kind)
    amounts = {f"{one.name} [{one.unit}]": float(one.count(columns)[0]) for one in features}
    assert len(amounts) == len(features)
    return amounts


def some(kind: str, sizes: dict[str, int], *names: str) -> list[float]:
    amounts = {name.partition(" ")[0]: count for name, count in counted(kind, sizes).items()}
    return [amounts[name] for name in names]


# 2 images of 6 × 9 × 11 to 10 × 5 × 11, in 2 groups; its inputs and outputs fit into any cache.
CONVOLUTION = {
    "images": 2, "channels": 6, "height": 9, "width": 11, "out_channels": 10, "out_height": 5, "out_width": 11,
    "kernel_h": 3, "kernel_w": 5, "stride_h": 2, "stride_w": 1, "pad_h": 1, "pad_w": 2, "dilation_h": 1,
    "dilation_w": 1, "group": 2, "inputs": 1, "in_elements": 2 * 6 * 99, "out_elements": 2 * 10 * 55,
    "parameters": 460, "activation": 0, "pass_bytes": 10 * MIB,
}  # fmt: skip
LAST_CACHES = ((4, 16), (16, 32), (32, 64))  # MiB
# A pass of 10 MiB is half of the way from 4 to 16, and none of the others.
WEIGHTS = {
    "weights [weight read]": 460,
    "weights_beyond_4_mb [weight read in a pass of 4 to 16 MiB]": 230,
    "weights_beyond_16_mb [weight read in a pass of 16 to 32 MiB]": 0,
    "weights_beyond_32_mb [weight read in a pass of 32 to 64 MiB]": 0,
}
AFTER = {
    "added_elements [element of a sum]": 0,
    "clipped_elements [element clipped]": 0,
    "chosen_elements [element multiplied or left]": 0,
    "exponentials [element through an exponential]": 0,
    "far_out_elements [element written beyond near caches]": 0,
    "farther_out_elements [element written beyond the last cache]": 0,
    "calls [call]": 1,
}
FAR = {
    "far_elements [element moved beyond near caches]": 0,
    "farther_elements [element moved beyond the last cache]": 0,
}
OUT = {"out_elements [element written]": 1100}
IMAGE = {"image_elements [element read]": 2 * 6 * 99}
# Each group has 5 rows of 110 pixels, filled up to 6 × 112, and 3·3·5 = 45 products of each.
TILES = {"tile_macs [MAC in whole tiles]": 2 * 6 * 112 * 45}
COPIED, ONE_BY_ONE = (
    "columns_elements [element copied to columns]",
    "strided_columns [element copied to columns one by one]",
)
COLUMNS = {COPIED: 2 * 55 * 6 * 15, ONE_BY_ONE: 0}


def test_convolutions_of_plain_layout() -> None:
    for kind in ("pointwise", "pixel"):
        assert counted(f"ort_conv_{kind}", CONVOLUTION) == TILES | OUT | WEIGHTS | AFTER
    for kind in ("window", "first", "volume"):
        assert counted(f"ort_conv_{kind}", CONVOLUTION) == TILES | COLUMNS | OUT | WEIGHTS | AFTER
    for kind in ("grouped", "depthwise"):
        expected = TILES | COLUMNS | OUT | WEIGHTS | AFTER | {"groups [group]": 4}
        assert counted(f"ort_conv_{kind}", CONVOLUTION) == expected
    strided = counted("ort_conv_window", CONVOLUTION | {"stride_w": 2})
    assert strided[ONE_BY_ONE] == strided[COPIED] == COLUMNS[COPIED]
    assert counted("ort_conv_depthwise_3x3", CONVOLUTION) == OUT | IMAGE | {"groups [group]": 4} | AFTER
    # Backwards, each of 2 · 6 · 99 inputs meets 10 · 15 weights.
    assert counted("ort_conv_transpose", CONVOLUTION) == {
        "macs [MAC]": 2 * 6 * 99 * 10 * 15,
        "columns_elements [element added to the image]": 2 * 99 * 10 * 15,
        **OUT,
        **FAR,
        "calls [call]": 1,
    }


STEPS = (
    "cycles [cycle of multiplications]",
    *(f"steps_of_{blocks} [input times {blocks} blocks]" for blocks in (1, 2, 3, 4)),
    "weight_loads [block of weights loaded]",
    *WEIGHTS,
)
EDGES, ROW_CALLS = "edge_steps [step at a padded edge]", "row_calls [row of a window]"
READ, FAR_READ = "read_elements [element read by a set]", "far_read_elements [element read again beyond near caches]"
AGAIN = "accumulated_elements [output read and written]"
FAR_AGAIN = "far_accumulated [output read and written beyond near caches]"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("first", (*STEPS, EDGES, READ, *OUT, *AFTER)),
        ("few_pointwise", (*STEPS, READ, *OUT, *AFTER)),
        ("pointwise", (*STEPS, READ, FAR_READ, AGAIN, FAR_AGAIN, *AFTER)),
        ("window", (*STEPS, EDGES, ROW_CALLS, READ, FAR_READ, AGAIN, FAR_AGAIN, *AFTER)),
        ("grouped", (*STEPS, EDGES, ROW_CALLS, AGAIN, FAR_AGAIN, *AFTER)),
        ("pixel", (STEPS[0], *WEIGHTS, AGAIN, *list(AFTER)[:4], "calls [call]")),
    ],
)  # fmt: skip
def test_convolutions_in_blocks_count_what_their_loops_do(kind: str, names: tuple[str, ...]) -> None:
    """How much of it, `test_blocked_loops.py` counts."""
    amounts = counted(f"ort_nchwc_conv_{kind}", CONVOLUTION)
    assert set(amounts) == set(names)
    assert {name: amounts[name] for name in WEIGHTS} == WEIGHTS


def test_depthwise_convolutions_in_blocks() -> None:
    assert set(counted("ort_nchwc_conv_depthwise", CONVOLUTION)) == {
        "window_steps [element in a window]",
        "pixel_groups [step of up to six pixels]",
        *OUT,
        *IMAGE,
        "far_image_elements [element read beyond near caches]",
        "farther_image_elements [element read beyond the last cache]",
        "row_calls [row of a block]",
        EDGES,
        *AFTER,
    }
    amounts = counted("ort_nchwc_conv_scale", CONVOLUTION | {"channels": 32})
    assert amounts == OUT | AFTER | {"row_calls [row of a block]": 2 * 5 * 2}


@pytest.mark.parametrize(
    ("activation", "place"), [(1, "clipped_elements"), (2, "chosen_elements"), (3, "exponentials")]
)
def test_an_activation_is_counted_as_what_it_is(activation: int, place: str) -> None:
    sizes = CONVOLUTION | {"activation": activation, "inputs": 2}
    names = ("clipped_elements", "chosen_elements", "exponentials")
    assert some("ort_conv_window", sizes, *names) == [1100 * (name == place) for name in names]
    assert some("ort_conv_window", sizes, "added_elements") == [1100]


@pytest.mark.parametrize("moved_bytes", [MIB, 2 * MIB, 5 * MIB, 16 * MIB, 100 * MIB])
def test_what_lies_beyond_a_cache_grows_on_a_line_with_what_a_kernel_moves(moved_bytes: int) -> None:
    """From 1 to 4 MiB beyond the caches near a core, from 8 to 32 beyond the last one; inputs and outputs together."""
    elements = moved_bytes // 4
    sizes = {"in_elements": elements // 4, "out_elements": elements - elements // 4}
    shares = [float(np.interp(moved_bytes, [low * MIB, high * MIB], [0, 1])) for low, high in ((1, 4), (8, 32))]
    amounts = counted("ort_relu", sizes)
    assert amounts == {
        "out_elements [element written]": sizes["out_elements"],
        "far_elements [element moved beyond near caches]": pytest.approx(shares[0] * elements),
        "farther_elements [element moved beyond the last cache]": pytest.approx(shares[1] * elements),
        "calls [call]": 1,
    }
    written = some("ort_conv_window", CONVOLUTION | sizes, "far_out_elements", "farther_out_elements")
    assert written == pytest.approx([share * sizes["out_elements"] for share in shares])
    shape = {"images": 1, "channels": 1, "height": 1, "width": sizes["in_elements"]}
    read = some("ort_nchwc_conv_depthwise", CONVOLUTION | sizes | shape, "far_image_elements", "farther_image_elements")
    assert read == pytest.approx([share * sizes["in_elements"] for share in shares])


@pytest.mark.parametrize("pass_mib", [3, 7, 30, 60])
def test_weights_come_from_beyond_a_cache_as_the_pass_between_is_large(pass_mib: int) -> None:
    shares = [float(np.interp(pass_mib, ends, [0, 1])) for ends in LAST_CACHES]
    names = [f"weights_beyond_{low}_mb" for low, _ in LAST_CACHES]
    weights = some("ort_conv_window", CONVOLUTION | {"pass_bytes": pass_mib * MIB}, *names)
    assert weights == pytest.approx([460 * share for share in shares])


def test_products_of_matrices() -> None:
    # 7 rows and 150 columns fill 12 × 160; columns of B are taken 128 at a time.
    sizes = {"images": 3, "m": 7, "n": 150, "k": 11, "in_elements": 77, "out_elements": 1050, "pass_bytes": 10 * MIB}
    sizes |= {"activation": 3, "inputs": 1, "parameters": 1650}

    def weights(name: str, unit: str, count: float) -> dict[str, float]:
        far = {
            f"{name}_beyond_{low}_mb [{unit} in a pass of {low} to {high} MiB]": amount
            for (low, high), amount in zip(LAST_CACHES, (count / 2, 0, 0), strict=True)
        }
        return {f"{name} [{unit}]": count, **far}

    rest = {"exponentials [element through an exponential]": 1050, "calls [call]": 1}
    rest |= {name: 0 for name in AFTER if "far" in name}
    assert counted("ort_gemm", sizes) == {
        **weights("one_row_weights", "weight used once", 0),
        "tile_macs [MAC in whole tiles]": 3 * 12 * 160 * 11,
        **weights("weights", "weight read", 1650),
        "packed_elements [element of A read]": 77 * 2,
        "out_elements [element written]": 1050,
        **rest,
    }
    assert counted("ort_gemm", sizes | {"m": 1}) == {
        **weights("one_row_weights", "weight used once", 1650),
        "tile_macs [MAC in whole tiles]": 0,
        **weights("weights", "weight read", 0),
        "packed_elements [element of A read]": 0,
        "out_elements [element written]": 0,
        **rest,
    }
    assert counted("ort_matmul", sizes) == {
        "tile_macs [MAC in whole tiles]": 3 * 12 * 160 * 11,
        "products [product]": 3,
        "in_elements [element read]": 77,
        "out_elements [element written]": 1050,
        "calls [call]": 1,
    }


def test_poolings_and_kinds_that_go_along_rows() -> None:
    sizes = {"images": 2, "channels": 3, "height": 8, "width": 10, "out_width": 5, "window": 6, "in_elements": 480}
    sizes |= {"out_elements": 120}
    windows, written = {"window_elements [element in a window]": 720}, {"out_elements [element written]": 120}
    image, rows = {"image_elements [element read]": 480}, {"rows [row normalised]": 20}
    call = {"calls [call]": 1}
    for method in ("max", "average", "lp"):
        for layout in ("", "nchwc_"):
            assert counted(f"ort_{layout}{method}_pool", sizes) == windows | image | written | FAR | call
            assert counted(f"ort_{layout}global_{method}_pool", sizes) == image | {"channels [channel]": 6} | FAR | call
    assert counted("ort_lrn", sizes) == windows | call
    assert counted("ort_softmax_across", sizes) == written | rows | call
    for kind in ("softmax", "log_softmax"):
        assert counted(f"ort_{kind}", sizes) == written | call
    for kind in ("layer_normalization", "skip_layer_normalization"):
        assert counted(f"ort_{kind}", sizes) == written | rows | FAR | call
    for kind in ("add", "sub", "mul", "div", "prelu"):
        assert counted(f"ort_{kind}_broadcast", sizes) == written | rows | FAR | call
    assert counted("ort_transpose", sizes) == written | {"rows [row moved]": 24} | FAR | call
    assert counted("ort_transpose", sizes | {"out_width": 0})["rows [row moved]"] == 120
    assert counted("ort_a kind of tomorrow", sizes) == written | FAR | call


# 2 images of 10 × 9 × 11 to 14 × 5 × 7: 3 and 4 slices of four channels.
TFLITE = {
    "images": 2, "channels": 10, "height": 9, "width": 11, "out_channels": 14, "out_height": 5, "out_width": 7,
    "kernel_h": 3, "group": 1, "accumulate": 1,
}  # fmt: skip
READS, WRITES = {"read [element read]": 2 * 99 * 12}, {"written [element written]": 2 * 35 * 16}
SLICES = {"slice_weights [weight of whole slices]": 4 * 3 * 16 * 9}
WINDOWS = {"window_reads [element in a window]": 2 * 35 * 16 * 9}
DEPTH = {"slice_depth [step along slices and window]": 3 * 9}


def test_convolutions_of_tflite_on_gpus() -> None:
    convolution = {
        "slice_macs [multiply-accumulate of whole slices]": 2 * 35 * 4 * 3 * 16 * 9,
        # 5 × 7 positions are 3 × 4 blocks of 2 × 2.
        "block_of_1_macs [multiply-accumulate of blocks of 1 slices]": 2 * 3 * 4 * 4 * 4 * 3 * 16 * 9,
        "block_of_2_macs [multiply-accumulate of blocks of 2 slices]": 2 * 3 * 4 * 4 * 4 * 3 * 16 * 9,
        **READS,
        **WRITES,
        **SLICES,
        "added [element added]": 2 * 35 * 16,
        **DEPTH,
        "calls [call]": 1,
    }
    convolution_kinds = ("tflite_convolution_2d", "tflite_convolution_2d_grouped")
    for kind in convolution_kinds:
        assert counted(kind, {**TFLITE, "in_elements": 1}) == convolution
    # 9 outputs are 3 slices, or two blocks of two.
    odd = {**TFLITE, "out_channels": 9}
    macs = some(convolution_kinds[0], {**odd, "in_elements": 1}, "block_of_1_macs", "block_of_2_macs")
    assert macs == [2 * 48 * slices * 3 * 16 * 9 for slices in (3, 4)]
    # Of two groups each output reads 5 channels: two slices.
    grouped = {**TFLITE, "group": 2, "accumulate": 0, "in_elements": 1}
    assert some(convolution_kinds[1], grouped, "slice_depth", "slice_weights", "added") == [18, 4 * 2 * 16 * 9, 0]
    # F(4×4, 3×3): 5 × 7 positions are 2 × 2 tiles of 4 × 4, of which 36 are computed.
    assert counted("tflite_convolution_winograd_4x4_6x6", {**TFLITE, "in_elements": 1}) == {
        "tiles_read [element of a tile transformed]": 2 * 4 * 36 * 12,
        "tile_macs [multiply-accumulate of tiles]": 2 * 4 * 36 * 16 * 3 * 4,
        "tiles_written [element of a tile transformed back]": 2 * 4 * 36 * 16,
        **SLICES,
        "added [element added]": 2 * 35 * 16,
        "calls [call]": 1,
    }


def test_other_kinds_of_tflite_on_gpus() -> None:
    sizes, call = {**TFLITE, "in_elements": 1}, {"calls [call]": 1}
    depthwise = {"depthwise_weights [weight]": 14 * 9}
    assert counted("tflite_depthwise_convolution", sizes) == WINDOWS | READS | WRITES | depthwise | call
    assert counted("tflite_depthwise_conv_plus_1x1_conv", sizes) == READS | WRITES | call
    assert counted("tflite_fully_connected", sizes) == SLICES | DEPTH | WRITES | call
    for kind in ("pooling_2d", "average_pooling_2d"):
        assert counted(f"tflite_{kind}", sizes) == WINDOWS | READS | WRITES | call
    for kind in ("mean", "a kind of tomorrow"):
        assert counted(f"tflite_{kind}", sizes) == READS | WRITES | call
    assert counted("tflite_concat", sizes) == WRITES | call
    for kind in ("pad", "elementwise"):
        assert counted(f"tflite_{kind}", sizes) == WRITES
    assert tflite_features("tflite_mean") == features_of("tflite_mean")


def test_what_a_published_table_leaves_out_is_square_of_one_image_and_one_position() -> None:
    sizes = {"channels": 4, "out_channels": 8, "in_elements": 1}
    assert some("tflite_fully_connected", sizes, "slice_weights", "slice_depth", "written") == [32, 1, 8]
    square = sizes | {"height": 6, "out_height": 3, "kernel_h": 5}
    assert some("tflite_pooling_2d", square, "read", "written", "window_reads") == [144, 72, 72 * 25]


def test_what_stands_in_for_a_kind_computes_alike() -> None:
    """The features of a kind are told by those that it shares with what stands in for it."""
    for kind, others in RELATED.items():
        assert others and kind.startswith("tflite_")
        for other in others:
            shared = {one.name for one in tflite_features(kind)} & {one.name for one in tflite_features(other)}
            assert len(shared) >= 3, (kind, other)
