"""What is held out, from whom, and what the tables say of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.baselines import BASELINES
from sitecnn.models.evaluate import OURS, STRICT, _pass_ratio, evaluate, folds, summarise
from sitecnn.models.fit import Choices
from sitecnn.models.network_families import family
from sitecnn.models.priors import SHIPPED_PRIORS, Priors
from sitecnn.models.tflite_features import PAD
from sitecnn.workload.kernels import SIZE_NAMES
from tests.models.fixtures import board

SIZES = ["kind", "in_elements", "out_elements", "channels", "height", "out_channels"]


def named(rows, names):
    return rows.assign(network=rows["network"].replace(dict(zip(sorted(set(rows["network"])), names, strict=True))))


@pytest.fixture
def without_baselines(monkeypatch):
    """Saves their time where only the model is looked at."""
    monkeypatch.setattr("sitecnn.models.evaluate.BASELINES", {})


@pytest.fixture(scope="module")
def evaluated():
    rows = named(board(1, networks=5, noise=0.05), ["alexnet", "nin", "resnet18", "resnet50", "vgg16"])
    return rows, evaluate(rows, level=0.9, held_out=["vgg16"])


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("alexnet", "alexnet"), ("bvlc_caffenet", "alexnet"), ("nin_imagenet", "alexnet"), ("vgg16", "vgg"),
        ("VGG_ILSVRC_19_layers", "vgg"), ("bvlc_googlenet", "inception"), ("inception_v3", "inception"),
        ("resnet50", "resnet"), ("ResNet-152", "resnet"), ("resnext50_32x4d", "resnet"), ("zfnet512", "alexnet"),
        ("network-in-network", "alexnet"), ("xception", "inception"), ("shufflenet_v2", "shufflenet"),
        ("EfficientNet-B0", "efficientnet"), ("squeezenet_v1.0", "squeezenet"),
        ("mobilenet_v1", "mobilenet"), ("densenet121", "densenet"), ("evening", "evening"), ("mine", "mine"),
    ],
)  # fmt: skip
def test_families_by_name(network, expected):
    assert family(network) == expected


def test_networks_and_families_are_left_out_whole():
    splits = {fold.networks: fold.splits for fold in folds(["resnet50", "nin", "resnet18", "mine"])}
    assert splits == {
        ("resnet18",): ("network",),
        ("resnet50",): ("network",),
        ("nin",): ("network", "family"),
        ("mine",): ("network", "family"),
        ("resnet18", "resnet50"): ("family",),
    }


def test_nothing_is_left_out_where_nothing_would_be_left():
    assert folds(["vgg16"]) == []
    assert {fold.splits for fold in folds(["vgg16", "vgg19"])} == {("network",)}


def test_a_held_out_network_is_in_no_other_split(evaluated):
    _, evaluation = evaluated
    splits = evaluation.baselines.groupby("network")["split"].unique().map(set)
    assert splits["vgg16"] == {"held out"}
    assert splits["resnet50"] == {"network", "family"}


def test_every_method_estimates_the_same_cases(evaluated):
    _, evaluation = evaluated
    cases = evaluation.baselines.groupby("method")[["network", "split"]].apply(
        lambda part: sorted(map(tuple, part.values))
    )
    assert all(one == cases[OURS] for one in cases)
    assert len(cases) == 7


def test_each_network_is_once_in_the_models_own_tables(evaluated):
    rows, evaluation = evaluated
    assert sorted(evaluation.networks["network"]) == sorted(rows["network"].unique())
    assert len(evaluation.layers) == (rows["subject"] == "layer").sum()


def test_what_is_held_out_does_not_move_its_own_estimate(evaluated):
    rows, evaluation = evaluated
    slower = rows["network"].eq("vgg16")
    changed = rows.assign(median_ns=rows["median_ns"].where(~slower, rows["median_ns"] * 7))
    again = evaluate(changed, level=0.9, held_out=["vgg16"])
    assert again.baselines["estimate_ms"].to_numpy() == pytest.approx(evaluation.baselines["estimate_ms"].to_numpy())


def test_relatives_do_not_tell_of_each_other_in_the_split_by_family(evaluated, without_baselines):
    rows, _ = evaluated
    slower = rows["network"].eq("resnet18")
    changed = evaluate(rows.assign(median_ns=rows["median_ns"].where(~slower, rows["median_ns"] * 3)), level=0.9)

    def estimates(table, split):
        chosen = table[(table["split"] == split) & (table["network"] == "resnet50") & (table["method"] == OURS)]
        return chosen["estimate_ms"].item()

    before = evaluate(rows, level=0.9)
    assert estimates(changed.baselines, "family") == pytest.approx(estimates(before.baselines, "family"))
    assert estimates(changed.baselines, "network") != pytest.approx(estimates(before.baselines, "network"), rel=1e-6)


def test_the_summary_is_of_its_own_tables(evaluated):
    _, evaluation = evaluated
    for row in evaluation.summary.itertuples():
        part = evaluation.baselines[
            (evaluation.baselines["split"] == row.split) & (evaluation.baselines["method"] == row.method)
        ]
        errors = part["estimate_ms"] / part["measured_ms"] - 1
        assert row.cases == len(part)
        assert row.median_error == pytest.approx(np.median(np.abs(errors)))
        assert row.worst_error == pytest.approx(np.abs(errors).max())
        assert row.within_5 == pytest.approx((np.abs(errors) <= 0.05).mean())


def test_the_tables_hold_what_was_measured_and_errors_against_it(evaluated):
    rows, evaluation = evaluated
    layers = rows[rows["subject"] == "layer"]
    sums, whole = layers.groupby("network")["median_ns"].sum(), rows[rows["subject"] == "forward"].set_index("network")
    for row in evaluation.networks.itertuples():
        assert row.measured_ms == pytest.approx(whole.loc[row.network, "median_ns"] / 1e6)
        assert row.measured_layerwise_ms == pytest.approx(sums[row.network] / 1e6)
        assert row.covered == (row.low_ms <= row.measured_ms <= row.high_ms)
        assert row.high_ms / row.estimate_ms == pytest.approx(row.estimate_ms / row.low_ms)
        assert row.modelled_time_fraction == 1.0
    for table in (evaluation.networks, evaluation.layers):
        assert table["error"].to_numpy() == pytest.approx((table["estimate_ms"] / table["measured_ms"] - 1).to_numpy())
    inside = (evaluation.layers["low_ms"] <= evaluation.layers["measured_ms"]) & (
        evaluation.layers["measured_ms"] <= evaluation.layers["high_ms"]
    )
    assert (evaluation.layers["covered"] == inside).all() and 0 < inside.mean() < 1
    shares = evaluation.layers["measured_ms"] / evaluation.layers["network"].map(sums / 1e6)
    assert evaluation.layers["share"].to_numpy() == pytest.approx(shares.to_numpy())


def test_simpler_methods_are_granted_the_median_ratio_of_passes():
    rows = pd.DataFrame(
        [("a", "layerwise", 10.0), ("a", "forward", 9.0), ("b", "layerwise", 10.0), ("b", "forward", 8.0),
         ("c", "layerwise", 20.0), ("c", "forward", 10.0), ("d", "forward", 1.0)],
        columns=["network", "subject", "median_ns"],
    ).assign(batch=1)  # fmt: skip
    assert _pass_ratio(rows) == pytest.approx(0.8)
    assert _pass_ratio(rows[rows["subject"] == "forward"]) == 1.0


def test_figures_of_a_summary_by_hand():
    label = {"stack": "s", "split": "network", "method": OURS, "batch": 1}
    cases = (("a", 10, 10.4, True), ("b", 20, 24, False), ("c", 30, 27.9, True))
    networks = pd.DataFrame(
        [
            {
                **label,
                "network": name,
                "measured_ms": measured,
                "estimate_ms": estimate,
                "error": estimate / measured - 1,
            }
            | {"low_ms": estimate / 1.1, "high_ms": estimate * 1.1, "covered": covered, "modelled_time_fraction": 1.0}
            for name, measured, estimate, covered in cases
        ]
    )
    layers = networks.assign(share=[0.5, 0.5, 0.005], modelled=True)
    row = summarise(networks, layers).iloc[0]
    assert (row.median_error, row.worst_error, row.bias) == pytest.approx((0.07, 0.2, 0.04))
    assert (row.within_5, row.within_10) == pytest.approx((1 / 3, 2 / 3))
    assert row.rank_correlation == pytest.approx(1)
    assert row.networks_covered == pytest.approx(2 / 3)
    assert row.networks_width == pytest.approx(0.21)
    assert row.layer_median_error == pytest.approx(0.12)  # the third is below 1 % of its network
    assert row.layers_covered == pytest.approx(0.5)


def test_one_network_is_nothing_to_hold_out():
    evaluation = evaluate(board(2, networks=1), level=0.9)
    assert evaluation.networks.empty
    assert evaluation.summary.empty


def test_intervals_of_unseen_networks_hold_about_as_often_as_they_say(without_baselines):
    tables = [evaluate(board(seed, networks=8, noise=0.1), level=0.9) for seed in range(3)]
    networks, layers = (
        pd.concat(getattr(evaluation, name) for evaluation in tables) for name in ("networks", "layers")
    )
    assert networks["covered"].mean() >= 0.85
    assert 0.85 <= layers["covered"].mean() <= 0.98


def test_a_number_of_threads_is_estimated_from_those_around_it(without_baselines):
    def at(threads):
        rows = board(1, networks=2, noise=0.0)
        return rows.assign(threads=threads, stack=f"x+{threads}-threads", median_ns=rows["median_ns"] / threads)

    rows = pd.concat(map(at, (1, 2, 4)), ignore_index=True)
    evaluation = evaluate(rows, 0.9)
    read = evaluation.summary[evaluation.summary["split"] == "threads"]
    assert list(read["stack"]) == ["x+2-threads"] and read["worst_error"].max() < 0.05
    assert "threads" not in set(evaluation.networks["split"])
    assert evaluate(rows, 0.9, ["net0", "net1"]).summary.empty
    totals_only = (rows["threads"] == 4) & rows["subject"].ne("forward")
    assert "threads" not in set(evaluate(rows[~totals_only], 0.9).summary["split"])


def test_a_board_that_shipped_priors_know_is_judged_without_its_own_too(without_baselines, monkeypatch):
    """Whatever they say of it: the stricter figures are of priors that other boards told."""
    rows = board(1, networks=3).assign(board="tx1")
    before = evaluate(rows, 0.9).summary.set_index(["method", "split"])
    assert set(before.index.get_level_values("method")) == {OURS, STRICT}
    told = [replace(one, value=50 * one.value) if one.board == "tx1" else one for one in SHIPPED_PRIORS.numbers]
    monkeypatch.setattr("sitecnn.models.evaluate.CHOICES", Choices(Priors(tuple(told))))
    monkeypatch.setattr("sitecnn.models.evaluate.SHIPPED_PRIORS", Priors(tuple(told)))
    after = evaluate(rows, 0.9).summary.set_index(["method", "split"])
    pd.testing.assert_frame_equal(after.loc[[STRICT]], before.loc[[STRICT]])
    assert not after.loc[[OURS]].equals(before.loc[[OURS]])
    assert STRICT not in set(evaluate(rows.assign(board="mine"), 0.9).summary["method"])


def test_kernels_of_which_a_table_tells_only_that_they_ran_are_no_example_and_no_error():
    """As phones' tables have them: no method may learn a time of 0, or be held against it."""
    random, rows = np.random.default_rng(5), []
    empty = dict.fromkeys((*SIZE_NAMES, "layer", "layer_type", "layer_index", "mode", "base_bytes", "total_bytes"))
    empty |= dict.fromkeys(("touched_bytes", "weights_bytes", "gpu_total_bytes", "gpu_base_bytes"), np.nan)
    common = empty | {"stack": "caffe+1-threads", "processor": "cpu", "threads": 1, "batch": 1, "variant": ""}
    for network in ("alexnet", "googlenet", "vgg16"):
        counts = random.integers(10_000, 1_000_000, 12).tolist()
        for index, count in enumerate(counts):
            ran_only = index % 4 == 3
            sizes = {"in_elements": count, "out_elements": count, "parameters": 0, "layer_index": index}
            named = {"network": network, "layer": f"l{index}", "layer_type": "ReLU", "subject": "layer"}
            kind = {"kind": PAD if ran_only else "relu", "median_ns": 0.0 if ran_only else 0.25 * count + 500}
            rows.append(common | sizes | named | kind)
        rows.append(common | {"network": network, "subject": "forward", "median_ns": 0.25 * sum(counts)})
    evaluation = evaluate(pd.DataFrame(rows), 0.9)
    assert set(evaluation.baselines["method"]) >= {"sitecnn", *BASELINES}
    assert np.isfinite(evaluation.baselines["error"]).all()
    untimed = evaluation.layers[evaluation.layers["kind"] == PAD]
    assert len(untimed) == 9 and untimed["error"].isna().all()
    assert evaluation.layers.loc[evaluation.layers["kind"] == "relu", "error"].abs().max() < 0.2
