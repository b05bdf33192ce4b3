"""The networks that come with the project against the public definitions others measured."""

from math import prod
from pathlib import Path

import pytest

from sitecnn.network import load_network
from sitecnn.workload.kernels import macs

PROJECT = Path(__file__).parents[1]
NETWORKS = PROJECT / "config" / "networks"
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
