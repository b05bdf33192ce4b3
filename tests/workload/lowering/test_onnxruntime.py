"""What ONNX Runtime runs of a network equals what the installed one says that it ran: operators, shapes and counts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from sitecnn.boards.probes import probe_models
from sitecnn.boards.probes.graph import WEIGHTS_BYTES
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import LoweredKernel, lower
from sitecnn.workload.lowering.onnxruntime.rules import SINCE as SINCE_RELEASE
from sitecnn.workload.lowering.releases import RELEASES
from tests.workload.lowering.graphs import Builder, counted, executed, machine_block, random_network, random_orders

VERSION = onnxruntime.__version__


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The block size of this machine."""
    return machine_block(tmp_path_factory.mktemp("block"))


def lowered(model: bytes, block: int, level: str = "all", version: str = VERSION) -> tuple[LoweredKernel, ...]:
    """Ours."""
    return lower(parse_onnx(model, "graph.onnx"), Engine("onnxruntime", version, block, level))


def check(model: bytes, folder: Path, block: int, level: str = "all") -> None:
    """Ours is the installed version's, with blocks and without."""
    for size in {block, 0}:
        assert counted(lowered(model, size, level)) == executed(model, folder, size, level), (size, level)


@pytest.mark.parametrize("seed", range(120))
def test_random_networks_run_as_lowered(seed: int, block: int, tmp_path: Path) -> None:
    check(random_network(seed), tmp_path, block)


@pytest.mark.parametrize("seed", range(40))
def test_transposes_are_moved_as_onnxruntime_moves_them(seed: int, block: int, tmp_path: Path) -> None:
    check(random_orders(seed), tmp_path, block)


@pytest.mark.parametrize("level", ["basic", "extended"])
@pytest.mark.parametrize("seed", range(200, 212))
def test_lower_graph_levels_do_less(seed: int, level: str, block: int, tmp_path: Path) -> None:
    check(random_network(seed), tmp_path, block, level)


Part = Callable[[Builder, str], str]
"""What is put behind a convolution of 32 channels: the builder, the convolution's output → what it makes."""


def _product(kind: str, *shape: int) -> Part:
    return lambda b, x: b.op(kind, x, b.weight(*shape))


def _pool(b: Builder, x: str) -> str:
    return b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def _gelu(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Div", x, b.constant(1.4142135)))
    return b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))


def _resized(b: Builder, x: str, scale: float = 2.0, **more: str) -> str:
    return b.op("Resize", x, "", b.constant([1, 1, scale, scale]), **more)


def _padded(b: Builder, x: str, kind: str, **more: str) -> str:
    pad = b.op("Pad", x, b.sizes(0, 0, 1, 1, 0, 0, 1, 1), **more)
    if kind == "Conv":
        return b.conv(pad, 32, 32, 3, pads=[0] * 4)
    return b.op(kind, pad, kernel_shape=[3, 3], strides=[2, 2])


def _transposed(b: Builder, x: str, between: Part) -> str:
    inner = between(b, b.op("Transpose", x, perm=[0, 2, 3, 1]))
    return b.conv(b.op("Transpose", inner, perm=[0, 3, 1, 2]), 32, 32)


def _normalised(b: Builder, x: str) -> str:
    """Layer normalisation as older exporters write it."""
    x = b.op("Transpose", b.op("Reshape", x, b.sizes(1, 32, -1)), perm=[0, 2, 1])
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.constant(2.0)), axes=[-1], keepdims=1)
    root = b.op("Sqrt", b.op("Add", variance, b.constant(1e-5)))
    return b.op("Add", b.op("Mul", b.op("Div", centred, root), b.weight(32)), b.weight(32))


def _joined(b: Builder, x: str) -> str:
    return b.op("Concat", x, b.op("Transpose", b.conv("x", 3, 32), perm=[0, 2, 3, 1]), axis=3)


def _residual_of_channels_last(b: Builder, x: str) -> str:
    """ConvNeXt's: scaled and added with channels first, which the end of the stage puts last."""
    x = b.op("Transpose", _perceptron(b, x), perm=[0, 2, 3, 1])
    x = b.op("Transpose", b.op("LayerNormalization", x, b.weight(32), b.weight(32)), perm=[0, 3, 1, 2])
    scaled = b.op("Mul", b.weight(32, 1, 1), _perceptron(b, b.conv(x, 32, 32, 3)))
    return b.op("Transpose", b.op("Add", scaled, x), perm=[0, 2, 3, 1])


def _mean(b: Builder, x: str) -> str:
    return b.op("ReduceMean", b.op("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)


def _attention(b: Builder, x: str) -> str:
    """One of two heads, queries, keys and values of one product, as timm's ViTs have it."""
    tokens = b.op("Transpose", b.op("Reshape", _pool(b, x), b.sizes(1, 32, -1)), perm=[0, 2, 1])
    triple = b.op("Add", b.op("MatMul", tokens, b.weight(32, 96)), b.weight(96))
    triple = b.op("Transpose", b.op("Reshape", triple, b.sizes(1, 256, 3, 2, 16)), perm=[2, 0, 3, 1, 4])
    query, key, value = (b.op("Gather", triple, b.constant(index, np.int64), axis=0) for index in range(3))
    product = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 1, 3, 2]))
    weights = b.op("Softmax", b.op("Mul", product, b.constant(0.25)), axis=-1)
    heads = b.op("Transpose", b.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    return b.op("Add", b.op("MatMul", b.op("Reshape", heads, b.sizes(1, 256, 32)), b.weight(32, 32)), b.weight(32))


def _perceptron(b: Builder, x: str) -> str:
    """ConvNeXt's: channels last, two products with a GELU between them."""
    x = b.op("LayerNormalization", b.op("Transpose", x, perm=[0, 2, 3, 1]), b.weight(32), b.weight(32))
    wide = _gelu(b, b.op("Add", b.op("MatMul", x, b.weight(32, 64)), b.weight(64)))
    return b.op("Transpose", b.op("Add", b.op("MatMul", wide, b.weight(64, 32)), b.weight(32)), perm=[0, 3, 1, 2])


def _head(b: Builder, x: str, *activation: str) -> str:
    given = b.op("Flatten", b.op("GlobalAveragePool", x))
    name = b.op("Gemm", given, b.weight(10, 32), b.weight(10), transB=1)
    return b.op(activation[0], name) if activation else name


def _by_value(kind: str) -> Part:
    return lambda b, x: b.op(kind, x, b.constant(2.0))


def _behind_pad(kind: str) -> Part:
    return lambda b, x: _padded(b, x, kind)


def _linear(mode: str) -> Part:
    return lambda b, x: _resized(b, x, mode="linear", coordinate_transformation_mode=mode)


def _nearest(scale: float) -> Part:
    more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return lambda b, x: _resized(b, x, scale, **more)


def _head_with(kind: str) -> Part:
    return lambda b, x: _head(b, x, kind)


PARTS: dict[str, Part] = {
    **{f"{kind} by one value": _by_value(kind) for kind in ("Mul", "Add")},
    **{f"{kind} a channel": _product(kind, 32, 1, 1) for kind in ("Mul", "Add", "Sub", "Div")},
    **{f"{kind} a channel of an image": _product(kind, 1, 32, 1, 1) for kind in ("Mul", "Add")},
    "an Add with the constant first": lambda b, x: b.op("Add", b.weight(32, 1, 1), x),
    "a Mul of blocks": lambda b, x: b.op("Mul", _pool(b, x), b.weight(32, 1, 1)),
    "a Mul by one value of blocks": lambda b, x: b.op("Mul", _pool(b, x), b.weight(1)),
    "a BatchNormalization of blocks": lambda b, x: b.op("Relu", b.batch_norm(_pool(b, x), 32)),
    "Dropout": lambda b, x: b.op("Relu", b.op("Dropout", x)),
    "Dropout at the end": lambda b, x: b.op("Dropout", x),
    "Relu and Clip": lambda b, x: b.op("Clip", b.op("Relu", x), b.constant(0.0), b.constant(6.0)),
    "GELU": _gelu,
    "SiLU": lambda b, x: b.op("Mul", b.op("Sigmoid", x), x),
    "HardSwish": lambda b, x: b.conv(b.op("HardSwish", x), 32, 32),
    "HardSwish at the end": lambda b, x: b.op("HardSwish", x),
    "HardSwish of blocks": lambda b, x: b.conv(b.op("HardSwish", _pool(b, x)), 32, 32),
    "x·HardSigmoid of another slope": lambda b, x: b.conv(b.op("Mul", x, b.op("HardSigmoid", x)), 32, 32),
    "PReLU": lambda b, x: b.op("PRelu", x, b.weight(32, 1, 1)),
    **{f"Pad and {kind}": _behind_pad(kind) for kind in ("Conv", "MaxPool", "AveragePool")},
    "Pad that mirrors": lambda b, x: _padded(b, x, "Conv", mode="reflect"),
    "nearest Resize": _nearest(2.0),
    "nearest Resize, half pixels": lambda b, x: _resized(b, x, nearest_mode="floor"),
    "Resize by 1.5": _nearest(1.5),
    **{
        f"linear Resize, {mode}": _linear(mode)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    },
    "cubic Resize": lambda b, x: _resized(b, x, mode="cubic"),
    "ConvTranspose": lambda b, x: b.batch_norm(b.op("ConvTranspose", x, b.weight(32, 16, 2, 2), strides=[2, 2]), 16),
    "Transposes that cancel": lambda b, x: _transposed(b, x, lambda b, x: b.op("Relu", x)),
    "Transposes around a Mul": lambda b, x: _transposed(b, x, _product("Mul", 32)),
    "Transposes around a Pad": lambda b, x: _transposed(
        b, x, lambda b, x: b.op("Pad", x, b.sizes(0, 1, 1, 0, 0, 1, 1, 0))
    ),
    "Transposes around a Softmax": lambda b, x: _transposed(b, x, lambda b, x: b.op("Softmax", x, axis=3)),
    "Transposes before a Concat": lambda b, x: b.op(
        "Transpose", _joined(b, b.op("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]
    ),
    "a residual of channels last": _residual_of_channels_last,
    "a mean of channels last": _mean,
    "attention": _attention,
    "channels last at the end": lambda b, x: b.op("Softmax", b.op("Transpose", x, perm=[0, 2, 3, 1]), axis=-1),
    "layer normalisation": _normalised,
    "a perceptron": _perceptron,
    "a head": _head,
    **{f"a head with {kind}": _head_with(kind) for kind in ("Relu", "LeakyRelu", "Elu", "Softmax")},
    "equal branches": lambda b, x: b.op("Concat", b.op("Relu", _pool(b, x)), b.op("Relu", _pool(b, x)), axis=1),
    "a sum of three": lambda b, x: b.op("Sum", x, b.conv("x", 3, 32), b.conv("x", 3, 32)),
    "itself": lambda b, x: b.op("Add", x, x),
    "Softmax": lambda b, x: b.op("Softmax", x, axis=1),
    "ReduceMean": lambda b, x: b.op("ReduceMean", x, axes=[2, 3]),
    "SpaceToDepth": lambda b, x: b.op("SpaceToDepth", x, blocksize=2),
    "LRN": lambda b, x: _pool(b, b.op("LRN", b.op("Relu", x), size=5)),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_networks_run_as_lowered(name: str, block: int, tmp_path: Path) -> None:
    builder = Builder()
    check(builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


CONVOLUTIONS = [
    *[(8, 32, 1, 1), (12, 32, 1, 1), (15, 32, 1, 1), (16, 20, 3, 1), (17, 32, 3, 1), (18, 32, 3, 1), (20, 32, 3, 1)],
    *[(32, 32, 3, 32), (12, 12, 3, 12), (4, 4, 3, 4), (18, 18, 3, 18), (16, 32, 3, 16), (64, 64, 3, 4)],
    *[(64, 64, 3, 8), (64, 128, 3, 4), (48, 48, 1, 3), (3, 7, 3, 1), (3, 33, 3, 1), (3, 3, 3, 3)],
]
"""Channels in and out, window, groups."""


@pytest.mark.parametrize(("inputs", "outputs", "size", "group"), CONVOLUTIONS)
def test_channels_decide_the_layout(
    inputs: int, outputs: int, size: int, group: int, block: int, tmp_path: Path
) -> None:
    alone = Builder((1, inputs, 8, 8))
    check(alone.model(alone.conv("x", inputs, outputs, size, group=group)), tmp_path, block)
    behind = Builder()
    first = behind.op("Relu", behind.conv("x", 3, inputs))
    check(behind.model(behind.conv(first, inputs, outputs, size, group=group)), tmp_path, block)


SPLITS = (
    ((1, 400, 96), (0, 2, 1), (1, 96, 20, 20)),
    ((2, 400, 96), (0, 2, 1), (2, 4, 24, 20, 20)),
    ((2, 400, 96), (0, 2, 1), (2, 96, 400, 1)),
    ((2, 400, 96), (0, 2, 1), (192, 400)),
    ((2, 400, 96), (0, 2, 1), (2, 8, 4800)),
    ((2, 400, 96), (0, 2, 1), (1, 2, 96, 20, 20)),
    ((1, 1, 400, 96), (0, 1, 3, 2), (1, 96, 20, 20)),
    ((2, 20, 20, 96), (0, 3, 1, 2), (2, 96, 400)),
    ((1, 400, 96), (0, 2, 1), (1, 1, 96, 20, 20)),
    ((1, 400, 96), (0, 2, 1), (1, 96, 20, 20, 1)),
    ((1, 400, 96), (0, 2, 1), (1, 96, 20, 1, 20)),
    ((3, 4, 6, 6), (1, 0, 3, 2), (4, 3, 2, 3, 6)),
    ((1, 4, 1, 6), (3, 0, 1, 2), (2, 3, 1, 4, 1)),
)
"""Shapes, orders of axes, and shapes that a Reshape makes of what the Transpose made."""


@pytest.mark.parametrize("turned_back", [False, True])
@pytest.mark.parametrize("read_twice", [False, True])
@pytest.mark.parametrize(("shape", "order", "target"), SPLITS)
def test_a_transpose_moves_behind_a_reshape_that_splits_axes(
    shape: tuple[int, ...],
    order: tuple[int, ...],
    target: tuple[int, ...],
    read_twice: bool,
    turned_back: bool,
    block: int,
    tmp_path: Path,
) -> None:
    builder = Builder(shape)
    turned = builder.op("Transpose", builder.op("Relu", "x"), perm=order)
    last = builder.op("Reshape", turned, builder.sizes(*target))
    if turned_back:
        last = builder.op("Transpose", last, perm=[0, *range(2, len(target)), 1])
    outputs = [builder.op("Abs", last), *([builder.op("Neg", turned)] if read_twice else [])]
    check(builder.model(*outputs), tmp_path, block)


def test_a_transpose_stays_before_a_reshape_up_to_1_28() -> None:
    """As 1.27.0, 1.28.0, 1.29.0 and 1.31.0 ran it."""
    builder = Builder((2, 400, 96))
    turned = builder.op("Transpose", builder.op("Relu", "x"), perm=[0, 2, 1])
    model = builder.model(builder.op("Reshape", turned, builder.sizes(2, 96, 20, 20)))
    for version in ("1.27.0", "1.28.0"):
        assert [one.op for one in lowered(model, 0, version=version)] == ["Relu", "Transpose", "Reshape"]
    for version in ("1.29.0", "1.31.0"):
        assert [one.op for one in lowered(model, 0, version=version)] == ["Relu", "Reshape", "Transpose"]


@pytest.mark.parametrize("readers", ["conv", "conv conv", "conv pool", "conv relu", "conv output", "pool"])
def test_only_a_reorder_that_alone_reads_a_transpose_takes_it_in(readers: str, tmp_path: Path, block: int) -> None:
    builder = Builder((1, 20, 20, 96))
    turned = builder.op("Transpose", builder.op("Relu", "x"), perm=[0, 3, 1, 2])
    outputs = {
        "conv": lambda: builder.conv(turned, 96, 32),
        "pool": lambda: builder.op("MaxPool", turned, kernel_shape=[2, 2]),
        "relu": lambda: builder.op("Relu", turned),
        "output": lambda: turned,
    }
    check(builder.model(*(outputs[reader]() for reader in readers.split())), tmp_path, block)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_probes_run_as_lowered(seed: int, block: int, tmp_path: Path) -> None:
    with (tmp_path / "weights.bin").open("wb") as zeros:
        zeros.truncate(WEIGHTS_BYTES)
    for number, model in enumerate(probe_models(seed=seed, count=48)):
        file = tmp_path / "probe.onnx"
        file.write_bytes(model.SerializeToString())
        assert counted(lowered(file.read_bytes(), block)) == executed(str(file), tmp_path, block), number


SINCE = {
    "SiLU": {
        "1.17.3": "Conv ReorderOutput QuickGelu",
        "1.24.1": "Conv ReorderOutput QuickGelu",
        "1.25.1": "Conv QuickGelu ReorderOutput",
    },
    "GELU": {"1.24.1": "Conv ReorderOutput Gelu", "1.25.1": "Conv Gelu ReorderOutput"},
    "HardSwish": {
        "1.24.1": "Conv ReorderOutput HardSigmoid Mul ReorderInput Conv ReorderOutput",
        "1.25.1": "Conv HardSigmoid Mul Conv ReorderOutput",
        "1.29.0": "Conv HardSigmoid Mul Conv ReorderOutput",
        "1.30.0": "Conv Conv ReorderOutput",
    },
    "a BatchNormalization of blocks": {
        "1.24.1": "Conv MaxPool ReorderOutput BatchNormalization Relu",
        "1.25.1": "Conv MaxPool Conv ReorderOutput",
    },
    "a Mul of blocks": {
        "1.24.1": "Conv MaxPool ReorderOutput Mul",
        "1.25.1": "Conv MaxPool Conv ReorderOutput",
    },
    "Pad and AveragePool": {
        "1.19.2": "Conv ReorderOutput Pad ReorderInput AveragePool ReorderOutput",
        "1.20.1": "Conv AveragePool ReorderOutput",
    },
    "ConvTranspose": {
        "1.30.0": "Conv ReorderOutput ConvTranspose BatchNormalization",
        "1.32.0": "Conv ReorderOutput ConvTranspose",
    },
    "a head with LeakyRelu": {
        "1.24.1": "Conv GlobalAveragePool ReorderOutput Flatten Gemm LeakyRelu",
        "1.25.1": "Conv GlobalAveragePool ReorderOutput Flatten FusedGemm",
    },
}
"""What these versions ran of parts on a machine with AVX-512."""


@pytest.mark.parametrize("name", SINCE)
def test_versions_are_told_apart(name: str) -> None:
    builder = Builder()
    model = builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3)))
    for version, operators in SINCE[name].items():
        assert [one.op for one in lowered(model, 16, version=version)] == operators.split(), version


def test_operators_without_inputs_or_with_outputs_left_out_are_lowered() -> None:
    """A random tensor reads nothing; of an LSTM only the second output is asked for."""
    builder = Builder((4, 1, 8))
    weights = builder.weight(1, 32, 8), builder.weight(1, 32, 8)
    builder.nodes.append(helper.make_node("LSTM", ["x", *weights], ["", "state"], name="lstm", hidden_size=8))
    noise = builder.op("RandomNormal", shape=[1, 1, 8])
    model = builder.model(builder.op("Reshape", builder.op("Add", "state", noise), builder.sizes(8)))
    ops = [one.op for one in lowered(model, 16)]
    assert sorted(set(ops) - {"RandomNormal"}) == ["Add", "LSTM", "Reshape"]


def test_the_releases_that_profiles_are_tried_with_are_those_that_differ() -> None:
    releases = [Engine(version=version).release for version in RELEASES]
    assert releases == sorted({*SINCE_RELEASE.values(), (1, 17)}, reverse=True)


def test_a_fused_group_names_all_its_layers_once() -> None:
    builder = Builder()
    first = builder.op("Relu", builder.conv("x", 3, 32, 3))
    total = builder.op("Add", builder.batch_norm(builder.conv(first, 32, 32, 3), 32), first)
    network = parse_onnx(builder.model(builder.op("Relu", total)), "graph.onnx")
    kernels = lower(network, Engine("onnxruntime", nchwc_block=16))
    assert [one.kernel.kind for one in kernels] == [
        "ort_nchwc_conv_first",
        "ort_nchwc_conv_window",
        "ort_reorder_output",
    ]
    assert [one.kernel.variant for one in kernels] == ["Relu", "Relu", ""]
    assert [one.kernel["inputs"] for one in kernels] == [1, 2, 1]
    working = {index for index, layer in enumerate(network.layers) if layer.type not in ("Input", "Split")}
    fused = [index for one in kernels[:2] for index in one.layers]
    assert sorted(fused) == sorted(working)
    types = [[network.layers[index].type for index in one.layers] for one in kernels[:2]]
    assert types == [["Convolution", "ReLU"], ["Convolution", "BatchNorm", "Scale", "Eltwise", "ReLU"]]


def test_sizes_are_those_that_are_executed() -> None:
    """Blocks are whole: 5 outputs of 3 channels are 16, and a depthwise convolution has as many groups as channels."""
    builder = Builder()
    model = builder.model(builder.conv(builder.conv("x", 3, 20, 3), 20, 20, 3, group=20))
    first, depthwise, _ = (one.kernel for one in lowered(model, 16))
    assert (first.kind, first["channels"], first["out_channels"]) == ("ort_nchwc_conv_first", 3, 32)
    assert first["parameters"] == 32 * 3 * 9 + 32
    assert (depthwise.kind, depthwise["group"], depthwise["channels"]) == ("ort_nchwc_conv_depthwise", 32, 32)
    assert depthwise["in_elements"] == 32 * 32 * 32
    plain = [one.kernel for one in lowered(model, 0)]
    assert [one.kind for one in plain] == ["ort_conv_window", "ort_conv_depthwise_3x3"]
    assert np.prod([plain[1][name] for name in ("images", "channels", "height", "width")]) == plain[1]["in_elements"]
