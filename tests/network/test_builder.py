"""Networks built in memory against the same networks read from files."""

import onnx
import pytest

import sitecnn
from sitecnn.network import load_network, parse_prototxt
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.caffe.writer import write_prototxt
from tests.estimation.fixtures import NETWORKS

PROTOTXTS = sorted(NETWORKS.glob("*.prototxt"))


def rebuilt(network):
    """The network added to a builder layer by layer, with nothing but its types, settings and graph."""
    net, values = sitecnn.NetworkBuilder(network.name), {}
    for layer in network.layers:
        if is_automatic_split(layer):
            values |= dict.fromkeys(layer.tops, values[layer.bottoms[0]])
        elif layer.type == "Input":
            values[layer.tops[0]] = net.input(*layer.outputs[0], name=layer.name)
        else:
            message = next(iter(LAYER_TYPES[layer.type].write(layer.settings).values()), {})
            inputs = [values[blob] for blob in layer.bottoms]
            values_added = net.add_several(len(layer.tops), layer.type, *inputs, name=layer.name, **message)
            values |= dict(zip(layer.tops, values_added, strict=True))
    return net.build()


@pytest.mark.parametrize("path", PROTOTXTS, ids=lambda path: path.stem)
def test_a_network_that_is_built_again_has_the_layers_of_its_file(path):
    read = load_network(path, batch=3)
    built = rebuilt(read)
    assert built.batch == read.batch == 3
    for mine, theirs in zip(built.layers, read.layers, strict=True):
        assert (mine.name, mine.type, mine.inputs, mine.outputs) == (
            theirs.name, theirs.type, theirs.inputs, theirs.outputs
        )  # fmt: skip
        assert (mine.parameters, mine.settings) == (theirs.parameters, theirs.settings)


@pytest.mark.parametrize("path", PROTOTXTS, ids=lambda path: path.stem)
def test_what_was_built_can_be_written_and_read(path):
    built = rebuilt(load_network(path))
    assert parse_prototxt(write_prototxt(built), "again").layers == built.layers


def test_elementwise_layers_work_in_place_only_where_nothing_else_reads_their_input():
    net = sitecnn.NetworkBuilder("n")
    image = net.input(1, 4, 6, 6)
    first = net.add("Convolution", image, num_output=4, kernel_size=1)
    alone = net.add("ReLU", first)
    apart = net.add("ReLU", alone)
    net.add("Eltwise", alone, apart)
    layers = {layer.name: layer for layer in net.build().layers}
    assert layers["relu1"].tops == layers["relu1"].bottoms
    assert layers["relu2"].tops == ("relu2",)
    assert layers["eltwise1"].bottoms == ("convolution1_relu1_0_split_1", "relu2")


def test_an_input_is_never_written_over():
    net = sitecnn.NetworkBuilder("n")
    net.add("ReLU", net.input(1, 4, 6, 6))
    assert net.build().layers[1].tops == ("relu1",)


@pytest.mark.parametrize(
    ("type_name", "settings", "reason"),
    [
        ("Convolutoin", {}, "did you mean 'Convolution'"),
        ("Convolution", {"num_outputs": 3}, "did you mean 'num_output'"),
        ("Convolution", {"num_output": 3, "kernel_size": 9}, "spans 9×9 pixels"),
        ("Convolution", {"num_output": "three"}, "layer 'convolution1'"),
        ("Eltwise", {}, "at least 2 bottoms"),
        ("Reshape", {"shape": {"dim": [0, 5]}}, "layer 'reshape1'"),
    ],
)
def test_a_layer_that_cannot_be_is_named_where_it_is_added(type_name, settings, reason):
    net = sitecnn.NetworkBuilder("n")
    image = net.input(1, 3, 6, 6)
    with pytest.raises(sitecnn.NetworkError, match=reason):
        net.add(type_name, image, **settings)


def test_an_empty_builder_is_no_network():
    with pytest.raises(sitecnn.NetworkError, match="no layer was added"):
        sitecnn.NetworkBuilder("n").build()


def test_a_file_can_be_given_as_its_bytes_or_as_onnxs_own_model():
    path = NETWORKS / "unet.onnx"
    read = load_network(path)
    assert load_network(path.read_bytes(), name="unet") == read
    assert load_network(onnx.load(path, load_external_data=False), name="unet") == read
    text = NETWORKS / "alexnet.prototxt"
    assert load_network(text.read_bytes()) == load_network(text)
