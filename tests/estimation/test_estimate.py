"""Estimates through the Python API, against closed forms, simulation and each other."""

import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

import sitecnn
from sitecnn.errors import SiteCNNError
from sitecnn.estimation.aggregate_variance import aggregate
from sitecnn.estimation.budget_check import Budget, check_budget
from sitecnn.estimation.estimate import Milliseconds
from sitecnn.models.board_model import estimate_pass
from sitecnn.models.lookup import choose_stack, free_bytes, other_processor
from sitecnn.models.model_files import known_models
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import layer_columns
from sitecnn.workload.kernels import macs
from sitecnn.workload.memory import footprint_bytes, memory
from tests.estimation.fixtures import NETWORKS, board_model, kind_model, stack_model, without_kinds, write_board

ONE_CONVOLUTION = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 } }
"""


@pytest.fixture(params=["alexnet", "googlenet", "resnet50", "vgg16"])
def network(request):
    return sitecnn.load_network(NETWORKS / f"{request.param}.prototxt")


def test_importing_sitecnn_loads_nothing_else():
    code = "import sys, sitecnn; print(sitecnn.__version__, *{'numpy', 'pandas', 'google.protobuf'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [sitecnn.__version__]


def test_estimating_needs_neither_pandas_nor_scipy(tmp_path):
    write_board(tmp_path, board_model("cpu"))
    arguments = ["--root", str(tmp_path), "estimate", str(NETWORKS / "alexnet.prototxt"), "--board", "tx1"]
    loaded = "print(*{'pandas', 'scipy'} & set(sys.modules))"
    code = f"import sys; from sitecnn.cli import main; main({arguments!r}); {loaded}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("name", [name for name in sitecnn.__all__ if not name.startswith("_")])
def test_every_public_name_is_documented(name):
    assert getattr(sitecnn, name).__doc__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'estimat'"):
        _ = sitecnn.estimat


def test_a_convolutions_time_is_its_work_times_the_coefficients():
    costs = {"macs": 7.0, "gemm_calls": 100.0, "weights_elements": 0.0, "elements": 0.0}
    stack = stack_model("cpu")
    stack = replace(stack, kinds={**stack.kinds, "convolution": kind_model("convolution", costs)}, forward_ratio=1.0)
    estimated = sitecnn.estimate(parse_prototxt(ONE_CONVOLUTION, "test"), board_model("cpu", stacks=[stack]))
    # 2 images × 4 × 7 × 7 outputs, each of 3 × 3 × 3 products; a gemm for each image.
    work_ms = (2 * 4 * 49 * 27 * 7.0 + 2 * 100.0) / 1e6
    assert estimated.layers[1].ms.estimate == pytest.approx(work_ms)
    assert estimated.layers[1].ms.low < work_ms < estimated.layers[1].ms.high


def test_types_add_up_to_the_forward_pass(network):
    estimated = sitecnn.estimate(network, board_model("gpu"))
    assert sum(one.ms.estimate for one in estimated.types) == pytest.approx(estimated.forward_ms.estimate)
    assert sum(one.layers for one in estimated.types) == len(network.layers)
    assert sum(one.macs for one in estimated.types) == sum(map(macs, network.layers))


def test_sums_of_everything_are_the_forward_pass(network):
    stack = stack_model("gpu")
    kinds, sizes = layer_columns(network)
    ns, sd_ns = aggregate(stack, kinds, sizes, np.zeros(len(kinds), dtype=int), 1)
    estimated = estimate_pass(stack, kinds, sizes)
    assert ns[0] == pytest.approx(estimated.forward_ns)
    assert sd_ns[0] == pytest.approx(estimated.forward_sd_ns)


def test_the_standard_error_of_a_difference_is_what_drawing_models_gives():
    """Coefficients drawn from their covariance and scatter from its own, 4,000 times."""
    stack = replace(
        stack_model("gpu"), forward_ratio=1.0, forward_ratio_sd=0.0, unexplained_sd={"layer": 0, "network": 0}
    )
    one, eight = (sitecnn.load_network(NETWORKS / "alexnet.prototxt", batch=batch) for batch in (1, 8))
    kinds, sizes = layer_columns(replace(one, layers=one.layers + eight.layers))
    weight = np.repeat([1.0, -1 / 8], len(one.layers))
    ns, sd_ns = aggregate(stack, kinds, sizes, np.zeros(len(kinds), dtype=int), 1, weight)
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(4000):
        drawn = {
            kind: replace(
                fitted,
                coefficients_ns=tuple(rng.multivariate_normal(fitted.coefficients_ns, fitted.covariance)),
            )
            for kind, fitted in stack.kinds.items()
            if kind in set(kinds)
        }
        layers = estimate_pass(replace(stack, kinds={**stack.kinds, **drawn}), kinds, sizes).layers.ns
        draws.append(weight @ layers)
    scatter = 0.05 * weight * estimate_pass(stack, kinds, sizes).layers.ns
    assert ns[0] == pytest.approx(np.mean(draws), rel=0.02)
    assert sd_ns[0] == pytest.approx(np.sqrt(np.var(draws) + (scatter**2).sum()), rel=0.05)


def test_what_a_model_misses_of_a_layer_cancels_in_its_difference_with_itself(network):
    kinds, sizes = layer_columns(replace(network, layers=network.layers * 2))
    count = len(network.layers)
    weight, layer, group = np.repeat([1.0, -1.0], count), np.tile(np.arange(count), 2), np.zeros(2 * count, dtype=int)
    ns, sd_ns = aggregate(stack_model("cpu"), kinds, sizes, group, 1, weight, layer)
    assert (ns[0], sd_ns[0]) == pytest.approx((0, 0), abs=1e-3)
    _, apart = aggregate(stack_model("cpu"), kinds, sizes, group, 1, weight)
    assert apart[0] > 0


def test_many_networks_at_once_are_the_same_as_one_by_one():
    board = board_model("gpu")
    paths = sorted(path for path in NETWORKS.iterdir() if path.suffix in (".prototxt", ".onnx"))
    networks = [sitecnn.load_network(path, batch=batch) for path in paths for batch in (1, 3)]
    estimates = sitecnn.estimate_many(networks, board, level=0.8)
    single = [sitecnn.estimate(network, board, level=0.8).forward_ms for network in networks]
    assert estimates.estimate_ms.tolist() == pytest.approx([ms.estimate for ms in single])
    assert estimates.low_ms.tolist() == pytest.approx([ms.low for ms in single])
    assert estimates.high_ms.tolist() == pytest.approx([ms.high for ms in single])
    assert estimates.to_frame()["network"].tolist() == [network.name for network in networks]


def test_no_networks_have_no_times():
    assert sitecnn.estimate_many([], board_model("cpu")).estimate_ms.shape == (0,)


def test_a_frame_has_a_row_per_layer(network):
    frame = sitecnn.estimate(network, board_model("cpu")).to_frame()
    assert frame["layer"].tolist() == [layer.name for layer in network.layers]
    assert (frame["low_ms"] <= frame["ms"]).all()


def test_memory_is_the_posters_table(network):
    weights = memory(network).weights_bytes
    for processor, copies in (("cpu", 0), ("gpu", 1)):
        estimated = sitecnn.estimate(network, board_model(processor)).memory_bytes
        assert estimated.total == 100 * 2**20 + footprint_bytes(network) + copies * weights
        assert estimated.zero_copy_saving == copies * weights


def test_a_kind_that_was_never_measured_takes_the_total_away():
    board = board_model("cpu", stacks=[without_kinds(stack_model("cpu"), "convolution")])
    estimated = sitecnn.estimate(sitecnn.load_network(NETWORKS / "vgg16.prototxt"), board)
    assert estimated.modelled_fraction < 0.95
    assert not estimated.is_whole
    assert "conv1_1" in estimated.unmodelled


def test_chance_is_the_intervals_own():
    ms = Milliseconds(100.0, 80.0, 125.0)
    assert ms.chance_below(125.0, 0.9) == pytest.approx(0.95)
    assert ms.chance_below(80.0, 0.9) == pytest.approx(0.05)
    assert ms.chance_below(100.0, 0.9) == pytest.approx(0.5)


def test_the_tighter_time_budget_counts():
    assert Budget(ms=100, images_per_second=20).limit_ms(batch=4) == 100
    assert Budget(ms=300, images_per_second=20).limit_ms(batch=4) == 200
    assert Budget().limit_ms(batch=4) is None


def test_the_largest_batch_fits_and_one_more_does_not():
    path = NETWORKS / "googlenet.prototxt"
    board, limit = board_model("cpu"), 10**9

    def at_batch(images):
        return sitecnn.load_network(path, batch=images)

    checked = check_budget(at_batch(1), board, Budget(memory_bytes=limit), at_batch=at_batch)
    totals = [sitecnn.estimate(at_batch(checked.largest_batch + more), board).memory_bytes.total for more in (0, 1)]
    assert totals[0] <= limit < totals[1]


def test_own_models_come_before_shipped_ones_and_names_are_matched(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    monkeypatch.setattr("sitecnn.models.model_files.SHIPPED", shipped / "results" / "models")
    write_board(shipped, board_model("gpu", "tx1", origin="shipped"))
    write_board(shipped, board_model("cpu", "rk-3399", origin="shipped"))
    assert sitecnn.load_board("tx1", "gpu", root=tmp_path).provenance["origin"] == "shipped"
    write_board(tmp_path, board_model("gpu", "tx1", origin="own"))
    assert sitecnn.load_board("tx1", root=tmp_path).provenance["origin"] == "own"
    assert set(known_models(tmp_path)) == {("tx1", "gpu"), ("rk-3399", "cpu")}
    with pytest.raises(SiteCNNError, match="no board 'tx2': did you mean 'tx1'"):
        sitecnn.load_board("tx2", root=tmp_path)
    with pytest.raises(SiteCNNError, match="processor cpu; it has: gpu"):
        sitecnn.load_board("tx1", "cpu", root=tmp_path)
    assert other_processor(sitecnn.load_board("tx1", root=tmp_path), tmp_path) is None


def test_a_model_file_is_a_board_too(tmp_path):
    write_board(tmp_path, board_model("gpu", free_bytes=5))
    board = sitecnn.load_board(tmp_path / "results" / "models" / "tx1-gpu.json")
    assert (board.board, board.processor, free_bytes(board)) == ("tx1", "gpu", 5)


def test_stacks_are_chosen_by_name_and_threads():
    board = board_model("cpu", stacks=[stack_model("cpu", "OpenBLAS", 1), stack_model("cpu", "OpenBLAS", 4)])
    assert choose_stack(board, "openblas", 4).threads == 4
    with pytest.raises(SiteCNNError, match="no stack 'atlas'; its model has: 'OpenBLAS'"):
        choose_stack(board, "atlas")
    assert choose_stack(board, threads=2).threads == 2
    with pytest.raises(SiteCNNError, match="no 8 threads"):
        choose_stack(board, threads=8)


def test_a_level_that_is_no_probability_is_refused():
    with pytest.raises(SiteCNNError, match=r"level 1\.5"):
        sitecnn.estimate(parse_prototxt(ONE_CONVOLUTION, "test"), board_model("cpu"), level=1.5)
    with pytest.raises(SiteCNNError, match=r"level 1\.5"):
        sitecnn.estimate_many([parse_prototxt(ONE_CONVOLUTION, "test")], board_model("cpu"), level=1.5)


def test_a_torch_module_is_read_through_its_onnx_export(monkeypatch):
    """PyTorch's place is taken by an exporter that writes what `torch.onnx.export` writes for one convolution."""
    onnx = pytest.importorskip("onnx")

    def export(module, arguments, path):
        assert arguments == ("an input",)
        helper = onnx.helper
        weight = helper.make_tensor("weight", onnx.TensorProto.FLOAT, (4, 3, 3, 3), np.zeros(108))
        bias = helper.make_tensor("bias", onnx.TensorProto.FLOAT, (4,), np.zeros(4))
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "weight", "bias"], ["y"], name="conv", kernel_shape=[3, 3])],
            "main_graph",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (2, 3, 9, 9))],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (2, 4, 7, 7))],
            [weight, bias],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)

    exporter = types.ModuleType("torch.onnx")
    exporter.export = export
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "torch.onnx", exporter)
    network = sitecnn.load_module(object(), "an input")
    assert sum(map(macs, network.layers)) == 2 * 4 * 49 * 27
    assert sitecnn.estimate(network, board_model("cpu")).forward_ms.estimate > 0


def test_without_torch_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SiteCNNError, match="needs PyTorch"):
        sitecnn.load_module(object(), "an input")
