"""Shapes as onnxruntime finds them by running the model, prototxts that real Caffe loads, and hostile files."""

import numpy
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper
from onnxruntime.quantization import quantize_dynamic

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network, write_prototxt
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.onnx import nodes
from sitecnn.network.settings import Constant, OnnxOperator
from sitecnn.workload.kernels import kind_of, macs
from sitecnn.workload.memory import memory

from .conftest import as_caffe_says
from .models import MODELS, SHIPPED, Builder

CASES = {**{path.stem: lambda path=path: onnx.load(path) for path in SHIPPED}, **MODELS}


def load(model: ModelProto, tmp_path, **options) -> Network:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_network(path, **options)


def shapes_when_run(model: ModelProto, network: Network) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model that ran on the network's inputs."""
    known = {output.name for output in model.graph.output}
    produced = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in produced)
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
    constant_like = {"Identity", "Cast", "Constant", "ConstantOfShape", "Shape", "Gather", "Unsqueeze"}
    assert compared >= {node.output[0] for node in model.graph.node if node.op_type not in constant_like} - constant(
        model
    )


def constant(model: ModelProto) -> set[str]:
    """Tensors that come of weights and shapes alone."""
    constant_names = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Shape", "ConstantOfShape") or constant_names.issuperset(filter(None, node.input)):
            constant_names.update(node.output)
    return constant_names


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
    with pytest.raises(SiteCNNError, match=r"is 1x3x\?x\?, .*: --input image:1x3x224x224$"):
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
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_bad_graphs_end_in_one_line(model, tmp_path):
    refused(model, tmp_path)


OTHER_CHANNELS = {
    "Conv": lambda b: b("Conv", "image", b.weight(4, 3, 3, 3)),
    "Conv in groups": lambda b: b("Conv", "image", b.weight(4, 3, 3, 3), group=2),
    "ConvTranspose": lambda b: b("ConvTranspose", "image", b.weight(3, 4, 3, 3)),
    "BatchNormalization": lambda b: b.norm("image", 3),
}


@pytest.mark.parametrize("name", OTHER_CHANNELS)
def test_an_input_of_other_channels_than_the_weights_take_is_refused_as_onnxruntime_does(name, tmp_path):
    b = Builder(13, [1, 5, 8, 8])
    model = b.model(OTHER_CHANNELS[name](b))
    assert "channels, its weights take" in refused(model, tmp_path)
    with pytest.raises(Exception, match=r"(?i)dimension|shape|channel|size|weight"):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        session.run(None, {"image": numpy.zeros((1, 5, 8, 8), numpy.float32)})


def test_of_faults_that_follow_from_one_only_that_one_is_said(tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    x = b("Relu", b("Relu", b.conv("image", 3, 4, 3, strides=[-1, 1])))
    assert refused(b.model(x), tmp_path).endswith(
        "not a valid ONNX network: node 'Conv0' (Conv): Attribute strides must only contain positive values"
    )


def test_an_input_of_other_dimensions_than_the_files_is_refused(tmp_path):
    b = Builder(13, ["n", 3, "h", "w"])
    with pytest.raises(SiteCNNError, match=r"is \?x3x\?x\? in the file, but 1x3x8 in --input: give 4 dimensions$"):
        load(b.model(b.conv("image", 3, 4, 3)), tmp_path, inputs={"image": (1, 3, 8)})


def test_the_batch_is_where_the_file_names_it(tmp_path):
    """As in a recurrent network, whose state has the batch behind the direction."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    made (float[n, 16] image, float[2, n, 16] state) => (float[2, n, 16] y) { y = Add(image, state) }"""
    model = onnx.parser.parse_model(text)
    for batch in (None, 4):
        network = load(model, tmp_path, batch=batch)
        assert [layer.outputs[0] for layer in network.layers] == [
            (batch or 1, 16),
            (2, batch or 1, 16),
            (2, batch or 1, 16),
        ]
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    with pytest.raises(SiteCNNError, match=r"input 'state' is 2x\?x16, open"):
        load(model, tmp_path)


def test_a_quantised_recurrent_operator_has_the_shapes_and_products_of_the_plain_one(tmp_path):
    b = Builder(13, [5, 2, 16])
    weights = [b.weight(2, 32, 16), b.weight(2, 32, 8)]
    plain = b.model(b("LSTM", "image", *weights, outputs=3, direction="bidirectional", hidden_size=8))
    path, quantised = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    onnx.save(plain, path)
    quantize_dynamic(path, quantised, op_types_to_quantize=["LSTM"])
    model = onnx.load(quantised)
    network = load(model, tmp_path)
    layer = next(layer for layer in network.layers if "DynamicQuantizeLSTM" in layer.type)
    assert layer.outputs[0] == shapes_when_run(model, network)[layer.tops[0]] and not network.doubts
    assert macs(layer) == sum(map(macs, load(plain, tmp_path).layers))


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


COLLISIONS = {
    "Slice": lambda b: b("Slice", "image", *(b.constant([size], numpy.int64) for size in (0, 8, 2, 2))),
    "Tile": lambda b: b("Tile", "image", b.constant([1, 1, 2, 2], numpy.int64)),
    "Concat": lambda b: b("Concat", "image", b.weight(1, 1, 8, 8), axis=1),
    "Pad": lambda b: b("Pad", "image", b.constant([0, 1, 0, 0, 0, 2, 0, 0], numpy.int64)),
    "LSTM": lambda b: b(
        "LSTM",
        b("Reshape", "image", b.constant([3, 1, 64], numpy.int64)),
        *(b.weight(1, 32, 64), b.weight(1, 32, 8)),
        outputs=3,
        hidden_size=8,
    ),
}
"""ONNX operators that share their names with layer types of Caffe that do something else."""


@pytest.mark.parametrize("name", COLLISIONS)
def test_operators_never_borrow_the_rules_of_a_caffe_layer_of_their_name(name, tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    model = b.model(COLLISIONS[name](b))
    node = next(node for node in model.graph.node if node.op_type == name)
    network = load(model, tmp_path)
    layer = next(layer for layer in network.layers if layer.name == node.name)
    assert isinstance(layer.settings, OnnxOperator) and layer.settings.type == layer.type == name
    assert kind_of(layer) == f"onnx_{name.lower()}" and not layer.modelled
    ran = shapes_when_run(model, network)
    assert all(ran.get(top, shape) == shape for top, shape in zip(layer.tops, layer.outputs, strict=True))


def test_layers_keep_the_operator_that_they_do_the_work_of(tmp_path):
    b = Builder(13, [1, 3, 9, 9])
    x = b.conv("image", 3, 8, 3, strides=[2, 2], pads=[0, 0, 1, 1])
    x = b("Clip", b("Identity", x), b.constant(0.0, numpy.float32), b.constant(6.0, numpy.float32))
    x = b("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 0, 1], ceil_mode=1)
    network = load(b.model(x), tmp_path)
    assert [layer.type for layer in network.layers] == ["Input", "Convolution", "ReLU6", "Pooling"]
    given, conv, clip, pool = (node for _, node in nodes(network))
    assert given.operator.attribute("dtype") == "float32"
    assert conv.operator.attribute("pads") == (0, 0, 1, 1) and conv.operator.version == 11
    assert conv.operator.constant(1) == Constant((8, 3, 3, 3), "float32", None)
    assert conv.operator.constant(2).shape == (8,)
    assert clip.operator.constants == ((1, Constant((), values=(0.0,))), (2, Constant((), values=(6.0,))))
    assert clip.inputs[0] == conv.outputs[0], "Identity only hands its tensor on"
    assert (pool.operator.attribute("ceil_mode"), pool.operator.attribute("pads")) == (1, (0, 1, 0, 1))
    assert network.outputs == pool.outputs


@pytest.mark.parametrize("name", CASES)
def test_every_node_with_work_is_carried_by_one_layer(name, tmp_path):
    model = CASES[name]()
    network = load(model, tmp_path)
    carried = [node.outputs[0] for _, node in nodes(network) if node.operator.type != "Input"]
    assert len(set(carried)) == len(carried)
    free = {"Identity", "Constant", "ConstantOfShape", "Shape", "Gather", "Unsqueeze"}
    given = {node.output[0] for node in model.graph.node if node.op_type not in free} - constant(model)
    assert given <= set(carried)
    produced = {name for _, node in nodes(network) for name in node.outputs}
    for _, node in nodes(network):
        fixed = {position for position, _ in node.operator.constants}
        data = [tensor for position, tensor in enumerate(node.inputs) if tensor and position not in fixed]
        assert produced >= set(data)
    assert produced >= set(network.outputs)


def test_open_batches_by_name_or_number_are_one_and_said(tmp_path):
    for batch in ("n", -1):
        b = Builder(13, [batch, 3, 8, 8])
        network = load(b.model(b("Relu", "image")), tmp_path)
        assert network.batch == 1 and "open batch" in network.notes[0]


PRODUCTS = {
    # Two directions, three gates, 5 steps of 2 images: 2·5·2·(3·6·4 + 3·6·6).
    "GRU": (
        lambda b: b("GRU", "image", b.weight(2, 18, 4), b.weight(2, 18, 6), direction="bidirectional", hidden_size=6),
        (5, 2, 4),
        2 * 5 * 2 * (18 * 4 + 18 * 6),
    ),
    "MatMul": (lambda b: b("MatMul", "image", b("Transpose", "image", perm=[0, 2, 1])), (3, 5, 7), 3 * 5 * 7 * 5),
    "ConvTranspose": (
        lambda b: b("ConvTranspose", "image", b.weight(4, 3, 3, 3), strides=[2, 2], output_padding=[1, 1], group=2),
        (2, 4, 5, 6),
        2 * 4 * 30 * 3 * 9,
    ),
}
"""Operators without an equal in Caffe: the node, the input's shape, its multiply-accumulates by hand."""


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_onnxs_own_operators_are_counted(name, tmp_path):
    make, shape, expected = PRODUCTS[name]
    b = Builder(13, shape)
    assert sum(map(macs, load(b.model(make(b)), tmp_path).layers)) == expected


def test_shapes_that_depend_on_the_data_are_guessed_said_and_can_be_given(tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    places = b("Transpose", b("NonZero", "image"), perm=[1, 0])
    chosen = b("GatherND", "image", places)
    model = b.model(b("Relu", b("Add", chosen, chosen)))
    network = load(model, tmp_path)
    assert [layer.type for layer in network.layers if layer.type != "Split"][1] == "NonZero"
    assert network.layers[-1].outputs == ((1,),)
    (doubt,) = network.doubts
    assert doubt.endswith("give it: --input t0:4x1")
    given = load(model, tmp_path, inputs={"t0": (4, 50)})
    assert not given.doubts and given.layers[-1].outputs == ((50,),)


def test_a_loop_blocks_no_file(tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    going, value = helper.make_tensor_value_info("go", TensorProto.BOOL, []), onnx.ValueInfoProto(name="v")
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    step, end = helper.make_tensor_value_info("i", TensorProto.INT64, []), onnx.ValueInfoProto(name="v2")
    end.type.tensor_type.elem_type = TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Concat", ["v", "v"], ["v2"], axis=0)],
        "body",
        [step, going, value],
        [helper.make_tensor_value_info("go2", TensorProto.BOOL, []), end],
    )
    x = b("Loop", b.constant(3, numpy.int64), b.constant(True), "image", body=body)
    network = load(b.model(b("Relu", x)), tmp_path)
    assert [layer.type for layer in network.layers] == ["Input", "Loop", "ReLU"] and network.doubts


def test_the_precision_of_a_file_is_said_and_int8_weights_have_one_byte(tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    scale, zero = b.constant(0.1, numpy.float32), b.constant(0, numpy.uint8)
    x = b("QuantizeLinear", "image", scale, zero)
    weights = b.constant(numpy.ones((4, 3, 3, 3)), numpy.uint8)
    x = b("QLinearConv", x, scale, zero, weights, scale, zero, scale, zero)
    network = load(b.model(b("DequantizeLinear", x, scale, zero)), tmp_path)
    assert network.precision == "int8" and memory(network).weights_bytes == 4 * 3 * 3 * 3
    assert sum(map(macs, network.layers)) == 36 * 4 * 27
    assert load(MODELS["vgg"](), tmp_path).precision == "fp32"
