"""The networks that come with the project against the public definitions others measured."""

import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sitecnn.network import load_network
from sitecnn.network.onnx import EXTERNAL_FILE, external_bytes
from sitecnn.workload.kernels import macs

PROJECT = Path(__file__).parents[1]
NETWORKS = PROJECT / "config" / "networks"
ONNX_FILES = sorted(NETWORKS.glob("*.onnx"))
PUBLIC = PROJECT.parent / "shared" / "networks"


@pytest.mark.shared
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet", "resnet50"])
def test_layer_by_layer_as_published(name):
    if not PUBLIC.exists():
        pytest.skip("the public definitions are not at hand")
    ours, public = (load_network(folder / f"{name}.prototxt", batch=1) for folder in (NETWORKS, PUBLIC))
    for mine, theirs in zip(ours.layers, public.layers, strict=True):
        assert (mine.name, mine.type, mine.outputs) == (theirs.name, theirs.type, theirs.outputs)
        assert [blob.shape for blob in mine.parameters] == [blob.shape for blob in theirs.parameters]


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.prototxt")), ids=lambda path: path.stem)
def test_batch_is_one_at_the_inputs(path):
    network = load_network(path)
    assert [layer.outputs[0][0] for layer in network.layers if layer.type == "Input"] == [1]


# Learnable parameters (weights, biases, BatchNorm's scale and shift), multiply-accumulates in billions, and channels
# of BatchNorm, whose means and variances are no learnable parameters. Caffe's rounding up of pooling shifts none of
# them: sizes come out even, or (ResNet-18, DenseNet-121) unpadded windows round up to what padded ones give elsewhere.
PUBLISHED = {
    # torchvision's `weights.meta["num_params"]` and, with 224x224 inputs there (here 227x227, the last convolution
    # padded), 0.819 billion; 861.34 million is what is published for the authors' Caffe definition.
    "squeezenet1.0": (1_248_424, 0.86134, 0),
    # Keras counts 4 253 864 with means and variances; 569 million in the paper's table 4.
    "mobilenet-v1": (4_253_864 - 2 * 10_944, 0.569, 10_944),
    # 7.6 million and 1.1 billion are published for the authors' ImageNet model; its blocks one by one:
    "nin": (
        (3 * 11**2 + 1) * 96
        + 2 * (96 + 1) * 96
        + (96 * 5**2 + 1) * 256
        + 2 * (256 + 1) * 256
        + (256 * 3**2 + 1) * 384
        + 2 * (384 + 1) * 384
        + (384 * 3**2 + 1) * 1024
        + (1024 + 1) * (1024 + 1000),
        1.1,
        0,
    ),
    # torchvision's `weights.meta`: `num_params` and `_ops`; the paper's table 2 has 144 million.
    "vgg19": (143_667_240, 19.632, 0),
    "resnet18": (11_689_512, 1.814, 4_800),
    "densenet121": (7_978_856, 2.834, 41_824),
    # Less the auxiliary classifier: convolutions 768→128 (1x1) and 128→768 (5x5) with BatchNorm, 768→1000 with biases.
    "inception-v3": (27_161_264 - (768 + 2) * 128 - (128 * 25 + 2) * 768 - (768 + 1) * 1000, 5.713, 17_216),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_work_as_published(name):
    parameters, macs_g, statistics = PUBLISHED[name]
    layers = load_network(NETWORKS / f"{name}.prototxt").layers
    norms = [layer for layer in layers if layer.type == "BatchNorm"]
    assert sum(layer.inputs[0][1] for layer in norms) == statistics
    assert sum(blob.count for layer in layers if layer.type != "BatchNorm" for blob in layer.parameters) == parameters
    assert sum(map(macs, layers)) / 1e9 == pytest.approx(macs_g, rel=0.002)


def test_data_of_squeezenet_as_caffe_counts_them():
    """50.60 MiB: tops of all layers, Splits and in-place ones too, as Caffe prints "Memory required for data"."""
    layers = load_network(NETWORKS / "squeezenet1.0.prototxt").layers
    assert sum(4 * prod(shape) for layer in layers for shape in layer.outputs) / 2**20 == pytest.approx(
        50.60, abs=0.005
    )


@pytest.mark.shared
def test_squeezenet_is_as_published():
    if not PUBLIC.exists():
        pytest.skip("the public definitions are not at hand")
    ours = load_network(NETWORKS / "squeezenet1.0.prototxt", batch=1)
    public = load_network(PUBLIC / "squeezenet_v1.0.prototxt", batch=1)
    work = [(layer.type, layer.outputs, [blob.shape for blob in layer.parameters]) for layer in ours.layers]
    assert work == [(layer.type, layer.outputs, [blob.shape for blob in layer.parameters]) for layer in public.layers]


# Learnable parameters, multiply-accumulates in millions, and channels of BatchNorm: where it is folded into the
# convolution before it, each of its channels leaves one parameter (a bias) instead of two. `num_params` and `_ops` of
# torchvision's `weights.meta`, but for the last two; channels are half of what Keras counts as not trainable, or
# summed up over the blocks of the paper.
PUBLISHED_ONNX = {
    "mobilenet-v2": (3_504_872, 300.8, 34_112 // 2),
    "mobilenet-v3-large": (5_483_032, 216.6, 24_400 // 2),
    "efficientnet-b0": (5_288_548, 385.8, 42_016 // 2),
    # Of each stage's c channels, given g: depthwise g; halves 1 + 3, then 3 a block.
    "shufflenet-v2": (
        2_278_604,
        144.9,
        24 + sum(g + c // 2 * (4 + 3 * more) for g, c, more in ((24, 116, 3), (116, 232, 7), (232, 464, 3))) + 1024,
    ),
    "regnet-x-400mf": (
        5_495_976,
        413.8,
        32 + sum(w * (3 * depth + 1) for w, depth in ((32, 1), (64, 2), (160, 7), (400, 12))),
    ),
    "convnext-tiny": (28_589_128, 4455.5, 0),
    # Ultralytics prints 3 151 904 parameters and 8.7 GFLOPs of the fused model at 640: eight times the MACs at 320.
    "yolov8n": (3_151_904, 8_700 / 8, 0),
    # 7 763 041 on PyTorch Hub; work by hand: a level's image has 4^-i of the pixels, and its channels are 32·2^i.
    "unet": (
        7_763_041,
        (
            256**2 * 9 * 32 * (3 + 32)
            + sum((256 >> i) ** 2 * 9 * (32 << i) * ((16 << i) + (32 << i)) for i in (1, 2, 3, 4))
            + sum((256 >> i) ** 2 * (32 << i) * ((64 << i) + 9 * 3 * (32 << i)) for i in (0, 1, 2, 3))
            + 256**2 * 32
        )
        / 1e6,
        2 * (32 + 64 + 128 + 256 + 512 + 256 + 128 + 64 + 32),
    ),
}


def test_each_onnx_network_has_published_figures():
    assert [path.stem for path in ONNX_FILES] == sorted(PUBLISHED_ONNX)


@pytest.mark.parametrize("path", ONNX_FILES, ids=lambda path: path.stem)
def test_onnx_networks_have_the_published_parameters_and_work(path):
    parameters, macs_m, folded = PUBLISHED_ONNX[path.stem]
    graph = onnx.load(path, load_external_data=False).graph
    read = {name for node in graph.node if node.op_type not in ("Sub", "Div") for name in node.input}
    anchors = {name for node in graph.node if node.op_type == "Sub" for name in node.input}
    # YOLO's grid of anchors and its strides are stored with the weights, and are none.
    grid = {node.input[1] for node in graph.node if node.op_type == "Mul" and "yolo" in path.stem}
    stored = [
        tensor
        for tensor in graph.initializer
        if tensor.data_location == tensor.EXTERNAL and tensor.name in read - anchors - grid
    ]
    assert sum(prod(tensor.dims) for tensor in stored) == parameters - folded
    assert sum(map(macs, load_network(path).layers)) / 1e6 == pytest.approx(macs_m, rel=0.006 if grid else 0.0005)


@pytest.mark.parametrize("path", ONNX_FILES, ids=lambda path: path.stem)
def test_onnx_networks_have_no_weights_and_ask_for_little(path):
    assert path.stat().st_size < 40_000
    assert not (NETWORKS / EXTERNAL_FILE).exists()
    assert external_bytes(load_network(path)) == 64 << 20


@pytest.mark.parametrize("path", ONNX_FILES, ids=lambda path: path.stem)
def test_onnx_networks_run_in_onnxruntime_once_they_have_weights(path, tmp_path):
    network = load_network(path)
    (tmp_path / path.name).write_bytes(path.read_bytes())
    np.random.default_rng(0).uniform(0, 0.02, external_bytes(network) // 4).astype(np.float32).tofile(
        tmp_path / EXTERNAL_FILE
    )
    session = onnxruntime.InferenceSession(tmp_path / path.name, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    (result,) = session.run(None, {image.name: np.ones(image.shape, np.float32)})
    assert result.shape == network.layers[-1].outputs[0]


def test_the_generator_writes_the_onnx_networks_as_they_are(tmp_path):
    subprocess.run([sys.executable, "-m", "config.networks.generator", str(tmp_path)], cwd=PROJECT, check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in ONNX_FILES
    }
