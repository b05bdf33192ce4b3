"""Probe networks: sound, the same for a seed, and of all kinds of sizes."""

import base64
import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from sitecnn.boards.plan import Amount, plan
from sitecnn.boards.probes import layers, probe_models
from sitecnn.boards.probes.caffe import RECIPE, CaffeGenerator, caffe_probes
from sitecnn.boards.probes.graph import WEIGHTS_BYTES, Graph
from sitecnn.cli import main
from sitecnn.network import parse_prototxt
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.kernels import layer_kernel, macs

RARE_KINDS = [
    *("sigmoid", "tanh", "elu", "exp", "bnll", "mvn", "log", "prelu", "abs_val", "threshold", "bias", "slice"),
    *("reduction", "tile", "power", "pow", "relu6", "hard_sigmoid", "hard_swish", "upsample", "normalize", "permute"),
]


@cache
def probes() -> tuple[ModelProto, ...]:
    return tuple(probe_models(seed=1, count=48))


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes as the onnx package infers them from the operators alone; outputs as they are declared go."""
    bare = ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph
    infos = (*inferred.input, *inferred.value_info, *inferred.output)
    return {info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim) for info in infos}


def with_values(model: ModelProto) -> ModelProto:
    """The model with small random weights in the file itself."""
    whole, random = ModelProto(), np.random.default_rng(0)
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            values = random.normal(0, 0.05, tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return whole


def test_the_same_seed_gives_the_same_probes_and_another_gives_others():
    again = probe_models(seed=1, count=3)
    assert [model.SerializeToString() for model in again] == [model.SerializeToString() for model in probes()[:3]]
    assert probe_models(seed=2, count=1)[0].SerializeToString() != again[0].SerializeToString()


def test_every_probe_has_the_output_shapes_that_onnx_infers():
    for model in probes():
        of_model = shapes(model)
        for output in model.graph.output:
            assert of_model[output.name] == tuple(d.dim_value for d in output.type.tensor_type.shape.dim), output.name


def test_a_probe_runs_and_its_numbers_are_finite():
    onnxruntime = pytest.importorskip("onnxruntime")
    smallest = sorted(probes(), key=lambda model: model.graph.input[0].type.tensor_type.shape.dim[2].dim_value)[:4]
    for model in smallest:
        checker.check_model(with_values(model))
        session = onnxruntime.InferenceSession(
            with_values(model).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        image = session.get_inputs()[0]
        outputs = session.run(None, {image.name: np.ones(image.shape, np.float32)})
        assert all(np.isfinite(values).all() for values in outputs)


def test_weights_lie_outside_a_probe_within_the_file_that_the_board_makes():
    for model in probes():
        assert model.ByteSize() < 200_000
        for tensor in model.graph.initializer:
            place = {entry.key: entry.value for entry in tensor.external_data}
            if place:
                assert int(place["length"]) == 4 * np.prod(tensor.dims)
                assert int(place["offset"]) + int(place["length"]) <= max(WEIGHTS_BYTES, int(place["length"]))


def convolutions() -> Counter[tuple[int, int, bool]]:
    """(kernel, stride, whether a channel each) of all square convolutions."""
    counts: Counter[tuple[int, int, bool]] = Counter()
    for model in probes():
        dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Conv":
                attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
                _, per_group, height, width = dims[node.input[1]]
                if height == width:
                    counts[height, attributes["strides"][0], attributes["group"] > 1 and per_group == 1] += 1
    return counts


def test_probes_have_many_convolutions_of_each_usual_window():
    counts = convolutions()
    for kind in ((1, 1, False), (3, 1, False), (3, 2, False), (3, 1, True), (3, 2, True), (5, 1, True), (5, 2, True)):
        assert counts[kind] >= 10, (kind, counts)
    for kind in ((5, 1, False), (1, 2, False), (7, 1, True), (7, 2, False), (2, 2, False)):
        assert counts[kind] >= 3, (kind, counts)


def test_probes_reach_from_single_pixels_to_large_images_and_large_products():
    heights, products, channels = set(), [], set()
    for model in probes():
        dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        of_model = shapes(model)
        heights |= {shape[2] for shape in of_model.values() if len(shape) == 4}
        channels |= {shape[1] % 4 for shape in of_model.values() if len(shape) == 4}
        products += [np.prod(dims[node.input[1]]) for node in model.graph.node if node.op_type == "Gemm"]
    assert min(heights) == 1 and max(heights) >= 224 and {7, 14, 28, 56, 112} <= heights
    assert max(products) > 10e6 and channels == {0, 1, 2, 3}


def test_operators_of_newer_networks_are_among_them():
    operators = {node.op_type for model in probes() for node in model.graph.node}
    assert {"Resize", "LayerNormalization", "MatMul", "Softmax", "Transpose", "Split", "ConvTranspose"} <= operators
    assert {"HardSwish", "Sigmoid", "LeakyRelu", "PRelu", "Erf", "Clip", "Elu", "LRN", "ReduceMean"} <= operators


def test_gelu_is_that_of_its_closed_form():
    graph = Graph("gelu", 2)
    layers.activate(graph, "image", "gelu")
    evaluator = ReferenceEvaluator(graph.model())
    values = np.linspace(-3, 3, 12, dtype=np.float32).reshape(1, 3, 2, 2)
    erf = np.vectorize(math.erf)
    (result,) = evaluator.run(None, {"image": values})
    np.testing.assert_allclose(result, values / 2 * (1 + erf(values / 2**0.5)), rtol=1e-5)


def test_channels_are_shuffled_half_by_half():
    graph = Graph("shuffle", 1)
    six = layers.concatenate(graph, ["image", graph.node("Neg", ["image"], (1, 3, 1, 1))])
    layers.shuffle_channels(graph, six)
    values = np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1)
    (result,) = ReferenceEvaluator(graph.model()).run(None, {"image": values})
    assert result.ravel().tolist() == [1, -1, 2, -2, 3, -3]


@cache
def planned() -> list[dict[str, Any]]:
    network = parse_onnx(with_values(probes()[2]).SerializeToString(), "net.onnx")
    return plan({Engine("onnxruntime", "1.32.0", 16): [network]}, Amount(probes=2, rounds=3), sweep=True)


def test_a_plan_has_all_of_a_round_before_the_next_and_memory_last():
    places = [(task["task"], task["network"], task.get("round")) for task in planned()]
    one_round = [("probe", "probe-001"), ("network", "net"), ("probe", "probe-002")]
    in_rounds = [(*task, number) for number in range(3) for task in one_round]
    assert places == [*in_rounds, ("memory", "net", None)]


def test_a_plan_tells_the_kernels_that_onnx_runtime_then_runs(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "avx512f" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this CPU keeps no blocks of 16 channels")
    task = planned()[1]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    model = with_values(onnx.load_model_from_string(base64.b64decode(task["model"])))
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = onnx.load(tmp_path / "run.onnx")
    expected = Counter(kernel["op"] for kernel in task["kernels"])
    assert expected == Counter(node.op_type for node in run.graph.node)


def test_an_engine_without_probes_is_refused(tmp_path):
    network = Path(__file__).parents[2] / "config" / "networks" / "alexnet.prototxt"
    assert main(["plan", str(network), "--engine", "tflite-gpu", "-o", str(tmp_path / "plan")]) == 2
    assert not (tmp_path / "plan").exists()


def test_a_caffe_probe_has_the_shapes_that_caffe_would_infer():
    for number, (name, text) in enumerate(caffe_probes(seed=1, count=12).items()):
        network = parse_prototxt(text, name)
        assert network.name == name == f"caffe-probe-{number + 1:03d}"
        assert all(layer.outputs[0][-1] > 0 for layer in network.layers)
    generator = CaffeGenerator(1, RECIPE)
    for number in range(1, 13):
        graph = generator.chain(number)
        of_inputs = {
            top: shape
            for layer in parse_prototxt(graph.text(), graph.name).layers
            for top, shape in zip(layer.tops, layer.outputs, strict=True)
        }
        assert {name: math.prod(shape) for name, shape in graph.shapes.items()}.items() <= {
            name: math.prod(shape) for name, shape in of_inputs.items()
        }.items()


def test_caffe_probes_have_every_kind_that_caffe_networks_have():
    texts = caffe_probes(seed=1, count=45)
    assert texts == caffe_probes(seed=1, count=45) != caffe_probes(seed=2, count=45)
    every = [layer for name, text in texts.items() for layer in parse_prototxt(text, name).layers]
    kinds = {layer_kernel(layer) for layer in every}
    by_kind = Counter(kernel.kind for kernel in kinds)
    for kind in ("convolution", "relu", "batch_norm", "scale", "pooling", "eltwise", "inner_product", "concat", "lrn"):
        assert by_kind[kind] >= 8, kind
    for kind in ("softmax", "deconvolution", *RARE_KINDS):
        assert by_kind[kind] >= 3, kind
    for kind in ("ReLU", "BatchNorm", "Scale"):
        in_place = [layer.bottoms == layer.tops for layer in every if layer.type == kind]
        assert min(sum(in_place), len(in_place) - sum(in_place)) >= 20, kind
    gates = [layer for layer in every if layer.type == "Scale" and len(layer.bottoms) == 2]
    assert len(gates) >= 5, "squeeze-and-excite multiplies by what a network computed"
    convolutions = [kernel for kernel in kinds if kernel.kind == "convolution"]
    assert max(map(macs, every)) > 100e6
    assert sum(kernel["group"] == kernel["channels"] for kernel in convolutions) >= 8
    products = [kernel["parameters"] for kernel in kinds if kernel.kind == "inner_product"]
    assert 16e6 < max(products) < 27e6
