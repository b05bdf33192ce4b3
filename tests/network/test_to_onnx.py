"""ONNX files written of Caffe's networks compute what real Caffe computes; any network can be written and read back."""

import json
import subprocess

import numpy
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network, parse_prototxt
from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.onnx import EXTERNAL_FILE, INPUT, external_bytes, nodes, parse_onnx, to_onnx, weight_shapes

from .conftest import CAFFE_PYTHON, ROOT
from .definitions import definitions
from .test_against_caffe import IMAGE, layer

NETWORKS = sorted((ROOT / "config/networks").glob("*.prototxt"))


@pytest.fixture(scope="module")
def caffe_run(tmp_path_factory):
    """Definition → its blobs and weights in a forward pass of real Caffe, or None where it refuses."""
    if not CAFFE_PYTHON.exists():
        pytest.skip(f"real Caffe is not at {CAFFE_PYTHON.relative_to(ROOT)}: ./run test builds it")
    file = tmp_path_factory.mktemp("run") / "blobs.npz"
    command = [CAFFE_PYTHON, ROOT / "tests/network/caffe_run.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(definition: str):
            process.stdin.write(json.dumps({"definition": definition, "file": str(file)}) + "\n")
            process.stdin.flush()
            return dict(numpy.load(file)) if json.loads(process.stdout.readline()) is True else None

        yield ask
        process.stdin.close()


def session(model: bytes, folder=None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if folder:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def onnx_weights(network: Network, ran) -> dict[str, numpy.ndarray]:
    """Caffe's blobs under the names that they have in the ONNX file."""
    weights = {}
    for one in network.layers:
        blobs = [ran.get(f"param/{one.name}/{index}") for index in range(len(one.parameters))]
        weights.update({f"{one.name}.{index}": blob for index, blob in enumerate(blobs) if blob is not None})
        if one.type == "BatchNorm":
            weights[f"{one.name}.mean"], weights[f"{one.name}.variance"] = blobs[0] / blobs[2], blobs[1] / blobs[2]
    return weights


def last_tensors(network: Network) -> dict[str, str]:
    """The tensor that holds each of Caffe's blobs when all layers have run."""
    last = {}
    for index, node in nodes(network):
        for top in network.layers[index].tops:
            last.update((top, name) for name in node.outputs if name == top or name.startswith(f"{top}/"))
    return last


def compare(network: Network, ran) -> int:
    """Compare every blob that is no input; give back how many there are."""
    model = onnx.load_from_string(to_onnx(network, onnx_weights(network, ran)))
    last = last_tensors(network)
    listed = {output.name for output in model.graph.output}
    inputs = {given.name for given in model.graph.input}
    compared = [(blob, name) for blob, name in last.items() if name not in inputs]
    if not compared:
        return 0
    onnx.checker.check_model(model)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for _, name in compared if name not in listed)
    given = {name: ran[f"input/{name}"] for name in inputs}
    results = session(model.SerializeToString()).run([name for _, name in compared], given)
    for (blob, _), result in zip(compared, results, strict=True):
        real = ran[f"blob/{blob}"]
        assert result.shape == real.shape, blob
        scale = max(1e-6, float(numpy.nanmax(abs(real[numpy.isfinite(real)]), initial=0)))
        numpy.testing.assert_allclose(result / scale, real / scale, atol=1e-4, rtol=1e-3, err_msg=blob)
    return len(compared)


CASES = {
    "convolution": layer("Convolution", rest="convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 }"),
    "grouped, dilated": layer(
        "Convolution", rest="convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 group: 2 }"
    ),
    "two through one": layer(
        "Convolution", "in in", "a b", "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }"
    ),
    "deconvolution": layer(
        "Deconvolution", rest="convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2 }"
    ),
    "max past the edge": layer("Pooling", rest="pooling_param { kernel_size: 3 stride: 2 }"),
    "max padded": layer("Pooling", rest="pooling_param { kernel_size: 2 stride: 2 pad: 1 }"),
    "average past the edge": layer("Pooling", rest="pooling_param { pool: AVE kernel_size: 2 stride: 2 }"),
    "average padded": layer("Pooling", rest="pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "average of unlike sides": layer(
        "Pooling", rest="pooling_param { pool: AVE kernel_h: 4 kernel_w: 3 stride: 3 pad_h: 1 pad_w: 2 }"
    ),
    "global": layer("Pooling", rest="pooling_param { pool: AVE global_pooling: true }"),
    "global maximum": layer("Pooling", rest="pooling_param { global_pooling: true }"),
    "pyramid": layer("SPP", rest="spp_param { pyramid_height: 3 }"),
    "pyramid of one level": layer("SPP", rest="spp_param { pyramid_height: 1 }"),
    "fully connected": layer("InnerProduct", rest="inner_product_param { num_output: 5 }"),
    "fully connected, no bias": layer(
        "InnerProduct", rest="inner_product_param { num_output: 5 bias_term: false transpose: true }"
    ),
    "fully connected at the last axis": layer("InnerProduct", rest="inner_product_param { num_output: 5 axis: -1 }"),
    "lrn": layer("LRN", rest="lrn_param { local_size: 3 alpha: 0.5 beta: 0.7 k: 2 }"),
    "lrn within": layer("LRN", rest="lrn_param { local_size: 3 alpha: 0.5 beta: 0.7 norm_region: WITHIN_CHANNEL }"),
    "batch norm": layer("BatchNorm", rest="batch_norm_param { eps: 0.1 }"),
    "batch norm and scale": layer("BatchNorm", top="in")
    + layer("Scale", "in", "in", "scale_param { bias_term: true }", name="scale"),
    "mvn": layer("MVN", rest="mvn_param { eps: 0.1 }"),
    "mvn of all": layer("MVN", rest="mvn_param { across_channels: true }"),
    "mean only": layer("MVN", rest="mvn_param { normalize_variance: false }"),
    "scale": layer("Scale", rest="scale_param { axis: 2 }"),
    "scale by one": layer("Scale", rest="scale_param { num_axes: 0 bias_term: true }"),
    "scale of two axes": layer("Scale", rest="scale_param { num_axes: 2 bias_term: true }"),
    "scale by a blob": layer("Reduction", "in", "v", "reduction_param { axis: 2 operation: MEAN }", name="m")
    + layer("Scale", "in v", "out", "scale_param { axis: 0 bias_term: true }"),
    "bias": layer("Bias"),
    "bias by a blob": layer("Reduction", "in", "v", "reduction_param { axis: 2 }", name="m")
    + layer("Bias", "in v", "out", "bias_param { axis: 0 }"),
    "relu": layer("ReLU", top="in"),
    "leaky relu": layer("ReLU", rest="relu_param { negative_slope: 0.1 }"),
    "prelu": layer("PReLU"),
    "prelu, shared": layer("PReLU", rest="prelu_param { channel_shared: true }"),
    "elu": layer("ELU", rest="elu_param { alpha: 0.5 }"),
    **{name: layer(name) for name in ("Sigmoid", "TanH", "AbsVal", "BNLL", "Dropout", "Softmax", "Swish")},
    "swish": layer("Swish", rest="swish_param { beta: 2 }"),
    "clip": layer("Clip", rest="clip_param { min: -0.5 max: 0.7 }"),
    "threshold": layer("Threshold", rest="threshold_param { threshold: 0.1 }"),
    "power": layer("Power", rest="power_param { power: 2 scale: 0.5 shift: 1 }"),
    "power of 1": layer("Power", rest="power_param { scale: 0.5 shift: 1 }"),
    "power of nothing": layer("Power"),
    "exp": layer("Exp", rest="exp_param { base: 2 scale: 0.5 shift: 1 }"),
    "log": layer("AbsVal", "in", "a", name="a") + layer("Log", "a", "out", "log_param { base: 2 shift: 1 }"),
    "natural exp and log": layer("Exp", "in", "e", name="e") + layer("Log", "e", "out"),
    "softmax": layer("Softmax", rest="softmax_param { axis: 2 }"),
    "sum": layer("Eltwise", "in in in", "out", "eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }"),
    "product": layer("Eltwise", "in in in", "out", "eltwise_param { operation: PROD }"),
    "maximum": layer("TanH", "in", "t", name="t") + layer("Eltwise", "in t", "out", "eltwise_param { operation: MAX }"),
    **{
        f"reduction {name}": layer("Reduction", rest=f"reduction_param {{ operation: {name} axis: 1 coeff: 0.5 }}")
        for name in ("SUM", "ASUM", "SUMSQ", "MEAN")
    },
    "argmax of images": layer("ArgMax", rest="argmax_param { top_k: 3 }"),
    "argmax with values": layer("ArgMax", rest="argmax_param { top_k: 3 out_max_val: true }"),
    "argmax of an axis": layer("ArgMax", rest="argmax_param { axis: 1 }"),
    "values of an axis": layer("ArgMax", rest="argmax_param { axis: -1 top_k: 2 out_max_val: true }"),
    "concat": layer("Concat", "in in", "out", "concat_param { axis: 2 }"),
    "slice": layer("Slice", "in", "a b c", "slice_param { slice_point: 1 slice_point: 3 }"),
    "flatten": layer("Flatten", rest="flatten_param { axis: 1 end_axis: 2 }"),
    "reshape": layer("Reshape", rest="reshape_param { shape { dim: 0 dim: -1 dim: 9 } }"),
    "crop": layer("Pooling", "in", "small", "pooling_param { kernel_size: 3 }", name="p")
    + layer("Crop", "in small", "out", "crop_param { axis: 2 offset: 1 offset: 2 }"),
    "tile": layer("Tile", rest="tile_param { axis: 1 tiles: 2 }"),
    "permute": layer("Permute", rest="permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "normalize": layer("Normalize", rest="norm_param { across_spatial: false }"),
    "normalize all": layer("Normalize", rest="norm_param { channel_shared: false }"),
    "embed": layer("ArgMax", "in", "word", "argmax_param { axis: 1 }", name="a")
    + layer("Embed", "word", "out", "embed_param { num_output: 4 input_dim: 6 }"),
    "shuffle": layer("ShuffleChannel", rest="shuffle_channel_param { group: 3 }"),
    "upsample": layer("Upsample", rest="upsample_param { scale: 2 }"),
    "interp": layer("Interp", rest="interp_param { height: 14 width: 20 }"),
    "pixel shuffle": layer("PixelShuffle", rest="pixelshuffle_param { upscale_factor: 1 }"),
    "relu6": layer("ReLU6"),
    "axpy": layer("Pooling", "in", "s", "pooling_param { pool: AVE global_pooling: true }", name="p")
    + layer("TanH", "in", "t", name="t")
    + layer("Axpy", "s in t", "out"),
    "hard swish": layer("HardSwish"),
    "hard sigmoid": layer("HardSigmoid"),
    "shared weights": layer("InnerProduct", "in", "a", 'param { name: "w" } inner_product_param { num_output: 3 }')
    + layer("InnerProduct", "in", "b", 'param { name: "w" } inner_product_param { num_output: 3 }', name="twin"),
    "a learned blob": 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 3 dim: 2 } } }'
    + layer("ReLU", "p", "c", name="r"),
    "silence": layer("Slice", "in", "a b", "slice_param { slice_point: 3 }") + layer("Silence", "b", "", name="s"),
}


@pytest.mark.caffe
@pytest.mark.parametrize("case", CASES)
def test_outputs_are_real_caffes(case, caffe_run):
    ran = caffe_run(IMAGE + CASES[case])
    if ran is None:
        pytest.skip("the Caffe at hand has no such layer")
    assert compare(parse_prototxt(IMAGE + CASES[case], "case"), ran) > 0


@pytest.mark.caffe
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(drawn=definitions())
def test_generated_networks_compute_what_caffe_computes(drawn, caffe_run):
    network = parse_prototxt(drawn[0], "drawn")
    # Random numbers are no images' indices, and among equal values Caffe's ArgMax takes the last, ONNX's the first.
    assume("BatchReindex" not in drawn[0] and "ArgMax" not in drawn[0])
    try:
        to_onnx(network)
    except SiteCNNError:
        assume(False)
    ran = caffe_run(drawn[0])
    assert ran is not None
    compare(network, ran)


@pytest.mark.caffe
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_our_networks_compute_what_caffe_computes(path, caffe_run):
    if path.stem.startswith("vgg"):
        pytest.skip("0.5 GB of weights, and nothing that AlexNet does not have")
    compare(load_network(path), caffe_run(path.read_text()))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_a_file_with_external_weights_is_small_and_reads_back_alike(path, tmp_path):
    network = load_network(path)
    data = to_onnx(network, "external")
    assert len(data) < 200_000
    back = parse_onnx(data, "back.onnx")
    assert [node.outputs for _, node in nodes(back)] == [node.outputs for _, node in nodes(network)]
    assert [node.shapes for _, node in nodes(back)] == [node.shapes for _, node in nodes(network)]
    assert [node.operator for _, node in nodes(back)] == [node.operator for _, node in nodes(network)]


def test_onnxruntime_runs_a_file_with_external_weights(tmp_path):
    network = load_network(ROOT / "config/networks/squeezenet1.0.prototxt")
    assert external_bytes(network) == 64 << 20
    values = numpy.random.default_rng(0).uniform(0, 0.02, external_bytes(network) // 4).astype(numpy.float32)
    (tmp_path / EXTERNAL_FILE).write_bytes(values.tobytes())
    ran = session(to_onnx(network, "external"), tmp_path)
    (result,) = ran.run(None, {"data": numpy.ones(network.layers[0].outputs[0], numpy.float32)})
    assert result.shape == network.layers[-1].outputs[0] and numpy.isfinite(result).all()


def test_weights_past_the_file_begin_again_and_the_largest_fits():
    network = load_network(ROOT / "config/networks/vgg16.prototxt")
    largest = 4 * 25088 * 4096
    assert external_bytes(network) == largest
    for tensor in onnx.load_from_string(to_onnx(network, "external")).graph.initializer:
        if tensor.external_data:
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert int(place["offset"]) % 4096 == 0
            assert int(place["offset"]) + int(place["length"]) <= largest


def test_a_weight_that_is_not_given_is_named():
    network = parse_prototxt(IMAGE + CASES["convolution"], "net")
    assert weight_shapes(network) == {"it.0": (4, 6, 3, 2), "it.1": (4,)}
    with pytest.raises(SiteCNNError, match=r"net: no values are given for the weight 'it.1'"):
        to_onnx(network, {"it.0": numpy.zeros((4, 6, 3, 2))})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (layer("Pooling", rest="pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "STOCHASTIC pooling has no equal"),
        (layer("BatchNorm", rest="batch_norm_param { use_global_stats: false }"), "the batch's own mean"),
        (layer("Im2col", rest="convolution_param { kernel_size: 3 }"), "no operator of ONNX is equal to it"),
    ],
)
def test_layers_without_an_operator_are_named(text, reason):
    with pytest.raises(SiteCNNError, match=rf"net: layer 'it' \(\w+\): .*{reason}"):
        to_onnx(parse_prototxt(IMAGE + text, "net"))


def test_every_layer_that_does_work_has_a_node():
    for path in NETWORKS:
        network = load_network(path)
        served = {index for index, _ in nodes(network)}
        unserved = [one for index, one in enumerate(network.layers) if index not in served]
        assert all(is_automatic_split(one) for one in unserved)
        assert sum(node.operator.type == INPUT for _, node in nodes(network)) == 1
