"""The steps of a fit one by one, against closed forms, SciPy and NumPy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import lsq_linear

from sitecnn.models.board_model import UNSEEN, KindModel
from sitecnn.models.features import features_of, matrix
from sitecnn.models.fit import (
    CHOICES,
    FASTEST,
    FASTEST_OVER_SEEN,
    LARGE_COPY,
    _fastest,
    _fit_kinds,
    _guessed,
    _of_zeros,
    _unseen,
    fit_stack,
)
from sitecnn.models.measurements import layers_of_gemms, measured_passes, sizes_of, with_steady_times
from sitecnn.models.pass_ratio import LAYER_NS, LEAST_FORWARD_SD, PASS_SD, forward_pass
from sitecnn.models.priors import SHIPPED_PRIORS, Prior
from sitecnn.models.regression import TYPICAL_SD, _as_rows, _importance, _robust_weights, fit_kind, scaled
from sitecnn.workload.kernels import SIZE_NAMES
from tests.models.fixtures import board

FITTED = KindModel(
    features=("macs", "calls"),
    units=("mac", "call"),
    coefficients_ns=(2.0, 30.0),
    standard_errors_ns=(0.1, 3.0),
    covariance=((0.01, -0.1), (-0.1, 9.0)),
    relative_sd=0.05,
    seen=((1.0, 2.0), (1.0, 1.0)),
    rows=9,
)


def test_a_scaled_kind_is_as_uncertain_as_a_product_of_both():
    """Coefficients and the scale drawn from their normal distributions."""
    tripled = scaled(FITTED, 3.0, 0.2)
    rng = np.random.default_rng(5)
    drawn = rng.multivariate_normal(FITTED.coefficients_ns, FITTED.covariance, 400_000)
    drawn = drawn * (3.0 * (1 + 0.2 * rng.standard_normal(len(drawn))))[:, None]
    assert tripled.coefficients_ns == pytest.approx(drawn.mean(axis=0), rel=0.01)
    assert np.array(tripled.covariance) == pytest.approx(np.cov(drawn.T), rel=0.03)
    assert tripled.standard_errors_ns == pytest.approx(np.sqrt(np.diag(tripled.covariance)))
    assert (tripled.features, tripled.rows, tripled.relative_sd) == (FITTED.features, FITTED.rows, FITTED.relative_sd)


def test_a_kind_on_zeros_and_on_values_are_told_by_each_other():
    share = SHIPPED_PRIORS.number("share_of_lrn")
    of_values = _of_zeros({"lrn_of_zeros": FITTED, "lrn": replace(FITTED, rows=0)}, SHIPPED_PRIORS)
    assert set(of_values) == {"lrn"} and of_values["lrn"] == scaled(FITTED, 1 / share.ns, share.sd_ns)
    of_zeros = _of_zeros({"lrn": FITTED}, SHIPPED_PRIORS)
    assert set(of_zeros) == {"lrn_of_zeros"} and of_zeros["lrn_of_zeros"] == scaled(FITTED, share.ns, share.sd_ns)
    for kinds in ({"lrn": FITTED, "lrn_of_zeros": FITTED}, {"relu": FITTED}):
        assert _of_zeros(kinds, SHIPPED_PRIORS) == {}


def a_network(name, layers_ns, forward_ns=(), layerwise_ns=None, batch=1):
    rows = [{"subject": "layer", "median_ns": ns, "layer_index": i} for i, ns in reversed([*enumerate(layers_ns)])]
    rows += [{"subject": "forward", "median_ns": ns} for ns in forward_ns]
    rows += [{"subject": "layerwise", "median_ns": layerwise_ns}] if layerwise_ns else []
    return pd.DataFrame(rows).assign(network=name, batch=batch)


def test_passes_are_layers_in_order_with_the_whole_or_their_sum():
    rows = [a_network("a", [1.0, 5.0], [7.0, 9.0, 20.0]), a_network("b", [2.0, 3.0]), a_network("c", [], [4.0])]
    passes = list(measured_passes(pd.concat(rows)))
    assert [layers["median_ns"].tolist() for layers, _ in passes] == [[1.0, 5.0], [2.0, 3.0]]
    assert [whole for _, whole in passes] == [9.0, 5.0]


def ridge(ratios, sums_ns, counts, noise, unit):
    """The least squares of ratio and ns a layer, drawn to 1 ± 0.1 and 0 ± `unit`, by its normal equations."""
    x = np.column_stack([np.ones(len(ratios)), unit * np.array(counts) / np.array(sums_ns)])
    precision = x.T @ x / noise**2 + np.diag([1 / 0.1**2, 1.0])
    return np.linalg.solve(precision, x.T @ np.array(ratios) / noise**2 + [1 / 0.1**2, 0.0])


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_whole_passes_of_two_networks_are_drawn_to_what_is_known_of_any_engine(processor):
    rows = pd.concat([a_network("a", [2e6] * 3, [6.6e6]), a_network("b", [1e6] * 30, [36e6])])
    ratio, layer_ns, sd = forward_pass(rows, processor)
    expected = ridge([1.1, 1.2], [6e6, 30e6], [3, 30], PASS_SD, LAYER_NS[processor])
    assert (ratio, layer_ns) == pytest.approx((expected[0], expected[1] * LAYER_NS[processor]))
    rest = [1.1 - ratio - layer_ns * 3 / 6e6, 1.2 - ratio - layer_ns * 30 / 30e6]
    assert sd == pytest.approx(max(np.sqrt(np.mean(np.square(rest))), 0.02))


def test_many_networks_tell_their_own_noise():
    rng = np.random.default_rng(8)
    counts, sums_ns = rng.integers(5, 100, 12), rng.uniform(1e6, 1e8, 12)
    ratios = 0.95 + 2e4 * counts / sums_ns + rng.normal(0, 0.01, 12)
    parts = [
        a_network(f"net{i}", [total / count] * count, [ratio * total])
        for i, (ratio, total, count) in enumerate(zip(ratios, sums_ns, counts, strict=True))
    ]
    fitted = forward_pass(pd.concat(parts), "gpu")
    line = np.polyfit(counts / sums_ns, ratios, 1)
    noise = np.sqrt(np.sum((ratios - np.polyval(line, counts / sums_ns)) ** 2) / 10)
    expected = ridge(ratios, sums_ns, counts, noise, LAYER_NS["gpu"])
    assert fitted[:2] == pytest.approx((expected[0], expected[1] * LAYER_NS["gpu"]), rel=1e-6)
    rest = ratios - expected[0] - expected[1] * LAYER_NS["gpu"] * counts / sums_ns
    assert fitted[2] == pytest.approx(np.sqrt(np.mean(rest**2)), rel=1e-6)


def test_where_passes_agree_exactly_they_are_trusted_no_more_than_to_half_a_percent():
    rows = pd.concat([a_network(f"net{i}", [1e6] * (i + 5), [1e6 * (i + 5)]) for i in range(4)])
    assert forward_pass(rows, "cpu")[2] == LEAST_FORWARD_SD == 0.005


def test_sums_of_layers_serve_where_no_layer_is_known():
    rows = pd.concat([a_network(f"net{i}", [], [0.9e6 * i], layerwise_ns=1e6 * i) for i in (1, 2, 3)])
    ratio, layer_ns, sd = forward_pass(rows, "cpu")
    # 3 ratios of 0.9 ± 0.03 (too few to tell their noise from two unknowns) against 1 ± 0.1.
    expected = (3 * 0.9 / PASS_SD**2 + 1 / 0.1**2) / (3 / PASS_SD**2 + 1 / 0.1**2)
    assert (ratio, layer_ns) == pytest.approx((expected, 0.0))
    assert sd == pytest.approx(max(abs(0.9 - expected), LEAST_FORWARD_SD))


def gemm_rows(*shapes):
    columns = dict(zip(("m", "n", "k", "trans_b"), zip(*shapes, strict=True), strict=True))
    rows = pd.DataFrame(columns).assign(kind="gemm", mode="warm", subject="kernel", median_ns=1e6)
    return rows.reindex(columns=[*dict.fromkeys([*rows, *SIZE_NAMES])])


def test_matrix_products_are_layers_of_as_many_multiply_accumulates_and_elements():
    shared = gemm_rows((8, 8, 8, 0)).assign(mode="overhead")  # many calls for one synchronisation: no layer's time
    layers = layers_of_gemms(pd.concat([gemm_rows((7, 30, 11, 0), (4, 50, 13, 1), (9, 9, 1, 0)), shared]))
    assert layers["kind"].tolist() == ["convolution", "inner_product"]
    for kind, (m, n, k) in zip(layers["kind"], [(7, 30, 11), (4, 50, 13)], strict=True):
        row = layers[layers["kind"] == kind]
        sizes = sizes_of(row)
        work = dict(zip((one.name for one in features_of(kind)), matrix(features_of(kind), sizes)[0], strict=True))
        assert work["macs"] == m * n * k
        # A is the weights of a convolution, B those of an FC layer.
        weights = m * k if kind == "convolution" else n * k
        assert (work["weights_elements"], row["parameters"].item()) == (weights, weights)
        assert (row["in_elements"].item(), row["out_elements"].item()) == (m * k + n * k - weights, m * n)
        assert row["images"].item() == (1 if kind == "convolution" else m)


def test_a_stack_of_matrix_products_alone_is_a_guess():
    rng = np.random.default_rng(3)
    shapes = [(int(rng.integers(8, 512)), int(rng.integers(8, 512)), int(rng.integers(8, 512)), 0) for _ in range(40)]
    rows = gemm_rows(*shapes)
    rows["median_ns"] = 5000 + 0.05 * rows["m"] * rows["n"] * rows["k"] * np.exp(rng.normal(0, 0.02, 40))
    model = fit_stack(rows.assign(network=None, batch=1, threads=1, stack="x", variant="", layer=None), "x")
    assert model.kinds["convolution"].is_guess and model.kinds["convolution"].relative_sd == 0.5


def timed(kind, median_ns, **sizes):
    rows = pd.DataFrame({"kind": kind, "median_ns": median_ns, **sizes})
    return rows.reindex(columns=[*dict.fromkeys([*rows, *SIZE_NAMES])])


def test_the_fastest_is_the_second_percentile_of_large_copies_and_of_convolutions():
    elements = np.array([1e3] * 50 + [2.0 * LARGE_COPY] * 101)
    speeds = np.append(np.full(50, 0.001), np.linspace(1.0, 2.0, 101))
    copies = timed("relu", elements * speeds, in_elements=elements, out_elements=elements)
    assert _fastest(copies) == pytest.approx({"element": np.quantile(np.linspace(1, 2, 101), FASTEST)})
    assert _fastest(timed("pooling", [5.0], out_elements=[1.0])) == {}
    rows = board(2, noise=0.0)
    convolutions = rows[rows["kind"] == "convolution"]
    macs = matrix(features_of("convolution"), sizes_of(convolutions))[:, 0]
    speeds = convolutions["median_ns"].to_numpy(dtype=float) / macs
    assert _fastest(convolutions)["mac"] == pytest.approx(np.quantile(speeds, FASTEST))
    assert FASTEST_OVER_SEEN == 2
    assert fit_stack(rows, "x").least_ns["mac"] * 2 == pytest.approx(np.quantile(speeds, FASTEST))


def test_where_all_copies_are_small_the_largest_tells():
    small = np.array([10.0, 100.0, 1000.0])
    assert _fastest(timed("concat", small * [9, 9, 3], out_elements=small)) == {"element": 3.0}


def test_kinds_that_no_network_had_take_the_copies_of_their_code_and_a_call():
    unseen = replace(FITTED, features=("out_elements", "calls"))
    assert _guessed(unseen, None, SHIPPED_PRIORS.unseen("cpu")) == {}
    for processor in ("cpu", "gpu"):
        copies = SHIPPED_PRIORS.unseen(processor)
        guesses = _guessed(unseen, 0.5, copies)
        assert set(guesses) == set(copies) >= {"batch_norm", "scale", "tanh"}
        for kind, prior in copies.items():
            assert guesses[kind].coefficients_ns == pytest.approx((0.5 * prior.ns, 30.0))
            assert guesses[kind].standard_errors_ns == pytest.approx((0.5 * prior.sd_ns, 30.0))
            assert np.array(guesses[kind].covariance) == pytest.approx(np.diag(guesses[kind].standard_errors_ns) ** 2)
            assert guesses[kind].relative_sd == pytest.approx(prior.sd_ns / prior.ns)
            assert guesses[kind].is_guess


def test_what_is_unseen_moves_elements_at_half_the_fastest_speed_where_only_others_were_timed():
    sizes = {"in_elements": [10.0, 30.0], "out_elements": [20.0, 10.0], "parameters": [70.0, np.nan]}
    unseen = _unseen(timed("convolution", [50.0, 400.0], **sizes), "some")
    # 0.5 ns an element and 10 ns an element; the 2nd percentile lies 2 % of the way up.
    assert unseen.coefficients_ns == pytest.approx((2 * (0.5 + FASTEST * 9.5), 0.0))
    assert (unseen.relative_sd, unseen.rows) == (1.0, 0)


def test_a_kernel_weighs_as_the_root_of_its_time():
    assert _importance(np.array([1.0, 4.0, 9.0])) == pytest.approx([0.5, 1.0, 1.5])
    assert _importance(np.array([])).size == 0


@pytest.mark.parametrize("seed", range(20))
def test_coefficients_are_scipys_least_squares_that_are_not_negative(seed):
    """Where no residual is large, Huber's weights are 1 and what remains is a bounded least squares problem."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1, (30, 4)) * [1, 1e6, 1e-3, 10]
    goal = 1 + rng.uniform(-1e-7, 1e-7, 30)
    importance = rng.uniform(0.5, 2, 30)
    weights, active = _robust_weights(share, goal, importance, 30)
    root = np.sqrt(weights)
    scale = share.max(axis=0)
    expected = lsq_linear(share / scale * root[:, None], goal * root, (0, np.inf), tol=1e-12).x
    assert active == [index for index in range(4) if expected[index] > 1e-6]


def test_a_kernel_far_from_the_others_loses_its_weight_and_they_keep_theirs():
    share = np.column_stack([np.linspace(0.5, 1.5, 21), np.linspace(1.5, 0.5, 21)])
    goal = share @ [0.5, 0.5]
    spoilt = goal.copy()
    spoilt[10] *= 30
    noise = np.random.default_rng(1).normal(0, 0.01, 21)
    weights, active = _robust_weights(share, spoilt + noise, np.ones(21), 21)
    assert active == [0, 1]
    assert weights[10] < 0.01 and np.median(weights) == 1.0


def test_a_prior_counts_as_a_measurement_of_typical_error():
    features = features_of("inner_product")
    rows, goals = _as_rows(features, {"macs": Prior(3.0, 0.6), "no feature": Prior(1.0, 1.0)})
    place = [one.name for one in features].index("macs")
    assert rows.shape == (1, len(features)) and rows[0].nonzero()[0].tolist() == [place]
    # In units of the typical error, a coefficient of 3 ± 0.6 that is 1 sd off is off by one.
    assert (rows[0, place] * 3.6 - goals[0]) / TYPICAL_SD == pytest.approx(1.0)
    assert rows[0, place] * 3.0 == pytest.approx(goals[0])


def test_the_standard_errors_of_a_fit_are_those_of_drawing_the_measurements_again():
    """Sixty boards of one law: ReLUs that read and write at 1 ns an element each."""
    estimates, said = [], []
    for seed in range(60):
        rows = board(seed, networks=4, noise=0.05)
        fitted = fit_kind(features_of("relu"), rows[rows["kind"] == "relu"], {})
        moves = np.array([float(name in ("in_elements", "out_elements")) for name in fitted.features])
        estimates.append(moves @ fitted.coefficients_ns)
        said.append(np.sqrt(moves @ np.array(fitted.covariance) @ moves))
        assert fitted.standard_errors_ns == pytest.approx(np.sqrt(np.diag(fitted.covariance)))
    assert np.mean(estimates) == pytest.approx(2.0, rel=0.01)
    assert np.mean(said) == pytest.approx(np.std(estimates), rel=0.3)


@pytest.mark.parametrize(("large", "is_told"), [(4, False), (5, True)])
def test_what_lies_beyond_a_cache_is_told_by_five_kernels_or_more(large, is_told):
    """Twenty small copies at 1 ns an element, and some of 16 MiB, all of which is beyond near caches, at 1.5."""
    elements = np.append(np.geomspace(1e3, 1e5, 20), np.full(large, float(1 << 21)))
    ns = elements * np.where(elements > 1e5, 1.5, 1.0)
    rows = timed("ort_relu", ns, in_elements=elements, out_elements=elements).assign(stack="onnxruntime")
    fitted = _fit_kinds(rows, "cpu", {}, CHOICES)["ort_relu"]
    assert ("far_elements" in fitted.features) == is_told


def test_errors_that_sums_share_are_a_part_of_what_the_coefficients_standard_errors_say():
    rows = board(1, networks=4, noise=0.05)
    fitted = fit_stack(rows, "x").kinds["relu"]
    share = SHIPPED_PRIORS.number("shared_sd").ns
    assert np.diag(fitted.covariance) == pytest.approx((share * np.array(fitted.standard_errors_ns)) ** 2)


def test_fewer_kernels_than_coefficients_are_known_to_nothing():
    rows = board(1, networks=1, noise=0.0)
    fitted = fit_kind(features_of("pooling"), rows[rows["kind"] == "pooling"].head(1), {})
    assert fitted.relative_sd == 1.0 and fitted.rows == 1
    assert fitted.standard_errors_ns == pytest.approx(fitted.coefficients_ns)


def samples_rows(subjects, samples):
    medians = [float(np.median(one)) for one in samples]
    return pd.DataFrame({"subject": subjects, "samples_ns": samples, "median_ns": medians})


def test_times_are_lower_deciles_raised_by_what_the_layers_medians_are_above_theirs():
    layer, kernel = [10.0, 11.0, 12.0, 13.0, 20.0], [100.0, 110.0, 150.0, 170.0, 180.0]
    steady = with_steady_times(samples_rows(["layer", "kernel", "forward"], [layer, kernel, [5.0] * 9]))
    assert steady["median_ns"].tolist() == pytest.approx([10.0 * 12 / 10, 100.0 * 12 / 10, 5.0])
    twenty = [float(value) for value in range(100, 120)]
    alone = with_steady_times(samples_rows(["kernel", "kernel"], [kernel, twenty]))
    raised = (150 + 109.5) / (100 + 102)
    assert alone["median_ns"].tolist() == pytest.approx([100 * raised, 102 * raised])


def test_a_relative_that_was_not_measured_is_a_guess():
    model = fit_stack(board(13), "x")
    convolution, relative = model.kinds["convolution"], model.kinds["deconvolution"]
    assert relative == replace(convolution, rows=0, relative_sd=SHIPPED_PRIORS.number("unseen_kind_sd").ns)
    assert UNSEEN in model.kinds and model.networks == tuple(f"net{index}" for index in range(6))
