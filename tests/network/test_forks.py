"""What forks' definitions, and files that are something else, come to: by kind, and for the shared cases by name."""

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network, parse_prototxt
from sitecnn.workload.describe import describe
from sitecnn.workload.kernels import macs

from .conftest import ROOT
from .test_against_caffe import IMAGE, layer

CASES = ROOT.parent / "shared/cases"


def read(text: str, **options) -> Network:
    return parse_prototxt(text, "given.prototxt", **options)


def refusal(text: str, **options) -> str:
    with pytest.raises(SiteCNNError) as error:
        read(text, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_however_many_fields_of_forks_are_there_they_are_one_note():
    blocks = "".join(
        layer(
            "Convolution",
            rest=f"convolution_param {{ num_output: 2 kernel_size: 1 }} x{i}_param {{ y: {i} }}",
            top=f"t{i}",
        )
        for i in range(200)
    )
    fork = read(IMAGE + blocks)
    assert [one.outputs for one in fork.layers[2:]] == [((2, 2, 9, 7),)] * 200
    assert sum("Caffe does not have" in note for note in fork.notes) == 1 and "192 more" in fork.notes[0]


@pytest.mark.parametrize(
    "rest",
    [
        "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }",
        "relu_param { engine: MKL2017 } relu_param_of_ours { a: [1, {}] }",
        "forward_type: FLOAT16 backward_math: FLOAT",
        "scale_down < a { b: 1 } >",
    ],
)
def test_values_that_no_shape_depends_on_may_be_anything(rest):
    assert [one.outputs for one in read(IMAGE + layer("ReLU", rest=rest)).layers] == [((2, 6, 9, 7),)] * 2


def test_a_slip_in_caffes_own_settings_is_an_error_and_in_a_forks_type_is_not():
    slip = "convolution_param { num_output: 3 kernal_size: 3 }"
    assert "Did you mean 'kernel_size'?" in refusal(IMAGE + layer("Convolution", rest=slip))
    assert read(IMAGE + layer("OctaveConvolution", rest=slip)).layers[-1].counted is False


def test_unknown_layers_say_what_is_guessed_what_hangs_on_it_and_how_to_give_it():
    text = (
        IMAGE
        + layer("Mystery", top="m", name="mystery")
        + layer("InnerProduct", "m", rest="inner_product_param { num_output: 5 }")
    )
    network = read(text)
    guess, uncounted = network.doubts
    assert "'m' (2×6×9×7)" in guess and "'it'" in guess and "--input m:2x6x9x7" in guess
    assert "'mystery' (Mystery)" in uncounted
    assert [one.guessed for one in network.layers] == [False, True, True]
    given = read(text, inputs={"m": (4, 7)})
    assert macs(given.layers[-1]) == 4 * 7 * 5 and not any("guessed" in doubt for doubt in given.doubts)
    assert describe(network)["notes"][0] == guess


def test_of_many_guesses_a_few_are_named_and_the_others_counted():
    text = IMAGE + "".join(layer("Mystery", "in", f"m{index}", name=f"mystery{index}") for index in range(5))
    doubt = read(text).doubts[0]
    assert "'m2' (2×6×9×7) and 2 more, from layers of type Mystery" in doubt and doubt.count("--input") == 3


def test_in_place_an_unknown_layer_guesses_nothing():
    network = read(IMAGE + layer("Mystery", "in", "in") + layer("ReLU", "in"))
    assert [doubt.split(":")[0] for doubt in network.doubts] == ["not counted"]


def test_a_layer_that_does_not_fit_a_guess_is_a_guess_too():
    text = (
        IMAGE
        + layer("Mystery", "in", "m")
        + layer("Reshape", "m", "r", "reshape_param { shape { dim: 5 dim: 5 } }", name="r")
    )
    assert any("'r' (Reshape)" in doubt for doubt in read(text).doubts)
    assert read(text, inputs={"m": (25,)}).layers[-1].outputs == ((5, 5),)


def test_what_a_layer_of_caffe_makes_cannot_be_given_otherwise():
    assert "cannot change" in refusal(IMAGE + layer("ReLU", top="r"), inputs={"r": (1, 2)})
    assert "no blob is called 'x'" in refusal(IMAGE + layer("ReLU", top="r"), inputs={"x": (1, 2)})


DATA = 'layer { name: "data" type: "%s" top: "data" top: "label" %s } '
CONVOLUTION = layer("Convolution", "data", "c", "convolution_param { num_output: 2 kernel_size: 3 }", name="c")
LOSS = layer("SoftmaxWithLoss", "c label", "loss", name="loss")


@pytest.mark.parametrize(
    ("kind", "rest", "shape"),
    [
        (
            "Data",
            "include { phase: TRAIN } data_param { batch_size: 8 } transform_param { crop_size: 9 }",
            (8, 3, 9, 9),
        ),
        (
            "Data",
            'include { stage: "val" } data_param { batch_size: 4 } transform_param { crop_size: 9 }',
            (4, 3, 9, 9),
        ),
        (
            "VideoData",
            "transform_param { crop_size: 9 }"
            " video_data_param { batch_size: 2 new_length: 5 num_segments: 3 modality: FLOW }",
            (2, 30, 9, 9),
        ),
        ("OurImageData", "our_image_data_param { batch_size: 2 new_height: 8 new_width: 9 }", (2, 3, 8, 9)),
        ("SegData", "transform_param { crop_size: 9 }", (1, 3, 9, 9)),
        ("Data", 'data_param { batch_size: 64 source: "examples/mnist/mnist_test_lmdb" }', (64, 1, 28, 28)),
    ],
)
def test_data_layers_of_any_phase_and_name_tell_their_size(kind, rest, shape):
    assert read(DATA % (kind, rest) + CONVOLUTION + LOSS).layers[0].outputs == (shape,)


def test_what_a_layer_of_another_phase_tells_of_a_size_it_does_not_tell_of_the_batch():
    crop = "include { phase: TRAIN } data_param { batch_size: 8 } transform_param { crop_size: 9 }"
    text = DATA % ("Data", crop) + DATA % ("Data", "include { phase: TEST } data_param { batch_size: 2 }")
    assert read(text + CONVOLUTION + LOSS).layers[0].outputs == ((2, 3, 9, 9),)


@pytest.mark.parametrize(("point", "channels", "is_guess"), [(2, 3, False), (3, 4, True), (5, 6, True)])
def test_images_that_are_sliced_have_a_channel_more_than_the_last_point(point, channels, is_guess):
    text = DATA % ("Data", "data_param { batch_size: 2 } transform_param { crop_size: 9 }")
    text += layer("Slice", "data", "first second", f"slice_param {{ slice_point: {point} }}")
    network = read(text)
    assert (network.layers[0].outputs, bool(network.doubts)) == (((2, channels, 9, 9),), is_guess)


def test_a_size_that_only_a_data_sets_name_tells_is_a_guess():
    text = DATA % ("Data", 'data_param { batch_size: 64 source: "cifar10_train" }') + CONVOLUTION
    assert "'data' (64×3×32×32)" in read(text).doubts[0]


def test_a_labels_shape_is_never_asked_for():
    text = DATA % ("Python", 'python_param { module: "m" layer: "L" }') + CONVOLUTION + LOSS
    assert refusal(text).endswith("--input data:1x3x224x224")
    read_by_another = text + layer("Mystery", "c label", "x", name="x")
    assert read(read_by_another, inputs={"data": (1, 3, 9, 9)}).layers[0].outputs[1] == (1,)


def test_blobs_that_nothing_makes_can_be_given():
    assert "--input data:1x3x224x224" in refusal(CONVOLUTION)
    assert read(CONVOLUTION, inputs={"data": (1, 3, 9, 9)}).layers[-1].outputs == ((1, 2, 7, 7),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'net: "train_val.prototxt"\nbase_lr: 0.01',
            "a solver, not a network; give the network that it trains, 'train_val.prototxt'",
        ),
        ("\n\n<!DOCTYPE html>\n<html></html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        ("from caffe import layers as L\n", "a Python program"),
        ("diff --git a/x b/x\n", "a patch"),
        (IMAGE.replace("dim: 9", "dim: $#height#$"), "'$#height#$' stands where a number"),
        (IMAGE.replace("dim: 9", "dim: {{ height }}"), "line 1, column"),
        (IMAGE + layer("ReLU", rest="relu_param { negative_slope { a: 1 } }"), "line 2, column"),
        ('layers { name: "p" type: "Softmax" bottom: "in" top: "p" }', "a mixture of Caffe's two formats"),
        ('layer { name: "p" type: SOFTMAX bottom: "in" top: "p" }', "a mixture of Caffe's two formats"),
        ("// a network\n" + IMAGE, "comments begin with #"),
    ],
)
def test_files_that_are_something_else_are_named(text, said):
    assert said in refusal(text)


def image(channels: int, side: int) -> str:
    dims = f"dim: 1 dim: {channels} dim: {side} dim: {side}"
    return f'layer {{ name: "in" type: "Input" top: "in" input_param {{ shape {{ {dims} }} }} }}\n'


@pytest.mark.parametrize(
    ("text", "work", "shape"),
    [
        *(
            (
                image(8, 10) + layer(kind, rest="convolution_param { num_output: 8 kernel_size: 3 pad: 1 }"),
                8 * 100 * 9,
                (1, 8, 10, 10),
            )
            for kind in ("DepthwiseConvolution", "ConvolutionDepthwise", "DepthWiseConvolution")
        ),
        (
            image(4, 10) + layer("DenseBlock", rest="denseblock_param { numTransition: 2 growthRate: 3 }"),
            100 * 9 * 3 * (4 + 7),
            (1, 10, 10, 10),
        ),
        (
            image(4, 10) + layer("DenseBlock", rest="denseblock_param { numTransition: 1 growthRate: 3 use_BC: true }"),
            100 * (4 * 12 + 12 * 9 * 3),
            (1, 7, 10, 10),
        ),
        (
            image(4, 10)
            + layer("Correlation", "in in", rest="correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 }"),
            25 * 100 * 4,
            (1, 25, 10, 10),
        ),
        (
            'input: "in" input_shape { dim: 6 dim: 5 }'
            + layer("Lstm", rest="lstm_param { num_output: 3 batch_size: 2 }"),
            6 * 12 * 5 + 3 * 2 * 12 * 3,
            (6, 3),
        ),
        (
            'input: "in" input: "c" input_shape { dim: 6 dim: 2 dim: 5 } input_shape { dim: 6 dim: 2 }'
            + layer("RNN", "in c", rest="recurrent_param { num_output: 3 }"),
            6 * 2 * (3 * 5 + 3 * 3 + 3 * 3),
            (6, 2, 3),
        ),
        (
            'input: "in" input: "c" input: "s" input_shape { dim: 6 dim: 2 dim: 5 } input_shape { dim: 6 dim: 2 }'
            " input_shape { dim: 2 dim: 7 }" + layer("LSTM", "in c s", rest="recurrent_param { num_output: 3 }"),
            12 * (6 * 2 * 5 + 6 * 2 * 3 + 2 * 7),
            (6, 2, 3),
        ),
    ],
)
def test_forks_types_that_are_plain_work_are_counted(text, work, shape):
    it = next(one for one in read(text).layers if one.name == "it")
    assert (macs(it), it.outputs[0]) == (work, shape)


def test_the_older_lstm_learns_four_gates_of_weights_and_one_bias_each():
    text = 'input: "in" input_shape { dim: 6 dim: 5 }' + layer(
        "Lstm", rest="lstm_param { num_output: 3 batch_size: 2 }"
    )
    assert sum(one.count for one in read(text).layers[-1].parameters) == 4 * 3 * (5 + 3 + 1)


def test_regions_keep_their_number_at_another_batch():
    text = (
        IMAGE
        + 'layer { name: "r" type: "Input" top: "r" input_param { shape { dim: 300 dim: 5 } } }'
        + layer("ROIPooling", "in r", rest="roi_pooling_param { pooled_h: 2 pooled_w: 2 }")
    )
    assert read(text, batch=7).layers[-1].outputs == ((300, 6, 2, 2),)


READ = {
    "proto-fork-bn-scale-filler": "bn",
    "proto-fork-enum-in-loss": "conv",
    "proto-fork-param-near-known-name": "out",
    "proto-fork-repeated-resize-param": "conv",
    "proto-nvidia-fp16-net-fields": "conv",
    "proto-repeated-fork-field-limit": "b59",
    "proto-unknown-type-with-param-blocks": "gn",
    "proto-priorbox-intel-width-height": "prior",
    "proto-train-only-data": "conv",
    "proto-digits-stages": "conv1",
    "ok-clip-convert": "relu6",
    "ok-crlf": "conv",
    "ok-fork-zoo": "y",
    "ok-gbk-comment": "conv",
    "ok-latin1-name": "conv",
    "ok-lr-mult-only-layers-blobs_lr": "conv",
    "ok-proposal-post-nms-topn": "ps",
    "ok-quotes-bool-conv2in-prior2": "p",
    "ok-too-many-fork-fields": "c59",
    "ok-two-inputs-8-dims": "r",
    "ok-utf8-bom": "conv",
}
REFUSED = {
    "proto-solver-given": "a solver",
    "proto-html-page": "a web page",
    "proto-layers-string-type": "a mixture",
    "proto-python-data-two-tops": "--input data:1x3x224x224",
    "ok-empty": "defines no layers",
    "ok-extra-brace": "line 4, column 1",
    "ok-kernel-h-only": "kernel_size must be at least 1",
    "ok-lmdb-binary-deploy": "neither text nor ONNX",
    "ok-slashslash-comment": "line 1, column 1",
    "ok-unclosed-brace": "line 3",
    "ok-utf16": "neither text nor ONNX",
}
COUNTED = {
    "proto-depthwise-fork-type": ("dw2", 64_800),
    "proto-lstm-macs": ("lstm", 20 * 128 * 64 + 10 * 2 * 128 * 32),
    "proto-unknown-layer-shape-guessed": ("block", 56 * 56 * 32 * 9 * sum(range(64, 320, 32))),
}


@pytest.mark.shared
class TestSharedCases:
    @pytest.fixture(autouse=True)
    def _at_hand(self):
        if not CASES.exists():
            pytest.skip("the shared cases are not at hand")

    @pytest.mark.parametrize("name", READ)
    def test_are_read(self, name):
        assert load_network(CASES / f"{name}.prototxt").layers[-1].name == READ[name]

    @pytest.mark.parametrize("name", REFUSED)
    def test_are_refused_with_the_mend(self, name):
        with pytest.raises(SiteCNNError) as error:
            load_network(CASES / f"{name}.prototxt")
        assert REFUSED[name] in str(error.value)

    @pytest.mark.parametrize("name", COUNTED)
    def test_are_counted(self, name):
        layer_name, work = COUNTED[name]
        network = load_network(CASES / f"{name}.prototxt")
        assert macs(next(one for one in network.layers if one.name == layer_name)) == work

    def test_regions_are_guessed_aloud_and_can_be_given(self):
        path = CASES / "proto-python-proposal-rois-guessed.prototxt"
        assert "--input rois:300x5" in load_network(path).doubts[0]
        given = load_network(path, inputs={"rois": (300, 5)})
        assert sum(map(macs, given.layers)) == 300 * 4096 * 64 * 49 + 14 * 14 * (
            64 * 27 + 18 * 64 + 36 * 64
        ) and "guessed" not in "".join(given.doubts)

    def test_a_pointer_is_named(self):
        with pytest.raises(SiteCNNError, match="Git LFS"):
            load_network(CASES / "proto-lfs-pointer.onnx")
