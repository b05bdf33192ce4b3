"""Fits against the law that made the data, and against what statistics promises of their intervals."""

import json

import numpy as np
import pandas as pd
import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import UNSEEN, estimate_kernels, estimate_pass, interval, load, save
from sitecnn.models.calibrate import fit_board, held_out_cases
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import sizes_of, with_steady_times, without_networks
from sitecnn.models.pass_ratio import forward_pass
from sitecnn.models.priors import SHIPPED_PRIORS
from sitecnn.workload.kernels import SIZE_NAMES
from tests.models.fixtures import NS, board, true_ns


def test_the_law_is_found_where_there_is_no_noise():
    model = fit_stack(board(1, noise=0.0), "known law")
    relu = dict(zip(model.kinds["relu"].features, model.kinds["relu"].coefficients_ns, strict=True))
    # In and out are one number for a ReLU, so only their sum is determined.
    assert relu.get("in_elements", 0) + relu.get("out_elements", 0) == pytest.approx(2.0, rel=1e-6)
    pooling = dict(zip(model.kinds["pooling"].features, model.kinds["pooling"].coefficients_ns, strict=True))
    # What other boards take for a window weighs as one measurement among 24.
    assert pooling["calls"] == pytest.approx(NS["calls"], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_was_not_seen_is_estimated_to_the_noise(seed):
    rows = board(seed, noise=0.03)
    for case in held_out_cases(rows, "known law"):
        assert case.estimate.forward_ns == pytest.approx(case.measured_forward_ns, rel=0.08)


def test_one_wild_measurement_does_not_move_the_rest():
    rows = board(2, noise=0.02)
    wild = rows.copy()
    first = wild.index[wild["kind"] == "relu"][0]
    wild.loc[first, "median_ns"] *= 50
    relus = rows[rows["kind"] == "relu"]
    estimates = [
        estimate_kernels(fit_stack(data, "known law"), relus["kind"].to_numpy(dtype=str), sizes_of(relus)).ns
        for data in (rows, wild)
    ]
    assert estimates[1] == pytest.approx(estimates[0], rel=0.05)


def test_coefficients_are_never_negative():
    model = fit_stack(board(3, noise=0.3), "known law")
    assert all(value >= 0 for kind in model.kinds.values() for value in kind.coefficients_ns)


def test_a_held_out_network_takes_its_kernels_along():
    rows = board(4)
    alone = rows[rows["subject"] == "layer"].assign(subject="kernel", mode="cold", network=None, batch=None, layer=None)
    left = without_networks(pd.concat([rows, alone], ignore_index=True), ["net0"])
    assert "net0" not in set(left["network"])
    identity = ["kind", *SIZE_NAMES]
    own = rows[(rows["network"] == "net0") & (rows["subject"] == "layer")][identity]
    left_kernels = left[left["subject"] == "kernel"][identity]
    assert pd.merge(own, left_kernels, on=identity).empty
    assert len(left_kernels) == len(alone) - len(own)


def test_a_kind_that_was_never_measured_is_a_guess_and_says_so():
    rows = board(5)
    model = fit_stack(rows[rows["kind"] != "pooling"], "known law")
    assert UNSEEN in model.kinds
    pools = rows[rows["kind"] == "pooling"]
    estimates = estimate_kernels(model, pools["kind"].to_numpy(dtype=str), sizes_of(pools))
    assert not estimates.modelled.any()
    assert estimates.extrapolated.all()
    assert (estimates.ns > 0).all()


def test_work_beyond_what_was_seen_is_extrapolated():
    rows = board(6)
    relus = rows[rows["kind"] == "relu"].head(1)
    sizes = sizes_of(relus.assign(in_elements=1e12, out_elements=1e12))
    estimates = estimate_kernels(fit_stack(rows, "known law"), np.array(["relu"]), sizes)
    assert estimates.extrapolated.all()
    assert estimates.modelled.all()


def test_errors_that_layers_share_add_up_in_the_total():
    """n equal layers: their coefficients' error grows as n, their own scatter as √n."""
    rows = board(7, noise=0.1)
    model = fit_stack(rows, "known law")
    one = rows[rows["kind"] == "relu"].head(1)
    many = pd.concat([one] * 100)
    estimates = (estimate_pass(model, part["kind"].to_numpy(dtype=str), sizes_of(part)) for part in (one, many))
    sd_one, sd_many = (estimate.layers.total_sd_ns for estimate in estimates)
    assert 10 * sd_one < sd_many < 100 * sd_one


def test_a_model_file_is_readable_json_and_comes_back_the_same(tmp_path):
    model = fit_board(board(8), "shelf", "cpu", {"source": "drawn"})
    path = tmp_path / "shelf-cpu.json"
    save(model, path)
    assert load(path) == model
    assert json.loads(path.read_text())["provenance"]["source"] == "drawn"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "stacks": [{}]}', "\x00"])
def test_a_spoilt_model_file_is_one_line(tmp_path, text):
    path = tmp_path / "spoilt.json"
    path.write_text(text)
    with pytest.raises(SiteCNNError, match=r"spoilt\.json"):
        load(path)


def test_one_network_only_cannot_be_held_out_and_gets_wide_intervals():
    rows = board(9, networks=1)
    lone = {part: SHIPPED_PRIORS.number(f"lone_{part}_sd").ns for part in ("layer", "network")}
    assert list(held_out_cases(rows, "known law")) == []
    assert fit_board(rows, "shelf", "cpu", {}).stacks[0].unexplained_sd == lone


def test_one_measurement_of_a_kind_gives_an_estimate_and_a_wide_interval():
    rows = board(10)
    first = rows.index[rows["kind"] == "relu"][0]
    few = rows[(rows["kind"] != "relu") | (rows.index == first)]
    relus = rows.loc[[first]]
    estimates = estimate_kernels(fit_stack(few, "known law"), np.array(["relu"]), sizes_of(relus))
    low, high = interval(float(estimates.ns[0]), float(estimates.sd_ns[0]), 0.9)
    assert estimates.ns[0] == pytest.approx(true_ns("relu", relus)[0], rel=0.3)
    assert high / low > 5


def test_what_disturbs_a_machine_for_a_while_does_not_reach_the_model():
    """A third of the kernels is measured while something else takes the machine every other time."""
    rng = np.random.default_rng(11)
    rows = board(11, noise=0.0)
    layers = rows["subject"] == "layer"
    disturbed = layers & (rng.random(len(rows)) < 1 / 3)
    samples = [
        list(ns * np.where(rng.random(20) < (0.5 if bad else 0.1), 2.0, rng.uniform(1, 1.02, 20)))
        for ns, bad in zip(rows["median_ns"], disturbed, strict=True)
    ]
    rows = rows.assign(samples_ns=samples, median_ns=list(map(np.median, samples)), truth=rows["median_ns"])
    steady = with_steady_times(rows)
    ratios = (steady["median_ns"] / rows["truth"])[layers].astype(float)
    assert ratios.std() / ratios.mean() < 0.02
    assert ratios.mean() == pytest.approx(
        rows.loc[layers, "median_ns"].sum() / rows.loc[layers, "truth"].sum(), rel=0.02
    )


def test_few_samples_are_left_alone():
    rows = board(12).assign(samples_ns=[[1.0, 2.0, 3.0]] * len(board(12)))
    assert (with_steady_times(rows)["median_ns"] == rows["median_ns"]).all()


def passes(networks, ratio, layer_ns):
    """Networks of 10, 20, … layers of 2 ms, and their whole passes."""
    rows = []
    for index in range(networks):
        count = 10 * (index + 1)
        whole = ratio * count * 2e6 + layer_ns * count
        rows += [{"network": f"net{index}", "subject": "layer", "median_ns": 2e6}] * count
        rows.append({"network": f"net{index}", "subject": "forward", "median_ns": whole})
    return pd.DataFrame(rows).assign(batch=1)


def test_whole_passes_are_related_to_their_layers():
    ratio, layer_ns, _ = forward_pass(passes(6, 0.97, 0.0), "cpu")
    assert ratio + layer_ns / 2e6 == pytest.approx(0.97, abs=0.003)
    assert forward_pass(passes(0, 1, 0).reindex(columns=["network", "batch", "subject", "median_ns"]), "gpu") == (
        1,
        0,
        0.02,
    )


def test_an_unmeasured_relative_is_a_guess_of_the_same_order():
    rows = board(13)
    model = fit_stack(rows, "known law")
    convolutions = rows[rows["kind"] == "convolution"]
    sizes = sizes_of(convolutions)
    backwards = sizes | {"channels": sizes["out_channels"], "out_channels": sizes["channels"]}
    known = estimate_kernels(model, np.full(len(convolutions), "convolution"), sizes)
    estimates = estimate_kernels(model, np.full(len(convolutions), "deconvolution"), backwards)
    assert estimates.ns == pytest.approx(known.ns, rel=0.01)
    assert not estimates.modelled.any() and (estimates.sd_ns > 5 * known.sd_ns).all()
