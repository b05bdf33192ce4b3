"""Estimates over the kernels that an engine runs: fused layers stand once, and a network's engine is its file's."""

import json
from dataclasses import replace

import numpy as np
import pytest

import sitecnn
from sitecnn.cli import main
from sitecnn.errors import SiteCNNError
from sitecnn.estimation.estimate import estimate_memory, milliseconds
from sitecnn.estimation.estimate_many import estimate_many
from sitecnn.estimation.offload import Link, offload
from sitecnn.estimation.placement import ZERO_COPY, Copy, place
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import UNSEEN, estimate_pass
from sitecnn.models.lookup import choose_stack
from sitecnn.network import load_network
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import engine_of_stack
from sitecnn.workload.lowering import lower
from sitecnn.workload.stack_names import stack_label
from tests.estimation.fixtures import NETWORKS, board_model, kind_model, stack_model, write_board
from tests.workload.lowering.graphs import Builder

ALEXNET = NETWORKS / "alexnet.prototxt"
ONNXRUNTIME = "onnxruntime-1.32.0+cpu+nchwc-16+fp32+1-threads+clock-unknown"
INT8 = ONNXRUNTIME.replace("fp32", "int8")
CALL_NS = 1000.0


def onnxruntime_stack(stack=ONNXRUNTIME, threads=1):
    """Every kernel takes 1000 ns and 1 ns for each element that it writes, whatever it is."""
    kind = kind_model(UNSEEN, {"calls": CALL_NS, "in_elements": 0.0, "elements": 1.0}, relative_sd=0.01)
    kinds = {UNSEEN: kind, "ort_concat": kind}
    return replace(stack_model("cpu", stack, threads), kinds=kinds, forward_ratio=1.0, forward_ratio_sd=0.0)


@pytest.fixture(scope="module")
def model():
    builder = Builder()
    first = builder.op("Relu", builder.conv("x", 3, 32, 3))
    total = builder.op("Add", builder.batch_norm(builder.conv(first, 32, 32, 3), 32), first)
    return builder.model(builder.op("Softplus", builder.op("Relu", total)))


@pytest.fixture
def network(model):
    return parse_onnx(model, "net.onnx")


@pytest.fixture
def board():
    return board_model(
        "cpu", stacks=[stack_model("cpu", "caffe-1.0.0+openblas"), onnxruntime_stack(INT8), onnxruntime_stack()]
    )


def test_a_fused_layer_takes_nothing_and_names_the_layer_that_does_its_work(network, board):
    estimated = sitecnn.estimate(network, board)
    assert (estimated.stack, estimated.engine.name, estimated.engine.precision) == (ONNXRUNTIME, "onnxruntime", "fp32")
    shown = [(layer.type, layer.fused_into, layer.ms.estimate) for layer in estimated.layers if layer.type != "Split"]
    kernel_ms = (CALL_NS + 32 * 32 * 32) / 1e6
    first, second = (layer.name for layer in estimated.layers if layer.type == "Convolution")
    assert shown[0] == ("Input", None, 0.0)
    assert [one[:2] for one in shown[1:]] == [
        *[("Convolution", None), ("ReLU", first), ("Convolution", None), ("BatchNorm", second), ("Scale", second)],
        *[("Eltwise", second), ("ReLU", second), ("BNLL", None)],
    ]
    # The second convolution has its reorder, too.
    expected = [0, kernel_ms, 0, 2 * kernel_ms, 0, 0, 0, 0, kernel_ms]
    np.testing.assert_allclose([one[2] for one in shown], expected, rtol=1e-6)
    assert estimated.forward_ms.estimate == pytest.approx(sum(expected), rel=1e-6)


def test_a_stack_imported_layer_by_layer_charges_no_fused_layer_again(network):
    imported = board_model("cpu", stacks=[stack_model("cpu", "onnxruntime+nchwc-16+fp32+mine")])
    estimated = sitecnn.estimate(network, imported)
    by_type = {layer.type: layer for layer in estimated.layers}
    assert all(by_type[name].ms.estimate == 0 for name in ("ReLU", "BatchNorm", "Scale", "Eltwise"))
    as_caffe = sitecnn.estimate(network, board_model("cpu", stacks=[stack_model("cpu", "mine")]))
    whole = {layer.name: layer.ms.estimate for layer in as_caffe.layers}
    for layer in estimated.layers:
        assert layer.ms.estimate == (0 if layer.fused_into else whole[layer.name])


def test_the_file_chooses_the_engine_unless_it_is_given(network, board):
    prototxt = load_network(ALEXNET)
    assert engine_of_stack(choose_stack(board, network=prototxt).stack).name == "caffe"
    assert choose_stack(board, network=network).stack == ONNXRUNTIME
    assert choose_stack(board, engine="onnxruntime", network=prototxt).stack == ONNXRUNTIME
    assert choose_stack(board, engine="caffe", network=network).stack.startswith("caffe")
    assert choose_stack(board, "int8", network=network).stack == INT8
    with pytest.raises(SiteCNNError, match=r"engine 'tflite-gpu'.*onnxruntime"):
        choose_stack(board, engine="tflite-gpu", network=network)


def test_a_board_without_the_files_engine_answers_for_what_it_has(network):
    board = board_model("cpu", stacks=[stack_model("cpu", "caffe-1.0.0+openblas")])
    assert sitecnn.estimate(network, board).engine.name == "caffe"


def test_many_networks_take_what_each_takes_alone(network, board):
    many = estimate_many([network, network], board)
    alone = sitecnn.estimate(network, board).forward_ms
    np.testing.assert_allclose(many.estimate_ms, alone.estimate)
    np.testing.assert_allclose(many.high_ms, alone.high)


def test_types_add_up_to_the_pass_with_fused_layers_among_them(network, board):
    estimated = sitecnn.estimate(network, board)
    types = {one.type: one for one in estimated.types}
    assert types["ReLU"].layers == 2
    assert types["ReLU"].ms.estimate == 0
    assert sum(one.ms.estimate for one in estimated.types) == pytest.approx(estimated.forward_ms.estimate)


def test_memory_is_the_base_and_what_the_optimised_graph_needs(network, board):
    """Weights in whole blocks; two buffers for the convolutions and the sum, and one of its own for the result."""
    stack = replace(
        choose_stack(board, network=network), memory_factors={"weights": 2.0, "activations": 3.0, "kernels": 7.0}
    )
    memory = estimate_memory(network, stack, "cpu")
    weights = 4 * (32 * 3 * 9 + 32 + 32 * 32 * 9 + 32)
    assert memory.weights == weights
    plane = 4 * 32 * 32 * 32
    # The sum is written where the first convolution's output lies, and all of it fits into the arena's first MiB.
    assert memory.data == 3 * plane
    assert memory.total == 100 * 2**20 + 2 * weights + 3 * 3 * plane + 7 * 4
    assert (memory.base, memory.workspace, memory.zero_copy_saving) == (100 * 2**20, 0, 0)


def test_a_layer_of_several_kernels_is_as_unsure_as_independent_ones_are_together(network, board):
    """The second convolution has a reorder behind it."""
    stack = choose_stack(board, network=network)
    work = work_of(network, stack)
    kernels = estimate_pass(stack, work.kinds, work.sizes).layers
    estimated = sitecnn.estimate(network, board, level=0.8)
    at = [index for index, layer in enumerate(network.layers) if layer.type == "Convolution"][1]
    mine = work.layer == at
    assert mine.sum() == 2
    sd_ns = np.sqrt((kernels.sd_ns[mine] ** 2).sum())
    assert estimated.layers[at].ms == milliseconds(kernels.ns[mine].sum(), sd_ns, 0.8)


def test_placement_and_offload_go_by_kernels_too(network, board):
    here, gpu = board, board_model("gpu")
    placed = place(network, here, gpu, ZERO_COPY)
    assert placed.all_cpu_ms == pytest.approx(sitecnn.estimate(network, board).forward_ms.estimate)
    split = offload(network, here, gpu, Link(1e-3, 1000.0))
    assert not split.best.leaves_board
    assert split.best.board_ns == pytest.approx(placed.all_cpu_ms * 1e6)


def test_on_one_processor_placement_and_offload_take_what_an_estimate_does():
    """A phone's pass takes more than its kernels, whichever processor its model is said to be of."""
    phone, network = sitecnn.load_board("pixel4", "gpu"), sitecnn.load_network(NETWORKS / "googlenet.prototxt")
    whole_ms = sitecnn.estimate(network, phone).forward_ms.estimate
    placed = place(network, phone, phone, Copy(0.0, 1.0))
    assert (placed.all_cpu_ms, placed.placed_ms.estimate) == pytest.approx((whole_ms, whole_ms))
    assert len(set(placed.on_gpu)) == 1
    away = offload(network, phone, phone, Link(1e9, 0.0))
    assert away.by_depth[0].server_ns == pytest.approx(whole_ms * 1e6) == away.by_depth[-1].board_ns
    assert away.best.total_ms == pytest.approx(whole_ms)
    for split in away.by_depth[1:-1]:
        # Each of the two has its pass's constant.
        assert split.board_ns + split.server_ns == pytest.approx(whole_ms * 1e6 + phone.stacks[0].pass_ns["pass"])


@pytest.fixture
def root(tmp_path, model, board):
    write_board(tmp_path, board)
    (tmp_path / "net.onnx").write_bytes(model)
    return tmp_path


def run(root, capsys, *arguments):
    status = main(["--root", str(root), *map(str, arguments)])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out


def test_the_document_says_engine_precision_and_what_is_fused(root, capsys):
    document = json.loads(run(root, capsys, "estimate", root / "net.onnx", "--board", "tx1", "--json"))
    assert (document["engine"], document["precision"]) == ("onnxruntime", "fp32")
    fused = [layer for layer in document["layers"] if "fused_into" in layer]
    assert [layer["type"] for layer in fused] == ["ReLU", "BatchNorm", "Scale", "Eltwise", "ReLU"]
    assert all(layer["ms"]["estimate"] == 0 for layer in fused)
    caffe = json.loads(
        run(root, capsys, "estimate", root / "net.onnx", "--board", "tx1", "--engine", "caffe", "--json")
    )
    assert caffe["engine"] == "caffe"
    assert not any("fused_into" in layer for layer in caffe["layers"])


def test_the_first_line_says_engine_and_precision(root, capsys):
    lines = run(root, capsys, "estimate", root / "net.onnx", "--board", "tx1", "--layers").splitlines()
    assert lines[0] == f"net, batch 1, on tx1 cpu, {stack_label(ONNXRUNTIME)}"
    second = next(line for line in lines if line.startswith("node2") and " in " not in line)
    assert sum(f" in {second.split()[0]}" in line for line in lines) == 4


def test_other_commands_go_by_the_same_kernels(root, capsys, network, board):
    alone = sitecnn.estimate(network, board).forward_ms.estimate
    advice = run(root, capsys, "advise", root / "net.onnx", "--board", "tx1")
    assert advice.startswith(f"net, batch 1, on tx1 cpu ({stack_label(ONNXRUNTIME)}): {alone:.2f} ms")
    compared = json.loads(run(root, capsys, "compare", root / "net.onnx", "--json"))
    times = {one["stack"]: one["forward_ms"]["estimate"] for one in compared if one["board"] == "tx1"}
    assert times[ONNXRUNTIME] == pytest.approx(alone)
    assert "caffe-1.0.0+openblas" in times


def test_describe_lists_the_kernels_of_an_engine(root, capsys):
    document = json.loads(
        run(root, capsys, "describe", root / "net.onnx", "--engine", "onnxruntime-1.32.0+nchwc-0", "--json")
    )
    network = load_network(root / "net.onnx")
    lowered = lower(network, engine_of_stack("onnxruntime-1.32.0+nchwc-0"))
    assert [one["kind"] for one in document["kernels"]] == [one.kernel.kind for one in lowered]
    assert [len(one["layers"]) for one in document["kernels"]] == [len(one.layers) for one in lowered]
    assert document["kernels"][0]["sizes"]["channels"] == 3
    text = run(root, capsys, "describe", root / "net.onnx", "--engine", "onnxruntime")
    assert "ort_nchwc_conv_first" in text
    assert "kernels" not in json.loads(run(root, capsys, "describe", root / "net.onnx", "--json"))


def test_an_engine_that_there_is_not_is_refused(root, capsys):
    assert main(["describe", str(root / "net.onnx"), "--engine", "tensorrt"]) == 2
    assert "caffe, onnxruntime, tflite-gpu" in capsys.readouterr().err
