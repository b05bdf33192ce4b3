"""Shapes as onnxruntime finds them by running the model, prototxts that real Caffe loads, and hostile files."""

import numpy
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network, write_prototxt
from sitecnn.network.caffe.layers import LAYER_TYPES

from .conftest import as_caffe_says
from .models import MODELS, SHIPPED, Builder

CASES = {**{path.stem: lambda path=path: onnx.load(path) for path in SHIPPED}, **MODELS}


def load(model: ModelProto, tmp_path, **wishes) -> Network:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_network(path, **wishes)


def shapes_when_run(model: ModelProto, network: Network) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model that ran on the network's inputs."""
    known = {output.name for output in model.graph.output}
    made = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    inputs = {
        top: numpy.zeros(shape, numpy.float32)
        for layer in network.layers
        if layer.type == "Input"
        for top, shape in zip(layer.tops, layer.outputs, strict=True)
    }
    results = session.run(None, inputs)
    return {output.name: result.shape for output, result in zip(session.get_outputs(), results, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_of_onnxruntime(name, tmp_path):
    model = CASES[name]()
    network = load(model, tmp_path)
    ran = shapes_when_run(model, network)
    tops = {top: shape for layer in network.layers for top, shape in zip(layer.tops, layer.outputs, strict=True)}
    compared = tops.keys() & ran.keys()
    assert {top: tops[top] for top in compared} == {top: ran[top] for top in compared}
    kept = {"Identity", "Cast", "Constant", "ConstantOfShape", "Shape", "Gather", "Unsqueeze"}
    assert compared >= {node.output[0] for node in model.graph.node if node.op_type not in kept} - constant(model)


def constant(model: ModelProto) -> set[str]:
    """Tensors that come of weights and shapes alone."""
    found = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Shape", "ConstantOfShape") or found.issuperset(filter(None, node.input)):
            found.update(node.output)
    return found


@pytest.mark.caffe
@pytest.mark.parametrize("name", CASES)
def test_caffe_loads_what_is_converted(name, tmp_path, real_caffe):
    network = load(CASES[name](), tmp_path)
    unknown = [layer for layer in network.layers if layer.type not in LAYER_TYPES]
    if unknown:
        with pytest.raises(SiteCNNError, match=unknown[0].type):
            write_prototxt(network)
    else:
        assert real_caffe(write_prototxt(network)) == as_caffe_says(network)


@pytest.mark.parametrize("opset", range(7, 23))
def test_every_opset(opset, tmp_path):
    b = Builder(opset, [1, 3, 8, 8])
    x = b("Relu", b.conv("image", 3, 4, 3))
    network = load(b.model(b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])), tmp_path)
    assert [layer.type for layer in network.layers] == ["Input", "Convolution", "ReLU", "Pooling"]
    assert network.layers[-1].outputs == ((1, 4, 4, 4),)


def test_open_dimensions_are_given_or_asked_for(tmp_path):
    b = Builder(13, ["n", 3, "h", "w"])
    model = b.model(b.conv("image", 3, 4, 3))
    with pytest.raises(SiteCNNError, match=r"--input image:1x3x\?x\?"):
        load(model, tmp_path)
    assert load(model, tmp_path, inputs={"image": (2, 3, 10, 12)}).layers[-1].outputs == ((2, 4, 10, 12),)
    assert load(model, tmp_path, inputs={"image": (2, 3, 10, 12)}, batch=5).batch == 5
    with pytest.raises(SiteCNNError, match="its inputs are: image"):
        load(model, tmp_path, inputs={"picture": (1,)})


def test_strict_refuses_what_is_not_caffes(tmp_path):
    with pytest.raises(SiteCNNError, match=r"layer 'Erf1' \(Erf\): not a layer type of Caffe"):
        load(MODELS["audio"](), tmp_path, strict=True)
    layer = next(layer for layer in load(MODELS["audio"](), tmp_path).layers if layer.type == "Erf")
    assert not layer.modelled and layer.outputs == layer.inputs == ((1, 6, 25),)


def refused(model: ModelProto | bytes, tmp_path) -> str:
    path = tmp_path / "bad.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(SiteCNNError) as error:
        load_network(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize("place", ["/etc/passwd", "../weights.bin", "a/../../b", "..\\x", "C:/x"])
def test_data_outside_the_folder_is_refused(place, tmp_path):
    model = MODELS["vgg"]()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    assert "outside the file's folder" in refused(model, tmp_path)


def test_data_inside_the_folder_is_not_read(tmp_path):
    model = MODELS["vgg"]()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="there-is-no-such-file")
    assert load(model, tmp_path) == load(MODELS["vgg"](), tmp_path)


def one_node(kind: str, *inputs: str, **attributes) -> ModelProto:
    b = Builder(13, [1, 3, 8, 8])
    return b.model(b(kind, *inputs, **attributes))


@pytest.mark.parametrize(
    "model",
    [
        one_node("Relu", "nowhere"),
        one_node("NoSuchOperator", "image"),
        one_node("MaxPool", "image"),
        one_node("MaxPool", "image", kernel_shape=[20, 20]),
        one_node("Reshape", "image", "image"),
        one_node("NonZero", "image"),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_bad_graphs_end_in_one_line(model, tmp_path):
    refused(model, tmp_path)


def test_bad_files_end_in_one_line(tmp_path):
    whole = MODELS["resnet"]().SerializeToString()
    assert "not an ONNX file" in refused(whole[: len(whole) // 2], tmp_path)
    assert refused(b"\x08\x08", tmp_path)
    cycle = helper.make_graph(
        [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])],
        "cycle",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
    )
    assert refused(helper.make_model(cycle), tmp_path)
    for dim in (0, -1, 2**62):
        b = Builder(13, [1, 3, 8, dim])
        assert refused(b.model(b("Relu", "image")), tmp_path)
