"""Errors by the number of rounds: on a campaign whose rounds are late by known factors."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.board_time import counts, errors_by_rounds
from sitecnn.workload.kernels import SIZE_NAMES

STACK = "onnxruntime-1.32.0+nchwc-16+1-threads"
LATE = (1.3, 1.1, 1.0, 1.0, 1.0)
"""How much longer everything takes in each round."""

SECONDS = (5.0, 6.0, 7.0, 8.0, 9.0)
"""Of each probe in each round."""


def row(network, number, ns, **others):
    common = {"stack": STACK, "threads": 1, "processor": "cpu", "batch": 1, "mode": "network", "source": "agent"}
    empty = dict.fromkeys((*SIZE_NAMES, "layer", "layer_type", "layer_index", "kind", "base_bytes", "total_bytes"))
    told = {"network": network, "round": number, "samples_ns": [ns] * 4, "median_ns": ns, "variant": ""}
    unknown = dict.fromkeys(("touched_bytes", "weights_bytes", "gpu_total_bytes", "gpu_base_bytes"), np.nan)
    return empty | common | told | unknown | {"seconds": SECONDS[number]} | others


def campaign(networks):
    """Twenty probes and some networks of ReLUs of 500 ns and 0.25 ns an element; networks' truth is of the last."""
    random, rows = np.random.default_rng(3), []
    for name in (*(f"probe-{number:03d}" for number in range(20)), *networks):
        elements = random.integers(10_000, 1_000_000, 12)
        for number, late in enumerate(LATE):
            late = late if name.startswith("probe") else 1.0
            times = late * (500 + 0.25 * elements)
            for count, ns in zip(elements.tolist(), times.tolist(), strict=True):
                sizes = {"kind": "ort_relu", "subject": "kernel", "in_elements": 0, "out_elements": count}
                rows.append(row(name, number, ns, **sizes))
            rows.append(row(name, number, float(times.sum()), subject="forward"))
    return pd.DataFrame(rows)


def test_errors_are_those_of_the_rounds_that_the_model_knows_and_seconds_those_of_their_probes():
    table = errors_by_rounds(campaign(["one", "other", "third"]))
    assert table["rounds"].tolist() == [1, 2, 4, 5] and set(table["stack"]) == {STACK}
    # One round is 30 % late, of two the least is 10 %, of four and five the two least are not late.
    assert table["bias"].tolist() == pytest.approx([0.3, 0.1, 0.0, 0.0], abs=0.01)
    assert table["median_error"].tolist() == pytest.approx([0.3, 0.1, 0.0, 0.0], abs=0.01)
    assert (table["worst_error"] >= table["median_error"]).all() and table["worst_error"].max() < 0.33
    assert table["networks"].tolist() == [3] * 4
    assert table["seconds"].tolist() == [20 * sum(SECONDS[:count]) for count in (1, 2, 4, 5)]


def test_without_rounds_or_without_networks_beside_the_probes_there_is_nothing_to_tell():
    assert errors_by_rounds(campaign([])).empty
    assert errors_by_rounds(campaign(["one"]).assign(round=np.nan)).empty
    assert errors_by_rounds(campaign(["one"]).drop(columns="round")).empty
    real = campaign(["one", "other"])
    assert errors_by_rounds(real[~real["network"].str.startswith("probe")]).empty


@pytest.mark.parametrize(
    ("rounds", "told"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (9, [1, 2, 4, 8, 9])]
)
def test_a_model_is_made_of_one_two_four_and_all_rounds(rounds, told):
    assert counts(rounds) == told
