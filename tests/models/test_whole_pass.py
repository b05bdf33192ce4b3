"""Passes of many imported networks, made of terms that are known: a fit has to find these again."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.tflite_features import ELEMENTWISE, PAD
from sitecnn.models.whole_pass import as_layers, fit_whole_pass, is_of_many_networks

TRUTH = {"ratio": 1.3, "kernel": -20_000.0, "pass": 3e6, "weight": 1.5, PAD: 0.8, ELEMENTWISE: 1.7}
"""Times a Σ of kernels, ns a kernel, a pass and a weight, and ns an element that is written untimed."""


def network(name: str, rng: np.random.Generator, noise: float = 0.0, **others: float) -> list[dict[str, object]]:
    """Timed kernels with weights, kernels that ran untimed, and the pass that they make."""
    per = {**TRUTH, **others}
    times = rng.uniform(1e4, 1e6, int(rng.integers(10, 60)))
    weights = rng.integers(1000, 200_000, len(times))
    rows: list[dict[str, object]] = [
        {"kind": "tflite_convolution_2d", "median_ns": ns, "parameters": count}
        for ns, count in zip(times, weights, strict=True)
    ]
    rows[0]["parameters"] = np.nan
    whole_ns = per["ratio"] * times.sum() + per["weight"] * weights[1:].sum() + per["pass"]
    for kind in (PAD, ELEMENTWISE):
        for _ in range(int(rng.integers(0, 12))):
            images, edge = int(rng.integers(1, 9)), int(rng.integers(20, 100))
            shape = {"images": images, "out_channels": 7, "out_height": edge, "out_width": edge + 3}
            rows.append({**shape, "kind": kind})
            # Of seven channels two slices of four are written.
            whole_ns += per[kind] * images * 8 * edge * (edge + 3)
    whole_ns += per["kernel"] * len(rows)
    table = [{**row, "subject": "layer"} for row in rows]
    table += [{"subject": "forward", "median_ns": whole_ns * factor} for factor in np.exp(rng.normal(0, noise, 3))]
    return [{**row, "network": name, "batch": 1} for row in table]


def passes(count: int, noise: float = 0.0, **others: float) -> pd.DataFrame:
    rng = np.random.default_rng(count)
    return pd.DataFrame([row for index in range(count) for row in network(f"net{index}", rng, noise, **others)])


def test_the_terms_of_passes_are_found_again() -> None:
    """All but exactly: they are drawn to nothing as if by a thousandth of a network."""
    ratio, kernel_ns, spread, once_ns, untimed = fit_whole_pass(passes(60))
    assert ratio == pytest.approx(TRUTH["ratio"], rel=0.02)
    assert kernel_ns == pytest.approx(TRUTH["kernel"], rel=0.1)
    assert once_ns == pytest.approx({"pass": TRUTH["pass"], "weights": TRUTH["weight"]}, rel=0.05)
    assert spread < 0.003
    for kind in (PAD, ELEMENTWISE):
        # A pass takes `ratio` times its kernels, these among them.
        assert ratio * untimed[kind].coefficients_ns[0] == pytest.approx(TRUTH[kind], rel=0.03)


def test_the_scatter_of_passes_is_what_no_term_explains() -> None:
    """Of three passes with a relative error of 5 % the median has 3.35 % (order statistics of a normal)."""
    assert fit_whole_pass(passes(80, noise=0.05))[2] == pytest.approx(0.0335, rel=0.2)


def test_a_pass_is_the_median_of_those_of_its_network_and_one_without_a_pass_tells_nothing() -> None:
    rows = passes(40)
    whole = rows["subject"] == "forward"
    first = rows.index[whole & ~rows.duplicated(["network", "subject"])]
    wild = rows.assign(median_ns=rows["median_ns"].mask(rows.index.isin(first), rows["median_ns"] * 40))
    alone = pd.DataFrame(network("alone", np.random.default_rng(1)))
    more = pd.concat([wild, alone[alone["subject"] == "layer"]], ignore_index=True)
    ours, expected = fit_whole_pass(more), fit_whole_pass(rows)
    assert ours[:3] == pytest.approx(expected[:3]) and ours[3] == pytest.approx(expected[3])


def test_one_wild_network_hardly_moves_the_terms() -> None:
    rows = passes(60, noise=0.01)
    wild = (rows["network"] == "net7") & (rows["subject"] == "forward")
    fitted = fit_whole_pass(rows.assign(median_ns=rows["median_ns"].mask(wild, rows["median_ns"] * 5)))
    assert fitted[0] == pytest.approx(TRUTH["ratio"], rel=0.03)
    assert fitted[3]["weights"] == pytest.approx(TRUTH["weight"], rel=0.2)


def test_only_kernels_and_their_launches_may_take_less_than_nothing() -> None:
    """A ratio below 1 and launches that timing alone costs more than; all else is not negative."""
    ratio, kernel_ns, _, _, _ = fit_whole_pass(passes(60, ratio=0.8))
    assert ratio == pytest.approx(0.8, rel=0.03) and kernel_ns < 0
    _, _, _, once_ns, untimed = fit_whole_pass(passes(60, weight=-0.3, **{PAD: -0.1}))
    assert once_ns["weights"] == pytest.approx(0, abs=1e-6) and once_ns["pass"] > 0
    assert untimed[PAD].coefficients_ns[0] == pytest.approx(0, abs=1e-6)


def test_kinds_that_were_not_timed_are_known_as_well_as_passes_tell() -> None:
    rows = passes(60)
    pads = rows[rows["kind"] == PAD]
    written = pads["images"] * 8 * pads["out_height"] * pads["out_width"]
    one = fit_whole_pass(rows)[4][PAD]
    assert (one.features, one.units, one.rows) == (("written",), ("element written",), len(pads))
    assert one.seen == ((written.min(), written.max()),)
    ns = one.coefficients_ns[0]
    assert (one.standard_errors_ns, one.covariance, one.relative_sd) == ((ns,), ((ns**2,),), 0.0)


def test_a_kind_that_no_network_ran_takes_nothing_and_was_not_seen() -> None:
    rows = passes(60)
    one = fit_whole_pass(rows[rows["kind"] != PAD])[4][PAD]
    assert (one.coefficients_ns[0], one.seen, one.rows) == (pytest.approx(0, abs=1e-9), ((0.0, 0.0),), 0)


def imported(**others: object) -> dict[str, object]:
    row = {"subject": "kernel", "network": "a", "batch": 1, "stack": "s", "source": "import", "kind": "k"}
    return row | {"layer": None, "layer_type": None, "layer_index": np.nan} | others


def test_imported_kernels_of_a_network_are_its_layers_in_their_order() -> None:
    rows = pd.DataFrame(
        [
            imported(),
            imported(kind="other"),
            imported(batch=2),
            imported(stack="t"),
            imported(network="b"),
            imported(network=None),
            imported(source="agent"),
            imported(subject="forward"),
            imported(subject="layer", layer="own", layer_type="Own", layer_index=7.0),
        ]
    )
    layers = as_layers(rows)
    assert layers["subject"].tolist() == [*["layer"] * 5, "kernel", "kernel", "forward", "layer"]
    assert layers["layer_index"].tolist()[:5] == [0, 1, 0, 0, 0]
    assert layers["layer_index"].isna().tolist() == [*[False] * 5, True, True, True, False]
    assert layers["layer"].tolist()[:5] == layers["layer_type"].tolist()[:5] == ["k", "other", "k", "k", "k"]
    assert layers.iloc[8][["layer", "layer_type", "layer_index"]].tolist() == ["own", "Own", 7.0]
    untouched = rows.iloc[6:]
    assert as_layers(untouched) is untouched


def test_twenty_imported_networks_are_many() -> None:
    rows = pd.DataFrame([imported(subject="layer", network=f"net{index}") for index in range(20)])
    assert is_of_many_networks(rows)
    assert not is_of_many_networks(rows[1:])
    assert not is_of_many_networks(rows.assign(subject="kernel"))
    assert not is_of_many_networks(rows.drop(columns="source"))
    assert not is_of_many_networks(pd.concat([rows, pd.DataFrame([imported(source="agent")])]))
