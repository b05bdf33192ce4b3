"""Data that tell little or nothing: a model that says so, or one line; never a wrong number as if it were right."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.models.board_model import estimate_kernels, estimate_pass, interval, load, save
from sitecnn.models.calibrate import fit_board
from sitecnn.models.evaluate import evaluate
from sitecnn.models.measurements import sizes_of
from tests.estimation.fixtures import NETWORKS
from tests.models.fixtures import board


def layers_of(rows):
    layers = rows[rows["subject"] == "layer"]
    return layers, layers["kind"].to_numpy(dtype=str), sizes_of(layers)


def assert_sound(model, rows):
    """Every estimate is a number that is not negative, in an interval around it."""
    _, kinds, sizes = layers_of(rows)
    estimates = estimate_kernels(model, kinds, sizes)
    assert np.isfinite(estimates.ns).all() and (estimates.ns >= 0).all()
    assert np.isfinite(estimates.sd_ns).all()
    whole = estimate_pass(model, kinds, sizes)
    low, high = interval(whole.forward_ns, whole.forward_sd_ns, 0.9)
    assert 0 < low < whole.forward_ns < high


def test_one_point_is_extrapolated_from_with_a_wide_interval():
    rows = board(1, networks=1)
    one = rows[rows["kind"] == "convolution"].head(1)
    model = fit_board(one, "shelf", "cpu", {}).stacks[0]
    assert_sound(model, rows)
    _, kinds, sizes = layers_of(rows)
    estimates = estimate_kernels(model, kinds, sizes)
    assert not estimates.modelled[kinds != "convolution"].any()
    whole = estimate_pass(model, kinds, sizes)
    low, high = interval(whole.forward_ns, whole.forward_sd_ns, 0.9)
    assert high / low > 5


def test_equal_kernels_tell_of_no_other_size():
    rows = board(2, networks=3)
    same = rows.loc[rows.index[rows["kind"] == "relu"][0]]
    relus = rows["kind"] == "relu"
    constant = rows.copy()
    columns = [name for name in rows.columns if name not in ("network", "layer", "layer_index", "batch")]
    constant.loc[relus, columns] = same[columns].to_numpy()
    model = fit_board(constant, "shelf", "cpu", {}).stacks[0]
    larger = rows[relus].head(1).assign(in_elements=same["in_elements"] * 50, out_elements=same["out_elements"] * 50)
    estimates = estimate_kernels(model, np.array(["relu"]), sizes_of(larger))
    assert estimates.extrapolated.all()
    assert_sound(model, rows)


def test_collinear_columns_share_what_they_explain():
    """Inputs and outputs of a ReLU are one number: their coefficients are not determined, their sum is."""
    rows = board(3, noise=0.01)
    model = fit_board(rows, "shelf", "cpu", {}).stacks[0]
    relus = rows[rows["kind"] == "relu"]
    estimates = estimate_kernels(model, relus["kind"].to_numpy(dtype=str), sizes_of(relus))
    assert estimates.ns == pytest.approx(relus["median_ns"].to_numpy(dtype=float), rel=0.1)
    assert_sound(model, rows)


def test_one_network_has_a_model_that_was_never_tested():
    rows = board(4, networks=1)
    model = fit_board(rows, "shelf", "cpu", {}).stacks[0]
    assert_sound(model, rows)
    assert evaluate(rows, 0.9).networks.empty


@pytest.mark.parametrize("level", [1e-9, 1e12])
def test_times_of_any_magnitude(level):
    rows = board(5)
    rows = rows.assign(median_ns=rows["median_ns"] * level)
    assert_sound(fit_board(rows, "shelf", "cpu", {}).stacks[0], rows)


def test_times_that_do_not_depend_on_sizes():
    rows = board(6)
    rows = rows.assign(median_ns=rows["median_ns"].where(rows["subject"] != "layer", 1e5))
    assert_sound(fit_board(rows, "shelf", "cpu", {}).stacks[0], rows)


def test_a_model_of_such_data_is_saved_and_loaded(tmp_path):
    rows = board(7, networks=1)
    model = fit_board(rows[rows["kind"] == "relu"].head(1), "shelf", "cpu", {})
    save(model, tmp_path / "shelf-cpu.json")
    assert load(tmp_path / "shelf-cpu.json") == model


def imported(tmp_path, layer_ms):
    """AlexNet's layers with these times, imported; the exit status."""
    layers = ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "conv3", "relu3", "fc6"]
    table = pd.DataFrame({"layer": layers, "layer_ms": [layer_ms(index) for index in range(len(layers))]})
    table = table.assign(network="alexnet", batch=1)
    table.to_csv(tmp_path / "times.csv", index=False)
    at = ["--board", "shelf", "--processor", "cpu"]
    arguments = ["import", "table", str(tmp_path / "times.csv"), *at, "--stack", "some", "--networks", str(NETWORKS)]
    return main(["--root", str(tmp_path), *arguments]), lambda: main(["--root", str(tmp_path), "fit", *at])


@pytest.mark.parametrize("wrong", [float("nan"), -3.0, 0.0, float("inf")])
def test_times_that_cannot_be_are_refused_and_nothing_is_fitted(tmp_path, wrong, capsys):
    status, fit = imported(tmp_path, lambda index: wrong)
    assert status in (1, 2)
    assert fit() == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [float("nan"), -3.0])
def test_some_impossible_times_do_not_spoil_the_others(tmp_path, wrong, capsys):
    _, fit = imported(tmp_path, lambda index: wrong if index == 4 else 1.0 + index)
    status = fit()
    assert status in (0, 2)
    if status == 0:
        model = load(tmp_path / "results" / "models" / "shelf-cpu.json").stacks[0]
        assert all(np.isfinite(kind.coefficients_ns).all() for kind in model.kinds.values())
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_measured_is_one_line(tmp_path, capsys):
    assert main(["--root", str(tmp_path), "fit", "--board", "shelf", "--processor", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
