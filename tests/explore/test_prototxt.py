"""Places in a prototxt's text and edits of it, against what Caffe's parser makes of the text."""

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.estimation.advice import Outputs, Width
from sitecnn.explore.edits import applied, with_batch, with_inputs
from sitecnn.explore.prototxt import layer_blocks
from sitecnn.network.caffe.reader import parse_prototxt
from tests.explore.chromium import NETWORKS

FILES = sorted(NETWORKS.glob("*.prototxt"))

ODD = """\
name: "odd" # { not a brace }
input: "x"
input_shape { dim: [ 1, 3, 64,
  64 ] }
layers < name: 'first}' type: CONVOLUTION bottom: "x" top: "first" # layer { name: "comment" }
  convolution_param { num_output :8 kernel_size: 3, } >
layer{name:"second"type:"InnerProduct"bottom:"first"top:"y"inner_product_param{num_output:10}}
"""


def outputs(text: str) -> dict[str, tuple]:
    return {layer.name: layer.outputs for layer in parse_prototxt(text, "test").layers}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_blocks_are_the_layers_of_the_file(file):
    text = file.read_text()
    named = [block.name for block in layer_blocks(text)]
    assert set(named) >= {layer.name for layer in parse_prototxt(text, "x").layers if layer.type != "Split"} - {"input"}
    for block in layer_blocks(text):
        assert text[block.start : block.end].startswith("layer")
        assert text[block.end - 1] == "}"
        assert f'"{block.name}"' in text[block.start : block.end]


def test_strings_comments_and_odd_spellings_are_no_hindrance():
    assert [(block.kind, block.name) for block in layer_blocks(ODD)] == [("layers", "first}"), ("layer", "second")]


def test_outputs_of_one_layer_are_changed_and_nothing_else():
    text = ODD.replace("layers <", "layer <").replace("type: CONVOLUTION", 'type: "Convolution"')
    changed = applied(text, Outputs("first}", 24), parse_prototxt(text, "test"))
    assert changed == text.replace("num_output :8", "num_output :24")
    assert outputs(changed)["first}"] == ((1, 24, 62, 62),)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_batch_in_the_text_is_the_batch_of_the_network(file):
    text = file.read_text()
    assert parse_prototxt(with_batch(text, 7), "x") == parse_prototxt(text, "x", batch=7)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_half_the_width_halves_all_outputs_but_the_last(file):
    text = file.read_text()
    before = [layer for layer in parse_prototxt(text, "x").layers if layer.type in ("Convolution", "InnerProduct")]
    after = outputs(applied(text, Width(0.5), parse_prototxt(text, "x")))
    for layer in before[:-1]:
        channels = layer.outputs[0][1]
        assert abs(after[layer.name][0][1] - channels / 2) <= 4
    assert after[before[-1].name] == before[-1].outputs


OLD_INPUT = """\
input: "x" input_dim: 1 input_dim: 3 input_dim: 64 input_dim: 48
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 8 kernel_size: 3 } }
"""


@pytest.mark.parametrize("text", [OLD_INPUT, ODD.split("layers")[0] + OLD_INPUT.split("48\n")[1]])
def test_images_of_another_size_are_those_that_are_asked_for(text):
    network = parse_prototxt(text, "x")
    shapes = {"x": (1, 3, 32, 24 if network.layers[0].outputs[0][3] == 48 else 32)}
    assert parse_prototxt(with_inputs(text, network, shapes), "x") == parse_prototxt(text, "x", inputs=shapes)


def test_the_crop_of_a_data_layer_is_its_image_size():
    text = OLD_INPUT.replace(
        OLD_INPUT.split("\n")[0],
        """layer { name: "d" type: "ImageData" top: "x" top: "l"
        transform_param { crop_size: 227 } image_data_param { batch_size: 2 } }""",
    )
    network = parse_prototxt(text, "x")
    changed = with_inputs(text, network, {"x": (2, 3, 192, 192)})
    assert changed == text.replace("227", "192")


def test_a_text_without_numbers_to_change_says_so():
    text = "# nothing"
    network = parse_prototxt(OLD_INPUT, "x")
    for edit in (
        lambda: with_batch(text, 2),
        lambda: with_inputs(text, network, {"x": (1, 3, 32, 24)}),
        lambda: applied(text, Width(0.5), network),
    ):
        with pytest.raises(SiteCNNError, match="could be changed"):
            edit()
