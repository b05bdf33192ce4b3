"""What ONNX Runtime runs of a network equals what the installed one says that it ran: operators, shapes and counts."""

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
from tests.workload.lowering.parts import PARTS

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


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_networks_run_as_lowered(name: str, block: int, tmp_path: Path) -> None:
    builder = Builder()
    check(builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


@pytest.mark.parametrize("opset", [13, 16])
@pytest.mark.parametrize("name", [name for name in PARTS if "normalisation" in name or "attention" in name])
def test_a_files_operator_set_decides_when_layer_normalisation_is_found(
    name: str, opset: int, block: int, tmp_path: Path
) -> None:
    builder = Builder(opset=opset)
    check(builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


@pytest.mark.parametrize("opset", [13, 18, 19])
def test_enlargements_of_newer_operator_sets_stay_on_blocks_since_1_25(opset: int, block: int, tmp_path: Path) -> None:
    """As 1.24.1 and 1.25.1 ran it on a machine with AVX-512."""
    builder = Builder(opset=opset)
    model = builder.model(PARTS["nearest Resize"](builder, builder.conv("x", 3, 32, 3)))
    check(model, tmp_path, block)
    assert "Upsample" in [one.op for one in lowered(model, 16, version="1.25.1")]
    assert ("Upsample" in [one.op for one in lowered(model, 16, version="1.24.1")]) == (opset == 13)


@pytest.mark.parametrize(("readers", "is_read"), [(1, False), (2, False), (1, True)])
def test_what_is_not_swaps_the_branches_of_a_where(readers: int, is_read: bool, block: int, tmp_path: Path) -> None:
    """Swin's masks."""
    builder = Builder()
    x = builder.conv("x", 3, 32, 3)
    mask = builder.op("Not", builder.op("Equal", builder.op("Relu", x), builder.constant(0.0)))
    parts = [builder.op("Where", mask, x, builder.constant(-1.0 - place)) for place in range(readers)]
    parts += [builder.op("Cast", mask, to=1)] if is_read else []
    check(builder.model(builder.op("Sum", *parts, builder.op("Tanh", x))), tmp_path, block)


def test_gathers_of_older_operator_sets_are_no_split(block: int, tmp_path: Path) -> None:
    builder = Builder(opset=12)
    check(builder.model(PARTS["every index"](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_what_recurrent_layers_pack_is_not_shown(
    kind: str, gates: int, direction: str, block: int, tmp_path: Path
) -> None:
    builder, directions = Builder((5, 1, 16)), 1 + (direction == "bidirectional")
    weights = [builder.weight(directions, gates * 8, size) for size in (16, 8)]
    bias = builder.weight(directions, 2 * gates * 8)
    made = builder.op(kind, "x", *weights, bias, hidden_size=8, direction=direction)
    check(builder.model(builder.op("Relu", made)), tmp_path, block)


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
    "Pad and MaxPool": {
        "1.19.2": "Conv ReorderOutput Pad ReorderInput MaxPool ReorderOutput",
        "1.20.1": "Conv MaxPool ReorderOutput",
        "1.31.0": "Conv MaxPool ReorderOutput",
        "1.32.0": "Conv ReorderOutput Pad ReorderInput MaxPool ReorderOutput",
    },
    "ConvTranspose": {
        "1.30.0": "Conv ReorderOutput ConvTranspose BatchNormalization",
        "1.31.0": "Conv ReorderOutput ConvTranspose",
    },
    "layer normalisation": {
        "1.19.2": "Conv ReorderOutput Reshape ReduceMean Sub Transpose SimplifiedLayerNormalization Add",
        "1.20.1": "Conv ReorderOutput Reshape Transpose LayerNormalization",
    },
    "a head with LeakyRelu": {
        "1.24.1": "Conv GlobalAveragePool ReorderOutput Flatten Gemm LeakyRelu",
        "1.25.1": "Conv GlobalAveragePool ReorderOutput Flatten FusedGemm",
    },
}
"""What these versions ran of parts on a machine with AVX-512."""


@pytest.mark.parametrize("name", SINCE)
def test_versions_are_told_apart(name: str) -> None:
    for version, operators in SINCE[name].items():
        assert operators_of(name, 16, version) == operators.split(), version


def operators_of(name: str, block: int, version: str) -> list[str]:
    """What a version makes of a part behind a convolution, in order."""
    builder = Builder()
    model = builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3)))
    return [one.op for one in lowered(model, block, version=version)]


PARTED_SINCE = {
    "chunks": {"1.17.3": "Slice Slice", "1.18.1": "Split"},
    "every index": {"1.17.3": "Split Squeeze Squeeze", "1.18.1": "Split Squeeze Squeeze"},
    "every index, and the whole": {"1.17.3": "Gather Gather", "1.18.1": "Split Squeeze Squeeze"},
    "attention": {
        "1.27.0": "Split Squeeze Squeeze Squeeze Transpose Transpose Transpose",
        "1.28.0": "Split Squeeze Squeeze Squeeze Transpose Transpose Transpose Transpose Transpose",
    },
}
"""What takes parts of a tensor or turns it, of what these versions made of parts of networks."""


@pytest.mark.parametrize("name", PARTED_SINCE)
def test_versions_are_told_apart_by_how_they_take_parts_of_a_tensor(name: str) -> None:
    taking = {"Gather", "Slice", "Split", "Squeeze", "Transpose"}
    for version, operators in PARTED_SINCE[name].items():
        assert sorted(op for op in operators_of(name, 8, version) if op in taking) == operators.split(), version


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


@pytest.mark.parametrize("gate_first", [False, True])
def test_a_gate_is_a_kernel_of_what_it_gates_whichever_comes_first(gate_first: bool) -> None:
    builder = Builder()
    image = builder.conv("x", 3, 20, 3)
    pair = [image, builder.op("GlobalAveragePool", image)]
    model = builder.model(builder.op("Mul", *(pair[::-1] if gate_first else pair)))
    (one,) = (found.kernel for found in lowered(model, 0) if found.kernel.kind == "ort_mul_broadcast")
    assert (one["channels"], one["height"]) == (20, one["out_height"]) and one["window"] == one["out_height"] ** 2
