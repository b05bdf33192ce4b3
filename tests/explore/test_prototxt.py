"""Places in a prototxt's text and edits of it, against what Caffe's parser makes of the text."""

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.explore.edits import with_batch, with_outputs, with_resolution, with_width
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
    changed = with_outputs(text, "first}", 24)
    assert changed == text.replace("num_output :8", "num_output :24")
    assert outputs(changed)["first}"] == ((1, 24, 62, 62),)
    with pytest.raises(SiteCNNError, match="nobody"):
        with_outputs(text, "nobody", 3)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_batch_in_the_text_is_the_batch_of_the_network(file):
    text = file.read_text()
    assert parse_prototxt(with_batch(text, 7), "x") == parse_prototxt(text, "x", batch=7)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_half_the_width_halves_all_outputs_but_the_last(file):
    text = file.read_text()
    before = [layer for layer in parse_prototxt(text, "x").layers if layer.type in ("Convolution", "InnerProduct")]
    after = outputs(with_width(text, 0.5))
    for layer in before[:-1]:
        channels = layer.outputs[0][1]
        assert abs(after[layer.name][0][1] - channels / 2) <= 4
    assert after[before[-1].name] == before[-1].outputs


def test_resolution_changes_height_and_width_alone():
    text = (NETWORKS / "squeezenet1.0.prototxt").read_text()
    before, after = outputs(text)["data"][0], outputs(with_resolution(text, 0.5))["data"][0]
    assert before[:2] == after[:2]
    assert after[2:] == (128, 128) if before[2] > 240 else (112, 112)


def test_a_text_without_numbers_to_change_says_so():
    for edit in (with_batch, with_resolution, with_width):
        with pytest.raises(SiteCNNError, match="could be changed"):
            edit('name: "empty"', 2)
