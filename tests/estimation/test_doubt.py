"""What is guessed: said as a share of the time, and with its whole doubt in the total's interval."""

from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest

import sitecnn
from sitecnn.cli import main
from sitecnn.estimation.aggregate_variance import aggregate
from sitecnn.models.board_model import UNSEEN, estimate_pass
from sitecnn.models.calibrate import fit_board
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import layer_columns
from sitecnn.workload.kernels import SIZE_NAMES
from tests.estimation.fixtures import NETWORKS, board_model, kind_model, stack_model, without_kinds
from tests.models.fixtures import board as shelf

SIGMOIDS = 'layer { name: "data" type: "Input" top: "b0" input_param { shape { dim: 1 dim: 64 dim: 56 dim: 56 } } }'
SIGMOIDS += "".join(
    f'layer {{ name: "s{index}" type: "Sigmoid" bottom: "b{index}" top: "b{index + 1}" }}' for index in range(9)
)


def guessing(kind, relative_sd=0.8, **costs):
    """A stack that guesses one kind, exact in everything else."""
    exact = replace(
        stack_model("cpu"), forward_ratio=1.0, forward_ratio_sd=0.0, unexplained_sd={"layer": 0, "network": 0}
    )
    costs = {"elements": 1.0, "calls": 0.0} | costs
    guess = replace(kind_model(kind, costs), relative_sd=relative_sd, rows=0, covariance=((0.0,) * 3,) * 3)
    return replace(exact, kinds={**exact.kinds, kind: guess})


def test_the_doubt_of_a_guessed_kind_is_that_of_drawing_its_factor_once_for_all_its_layers():
    stack, network = guessing("sigmoid", 0.5), parse_prototxt(SIGMOIDS, "sigmoids")
    kinds, sizes = layer_columns(network)
    layers = kinds == "sigmoid"
    estimated = estimate_pass(stack, kinds[layers], {name: column[layers] for name, column in sizes.items()})
    factors = np.exp(np.random.default_rng(1).normal(0, 0.5, 1_000_000))
    assert estimated.forward_sd_ns == pytest.approx(estimated.forward_ns * factors.std(), rel=0.01)


def test_many_guessed_layers_are_no_surer_than_one():
    board = board_model("cpu", stacks=[guessing("sigmoid")])
    whole = sitecnn.estimate(parse_prototxt(SIGMOIDS, "sigmoids"), board)
    layer = whole.layers[-1].ms
    assert whole.forward_ms.high / whole.forward_ms.estimate >= layer.high / layer.estimate


def test_a_guess_beside_what_is_known_reaches_as_far_as_drawing_it_does():
    """A convolution that is known exactly and as much time that is known to a factor: 95 % of the draws are below."""
    sure = 'layer { name: "conv" type: "Convolution" bottom: "b9" top: "c" '
    sure += "convolution_param { num_output: 64 kernel_size: 3 } }"
    stack, network = guessing("sigmoid", 0.8), parse_prototxt(SIGMOIDS + sure, "both")
    exact = replace(kind_model("convolution", {"macs": 0.1, "elements": 0.0}, 1e-9), rows=100)
    stack = replace(stack, kinds={**stack.kinds, "convolution": exact})
    estimated = sitecnn.estimate(network, board_model("cpu", stacks=[stack]))
    guessed = sum(layer.ms.estimate for layer in estimated.layers if not layer.modelled)
    known = estimated.forward_ms.estimate - guessed
    drawn = known + guessed * np.exp(np.random.default_rng(2).normal(0, 0.8, 100_000))
    assert estimated.forward_ms.high == pytest.approx(np.quantile(drawn, 0.95), rel=0.25)
    assert estimated.modelled_fraction == pytest.approx(known / (known + guessed))


def test_an_unknown_kind_is_known_to_a_factor_of_five_at_best():
    network = parse_prototxt(SIGMOIDS.replace("Sigmoid", "TanH"), "tanh")
    estimated = sitecnn.estimate(network, board_model("cpu", stacks=[without_kinds(guessing("sigmoid"), "tanh")]))
    assert estimated.forward_ms.high / estimated.forward_ms.estimate > 4
    assert all(layer.unknown for layer in estimated.layers[1:])


def test_sums_know_the_doubt_of_guesses_as_passes_do():
    stack, network = guessing("sigmoid"), parse_prototxt(SIGMOIDS, "sigmoids")
    kinds, sizes = layer_columns(network)
    ns, sd_ns = aggregate(stack, kinds, sizes, np.zeros(len(kinds), dtype=int), 1)
    estimated = estimate_pass(stack, kinds, sizes)
    assert (ns[0], sd_ns[0]) == pytest.approx((estimated.forward_ns, estimated.forward_sd_ns))


def test_what_is_modelled_is_a_share_of_the_time_not_of_the_macs():
    """Sigmoids have no MACs, and take half the time here."""
    board = board_model("cpu", stacks=[guessing("sigmoid")])
    estimated = sitecnn.estimate(parse_prototxt(SIGMOIDS, "sigmoids"), board)
    assert estimated.modelled_macs_fraction == 1
    guessed = sum(layer.ms.estimate for layer in estimated.layers if layer.type == "Sigmoid")
    assert estimated.modelled_fraction == pytest.approx(
        1 - guessed / sum(layer.ms.estimate for layer in estimated.layers)
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_a_kind_of_which_next_to_nothing_was_measured_is_guessed(rows):
    stack = stack_model("cpu")
    few = {kind: replace(one, rows=rows if kind != UNSEEN else 50) for kind, one in stack.kinds.items()}
    estimated = sitecnn.estimate(
        sitecnn.load_network(NETWORKS / "alexnet.prototxt"), board_model("cpu", stacks=[replace(stack, kinds=few)])
    )
    assert estimated.modelled_fraction == 0
    assert estimated.is_whole, "something is known of each kind, so there is a total"


def gemms(*sizes):
    """What a board without an engine measures: multiplications at 10 GMAC/s."""
    rows = pd.DataFrame([{"m": m, "n": n, "k": k, "median_ns": m * n * k / 10} for m, n, k in sizes])
    rows = rows.assign(kind="gemm", subject="kernel", mode="warm", trans_a=0, trans_b=0, accumulate=0, variant="")
    rows = rows.reindex(columns=[*dict.fromkeys([*rows.columns, *SIZE_NAMES])])
    return rows.assign(stack="blas", threads=1, network=None, batch=None, processor="cpu", status="ok")


def test_a_model_of_a_blas_alone_says_that_it_guesses_and_how_far():
    """Real Caffe took 1.7 times as long on SqueezeNet as its multiplications, which is inside the interval."""
    rows = gemms(*((m, n, k) for m in (16, 64, 256) for n in (49, 196, 784, 3025) for k in (64, 256, 1024)))
    board = fit_board(rows, "shelf", "cpu", {})
    estimated = sitecnn.estimate(sitecnn.load_network(NETWORKS / "squeezenet1.0.prototxt"), board)
    assert estimated.modelled_fraction < 0.05 and estimated.modelled_macs_fraction == 0
    assert estimated.is_whole
    assert (
        estimated.forward_ms.low
        < estimated.forward_ms.estimate
        < 1.7 * estimated.forward_ms.estimate
        < estimated.forward_ms.high
    )


def test_three_imported_layers_do_not_make_a_whole_model():
    rows = shelf(2, networks=1)
    three = rows[rows["subject"] == "layer"].groupby("kind").head(1).assign(processor="cpu")
    estimated = sitecnn.estimate(
        sitecnn.load_network(NETWORKS / "alexnet.prototxt"), fit_board(three, "shelf", "cpu", {})
    )
    assert estimated.modelled_fraction < 0.05 and estimated.modelled_macs_fraction < 0.05
    assert estimated.forward_ms.high > 2 * estimated.forward_ms.low


def test_the_text_says_how_much_of_the_time_is_guessed(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(SIGMOIDS)
    main(["estimate", str(tmp_path / "net.prototxt"), "--board", "tx1", "--processor", "cpu"])
    out = capsys.readouterr().out
    assert "of the time is guessed: s0, s1, s2, s3 and 5 more" in out
    assert "100% of the MACs modelled" not in out


@pytest.mark.parametrize(("inner", "is_whole"), [("Conv(x, w)", False), ("Relu(x)", True)])
def test_a_network_whose_products_stand_in_a_branch_has_no_total(inner, is_whole, tmp_path, capsys):
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    made (float[1, 3, 8, 8] x, bool choice, float[3, 3, 1, 1] w) => (float[1, 3, 8, 8] y) {{
        y = If (choice) <then_branch = a () => (float[1, 3, 8, 8] b) {{ b = {inner} }},
                         else_branch = c () => (float[1, 3, 8, 8] d) {{ d = {inner} }}>
    }}"""
    path = tmp_path / "branch.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    assert sitecnn.estimate(sitecnn.load_network(path), sitecnn.load_board("tx1", "cpu")).is_whole == is_whole
    assert main(["estimate", str(path), "--board", "tx1"]) == 0
    assert ("no total: nothing is known about " in capsys.readouterr().out) != is_whole
    assert main(["compare", str(path), "--board", "tx1"]) == 0
    assert ("MACs not counted" in capsys.readouterr().out) != is_whole
