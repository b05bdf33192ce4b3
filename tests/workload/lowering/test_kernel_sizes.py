"""Kinds and sizes of ONNX Runtime's kernels, from the file that it writes of its optimised graph, by definition."""

import json
from collections import Counter
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, helper

from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import LoweredKernel, lower_whole
from tests.workload.lowering.graphs import Builder, machine_block, random_network
from tests.workload.lowering.parts import PARTS

Shape = tuple[int, ...]
Sized = tuple[str, str, tuple[tuple[str, int], ...]]
"""Kind, variant and sizes."""

BLOCKED = "com.microsoft.nchwc"
IN_BLOCKS = "reorder"
"""How ONNX Runtime calls tensors in blocks."""

STRETCHING = ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Pow", "Where", "PRelu")
WORKING = ("Convolution", "Deconvolution", "InnerProduct", "Pooling", "BatchNorm", "Scale", "Eltwise", "Concat")
"""Layers whose work no optimiser does away with."""

MOST_WORK = {"Clip": 1, "HardSigmoid": 1, "LeakyRelu": 2, "HardSwish": 2} | dict.fromkeys(("Sigmoid", "Tanh"), 3)


class Written:
    """The graph that the installed ONNX Runtime wrote, with the shapes that a run of it has."""

    def __init__(self, model: bytes, folder: Path, block: int) -> None:
        options = quiet_options()
        options.optimized_model_filepath = str(folder / "optimised.onnx")
        disabled = [] if block else ["NchwcTransformer"]
        cpu = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(model, options, providers=cpu, disabled_optimizers=disabled)
        file = onnx.load(folder / "optimised.onnx")
        self.nodes = list(file.graph.node)
        self.weights: dict[str, Shape] = {one.name: tuple(one.dims) for one in file.graph.initializer}
        self.shapes: dict[str, Shape] = dict(self.weights)
        for number, node in enumerate(self.nodes):
            node.name = f"n{number}"
        options = quiet_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling, options.profile_file_prefix = True, str(folder / "sizes")
        session = onnxruntime.InferenceSession(file.SerializeToString(), options, providers=cpu)
        inputs = {one.name: tuple(one.shape) for one in session.get_inputs()}
        self.shapes |= inputs
        session.run(None, {name: np.ones(shape, np.float32) for name, shape in inputs.items()})
        for event in json.loads(Path(session.end_profiling()).read_text()):
            name = event["name"].removesuffix("_kernel_time")
            if name != event["name"]:
                made = [tuple(shape) for one in event["args"]["output_type_shape"] for shape in one.values()]
                outputs = [output for output in self.nodes[int(name[1:])].output if output]
                self.shapes |= dict(zip(outputs, made, strict=True))


def quiet_options() -> onnxruntime.SessionOptions:
    """Options of a session that says nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


def four_axes(shape: Shape) -> Shape:
    """Images, channels, height, width."""
    return shape if len(shape) == 4 else np.empty(shape, dtype=np.bool_).reshape(*(*shape, 1, 1, 1)[:3], -1).shape


def expected(written: Written, node: NodeProto) -> Sized:
    """What a node of the written graph is as a kernel, by the definitions of the ONNX standard."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    activation = attributes.get("activation", b"").decode()
    named = [name for name in node.input if name]
    data = [written.shapes[name] for name in named if name not in written.weights]
    made = [written.shapes[name] for name in node.output if name]
    sizes: dict[str, Any] = dict(zip(("images", "channels", "height", "width"), four_axes(data[0]), strict=True))
    sizes |= dict(zip(("out_channels", "out_height", "out_width"), four_axes(made[0])[1:], strict=True))
    sizes |= {
        "inputs": len(data),
        "outputs": len(made),
        "in_elements": sum(map(prod, data)),
        "out_elements": sum(map(prod, made)),
        "parameters": sum(prod(written.weights[name]) for name in named if name in written.weights),
    }
    op = node.op_type.removeprefix("Fused") if node.op_type != "FusedMatMul" else "MatMul"
    blocks = "nchwc_" if node.domain == BLOCKED and not op.startswith("Reorder") else ""
    words = "".join(f"_{one}" if before.islower() and one.isupper() else one for before, one in pairwise(f" {op}"))
    kind, variant = f"{blocks}{words.lower()}", ""
    if op in ("Conv", "ConvTranspose"):
        weight, group = written.shapes[node.input[1]], attributes.get("group", 1)
        sizes |= windows(attributes, weight[2:]) | {"group": group, "bias": int(any(node.input[2:3]))}
        if op == "Conv":
            reads_plain = bool(blocks) and not node.input[0].startswith(IN_BLOCKS)
            kind = f"{blocks}conv_{conv_kind(weight, sizes, in_blocks=bool(blocks), reads_plain=reads_plain)}"
            sizes["activation"], variant = MOST_WORK.get(activation, 0), activation
    elif op in ("Gemm", "MatMul"):
        constant = node.input[1] in written.weights
        kind, variant = "gemm" if constant else "matmul", activation
        first = written.shapes[node.input[0]]
        rows_axis = 0 if attributes.get("transBatchA", 0) else -2
        depth = first[rows_axis] if attributes.get("transA", 0) else first[-1]
        matrices = made[0] if len(written.shapes[node.input[1]]) > 1 else (*made[0], 1)
        *over, rows, columns = (1, *matrices)
        images = prod(over)
        sizes = {name: sizes[name] for name in ("inputs", "outputs", "in_elements", "out_elements", "parameters")}
        sizes |= {"m": rows * images if constant else rows, "n": columns, "k": depth}
        sizes |= {"images": 1 if constant else images, "bias": int(len(node.input) > 2)}
        sizes |= {"trans_a": attributes.get("transA", 0), "trans_b": attributes.get("transB", 0)}
        sizes["activation"] = MOST_WORK.get(activation, 0)
    elif op.endswith("Pool"):
        window = tuple(attributes.get("kernel_shape", data[0][2:]))
        sizes |= windows(attributes, window) | {"window": prod(window)}
    elif op == "Transpose":
        variant = "".join(str(axis) for axis in attributes["perm"])
    elif op.startswith("Reorder"):
        variant = "last" if attributes.get("channels_last", 0) else ""
    elif op in ("Resize", "Upsample"):
        variant = attributes.get("mode", b"nearest").decode()
        kind += "" if variant == "nearest" else f"_{variant}"
    elif op in STRETCHING and any(written.shapes[name] != made[0] for name in named):
        kind += "_broadcast"
        sizes |= dict(zip(("images", "channels", "height", "width"), four_axes(made[0]), strict=True))
        sizes["window"] = min(met_in_one_go(written.shapes[name], made[0]) for name in named)
    elif op == "Softmax":
        axis = range(len(data[0]))[attributes.get("axis", -1)]
        kind += "_across" if prod(data[0][axis + 1 :]) > 1 else ""
        sizes["window"] = data[0][axis]
    elif op.endswith("LayerNormalization"):
        sizes["window"] = data[0][-1]
    elif op.startswith("Reduce"):
        sizes["window"] = prod(data[0]) // prod(made[0])
    elif op == "LRN":
        sizes["window"] = attributes["size"]
    return f"ort_{kind}", variant, tuple(sorted(sizes.items()))


def windows(attributes: dict[str, Any], kernel: Shape) -> dict[str, int]:
    """Kernel, stride, padding in front and dilation of height and width."""
    rank = len(kernel)
    pairs = {
        "kernel": kernel,
        "stride": attributes.get("strides", (1,) * rank),
        "pad": attributes.get("pads", (0,) * rank),
        "dilation": attributes.get("dilations", (1,) * rank),
    }
    both = {f"{name}_h": pair[0] for name, pair in pairs.items()}
    return both | {f"{name}_w": pair[1] if rank > 1 else int(name != "pad") for name, pair in pairs.items()}


def conv_kind(weight: Shape, sizes: dict[str, int], *, in_blocks: bool, reads_plain: bool) -> str:
    """The kinds that `lowering.onnxruntime.kernels` lists."""
    is_pointwise, is_dense = weight[2:] == (1, 1), sizes["stride_h"] == sizes["stride_w"] == 1
    if len(weight) != 4:
        return "volume"
    if sizes["group"] == weight[0] > 1 and weight[1] == 1:
        plain_3x3 = not in_blocks and is_dense and weight[2:] == (3, 3)
        return "scale" if in_blocks and is_pointwise else "depthwise_3x3" if plain_3x3 else "depthwise"
    if sizes["group"] > 1:
        return "grouped"
    if reads_plain:
        return "few_pointwise" if is_pointwise else "first"
    if is_pointwise and is_dense:
        return "pixel" if sizes["out_height"] == sizes["out_width"] == 1 else "pointwise"
    return "window"


def met_in_one_go(shape: Shape, whole: Shape) -> int:
    """Output values from the first on with which an input's values go on one by one, or with one of which they stay."""
    places = np.broadcast_to(np.arange(prod(shape)).reshape(shape), whole).ravel()
    steps = np.diff(places)
    other = np.flatnonzero(steps != steps[0])
    return int(other[0]) + 1 if len(other) else len(places)


def ours(one: LoweredKernel) -> Sized:
    """A lowered kernel without what depends on the kernels beside it."""
    sizes = {name: size for name, size in one.kernel.sizes if name != "pass_bytes"}
    return one.kernel.kind, one.kernel.variant, tuple(sorted(sizes.items()))


def check(model: bytes, folder: Path, block: int) -> None:
    """Ours are those of the written graph."""
    network, engine = parse_onnx(model, "graph.onnx"), Engine("onnxruntime", onnxruntime.__version__, block)
    kernels, memory = lower_whole(network, engine)
    written = Written(model, folder, block)
    assert Counter(map(ours, kernels)) == Counter(expected(written, node) for node in written.nodes)
    sizes = [dict(one.kernel.sizes) for one in kernels]
    bytes_of_a_pass = 4 * (sum(one["parameters"] for one in sizes) + sum(one["out_elements"] for one in sizes) // 2)
    assert {one["pass_bytes"] for one in sizes} == {bytes_of_a_pass}
    assert memory is not None and memory.kernels == len(written.nodes)
    read = {name for node in written.nodes for name in node.input} & written.weights.keys()
    working = {index for index, layer in enumerate(network.layers) if layer.type in WORKING}
    assert working <= {index for one in kernels for index in one.layers}
    for one in kernels:
        types = [network.layers[index].type for index in one.layers]
        if one.op in ("Conv", "FusedConv", "FusedGemm") and "Convolution" in types + ["InnerProduct"] * (
            "Gemm" in one.op
        ):
            assert types[0] in ("Convolution", "InnerProduct"), types
    # Short constants that are equal it keeps once.
    assert memory.weights_bytes == pytest.approx(4 * sum(prod(written.weights[name]) for name in read), abs=64)


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The block size of this machine."""
    return machine_block(tmp_path_factory.mktemp("block"))


@pytest.mark.parametrize("name", PARTS)
def test_sizes_of_parts_are_those_that_onnxruntime_writes(name: str, block: int, tmp_path: Path) -> None:
    builder = Builder()
    check(builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


@pytest.mark.parametrize("seed", range(300, 312))
def test_sizes_of_random_networks_are_those_that_onnxruntime_writes(seed: int, block: int, tmp_path: Path) -> None:
    for size in {block, 0}:
        check(random_network(seed), tmp_path, size)


def _one(kind: str, shape: Shape, *weights: Shape, **attributes: Any) -> bytes:
    """One operator between two others."""
    builder = Builder(shape)
    constants = [builder.weight(*one) for one in weights]
    return builder.model(builder.op("Abs", builder.op(kind, builder.op("Neg", "x"), *constants, **attributes)))


def _stretched_sum() -> bytes:
    """A column and a row, as position biases are made."""
    builder = Builder((2, 3, 5, 7))
    column, row = (builder.op("ReduceMean", "x", axes=[axis], keepdims=1) for axis in (3, 2))
    return builder.model(builder.op("Abs", builder.op("Add", column, row)))


UNEVEN = {"strides": [2, 3], "pads": [1, 2, 0, 1]}
"""Nothing is the same across as down."""

OPERATORS = {
    "a convolution": _one("Conv", (2, 16, 19, 23), (32, 16, 2, 3), (32,), dilations=[3, 2], **UNEVEN),
    "a convolution without a bias": _one("Conv", (2, 16, 19, 23), (32, 16, 5, 3), **UNEVEN),
    "a grouped convolution": _one("Conv", (2, 32, 19, 23), (64, 8, 2, 3), (64,), group=4, **UNEVEN),
    "a depthwise convolution of 12 channels": _one("Conv", (2, 12, 19, 23), (12, 1, 2, 3), (12,), group=12, **UNEVEN),
    "a convolution of one axis": _one("Conv", (2, 16, 40), (32, 16, 3), (32,), strides=[2], pads=[1, 0]),
    "a convolution of three axes": _one("Conv", (1, 4, 6, 7, 8), (8, 4, 2, 3, 1), (8,), pads=[1, 2, 0, 0, 1, 0]),
    "a pointwise convolution of stride 2": _one("Conv", (1, 16, 8, 8), (32, 16, 1, 1), strides=[2, 2]),
    "a convolution of one pixel": _one("Conv", (3, 16, 1, 1), (32, 16, 1, 1), (32,)),
    "a transposed convolution": _one("ConvTranspose", (2, 8, 9, 7), (8, 6, 2, 3), (12,), group=2, **UNEVEN),
    "a pool": _one("MaxPool", (2, 16, 19, 23), kernel_shape=[2, 4], **UNEVEN),
    "an average": _one("AveragePool", (2, 5, 19, 23), kernel_shape=[2, 4], **UNEVEN),
    "a product by a vector": _one("MatMul", (5, 7), (7,)),
    "a product of three axes": _one("MatMul", (2, 5, 7), (7, 3)),
    "a product turned": _one("Gemm", (7, 5), (3, 7), (3,), transA=1, transB=1),
    "a normalisation": _one("LayerNormalization", (2, 3, 5, 7), (7,), (7,)),
    "a softmax across": _one("Softmax", (2, 3, 5, 7), axis=1),
    "a sum of rows": _one("Add", (2, 3, 5, 7), (5, 1)),
    "a sum of what both stretch": _stretched_sum(),
    "a sum of planes": _one("Add", (2, 3, 5, 7), (3, 1, 1)),
    "a sum of columns": _one("Add", (2, 3, 5, 7), (7,)),
    "a mean of planes": _one("ReduceMean", (2, 3, 5, 7), axes=[2, 3]),
    "an LRN": _one("LRN", (2, 9, 5, 7), size=3),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_sizes_of_operators_are_those_that_onnxruntime_writes(name: str, block: int, tmp_path: Path) -> None:
    check(OPERATORS[name], tmp_path, block)


@pytest.mark.parametrize("kind", ["Relu", "Clip", "HardSigmoid", "LeakyRelu", "Sigmoid", "Tanh"])
def test_a_fused_activation_has_its_class(kind: str, block: int, tmp_path: Path) -> None:
    builder = Builder()
    bounds = [builder.constant(0.0), builder.constant(6.0)] if kind == "Clip" else []
    convolved = builder.op(kind, builder.conv("x", 3, 32, 3), *bounds)
    flat = builder.op("Flatten", builder.op("GlobalAveragePool", convolved))
    product = builder.op("Gemm", flat, builder.weight(10, 32), builder.weight(10), transB=1)
    check(builder.model(builder.op(kind, product, *bounds)), tmp_path, block)


def test_networks_that_are_equal_but_for_their_nodes_are_lowered_apart() -> None:
    engine = Engine("onnxruntime", nchwc_block=8)
    kinds = []
    for mode in ("nearest Resize", "cubic Resize"):
        builder = Builder()
        network = parse_onnx(builder.model(PARTS[mode](builder, builder.conv("x", 3, 32, 3))), "graph.onnx")
        kinds.append([one.kernel.kind for one in lower_whole(network, engine)[0]])
    assert kinds == [
        ["ort_nchwc_conv_first", "ort_nchwc_upsample", "ort_reorder_output"],
        ["ort_nchwc_conv_first", "ort_reorder_output", "ort_resize_cubic"],
    ]
