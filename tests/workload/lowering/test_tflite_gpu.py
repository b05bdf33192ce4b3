"""TFLite's GPU delegate: what it runs of well-known networks, as published measurements list it."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sitecnn import load_board, load_network
from sitecnn.estimation.estimate import estimate
from sitecnn.network import parse_prototxt
from sitecnn.workload.engines import JOINT, WINOGRAD, Engine
from sitecnn.workload.lowering import lower

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
    found = kernels("".join([DATA, convolution("a", "data", channels, 3, pad=1), relu("r", "a")]), engine)
    alone = [(WINOGRAD, "", ["a"]), ("elementwise", "", ["r"])]
    assert found == (alone if kind == WINOGRAD else [("convolution_2d", "relu", ["a", "r"])])


def test_a_padding_that_tensorflow_would_place_otherwise_is_a_kernel():
    """Of a 56-pixel map with stride 2, SAME pads below and right only."""
    found = kernels("".join([DATA, convolution("a", "data", 32, 3, pad=1, stride=2)]), ADRENO)
    assert [kind for kind, _, _ in found] == ["pad", "convolution_2d"]
    found = kernels("".join([DATA, convolution("a", "data", 32, 3, pad=1)]), ADRENO)
    assert [kind for kind, _, _ in found] == ["convolution_2d"]


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
    found = kernels("".join([data, *layers]), APPLE)
    assert [(kind, names) for kind, _, names in found] == [(JOINT, ["d", "r", "p", "q"])]


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
    found = estimate(load_network(NETWORKS / file), load_board(board, "gpu", root=tmp_path))
    assert found.engine.name == "tflite-gpu" and found.engine.precision == "fp16"
    assert found.forward_ms.low <= passes.loc[(board, network), "forward_ms"] <= found.forward_ms.high
    assert found.modelled_fraction == 1
