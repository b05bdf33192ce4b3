"""What a similar board's model makes of a few measurements of a new one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import estimate_kernels
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import sizes_of
from sitecnn.models.pass_ratio import forward_pass
from sitecnn.models.regression import scaled
from sitecnn.models.transfer import OTHERS_WEIGHT, transfer
from sitecnn.network import parse_prototxt
from sitecnn.workload.kernels import SIZE_NAMES, layer_kernel
from tests.models.fixtures import board


def test_a_board_twice_as_fast_is_found_from_a_handful():
    rows = board(1, noise=0.02)
    model = fit_stack(rows, "known law")
    faster = rows.assign(median_ns=rows["median_ns"] / 2, stack="faster")
    handful = faster[faster["subject"] == "layer"].groupby("kind").head(2)
    layers = rows[rows["subject"] == "layer"]
    kinds, sizes = layers["kind"].to_numpy(dtype=str), sizes_of(layers)
    moved = transfer(model, handful, "faster")
    assert (moved.like, model.like) == (model.stack, "")
    assert estimate_kernels(moved, kinds, sizes).ns.sum() == pytest.approx(layers["median_ns"].sum() / 2, rel=0.1)
    assert (moved.stack, moved.networks) == ("faster", ("net0",))


def test_one_measurement_says_of_all_kinds_how_fast_the_board_is():
    rows = board(2, noise=0.0)
    one = rows[rows["kind"] == "relu"].head(1)
    moved = transfer(fit_stack(rows, "known law"), one.assign(median_ns=one["median_ns"] * 3), "slower")
    layers = rows[rows["subject"] == "layer"]
    estimates = estimate_kernels(moved, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    assert estimates.ns.sum() == pytest.approx(3 * layers["median_ns"].sum(), rel=0.05)
    before = estimate_kernels(fit_stack(rows, "known law"), layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    assert estimates.total_sd_ns / estimates.ns.sum() > before.total_sd_ns / before.ns.sum()


def test_nothing_in_common_is_said():
    rows = board(3)
    model = fit_stack(rows[rows["kind"] != "relu"], "known law")
    with pytest.raises(SiteCNNError, match="no kernel or layer"):
        transfer(model, rows[rows["kind"] == "relu"], "new")


VGG_LIKE = parse_prototxt(
    """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 64 dim: 28 dim: 28 } } }
    layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
            convolution_param { num_output: 96 kernel_size: 3 } }
    layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
    layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" convolution_param { num_output: 96 kernel_size: 3 } }
    layer { name: "r2" type: "ReLU" bottom: "c2" top: "c2" }
    """,
    "vgg-like",
)


def totals(model, factors):
    """What a board that takes `factors` times as long by type would print of VGG_LIKE, as a paper does."""
    rows = []
    for layer_type, factor in factors.items():
        kernels = [layer_kernel(layer).as_dict() for layer in VGG_LIKE.layers if layer.type == layer_type]
        table = pd.DataFrame(kernels).reindex(columns=["kind", *SIZE_NAMES])
        ns = estimate_kernels(model, table["kind"].to_numpy(dtype=str), sizes_of(table)).ns.sum()
        rows.append({"subject": "type", "layer_type": layer_type, "median_ns": factor * ns, "network": "vgg-like"})
    memory = {
        "subject": "memory",
        "network": "vgg-like",
        "total_bytes": 5e6,
        "touched_bytes": 3e6,
        "weights_bytes": 1e6,
    }
    frame = pd.DataFrame([*rows, memory]).assign(batch=1, threads=0, mode="network", processor="cpu")
    return frame.reindex(columns=[*frame, "kind", "gpu_total_bytes", "gpu_base_bytes"])


def test_a_papers_sums_by_type_scale_a_similar_board():
    model = fit_stack(board(4), "known law")
    rows = totals(model, {"Convolution": 3.0, "ReLU": 1.5})
    moved = transfer(model, rows, "printed", lambda name, batch: VGG_LIKE)
    sizes = {name: np.array([column[0]]) for name, column in sizes_of(board(4)).items()}
    # A sum over all layers of a type outweighs what other types say: the network's total comes out as printed.
    for kind, factor in (("convolution", 3.0), ("relu", 1.5)):
        before, after = (estimate_kernels(one, np.array([kind]), sizes).ns[0] for one in (model, moved))
        assert after / before == pytest.approx(factor, rel=0.01)
    assert moved.base_bytes == 2e6


def test_sums_by_type_need_the_networks_definition():
    model = fit_stack(board(5), "known law")
    with pytest.raises(SiteCNNError, match="--networks DIR"):
        transfer(model, totals(model, {"ReLU": 2.0}), "printed")


def test_the_scale_of_each_kind_is_drawn_to_that_of_all_by_how_often_it_was_measured():
    """Four ReLUs 2, one pooling 8 times as slow; of convolutions nothing is known: the median of both, 4 times."""
    rows = board(6, noise=0.0)
    model = replace(
        fit_stack(rows, "known law"), least_ns={"mac": 0.1}, layer_overhead_ns=7.0, unexplained_sd={"layer": 0.1}
    )
    layers = rows[rows["subject"] == "layer"]
    relus, pools = layers[layers["kind"] == "relu"].head(4), layers[layers["kind"] == "pooling"].head(1)
    measured = []
    for part, factor in ((relus, 2.0), (pools, 8.0)):
        ns = estimate_kernels(model, part["kind"].to_numpy(dtype=str), sizes_of(part)).ns
        measured.append(part.assign(median_ns=factor * ns))
    moved = transfer(model, pd.concat(measured), "slower")
    level, spread = np.log(4.0), np.log(2.0)
    shares = {"relu": (np.log(2.0), 4), "pooling": (np.log(8.0), 1), "convolution": (level, 0)}
    for kind, (own, count) in shares.items():
        scale = np.exp(level + count / (count + OTHERS_WEIGHT) * (own - level))
        wanted = scaled(model.kinds[kind], scale, spread / np.sqrt(1 + count))
        assert moved.kinds[kind].coefficients_ns == pytest.approx(wanted.coefficients_ns)
        assert np.array(moved.kinds[kind].covariance) == pytest.approx(np.array(wanted.covariance))
    assert moved.least_ns == pytest.approx({"mac": 0.4})
    assert moved.layer_overhead_ns == pytest.approx(28.0)
    assert moved.forward_ratio == model.forward_ratio
    assert moved.unexplained_sd == pytest.approx({"layer": np.hypot(0.1, 0.15)})


def test_whole_passes_that_were_measured_count_for_a_board_that_is_scaled():
    rows = board(6, noise=0.0)
    model = fit_stack(rows, "known law")
    first = rows[rows["network"] == "net0"].copy()
    whole = first["subject"] == "forward"
    first.loc[whole, "median_ns"] = 0.8 * first.loc[whole, "median_ns"].astype(float)
    moved = transfer(model, first, "x")
    wanted = forward_pass(first, "cpu")
    assert (moved.forward_ratio, moved.layer_overhead_ns, moved.forward_ratio_sd) == pytest.approx(wanted)
    assert moved.forward_ratio < 0.9
