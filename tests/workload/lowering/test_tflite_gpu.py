"""TFLite's GPU delegate: what it runs of well-known networks, as published measurements list it."""

from collections import Counter
from math import prod
from pathlib import Path

import pandas as pd
import pytest

from sitecnn import load_board, load_network
from sitecnn.estimation.estimate import estimate
from sitecnn.network import parse_prototxt
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import JOINT, WINOGRAD, Engine
from sitecnn.workload.lowering import lower, lower_whole
from tests.workload.lowering.graphs import Builder

ROOT = Path(__file__).parents[3]
NETWORKS = ROOT / "config" / "networks"
PHONES = ROOT.parent / "shared" / "phones-data"
MALI = Engine("tflite-gpu", precision="fp16", variants=frozenset({WINOGRAD}))
APPLE = Engine("tflite-gpu", precision="fp16", variants=frozenset({WINOGRAD, JOINT}))
ADRENO = Engine("tflite-gpu", precision="fp16")
DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 64 dim: 56 dim: 56 } } }'


def convolution(name, bottom, outputs, kernel, *, pad=0, stride=1, group=1):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{'
        f" num_output: {outputs} kernel_size: {kernel} pad: {pad} stride: {stride} group: {group} }} }}"
    )


def relu(name, blob):
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}'


def add(name, one, other):
    return f'layer {{ name: "{name}" type: "Eltwise" bottom: "{one}" bottom: "{other}" top: "{name}" }}'


def kernels(text, engine):
    """(kind, what was linked, names of its layers) of each kernel."""
    network = parse_prototxt(text, "n")
    names = [layer.name for layer in network.layers]
    return [
        (one.kernel.kind.removeprefix("tflite_"), one.kernel.variant, [names[index] for index in one.layers])
        for one in lower(network, engine)
    ]


def test_elementwise_work_joins_the_last_kernel_that_it_waits_for():
    """Of two branches the one that runs last adds the other and applies the ReLU (resnet18 as published: 15, 16)."""
    text = "".join(
        [
            DATA,
            convolution("a", "data", 64, 3, pad=1),
            convolution("b", "data", 64, 1),
            add("s", "a", "b"),
            relu("r", "s"),
        ]
    )
    assert kernels(text, ADRENO) == [("convolution_2d", "", ["a"]), ("convolution_2d", "add+relu", ["b", "s", "r"])]


def test_a_map_with_two_readers_is_written_before_anything_is_linked():
    text = "".join([DATA, convolution("a", "data", 64, 1), convolution("b", "a", 64, 1), add("s", "b", "a")])
    assert kernels(text, ADRENO) == [("convolution_2d", "", ["a"]), ("convolution_2d", "add", ["b", "s"])]


@pytest.mark.parametrize(
    ("channels", "engine", "kind"),
    [(64, MALI, WINOGRAD), (64, ADRENO, "convolution_2d"), (60, MALI, "convolution_2d"), (64, APPLE, WINOGRAD)],
)
def test_winograd_where_a_gpu_has_it_and_sixteen_slices_suit(channels, engine, kind):
    """A transformed convolution links nothing: its ReLU is a kernel of its own."""
    lowered = kernels("".join([DATA, convolution("a", "data", channels, 3, pad=1), relu("r", "a")]), engine)
    alone = [(WINOGRAD, "", ["a"]), ("elementwise", "", ["r"])]
    assert lowered == (alone if kind == WINOGRAD else [("convolution_2d", "relu", ["a", "r"])])


def test_a_padding_that_tensorflow_would_place_otherwise_is_a_kernel():
    """Of a 56-pixel map with stride 2, SAME pads below and right only."""
    lowered = kernels("".join([DATA, convolution("a", "data", 32, 3, pad=1, stride=2)]), ADRENO)
    assert [kind for kind, _, _ in lowered] == ["pad", "convolution_2d"]
    lowered = kernels("".join([DATA, convolution("a", "data", 32, 3, pad=1)]), ADRENO)
    assert [kind for kind, _, _ in lowered] == ["convolution_2d"]


def test_a_small_depthwise_convolution_and_the_pointwise_one_are_one_kernel_on_apples_gpus():
    data = DATA.replace("dim: 64", "dim: 16")
    layers = [
        convolution("d", "data", 16, 3, pad=1, group=16),
        relu("r", "d"),
        convolution("p", "d", 16, 1),
        relu("q", "p"),
    ]
    apart = [("depthwise_convolution", "relu", ["d", "r"]), ("convolution_2d", "relu", ["p", "q"])]
    assert kernels("".join([data, *layers]), ADRENO) == apart
    joint = kernels("".join([data, *layers]), APPLE)
    assert [(kind, names) for kind, _, names in joint] == [(JOINT, ["d", "r", "p", "q"])]


def lowered_sizes(text, engine=ADRENO):
    """Kind (without its prefix) and sizes of each kernel."""
    lowered = lower(parse_prototxt(text, "n"), engine)
    return [(one.kernel.kind.removeprefix("tflite_"), dict(one.kernel.sizes)) for one in lowered]


def maps(images, given, made):
    """Sizes of what is read and what is written, each of (channels, height, width)."""
    names = ("channels", "height", "width")
    sizes = {"images": images} | dict(zip(names, given, strict=True))
    sizes |= {f"out_{name}": size for name, size in zip(names, made, strict=True)}
    return sizes | {"in_elements": prod(given), "out_elements": prod(made)}


def window(kernel_h, kernel_w, stride):
    return {"kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride, "stride_w": stride}


def test_sizes_are_of_what_is_read_with_its_padding_and_of_one_image():
    """SAME pads 56 pixels below and right for stride 2: one row and one column; Caffe's pad of 1 reads 58 × 58."""
    text = DATA.replace("dim: 1", "dim: 2") + convolution("a", "data", 32, 3, pad=1, stride=2) + relu("r", "a")
    nothing = {"accumulate": 0, "activation": 0}
    assert lowered_sizes(text) == [
        ("pad", maps(2, (64, 58, 58), (64, 58, 58))),
        (
            "convolution_2d",
            maps(2, (64, 58, 58), (32, 28, 28))
            | window(3, 3, 2)
            | {"parameters": 32 * 64 * 9, "group": 1, "accumulate": 0, "activation": 1},
        ),
    ]
    text = DATA + convolution("d", "data", 64, 3, pad=1, group=64) + convolution("g", "d", 32, 1, group=4)
    assert lowered_sizes(text) == [
        (
            "depthwise_convolution",
            maps(1, (64, 56, 56), (64, 56, 56)) | window(3, 3, 1) | {"parameters": 64 * 9, "group": 64} | nothing,
        ),
        (
            "convolution_2d_grouped",
            maps(1, (64, 56, 56), (32, 56, 56)) | window(1, 1, 1) | {"parameters": 32 * 16, "group": 4} | nothing,
        ),
    ]


def test_sizes_of_pools_products_means_and_joins_are_their_definitions():
    def pool(name, bottom, settings):
        layer = f'name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}"'
        return f"layer {{ {layer} pooling_param {{ {settings} }} }}"

    text = DATA + pool("m", "data", "kernel_h: 2 kernel_w: 4 stride: 2")
    text += pool("v", "data", "pool: AVE kernel_size: 2 stride: 2") + pool("e", "v", "pool: AVE global_pooling: true")
    text += 'layer { name: "t" type: "TanH" bottom: "e" top: "t" }'
    text += 'layer { name: "f" type: "InnerProduct" bottom: "t" top: "f" inner_product_param { num_output: 10 } }'
    nothing = {"accumulate": 0, "activation": 0}
    made = dict(lowered_sizes(text))
    assert made["pooling_2d"] == maps(1, (64, 56, 56), (64, 28, 27)) | window(2, 4, 2) | nothing
    assert made["average_pooling_2d"] == maps(1, (64, 56, 56), (64, 28, 28)) | window(2, 2, 2) | nothing
    # Tanh needs an exponential, which is worth a class of its own.
    assert made["mean"] == maps(1, (64, 28, 28), (64, 1, 1)) | {"accumulate": 0, "activation": 2}
    assert made["fully_connected"] == maps(1, (64, 1, 1), (10, 1, 1)) | {"parameters": 640, "group": 1} | nothing
    text = DATA + convolution("a", "data", 8, 1) + convolution("b", "data", 24, 1)
    text += 'layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" }' + relu("r", "c")
    kind, sizes = lowered_sizes(text)[-1]
    assert (kind, sizes) == (
        "concat", maps(1, (8, 56, 56), (32, 56, 56)) | {"inputs": 2, "accumulate": 0, "activation": 1},
    )  # fmt: skip


def test_a_sum_that_is_linked_accumulates_and_reads_its_other_input():
    text = DATA + convolution("a", "data", 64, 1) + convolution("b", "a", 64, 1) + add("s", "b", "a")
    (_, first), (_, second) = lowered_sizes(text)
    assert (first["accumulate"], second["accumulate"], second["activation"]) == (0, 1, 1)


def test_a_joint_kernel_has_the_weights_of_both_and_the_pointwise_outputs():
    data = DATA.replace("dim: 64", "dim: 16")
    layers = convolution("d", "data", 16, 3, pad=1, group=16) + convolution("p", "d", 12, 1)
    ((kind, sizes),) = lowered_sizes(data + layers, APPLE)
    assert (kind, sizes["parameters"]) == (JOINT, 16 * 9 + 16 * 12)
    assert (sizes["channels"], sizes["out_channels"], sizes["kernel_h"], sizes["group"]) == (16, 12, 3, 16)


@pytest.mark.parametrize(
    ("channels", "outputs", "joins"), [(16, 16, True), (17, 15, False), (16, 17, False), (8, 32, True), (8, 33, False)]
)
def test_sixteen_channels_and_256_weights_are_the_most_that_are_joined(channels, outputs, joins):
    data = DATA.replace("dim: 64", f"dim: {channels}")
    layers = convolution("d", "data", channels, 3, pad=1, group=channels) + convolution("p", "d", outputs, 1)
    kinds = [kind for kind, _ in lowered_sizes(data + layers, APPLE)]
    assert kinds == ([JOINT] if joins else ["depthwise_convolution", "convolution_2d"])


@pytest.mark.parametrize(
    ("size", "channels", "outputs", "more", "is_winograd"),
    [
        ((16, 32), 64, 64, {"pad": 1}, True),
        ((4, 124), 64, 64, {"pad": 1}, False),  # 31 tiles of 4 × 4
        ((15, 29), 64, 64, {"pad": 1}, True),  # 32, of which the last are not whole
        ((56, 56), 61, 64, {"pad": 1}, True),  # 16 slices, of which the last is not whole
        ((56, 56), 60, 64, {"pad": 1}, False),
        ((56, 56), 64, 60, {"pad": 1}, False),
        ((56, 56), 64, 64, {"pad": 1, "stride": 2}, False),
        ((56, 56), 64, 64, {"pad": 1, "group": 2}, False),
    ],
)
def test_winograd_suits_sixteen_slices_and_32_tiles(size, channels, outputs, more, is_winograd):
    data = DATA.replace("dim: 64 dim: 56 dim: 56", "dim: {} dim: {} dim: {}".format(channels, *size))
    kinds = [kind for kind, _ in lowered_sizes(data + convolution("a", "data", outputs, 3, **more), MALI)]
    assert (WINOGRAD in kinds) == is_winograd


@pytest.mark.parametrize(
    ("pads", "stride", "read"),
    [
        ([0, 0, 1, 1], 2, None),  # SAME of an even length
        ([1, 1, 0, 0], 2, (57, 57)),
        ([1, 1, 1, 1], 1, None),
        ([2, 1, 0, 3], 1, (58, 60)),
        ([0, 0, 0, 0], 1, None),
    ],
)
def test_pads_are_of_each_side(pads, stride, read):
    builder = Builder((1, 8, 56, 56))
    model = builder.model(builder.conv("x", 8, 16, 3, pads=pads, strides=[stride, stride]))
    *pad, conv = (one.kernel for one in lower(parse_onnx(model, "n"), ADRENO))
    assert [(one["height"], one["width"]) for one in pad] == ([read] if read else [])
    assert (conv["height"], conv["width"]) == (read or (56, 56))


def test_memory_is_weights_and_the_largest_neighbours_of_a_chain():
    """64 × 56 × 56 values, then 32, 16 and 8 channels of them: the first two are alive at once."""
    text = DATA + convolution("a", "data", 32, 1) + convolution("b", "a", 16, 1) + convolution("c", "b", 8, 1)
    kernels_of_it, memory = lower_whole(parse_prototxt(text, "n"), ADRENO)
    assert memory.weights_bytes == 4 * (64 * 32 + 32 + 32 * 16 + 16 + 16 * 8 + 8)
    assert memory.kernels == len(kernels_of_it) == 3
    # Neither the image nor the result has a place in the block.
    assert memory.activations_bytes == 4 * 56 * 56 * (32 + 16)


def listed(rows):
    """(operation, channels, outputs, edge of the output, window, stride) of kernels, and how many there are."""
    dense = {"fully_connected", "mean"}
    return Counter(
        (kind, channels, outputs, *((0, 0, 0) if kind in dense else (edge, window, stride)))
        for kind, channels, outputs, edge, window, stride in rows
    )


@pytest.mark.shared
@pytest.mark.skipif(not PHONES.exists(), reason="../shared is not there")
@pytest.mark.parametrize("board", ["pixel4", "s10", "iphone7"])
@pytest.mark.parametrize(
    ("file", "network", "other"),
    [
        ("resnet18.prototxt", "resnet18", 0),
        ("mobilenet-v3-large.onnx", "mobilenetv3_large_w1", 0),
        # The published one has a pointwise convolution of 32 channels more.
        ("mobilenet-v2.onnx", "mobilenetv2_w1", 1),
        # Keras' average pooling there is one of stride 1 and one that skips.
        ("densenet121.prototxt", "densenet121", 6),
    ],
)
def test_the_kernels_of_well_known_networks_are_those_published(board, file, network, other):
    table = pd.read_parquet(PHONES / "dev-phones-kernels.parquet")
    table = table[(table["board"] == board) & (table["network"] == network)].fillna(0)
    # A joint kernel is listed for each of its two layers.
    table = table[~(table["implementation"].str.startswith(JOINT) & (table["operation"] == "CONV_2D"))]
    names = table["implementation"].str.replace(r"_linked_.*", "", regex=True).str.replace(r"(_\d+)+$", "", regex=True)
    depthwise = table["operation"] == "DEPTHWISE_CONV_2D"
    outputs = table["out_channels"].mask(depthwise | (table["out_channels"] == 0), table["in_channels"])
    window = table["kernel_size"].mask(names == "concat", 0)
    columns = (names, table["in_channels"], outputs, table["out_size"], window, table["stride"])
    theirs = listed(zip(*columns, strict=True))
    engine = {"pixel4": ADRENO, "s10": MALI, "iphone7": APPLE}[board]
    ours = []
    for one in lower(load_network(NETWORKS / file), engine):
        sizes, kind = dict(one.kernel.sizes), one.kernel.kind.removeprefix("tflite_").replace("average_", "")
        if kind not in ("pad", "elementwise"):
            size = [sizes.get(name, 0) for name in ("channels", "out_channels", "out_height", "kernel_h", "stride_h")]
            ours.append((kind, *size))
    assert (theirs - listed(ours)).total() <= other and (listed(ours) - theirs).total() <= other


@pytest.mark.shared
@pytest.mark.skipif(not PHONES.exists(), reason="../shared is not there")
@pytest.mark.parametrize("board", ["pixel4", "s10", "mi8se", "iphone7"])
@pytest.mark.parametrize(
    ("file", "network"), [("resnet18.prototxt", "resnet18"), ("mobilenet-v3-large.onnx", "mobilenetv3_large_w1")]
)
def test_a_definition_is_estimated_at_what_was_published(board, file, network, tmp_path):
    passes = pd.read_parquet(PHONES / "dev-phones-passes.parquet").set_index(["board", "network"])
    estimated = estimate(load_network(NETWORKS / file), load_board(board, "gpu", root=tmp_path))
    assert estimated.engine.name == "tflite-gpu" and estimated.engine.precision == "fp16"
    assert estimated.forward_ms.low <= passes.loc[(board, network), "forward_ms"] <= estimated.forward_ms.high
    assert estimated.modelled_fraction == 1
