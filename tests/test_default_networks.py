"""The networks that come with the project against the public definitions others measured."""

from pathlib import Path

import pytest

from sitecnn.network import load_network

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
