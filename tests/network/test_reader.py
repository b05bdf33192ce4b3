"""What is read beside shapes: phases, losses, data layers, forks' layers and fields, batch sizes; and written."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, Shape, load_network, parse_prototxt, write_prototxt
from sitecnn.network.caffe.caffe_pb2 import NetParameter
from sitecnn.network.caffe.repeated_layers import parse_blocks
from sitecnn.network.caffe.text import in_our_words

from .conftest import ROOT, SHARED_NETWORKS
from .definitions import definitions, in_v1_words
from .test_against_caffe import CHOSEN, IMAGE, layer

NETWORKS = sorted((ROOT / "config/networks").glob("*.prototxt"))


def types(network: Network) -> list[str]:
    return [layer.type for layer in network.layers]


def read(text: str, **options) -> Network:
    return parse_prototxt(text, "given.prototxt", **options)


def refusal(text: str, **options) -> str:
    with pytest.raises(SiteCNNError) as error:
        read(text, **options)
    assert str(error.value).startswith("given.prototxt: ") and "\n" not in str(error.value)
    return str(error.value)


TRAIN_AND_TEST = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { crop_size: 227 } data_param { batch_size: 256 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { crop_size: 224 mean_value: 104 } data_param { batch_size: 50 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "conv" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
"""


def test_a_training_definition_is_read_as_it_is_tested():
    network = read(TRAIN_AND_TEST)
    assert types(network) == ["Input", "Convolution"]
    assert network.layers[0].outputs == ((50, 3, 224, 224),)
    assert [note.split(" (")[0] for note in network.notes] == ["layer 'accuracy'", "layer 'loss'", "layer 'data'"]


@pytest.mark.parametrize(
    ("kind", "rest", "shape"),
    [
        ("ImageData", "image_data_param { batch_size: 4 new_height: 8 new_width: 9 }", (4, 3, 8, 9)),
        ("ImageData", "image_data_param { new_height: 8 new_width: 9 is_color: false }", (1, 1, 8, 9)),
        ("MemoryData", "memory_data_param { batch_size: 4 channels: 2 height: 8 width: 9 }", (4, 2, 8, 9)),
        ("Data", "data_param { batch_size: 4 } transform_param { crop_size: 8 force_gray: true }", (4, 1, 8, 8)),
        (
            "AnnotatedData",
            "data_param { batch_size: 4 } transform_param { resize_param { height: 300 width: 200 } }",
            (4, 3, 300, 200),
        ),
        ("WindowData", "window_data_param { batch_size: 4 } transform_param { crop_size: 8 }", (4, 3, 8, 8)),
    ],
)
def test_data_layers_become_inputs(kind, rest, shape):
    network = read(f'layer {{ name: "d" type: "{kind}" top: "data" {rest} }}' + layer("ReLU", "data"))
    assert network.layers[0].type == "Input" and network.layers[0].outputs == (shape,)


def test_old_data_layers_keep_their_crop():
    text = 'layers { name: "d" type: DATA top: "data" top: "label" data_param { batch_size: 4 crop_size: 8 } }'
    assert read(text).layers[0].outputs == ((4, 3, 8, 8),)


def test_data_of_unknown_size_is_asked_for_and_can_be_given():
    text = 'layer { name: "d" type: "HDF5Data" top: "data" hdf5_data_param { batch_size: 4 } }' + layer("ReLU", "data")
    assert "--input data:1x3x224x224" in refusal(text)
    assert read(text, inputs={"data": (4, 1, 5, 5)}).layers[1].outputs == ((4, 1, 5, 5),)
    assert "its inputs are: data" in refusal(text, inputs={"data": (1, 2), "date": (1, 2)})


def test_layers_of_one_name_are_noted():
    network = read(IMAGE + layer("ReLU", "in", "a") + layer("ReLU", "a", "b"))
    assert network.notes == ("2 layers are called 'it'",)


def test_labels_that_are_read_stay():
    text = TRAIN_AND_TEST + 'layer { name: "s" type: "Silence" bottom: "label" }'
    assert read(text).layers[0].outputs == ((50, 3, 224, 224), (50,))


def test_a_loss_that_is_read_stays():
    text = IMAGE + layer("EuclideanLoss", "in in", "loss", name="loss") + layer("Power", "loss", "twice", name="twice")
    assert types(read(text)) == ["Input", "Split", "EuclideanLoss", "Power"]


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_batch_replaces_the_first_dimension(path):
    one, many = load_network(path), load_network(path, batch=7)
    assert (one.batch, many.batch) == (1, 7)
    for before, after in zip(one.layers, many.layers, strict=True):
        assert [(7, *shape[1:]) for shape in before.outputs] == list(after.outputs)
        assert before.parameters == after.parameters


@pytest.mark.shared
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg16"])
def test_our_networks_are_the_public_ones(name):
    """Layer by layer; only the batch of the public definitions differs."""
    if not SHARED_NETWORKS.exists():
        pytest.skip("the public definitions are not at hand")
    ours, public = (folder / f"{name}.prototxt" for folder in (ROOT / "config/networks", SHARED_NETWORKS))
    assert load_network(ours).layers == load_network(public, batch=1).layers


EVEN = layer("Convolution", "in", "even", "convolution_param { num_output: 18 kernel_size: 2 }", name="even")
"""18 × 8 × 6."""


class TestLayersOfForks:
    FORKS = IMAGE + layer("Mystery", "in", "m", "mystery_param { depth { of: 3 } names: ['a', 'b'] }", name="mystery")

    def test_keep_their_place_and_shape(self):
        network = read(self.FORKS + layer("ReLU", "m"))
        mystery = network.layers[1]
        assert (mystery.modelled, mystery.outputs, mystery.settings.__class__.__name__) == (
            False,
            ((2, 6, 9, 7),),
            "Settings",
        )
        assert mystery.note and "mystery_param" in network.notes[0]

    def test_are_errors_if_strict(self):
        assert "mystery_param" in refusal(self.FORKS, strict=True)
        assert "layer 'it' (Python): not a layer type of Caffe" in refusal(IMAGE + layer("Python"), strict=True)
        assert "layer 'it' (ReLU6): not a layer type" in refusal(IMAGE + layer("ReLU6"), strict=True)

    def test_can_be_told_their_shape(self):
        text = IMAGE + layer("Python", "in in", "rois scores")
        shapes: dict[str, Shape] = {"rois": (300, 5), "scores": (300,)}
        assert read(text, inputs=shapes).layers[-1].outputs == ((300, 5), (300,))

    def test_without_input_are_asked_for_their_shape(self):
        assert "--input a:" in refusal('layer { name: "p" type: "Python" top: "a" }')

    def test_are_not_confused_with_a_slip(self):
        assert "did you mean 'ReLU'?" in refusal(IMAGE + layer("Relu"))
        assert "it has no type" in refusal(IMAGE + 'layer { name: "it" bottom: "in" top: "x" }')

    def test_are_not_written_as_if_caffe_had_them(self):
        with pytest.raises(SiteCNNError, match="mystery"):
            write_prototxt(read(self.FORKS))

    @pytest.mark.parametrize(
        ("text", "shape"),
        [
            (layer("ROIPooling", "in in", rest="roi_pooling_param { pooled_h: 3 pooled_w: 2 }"), (2, 6, 3, 2)),
            (layer("ROIAlign", "in in", rest="roi_align_param { pooled_h: 3 pooled_w: 2 }"), (2, 6, 3, 2)),
            (layer("Upsample", rest="upsample_param { scale: 1 stride: 2 }"), (2, 6, 18, 14)),
            (layer("Reorg", rest="reorg_param { stride: 1 }"), (2, 6, 9, 7)),
            (layer("Interp", rest="interp_param { zoom_factor: 2 }"), (2, 6, 17, 13)),
            (layer("Interp", rest="interp_param { shrink_factor: 2 }"), (2, 6, 5, 4)),
            (layer("Interp", rest="interp_param { height: 3 width: 4 }"), (2, 6, 3, 4)),
            (layer("Upsample", rest="upsample_param { scale: 3 }"), (2, 6, 27, 21)),
            (layer("Upsample", "in in", rest="upsample_param { scale: 2 pad_out_h: true }"), (2, 6, 17, 14)),
            (layer("ShuffleChannel", rest="shuffle_channel_param { group: 3 }"), (2, 6, 9, 7)),
            (layer("DepthwiseConvolution", rest="convolution_param { num_output: 6 kernel_size: 3 }"), (2, 6, 7, 5)),
            (layer("Proposal", "in in in", rest="proposal_param { post_nms_topn: 100 }"), (200, 5)),
            (layer("Interp", rest="interp_param { pad_beg: -1 pad_end: -2 zoom_factor: 2 }"), (2, 6, 11, 7)),
            (layer("Pad", rest="pad_param { pad_u: 1 pad_d: 2 pad_l: 3 pad_r: 5 }"), (2, 6, 12, 15)),
            (layer("Unsqueeze", rest="unsqueeze_param { dim: -1 }"), (2, 6, 9, 7, 1)),
            (
                # Three ratios of either size, and a larger square for each: 8 boxes of 4 numbers a pixel.
                layer(
                    "PriorBox",
                    "in in",
                    rest="prior_box_param { min_size: 2 min_size: 3 max_size: 4 max_size: 5 aspect_ratio: 2 }",
                ),
                (1, 2, 9 * 7 * 8 * 4),
            ),
            (
                # Within a border of 3 + 1 every second of 15 × 13 padded pixels; displacements of -2, 0 and 2.
                layer(
                    "Correlation",
                    "in in",
                    rest="correlation_param { kernel_size: 3 max_displacement: 3 pad: 3 stride_1: 2 stride_2: 2 }",
                ),
                (2, 9, 4, 3),
            ),
            (EVEN + layer("PixelShuffle", "even", rest="pixelshuffle_param { upscale_factor: 3 }"), (2, 2, 24, 18)),
            (EVEN + layer("Reorg", "even", rest="reorg_param { stride: 2 }"), (2, 72, 4, 3)),
            (EVEN + layer("Reorg", "even", rest="reorg_param { stride: 3 reverse: true }"), (2, 2, 24, 18)),
            (
                EVEN + layer("PSROIPooling", "even in", rest="psroi_pooling_param { output_dim: 2 group_size: 3 }"),
                (2, 2, 3, 3),
            ),
        ],
    )
    def test_whose_rules_are_known_have_their_shapes(self, text, shape):
        it = next(one for one in read(IMAGE + text).layers if one.name == "it")
        assert (it.outputs[0], it.modelled) == (shape, False)


def test_settings_that_other_caffes_have_for_the_same_are_read():
    """DeepLab's hole is dilation; newer Caffes' poolings round as they are told (pooling_layer.cpp)."""
    hole = layer("Convolution", rest="convolution_param { num_output: 3 kernel_size: 3 hole: 2 }")
    assert read(IMAGE + hole).layers[-1].outputs == ((2, 3, 5, 3),)
    floor = layer("Pooling", rest="pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }")
    assert read(IMAGE + floor).layers[-1].outputs == ((2, 6, 4, 3),)


class TestFields:
    def test_that_are_misspelt_are_errors_with_a_suggestion(self):
        for slip, meant in (("num_ouput", "num_output"), ("kernal_size", "kernel_size"), ("bias_trem", "bias_term")):
            text = IMAGE + layer("Convolution", rest=f"convolution_param {{ {slip}: 1 }}")
            assert f"{slip!r}"[1:-1] in refusal(text) and f"Did you mean {meant!r}?" in refusal(text)
        assert "line 2, column" in refusal(text)
        assert "Did you mean 'convolution_param'?" in refusal(
            IMAGE + layer("Convolution", rest="convolution_params { }")
        )

    def test_of_forks_are_left_out_with_a_note(self):
        text = IMAGE + layer("Convolution", rest="convolution_param { num_output: 3 kernel_size: 1 xyzzy: 2 }")
        network = read(text)
        assert network.layers[1].outputs == ((2, 3, 9, 7),) and "xyzzy" in network.notes[0]
        assert "xyzzy" in refusal(text, strict=True)

    @pytest.mark.parametrize("value", ["1", "'}'", "{ a: '}' # }\n }", "< a: 1 >", "['x', \"y\"]", "'a' 'b'", "-inf"])
    def test_are_left_out_whole(self, value):
        colon = "" if value[0] in "{<" else ":"
        text = IMAGE + layer(
            "Mystery", rest=f"xyz_param {{ }} mystery_param {{ }} # mystery_param {{\n other_param{colon} {value}"
        )
        assert (
            read(text) == read(IMAGE + layer("Mystery")) or read(text).layers == read(IMAGE + layer("Mystery")).layers
        )

    def test_outside_layers_are_left_out_too_but_slips_are_errors(self):
        network = read("default_forward_type: FLOAT16 bn_stats_batch_size: 32\n" + IMAGE)
        assert "NetParameter.default_forward_type, NetParameter.bn_stats_batch_size" in network.notes[0]
        assert "Did you mean 'input_shape'?" in refusal('input: "a" input_shap { dim: 1 }' + IMAGE)


def same_as_protobuf(text: str) -> None:
    text = in_our_words(text)
    fast = parse_blocks(text)
    assert fast is not None and fast[0] == text_format.Parse(text, NetParameter(), allow_unknown_field=True)


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_alike_layers_are_read_as_protobuf_reads_them(path):
    same_as_protobuf(path.read_text())


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=definitions())
def test_drawn_layers_are_read_as_protobuf_reads_them(drawn):
    same_as_protobuf(drawn[0] + "# " + drawn[0] + drawn[0])
    if old := in_v1_words(drawn[0]):
        same_as_protobuf(old)


@pytest.mark.parametrize("case", CHOSEN)
def test_chosen_layers_are_read_as_protobuf_reads_them(case):
    same_as_protobuf(CHOSEN[case])


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" "1" type: "T" }' * 2,
        'layer { name: "a" name: "b" }',
        "layer { name: 'a' bottom: \"b#\" top: '{' } # layer { \" ",
        'layer { name: "\\x41" } layer { name: "{" } layer: { name: "}" }',
        'layer { param { name: "w" } name: "x" } layer { param { name: "v" } name: "y" }',
        'layer < name: "a" > layer { name: "b" }',
        'name: "n" layer { name: "a"; type: "b", } input_shape { dim: 1 }',
        "layer { layer { } }",
        "input_shape { layer { } }",
    ],
)
def test_what_looks_unusual_is_read_as_protobuf_reads_it(text):
    fast = parse_blocks(text)
    try:
        slow = text_format.Parse(text, NetParameter(), allow_unknown_field=True)
    except text_format.ParseError:
        slow = None
    assert fast is None or fast[0] == slow


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=definitions())
def test_what_is_written_reads_back(drawn):
    network = read(drawn[0])
    assert parse_prototxt(write_prototxt(network), "given.prototxt") == network


def test_sharing_is_written():
    network = read(CHOSEN["shared parameters"])
    assert [parameter.owner for parameter in network.layers[-1].parameters] == ["conv0", "conv0"]
    assert parse_prototxt(write_prototxt(network), "given.prototxt") == network


def test_reading_a_prototxt_loads_no_large_package():
    import subprocess
    import sys

    code = (
        f"import sys; from sitecnn.network import load_network; load_network({str(NETWORKS[0])!r}); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert not {"onnx", "numpy", "pandas"} & set(loaded.stdout.split())
