"""The networks that come with the project against the public definitions others measured."""

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


# Learnable parameters (weights, biases, BatchNorm's scale and shift) in millions and multiply-accumulates in billions:
# of the papers' tables where they give them, else of torchvision's models of the same name (0.20, `weights.meta`).
# Caffe keeps BatchNorm's means and variances as parameters, too: two for each of `statistics` channels.
PUBLISHED = {
    "squeezenet1.0": (1.248, 0.86, 0),
    "mobilenet-v1": (4.23, 0.569, 10_944),
    "nin": (7.6, 1.1, 0),
    "vgg19": (143.667, 19.63, 0),
    "resnet18": (11.690, 1.814, 4_800),
    "densenet121": (7.979, 2.834, 41_824),
    "inception-v3": (23.835, 5.713, 17_216),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_work_as_published(name):
    parameters_m, macs_g, statistics = PUBLISHED[name]
    layers = load_network(NETWORKS / f"{name}.prototxt").layers
    norms = [layer for layer in layers if layer.type == "BatchNorm"]
    assert sum(layer.inputs[0][1] for layer in norms) == statistics
    # Mean, variance and a factor of each BatchNorm are no learnable parameters.
    learnable = sum(blob.count for layer in layers if layer.type != "BatchNorm" for blob in layer.parameters)
    assert learnable / 1e6 == pytest.approx(parameters_m, rel=0.003)
    assert sum(map(macs, layers)) / 1e9 == pytest.approx(macs_g, rel=0.01)


@pytest.mark.shared
def test_squeezenet_is_as_published():
    if not PUBLIC.exists():
        pytest.skip("the public definitions are not at hand")
    ours = load_network(NETWORKS / "squeezenet1.0.prototxt", batch=1)
    public = load_network(PUBLIC / "squeezenet_v1.0.prototxt", batch=1)
    work = [(layer.type, layer.outputs, [blob.shape for blob in layer.parameters]) for layer in ours.layers]
    assert work == [(layer.type, layer.outputs, [blob.shape for blob in layer.parameters]) for layer in public.layers]
