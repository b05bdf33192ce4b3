"""What a board with few layers is told by its own memory, and what timers add to passes."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.errors import ModelError
from sitecnn.models.board_model import estimate_kernels, estimate_pass
from sitecnn.models.features import features_of, matrix
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import sizes_of
from sitecnn.models.priors import (
    PROCESSORS,
    SHIPPED_PRIORS,
    TRANSFERS,
    BoardNumber,
    Prior,
    Priors,
    Speeds,
    load_priors,
)
from tests.models.fixtures import board

COPY_NS, WEIGHT_NS, CALL_NS = 0.5, 0.25, 100_000.0


def product_rows(inputs, outputs, images=(2, 4, 8)):
    """FC layers of a GPU that reads its weights from memory: a call and 4 bytes a weight."""
    rows = pd.DataFrame({"images": images, "network": "net0", "batch": images, "subject": "layer"})
    rows = rows.assign(kind="inner_product", in_elements=rows["images"] * inputs, bias=1)
    rows = rows.assign(out_elements=rows["images"] * outputs, parameters=inputs * outputs + outputs)
    return rows.assign(median_ns=CALL_NS + WEIGHT_NS * inputs * outputs, stack="known law", threads=1, mode="network")


def gpu_board():
    """Convolutions that take a call of 100 µs however small, ReLUs that copy, and one small FC layer."""
    rows = board(3, noise=0.0)
    rows = rows[rows["subject"] == "layer"].copy()
    relu, convolution = rows["kind"] == "relu", rows["kind"] == "convolution"
    sizes = sizes_of(rows[convolution])
    work = matrix(features_of("convolution"), sizes)[:, 0]
    rows.loc[convolution, "median_ns"] = CALL_NS + 0.005 * work
    rows.loc[relu, "median_ns"] = 2000 + COPY_NS * rows.loc[relu, "in_elements"].astype(float)
    rows["parameters"] = 0
    parts = [rows, product_rows(1024, 1000)]
    return pd.concat(parts, ignore_index=True).assign(processor="gpu")


def test_one_small_fc_layer_tells_what_a_large_one_takes():
    large = product_rows(9216, 4096, images=(2,))
    rows = gpu_board()
    estimates = estimate_kernels(
        fit_stack(rows, "known law"), large["kind"].to_numpy(dtype=str), sizes_of(large.reindex(columns=rows.columns))
    )
    assert estimates.ns[0] == pytest.approx(large["median_ns"].iloc[0], rel=0.2)
    assert estimates.extrapolated[0]


def test_a_timer_between_layers_is_found_and_charged_by_the_layer():
    rows = pd.concat([board(1, networks=3), board(2, networks=3, layers=60).assign(network="deep")], ignore_index=True)
    rows = rows.drop_duplicates(["network", "subject", "layer"])
    count = rows[rows["subject"] == "layer"].groupby("network").size()
    forward, layerwise = rows["subject"] == "forward", rows["subject"] == "layerwise"
    rows["median_ns"] = rows["median_ns"].astype(float)
    sums = rows[rows["subject"] == "layer"].groupby("network")["median_ns"].sum()
    rows.loc[layerwise, "median_ns"] = rows.loc[layerwise, "network"].map(sums)
    rows.loc[forward, "median_ns"] = rows.loc[forward, "network"].map(sums + 50_000 * count)
    model = fit_stack(rows.assign(processor="gpu"), "known law")
    assert model.layer_overhead_ns == pytest.approx(50_000, rel=0.05)
    layers = rows[(rows["network"] == "deep") & (rows["subject"] == "layer")]
    estimates = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    assert estimates.forward_ns == pytest.approx(estimates.layers.ns.sum() + 50_000 * len(layers), rel=0.01)


def test_no_kernel_is_estimated_at_more_than_twice_the_fastest_speed_seen():
    rows = board(5, noise=0.0)
    model = fit_stack(rows, "known law")
    convolution = rows[rows["kind"] == "convolution"].head(1)
    macs = matrix(features_of("convolution"), sizes_of(convolution))[0, 0]
    free = model.kinds["convolution"]
    idle = type(free)(**{**vars(free), "coefficients_ns": tuple(0.0 for _ in free.coefficients_ns)})
    model = type(model)(**{**vars(model), "kinds": {**model.kinds, "convolution": idle}})
    estimates = estimate_kernels(model, np.array(["convolution"]), sizes_of(convolution))
    assert estimates.ns[0] >= macs * model.least_ns["mac"] > 0


@pytest.mark.parametrize("kind", ["batch_norm", "scale", "eltwise"])
def test_a_kind_that_no_network_had_is_guessed_from_its_code_and_says_so(kind):
    rows = board(6)
    relus = rows[rows["kind"] == "relu"].head(3)
    model = fit_stack(rows, "known law")
    estimates = estimate_kernels(model, np.array([kind] * 3), sizes_of(relus))
    itself = estimate_kernels(model, np.array(["relu"] * 3), sizes_of(relus))
    assert (estimates.ns > itself.ns).all()
    assert not estimates.modelled.any()
    assert estimates.extrapolated.all()


def lrn_rows(kind, ns_an_element, network):
    elements = np.array([1e5, 2e5, 3e5, 4e5, 5e5])
    rows = pd.DataFrame({"in_elements": elements, "out_elements": elements, "window": 5, "images": 1, "batch": 1})
    rows = rows.assign(kind=kind, median_ns=ns_an_element * elements, network=network, subject="layer", mode="network")
    return rows.assign(stack="known law", threads=1, parameters=0)


@pytest.mark.parametrize(("source", "share"), [("import", 2 / 3), ("agent", 1.0)])
def test_what_was_measured_on_zeros_only_takes_longer_on_images(source, share):
    """Measured by the agent, a definition without weights says nothing of the values that its layers ran on."""
    kind = "lrn_of_zeros" if source == "import" else "lrn"
    rows = pd.concat([board(6), lrn_rows(kind, 100.0, "net0")], ignore_index=True).assign(source=source)
    model = fit_stack(rows, "known law")
    both = np.array(["lrn", "lrn_of_zeros"])
    alike = lrn_rows(kind, 1.0, "net0")[:2].assign(out_elements=2e5, in_elements=2e5)
    estimates = estimate_kernels(model, both, sizes_of(alike.reindex(columns=rows.columns)))
    assert estimates.ns[1] / estimates.ns[0] == pytest.approx(share, rel=0.1)
    assert estimates.ns[0 if source == "agent" else 1] == pytest.approx(100.0 * 2e5, rel=0.05)
    assert estimates.modelled.all()


def test_both_kinds_of_lrn_are_kept_apart_where_both_were_measured():
    measured = [lrn_rows("lrn", 170.0, "net0"), lrn_rows("lrn_of_zeros", 107.0, "net1")]
    rows = pd.concat([board(6), *measured], ignore_index=True).assign(source="import")
    model = fit_stack(rows, "known law")
    for part, ns in zip(measured, (170.0, 107.0), strict=True):
        estimates = estimate_kernels(
            model, part["kind"].to_numpy(dtype=str), sizes_of(part.reindex(columns=rows.columns))
        )
        assert estimates.ns == pytest.approx(ns * part["out_elements"], rel=0.05)


def number(board, value, spread=1.0, **others):
    known = {"processor": "cpu", "kind": "lrn", "feature": "window_elements", "per": "copy", "source": "test"}
    return BoardNumber(board=board, value=value, spread=spread, **(known | others))


def test_boards_are_combined_to_their_mean_with_one_more_a_spread_away():
    priors = Priors((number("one", 2.0), number("other", 6.0, spread=3.0)))
    combined = priors.coefficients("lrn", "cpu", Speeds(copy=0.5))["window_elements"]
    # Squares around the mean of 4: 4, 4 and, of one more at the mean spread of 2, 4: 12 for two boards.
    assert (combined.ns, combined.sd_ns) == pytest.approx((0.5 * 4, 0.5 * np.sqrt(12 / 2)))


def test_a_board_is_judged_by_what_the_others_told():
    priors = Priors((number("one", 2.0), number("other", 6.0, spread=3.0), number("one", 7.0, kind="pooling")))
    left = priors.without({"one"})
    assert left.coefficients("lrn", "cpu", Speeds(copy=1.0))["window_elements"] == Prior(6.0, 3.0)
    assert left.coefficients("pooling", "cpu", Speeds(copy=1.0)) == {} and left.kinds("cpu") == ["lrn"]


@pytest.mark.parametrize("board", ["tx1", "rk3399", "gtx1080"])
def test_no_shipped_prior_is_one_boards_alone(board):
    """Without any one of the imported boards, the same coefficients are known, and by other numbers."""
    speeds = Speeds(copy=1.0, mac=1.0, call=1.0)
    without = SHIPPED_PRIORS.without({board})
    for processor in ("cpu", "gpu"):
        assert without.kinds(processor) == SHIPPED_PRIORS.kinds(processor)
        for kind in without.kinds(processor):
            all_told, told = (one.coefficients(kind, processor, speeds) for one in (SHIPPED_PRIORS, without))
            assert set(told) == set(all_told)
    assert without.numbers != SHIPPED_PRIORS.numbers


def test_priors_are_in_the_stacks_own_copies_multiplications_calls_and_in_ns():
    """Twice as slow a memory makes twice the time; what a tile waits for differs less between GPUs."""
    units = {"copy": 0.5, "mac": 0.25, "call": 8000.0, "ns": 1.0}
    priors = Priors(tuple(number("a", 2.0, feature=f"by_{unit}", per=unit) for unit in units))
    told = priors.coefficients("lrn", "cpu", Speeds(copy=0.5, mac=0.25, call=8000.0))
    assert {name: prior.ns for name, prior in told.items()} == {f"by_{unit}": 2 * ns for unit, ns in units.items()}
    assert set(priors.coefficients("lrn", "cpu", Speeds(mac=1.0))) == {"by_mac", "by_ns"}
    assert priors.coefficients("lrn", "gpu", Speeds(1.0, 1.0, 1.0)) == {}


# (processor, kind, feature): what four boards took, in copies of an element, as the fits of their public times say.
AS_FOUND = {
    ("cpu", "inner_product", "weights_elements"): (2.3, 3.7),
    ("cpu", "inner_product", "many_rows_weights"): (0.2, 1.8),
    ("cpu", "lrn", "window_elements"): (47 / 5, 155 / 5),
    ("cpu", "pooling", "window_elements"): (5, 25),
    ("gpu", "inner_product", "weights_elements"): (0.41, 0.56),
    ("gpu", "average_pooling", "window_elements"): (1, 4),
    ("cpu", "convolution", "im2col_elements"): (1.3, 2.1),
    ("cpu", "convolution", "packed_elements"): (0.6, 3.5),
    ("cpu", "convolution", "weights_elements"): (0.8, 3.1),
    ("cpu", "convolution", "out_elements"): (0.3, 1.6),
    ("gpu", "convolution", "out_elements"): (1.5, 1.8),
    ("gpu", "convolution", "parameters"): (0.5, 1.4),
    ("gpu", "convolution", "im2col_elements"): (0.6, 1.0),
}


@pytest.mark.parametrize("place", AS_FOUND, ids="-".join)
def test_a_prior_lies_among_what_boards_took_and_is_about_as_wide_as_they_differ(place):
    processor, kind, feature = place
    least, most = AS_FOUND[place]
    prior = SHIPPED_PRIORS.coefficients(kind, processor, Speeds(copy=1.0))[feature]
    assert least <= prior.ns <= most
    assert (most - least) / 4 <= prior.sd_ns <= 2 * max(most - least, 0.1)


# Transfers of a layer's forward code ÷ the 2 of a copy (batch_norm_layer.cpp, scale_layer.cpp, eltwise_layer.cpp).
@pytest.mark.parametrize(("kind", "transfers"), [("batch_norm", 10), ("scale", 6), ("eltwise", 7)])
def test_kinds_that_no_network_had_take_the_transfers_of_their_code(kind, transfers):
    rows = board(6, noise=0.0)
    rows = rows[rows["kind"] == "relu"].assign(median_ns=lambda some: some["out_elements"].astype(float))
    model = fit_stack(rows, "x")
    coefficients = dict(zip(model.kinds[kind].features, model.kinds[kind].coefficients_ns, strict=True))
    assert coefficients["out_elements"] == pytest.approx(transfers / 2)


HEAD = "# schema 1. Test.\nprocessor,kind,feature,per,board,value,spread,source\n"


def test_a_file_of_numbers_is_read_as_it_stands(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text(HEAD + 'both,lrn,transfers,copy,tx1,2,1.5,"one, and other"\n')
    (only,) = load_priors(path).numbers
    assert (only.value, only.spread, only.source) == (2.0, 1.5, "one, and other")
    assert {processor: load_priors(path).unseen(processor) for processor in ("cpu", "gpu")} == {
        "cpu": {"lrn": Prior(2.0, 1.5)},
        "gpu": {"lrn": Prior(2.0, 1.5)},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: expected '# schema 1.'"),
        (HEAD.replace("schema 1", "schema 2"), "line 1: expected '# schema 1.'"),
        (HEAD + "cpu,lrn,x,copy,tx1,many,1,a\n", "line 3: .*many"),
        (HEAD + "cpu,lrn,x,copy,tx1,1\n", "line 3: "),
        (HEAD + "tpu,lrn,x,copy,tx1,1,1,a\n", "line 3: processor 'tpu'"),
        (HEAD + "cpu,lrn,x,mile,tx1,1,1,a\n", "line 3: .*per 'mile'"),
        (HEAD + "cpu,lrn,x,copy,tx1,1,-1,a\n", "line 3: .*spread -1"),
        (HEAD + "cpu,lrn,x,copy,tx1,nan,1,a\n", "line 3: .*value nan"),
    ],
)
def test_a_wrong_file_of_numbers_is_refused_with_its_line(tmp_path, text, expected):
    path = tmp_path / "numbers.csv"
    path.write_text(text)
    with pytest.raises(ModelError, match=expected):
        load_priors(path)


def test_each_number_of_a_coefficient_is_of_work_that_its_kind_does():
    for one in SHIPPED_PRIORS.numbers:
        if one.feature == TRANSFERS or one.per == "ratio":
            continue
        for processor in PROCESSORS[one.processor]:
            assert one.feature in [feature.name for feature in features_of(one.kind, processor)], (processor, one)


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_what_no_network_had_comes_in_one_order(processor):
    """A set's order changes from one process to the next, and models are files that are compared."""
    kinds = list(SHIPPED_PRIORS.unseen(processor))
    assert kinds == sorted(kinds) and len(kinds) > 1
