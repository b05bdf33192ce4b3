"""What a board model makes of a kernel, number by number: guesses, work beyond what was seen, floors, files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import lognorm

from sitecnn.errors import ModelError
from sitecnn.models.board_model import (
    EXTRAPOLATION_SD,
    FEWEST_ROWS,
    SCHEMA,
    SEEN_ABOVE,
    SEEN_BELOW,
    UNSEEN,
    WIDEST_SD,
    BoardModel,
    KindModel,
    StackModel,
    doubtful_variance,
    estimate_kernels,
    estimate_kinds,
    estimate_pass,
    load,
    model_file,
    save,
)
from sitecnn.workload.kernels import SIZE_NAMES

COVARIANCE = ((0.0004, -0.001), (-0.001, 25.0))


def kind(
    coefficients=(2.0, 100.0), *, rows=20, relative_sd=0.1, seen=((100.0, 1000.0), (1.0, 1.0)), covariance=COVARIANCE
):
    errors = tuple(np.sqrt(np.diag(covariance)).tolist())
    features, units = ("out_elements", "calls"), ("element written", "call")
    return KindModel(features, units, coefficients, errors, covariance, relative_sd, seen, rows)


def stack(kinds, **more):
    settings = {"forward_ratio": 1.0, "forward_ratio_sd": 0.0, "unexplained_sd": {"layer": 0.0, "network": 0.0}}
    return StackModel(
        "s", 1, {UNSEEN: kind((5.0, 0.0), rows=0), **kinds}, **settings | {"base_bytes": 0, "networks": ()} | more
    )


def sizes(*elements, **others):
    columns = {name: np.full(len(elements), np.nan) for name in SIZE_NAMES}
    columns |= {"out_elements": np.array(elements, dtype=float), "in_elements": np.array(elements, dtype=float)}
    return columns | {name: np.array(values, dtype=float) for name, values in others.items()}


def estimated(model, name, *elements):
    return estimate_kernels(model, np.full(len(elements), name), sizes(*elements))


def test_a_time_is_its_work_and_its_variance_that_of_the_coefficients_and_the_scatter():
    estimates = estimated(stack({"relu": kind()}), "relu", 200.0, 800.0)
    assert estimates.ns == pytest.approx([500.0, 1700.0])
    for ns, sd_ns, elements in zip(estimates.ns, estimates.sd_ns, (200.0, 800.0), strict=True):
        of_coefficients = elements**2 * 0.0004 + 2 * elements * -0.001 + 25.0
        assert sd_ns**2 == pytest.approx(of_coefficients + (0.1 * ns) ** 2)
    # Of the sum: coefficients err alike in both, scatter does not.
    shared = 1000**2 * 0.0004 + 2 * 1000 * 2 * -0.001 + 4 * 25.0
    assert estimates.total_sd_ns**2 == pytest.approx(shared + 50.0**2 + 170.0**2)
    assert estimates.modelled.all() and not estimates.unknown.any() and not estimates.extrapolated.any()


@pytest.mark.parametrize(
    ("elements", "beyond"),
    [(1000 * SEEN_ABOVE, False), (1001 * SEEN_ABOVE, True), (100 / SEEN_BELOW, False), (99 / SEEN_BELOW, True)],
)
def test_work_is_beyond_what_was_seen_above_a_tenth_more_and_below_a_quarter(elements, beyond):
    assert (SEEN_ABOVE, SEEN_BELOW) == (1.1, 4.0)
    assert estimated(stack({"relu": kind()}), "relu", elements).extrapolated.tolist() == [beyond]


def test_work_e_times_beyond_adds_its_relative_error_of_one_sign_in_all_kernels():
    model = stack({"relu": kind(covariance=((0.0, 0.0), (0.0, 0.0)), relative_sd=0.0)})
    estimates = estimated(model, "relu", np.e * 1000, np.e**2 * 1000, 500.0)
    added = EXTRAPOLATION_SD * np.array([1.0, 2.0, 0.0]) * estimates.ns
    assert estimates.sd_ns == pytest.approx(added)
    assert estimates.total_sd_ns == pytest.approx(added.sum())
    # Below what was seen nothing is added: there the call takes over.
    assert estimated(model, "relu", 1.0).sd_ns == pytest.approx([0.0])


@pytest.mark.parametrize(("rows", "guess"), [(FEWEST_ROWS - 1, True), (FEWEST_ROWS, False)])
def test_a_kind_of_fewer_than_four_kernels_is_a_guess(rows, guess):
    assert FEWEST_ROWS == 4
    assert kind(rows=rows).is_guess == guess
    estimates = estimated(stack({"relu": kind(rows=rows)}), "relu", 200.0)
    assert (bool(estimates.modelled[0]), bool(estimates.extrapolated[0]), bool(estimates.unknown[0])) == (
        not guess,
        guess,
        False,
    )


def test_a_kind_with_as_many_coefficients_as_kernels_is_a_guess():
    wide = KindModel(
        tuple("abcde"), tuple("abcde"), (1.0,) * 5, (0.0,) * 5, ((0.0,) * 5,) * 5, 0.1, ((0.0, 1.0),) * 5, 5
    )
    assert wide.is_guess and not replace(wide, rows=6).is_guess


def test_a_kind_that_was_never_measured_takes_what_is_unseen_and_is_off_by_a_factor():
    estimates = estimated(stack({}), "softmax", 200.0, 300.0)
    assert estimates.ns == pytest.approx([1000.0, 1500.0])
    assert estimates.unknown.all() and not estimates.modelled.any()
    # Scatter of at least WIDEST_SD, and all of one sign: e^s²·(e^s² - 1) of the sum, s = 1 at most.
    assert WIDEST_SD == 1.0
    assert estimates.total_sd_ns == pytest.approx(2500 * lognorm.std(1.0) / lognorm.median(1.0))


def test_kinds_that_move_nothing_and_were_not_timed_take_nothing():
    estimates = estimated(stack({}), "reshape", 200.0)
    assert (estimates.ns.tolist(), estimates.sd_ns.tolist(), estimates.by_kind) == ([0.0], [0.0], ())
    assert estimates.modelled.all() and not estimates.extrapolated.any()


@pytest.mark.parametrize("relative_sd", [0.01, 0.3, 0.8])
def test_the_variance_of_a_guess_is_a_log_normals(relative_sd):
    ns = 1234.0
    assert doubtful_variance((relative_sd * ns) ** 2, ns) == pytest.approx(ns**2 * lognorm.var(relative_sd))
    assert doubtful_variance((5 * ns) ** 2, ns) == pytest.approx(ns**2 * lognorm.var(WIDEST_SD))
    assert doubtful_variance(4.0, 0.0) == 0.0


def test_no_kernel_takes_less_than_its_multiplications_or_the_elements_that_it_must_move():
    """A 1×1 convolution of 8 channels to 16 on 5×5 pixels: 3,200 multiplications, 200 + 400 + 144 elements."""
    cheap = stack({"convolution": kind((0.001, 0.0)), "relu": kind((0.001, 0.0))})
    shape = {"images": [1], "channels": [8], "height": [5], "width": [5], "out_channels": [16], "out_height": [5]}
    shape |= {"out_width": [5], "kernel_h": [1], "kernel_w": [1], "group": [1], "parameters": [144]}
    shape |= {"in_elements": [200], "stride_h": [1], "stride_w": [1], "pad_h": [0], "pad_w": [0], "bias": [1]}
    columns = sizes(400.0, **shape)

    def least_of(name, **floors):
        return estimate_kernels(replace(cheap, least_ns=floors), np.array([name]), columns).ns[0]

    assert least_of("convolution") == pytest.approx(0.4)
    assert least_of("convolution", mac=2.0) == pytest.approx(2.0 * 16 * 25 * 8)
    by_elements = least_of("convolution", element=3.0)
    assert by_elements == least_of("convolution", element=3.0, mac=1e-9) > least_of("relu", element=3.0) > 0.4
    assert least_of("convolution", element=3.0, mac=2.0) == pytest.approx(max(6400.0, by_elements))
    assert least_of("relu", mac=2.0) == pytest.approx(0.4)


def test_zeros_of_a_stack_that_was_not_measured_on_them_are_other_values():
    estimates = estimate_kinds(stack({"lrn": kind((7.0, 0.0))}), np.array(["lrn_of_zeros"]), sizes(200.0))
    assert estimates[0].ns == pytest.approx([1400.0]) and not estimates[0].is_guess


def test_a_pass_adds_what_cross_validation_found_and_the_ratios_error():
    model = stack({"relu": kind()}, forward_ratio=0.8, forward_ratio_sd=0.05, layer_overhead_ns=-10.0)
    model = replace(model, unexplained_sd={"layer": 0.2, "network": 0.03})
    columns = sizes(200.0, 800.0)
    estimates, alone = (make(model, np.full(2, "relu"), columns) for make in (estimate_pass, estimate_kernels))
    total = 500.0 + 1700.0
    assert estimates.forward_ns == pytest.approx(0.8 * total - 2 * 10)
    variance = (0.8 * alone.total_sd_ns) ** 2 + (0.05 * total) ** 2 + (0.03 * total) ** 2
    assert estimates.forward_sd_ns == pytest.approx(np.sqrt(variance))
    assert estimates.layers.ns == pytest.approx(alone.ns)
    assert estimates.layers.sd_ns == pytest.approx(np.sqrt(alone.sd_ns**2 + (0.2 * alone.ns) ** 2))


def test_a_file_is_every_field_and_no_other_schema_is_read(tmp_path):
    model = BoardModel(
        "tx1", "gpu", (stack({"relu": kind()}, least_ns={"mac": 0.5}, memory_factors={"weights": 1.1}),), {"a": 1}
    )
    path = model_file(tmp_path, "tx1", "gpu")
    assert path == tmp_path / "results" / "models" / "tx1-gpu.json"
    path.parent.mkdir(parents=True)
    save(model, path)
    assert load(path) == model
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "schema": SCHEMA + 1}))
    with pytest.raises(ModelError, match=f"model schema {SCHEMA + 1}, this SiteCNN reads {SCHEMA}; fit it again"):
        load(path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load(tmp_path / "none.json")
    kinds = content["stacks"][0]["kinds"]
    for wrong, said in (
        (
            {**content, "stacks": [{**content["stacks"][0], "kinds": {"relu": {**kinds["relu"], "features": ["x"]}}}]},
            "relu counts 'x', a feature that this SiteCNN does not have",
        ),
        ({name: value for name, value in content.items() if name != "board"}, "it has no 'board'"),
        ({**content, "stacks": [{"kinds": kinds, "stack": "s"}]}, "missing .* 'threads'"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ModelError, match=f"not a board model: {said}.*; fit it again"):
            load(path)
    assert repr(model) == "<BoardModel tx1 gpu: 1 stacks>"
    assert model.only(model.stacks[0]).stacks == model.stacks
