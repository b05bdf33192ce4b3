"""Every name, shape and count as real Caffe has it: for networks at hand, generated ones and chosen cases."""

import re

import pytest
from hypothesis import HealthCheck, given, settings

from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network, parse_prototxt, write_prototxt

from .conftest import ROOT, SHARED_NETWORKS, RealCaffe, as_caffe_says
from .definitions import definitions, in_v1_words

pytestmark = pytest.mark.caffe

BOUNDED = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
}
IMAGE = 'layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 2 dim: 6 dim: 9 dim: 7 } } }\n'


def layer(kind: str, bottom: str = "in", top: str = "out", rest: str = "", name: str = "it") -> str:
    blobs = " ".join([f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()])
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {rest} }}\n'


def same_as_caffe(text: str, real_caffe: RealCaffe) -> None:
    assert as_caffe_says(parse_prototxt(text, "drawn")) == real_caffe(text)


@pytest.mark.parametrize("path", sorted((ROOT / "config/networks").glob("*.prototxt")), ids=lambda path: path.stem)
def test_our_networks(path, real_caffe):
    same_as_caffe(path.read_text(), real_caffe)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg16", "squeezenet_v1.0"])
def test_public_networks(name, real_caffe):
    if not SHARED_NETWORKS.exists():
        pytest.skip("the public definitions are not at hand")
    same_as_caffe((SHARED_NETWORKS / f"{name}.prototxt").read_text(), real_caffe)


@settings(max_examples=500, **BOUNDED)
@given(drawn=definitions())
def test_generated_networks(drawn, real_caffe):
    same_as_caffe(drawn[0], real_caffe)


# Where Caffe sets up what cannot run: this fork has lost BVLC's checks of Eltwise and Scale, a kernel past its
# input gives a blob without values, and padding that eats a deconvolution's output likewise.
STRICTER = re.compile(
    r"must have one shape|does not fit the first|larger than its|more than its padded|leaves nothing|do not rise"
)


@settings(max_examples=100, **BOUNDED)
@given(drawn=definitions())
def test_what_we_refuse_caffe_refuses(drawn, real_caffe):
    for text in drawn[1]:
        with pytest.raises(SiteCNNError) as refused:
            parse_prototxt(text, "drawn")
        assert STRICTER.search(str(refused.value)) or "refused" in real_caffe(text)


@settings(max_examples=150, **BOUNDED)
@given(drawn=definitions())
def test_what_we_write_caffe_reads_alike(drawn, real_caffe):
    network = parse_prototxt(drawn[0], "drawn")
    assert real_caffe(write_prototxt(network)) == as_caffe_says(network)


@settings(max_examples=150, **BOUNDED)
@given(drawn=definitions())
def test_generated_networks_in_the_older_format(drawn, real_caffe):
    if (text := in_v1_words(drawn[0])) is not None:
        same_as_caffe(text, real_caffe)


def test_a_thousand_layers(real_caffe):
    from benchmarks.test_describe import resnet

    same_as_caffe(resnet((3, 8, 36, 3)), real_caffe)


CHOSEN = {
    "convolution in three axes": 'input: "in" input_shape { dim: 1 dim: 2 dim: 5 dim: 6 dim: 7 }'
    + layer("Convolution", rest="convolution_param { num_output: 4 kernel_size: 3 pad: 1 pad: 0 pad: 2 stride: 2 }"),
    "kernel_h alone": IMAGE + layer("Convolution", rest="convolution_param { num_output: 4 kernel_h: 3 }"),
    "stride_h alone": IMAGE
    + layer("Convolution", rest="convolution_param { num_output: 4 kernel_size: 3 stride_h: 2 }"),
    "pad both ways": IMAGE
    + layer("Convolution", rest="convolution_param { num_output: 4 kernel_size: 3 pad: 1 pad_h: 1 pad_w: 1 }"),
    "depthwise": IMAGE
    + layer("Convolution", rest="convolution_param { num_output: 6 kernel_size: 3 group: 6 bias_term: false }"),
    "kernel past its input, by C's division": IMAGE
    + layer("Convolution", rest="convolution_param { num_output: 1 kernel_size: 10 stride: 4 }"),
    "convolution of several inputs": IMAGE
    + layer("Convolution", "in in", "a b", "convolution_param { num_output: 2 kernel_size: 1 }"),
    "pooling rounds up": IMAGE + layer("Pooling", rest="pooling_param { kernel_size: 2 stride: 2 }"),
    "pooling's last window in the image": IMAGE
    + layer("Pooling", rest="pooling_param { kernel_size: 2 stride: 2 pad: 1 }"),
    "pooling with a mask": IMAGE + layer("Pooling", "in", "out mask", "pooling_param { kernel_size: 2 stride: 2 }"),
    "average pooling has no mask": IMAGE
    + layer("Pooling", "in", "out mask", "pooling_param { pool: AVE kernel_size: 2 }"),
    "pooling with two kernels": IMAGE
    + layer("Pooling", rest="pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }"),
    "pooling with half a kernel": IMAGE + layer("Pooling", rest="pooling_param { kernel_h: 2 }"),
    "global pooling with a pad": IMAGE + layer("Pooling", rest="pooling_param { global_pooling: true pad: 1 }"),
    "reshape keeps and infers": IMAGE + layer("Reshape", rest="reshape_param { shape { dim: 0 dim: -1 dim: 7 } }"),
    "reshape from the last axis": IMAGE
    + layer("Reshape", rest="reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }"),
    "reshape of some axes": IMAGE
    + layer("Reshape", rest="reshape_param { shape { dim: 3 dim: -1 } axis: 1 num_axes: 2 }"),
    "reshape that does not come out": IMAGE
    + layer("Reshape", rest="reshape_param { shape { dim: 0 dim: 5 dim: -1 } }"),
    "reshape in place": IMAGE + layer("Reshape", "in", "in", "reshape_param { shape { dim: 0 dim: -1 } }"),
    "slices": IMAGE + layer("Slice", "in", "a b c", "slice_param { axis: 1 slice_point: 1 slice_point: 4 }"),
    "slices the old way": IMAGE + layer("Slice", "in", "a b", "slice_param { slice_dim: 1 }"),
    "slices past the end": IMAGE + layer("Slice", "in", "a b", "slice_param { slice_point: 7 }"),
    "concat the old way": IMAGE + layer("Concat", "in in", "out", "concat_param { concat_dim: 0 }"),
    "concat by a negative axis": IMAGE + layer("Concat", "in in", "out", "concat_param { axis: -1 }"),
    "crop": IMAGE
    + layer("Pooling", "in", "small", "pooling_param { kernel_size: 3 }", name="pool")
    + layer("Crop", "in small", "out", "crop_param { axis: 2 offset: 1 offset: 2 }"),
    "crop to a blob of other channels": IMAGE
    + layer("Convolution", "in", "small", "convolution_param { num_output: 2 kernel_size: 3 }", name="conv")
    + layer("Crop", "in small", "out", "crop_param { axis: 2 offset: 1 }"),
    "a dilated convolution": IMAGE
    + layer("Convolution", rest="convolution_param { num_output: 2 kernel_size: 3 dilation: 3 dilation: 2 }"),
    "scale by a vector": IMAGE
    + layer("Reduction", "in", "v", "reduction_param { axis: 1 }", name="sum")
    + layer("Scale", "in v", "out", "scale_param { axis: 0 bias_term: true }"),
    "fully connected along the last axis": IMAGE
    + layer("InnerProduct", rest="inner_product_param { num_output: 3 axis: -1 transpose: true bias_term: false }"),
    "argmax of a vector": 'input: "in" input_shape { dim: 2 dim: 6 }'
    + layer("ArgMax", rest="argmax_param { top_k: 3 out_max_val: true }"),
    "a product with coefficients": IMAGE
    + layer("Eltwise", "in in", rest="eltwise_param { operation: PROD coeff: 1 coeff: 2 }"),
    "argmax of an image": IMAGE + layer("ArgMax", rest="argmax_param { top_k: 3 out_max_val: true }"),
    "lstm with states": 'input: "x" input_shape { dim: 3 dim: 2 dim: 5 } input: "c" input_shape { dim: 3 dim: 2 }'
    ' input: "h0" input_shape { dim: 1 dim: 2 dim: 4 } input: "c0" input_shape { dim: 1 dim: 2 dim: 4 }'
    + layer("LSTM", "x c h0 c0", "y h1 c1", "recurrent_param { num_output: 4 expose_hidden: true }"),
    "rnn with a static input": 'input: "x" input_shape { dim: 3 dim: 2 dim: 5 }'
    ' input: "c" input_shape { dim: 3 dim: 2 }'
    ' input: "s" input_shape { dim: 2 dim: 7 }' + layer("RNN", "x c s", "y", "recurrent_param { num_output: 4 }"),
    "in place before and after a reader": IMAGE
    + layer("ReLU", "in", "in", name="a")
    + layer("TanH", "in", "t", name="b")
    + layer("Sigmoid", "in", "s", name="c"),
    "in place after a reader": IMAGE + layer("TanH", "in", "t", name="a") + layer("ReLU", "in", "in", name="b"),
    "a top made twice": IMAGE + layer("ReLU", "in", "t", name="a") + layer("TanH", "in", "t", name="b"),
    "a bottom that is not there": IMAGE + layer("ReLU", "nowhere"),
    "a cycle": IMAGE + layer("ReLU", "b", "a", name="a") + layer("ReLU", "a", "b", name="b"),
    "layers of one name": IMAGE + layer("ReLU", "in", "a") + layer("ReLU", "a", "b"),
    "split blobs of one layer": IMAGE
    + layer("Slice", "in", "a b", name="cut")
    + "".join(layer("ReLU", blob, f"{blob}{i}", name=f"{blob}{i}") for blob in "ab" for i in range(3)),
    "a loss weight is a reader": IMAGE
    + layer("Reduction", rest="loss_weight: 1", name="sum")
    + layer("Power", "out", "a", name="a")
    + layer("Power", "out", "b", name="b"),
    "shared parameters": IMAGE
    + "".join(
        layer(
            "Convolution",
            "in",
            f"out{i}",
            'param { name: "w" } param { name: "b" } convolution_param { num_output: 3 kernel_size: 3 }',
            name=f"conv{i}",
        )
        for i in range(2)
    ),
    "shared parameters of other shapes": IMAGE
    + layer("Scale", "in", "a", 'param { name: "w" } scale_param { axis: 1 }', name="a")
    + layer("Scale", "in", "b", 'param { name: "w" } scale_param { axis: 2 }', name="b"),
    "shared parameters by count": IMAGE
    + layer("Scale", "in", "a", 'param { name: "w" } scale_param { axis: 1 num_axes: 2 }', name="a")
    + layer("Flatten", "in", "f", "flatten_param { axis: 1 end_axis: 2 }", name="f")
    + layer("Scale", "f", "b", 'param { name: "w" share_mode: PERMISSIVE } scale_param { axis: 1 }', name="b"),
    "too many param blocks": IMAGE + layer("ReLU", rest="param { lr_mult: 1 }"),
    "batch norm's old three params": IMAGE + layer("BatchNorm", rest="param { } param { } param { }"),
    "phases": 'input: "in" input_shape { dim: 1 dim: 3 }'
    + layer("ReLU", "in", "x", "include { phase: TRAIN }", name="train")
    + layer("TanH", "in", "x", "include { phase: TEST }", name="test")
    + layer("Sigmoid", "x", "y", "exclude { phase: TEST }", name="excluded")
    + layer("AbsVal", "x", "y", 'include { phase: TEST stage: "deploy" } include { min_level: 0 }', name="stage")
    + layer("BNLL", "y", "z", "exclude { max_level: -1 }", name="level"),
    "a stage that the file is at": 'state { stage: "deploy" }'
    + IMAGE
    + layer("ReLU", "in", "x", 'include { not_stage: "deploy" }', name="not there")
    + layer("TanH", "in", "y", 'include { stage: "deploy" not_stage: "other" }', name="there"),
    "tiles": IMAGE + layer("Tile", rest="tile_param { axis: 2 tiles: 3 }"),
    "two inputs by input_dim": 'input: "a" input: "b" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4'
    " input_dim: 5 input_dim: 6 input_dim: 7 input_dim: 8 " + layer("ReLU", "b", "c"),
    "layer and layers": IMAGE + 'layers { name: "r" type: RELU bottom: "in" top: "r" }',
    "dummy data": 'layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {'
    " num: 1 num: 2 channels: 3 height: 4 width: 5 } }" + layer("ReLU", "b", "c"),
    "a learned blob": 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 3 dim: 2 } } }'
    + layer("ReLU", "p", "c"),
    "priors and detections": IMAGE
    + layer("Pooling", "in", "small", "pooling_param { kernel_size: 3 stride: 3 }", name="pool")
    + layer(
        "PriorBox",
        "small in",
        "priors",
        "prior_box_param { min_size: 2 max_size: 4 aspect_ratio: 2 aspect_ratio: 3 aspect_ratio: 2 variance: 0.1 }",
        name="priors",
    )
    + layer("Convolution", "small", "l", "convolution_param { num_output: 24 kernel_size: 1 }", name="l")
    + layer("Permute", "l", "lp", "permute_param { order: 0 order: 2 order: 3 order: 1 }", name="lp")
    + layer("Flatten", "lp", "lf", name="lf")
    + layer("Convolution", "small", "c", "convolution_param { num_output: 30 kernel_size: 1 }", name="c")
    + layer("Permute", "c", "cp", "permute_param { order: 0 order: 2 order: 3 order: 1 }", name="cp")
    + layer("Flatten", "cp", "cf", name="cf")
    + layer(
        "DetectionOutput", "lf cf priors", "found", "detection_output_param { num_classes: 5 nms_param { } }", name="d"
    ),
    "the oldest format": """
        name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 20 input_dim: 20
        layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
        layers { layer { name: "conv1" type: "conv" num_output: 6 kernelsize: 5 stride: 2 group: 3
                         weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. blobs_lr: 2. }
                 bottom: "pad1" top: "conv1" }
        layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
        layers { layer { name: "pool1" type: "pool" pool: MAX kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
        layers { layer { name: "norm1" type: "lrn" local_size: 5 alpha: 0.0001 } bottom: "pool1" top: "norm1" }
        layers { layer { name: "fc" type: "innerproduct" num_output: 7 biasterm: false } bottom: "norm1" top: "fc" }
        layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.2 } bottom: "fc" top: "fc" }
        layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
        layers { layer { name: "both" type: "concat" concat_dim: 1 } bottom: "fc" bottom: "prob" top: "both" }""",
    "a padding before a pooling of the oldest format": """
        name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 20 input_dim: 20
        layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
        layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 3 stride: 1 } bottom: "pad" top: "pool" }""",
    "the older format": """
        input: "data" input_dim: 2 input_dim: 3 input_dim: 20 input_dim: 20
        layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
                 param: "w" param: "b" convolution_param { num_output: 4 kernel_size: 3 } }
        layers { name: "twin" type: CONVOLUTION bottom: "data" top: "twin" param: "w" param: "b"
                 convolution_param { num_output: 4 kernel_size: 3 } }
        layers { name: "sum" type: ELTWISE bottom: "conv" bottom: "twin" top: "sum" eltwise_param { operation: MAX } }
        layers { name: "test" type: BNLL bottom: "sum" top: "test" include { phase: TEST } }
        layers { name: "train" type: BNLL bottom: "sum" top: "train" include: { phase: TRAIN } }""",
}


@pytest.mark.parametrize("case", CHOSEN)
def test_chosen_cases(case, real_caffe):
    """Equal where Caffe sets it up; refused where Caffe refuses it."""
    real = real_caffe(CHOSEN[case])
    if "refused" in real:
        with pytest.raises(SiteCNNError):
            parse_prototxt(CHOSEN[case], "chosen")
    else:
        assert as_caffe_says(parse_prototxt(CHOSEN[case], "chosen")) == real


def test_a_network_from_a_file_is_called_by_its_stem(tmp_path):
    (tmp_path / "mine.prototxt").write_text(IMAGE)
    assert load_network(tmp_path / "mine.prototxt").name == "mine"
