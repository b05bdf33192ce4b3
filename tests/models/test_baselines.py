"""Simpler methods against laws that they can and cannot follow."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.baselines import BASELINES, bytes_of, macs_of, macs_only, macs_per_type, roofline, sparse_polynomial
from sitecnn.network import load_network
from sitecnn.workload.kernels import SIZE_NAMES, layer_kernel
from sitecnn.workload.memory import memory
from tests.estimation.fixtures import NETWORKS


def rows_of(name, batch=1):
    network = load_network(NETWORKS / f"{name}.prototxt", batch=batch)
    rows = [layer_kernel(layer).as_dict() for layer in network.layers if layer.modelled]
    table = pd.DataFrame(rows).reindex(columns=["kind", "variant", *SIZE_NAMES])
    return table.assign(subject="layer", mode="network", network=name, batch=batch)


# Known figures: 724 M (Krizhevsky's two groups), 15.47 G and 3.86 G multiply-accumulates, as published.
@pytest.mark.parametrize(("name", "millions"), [("alexnet", 724), ("vgg16", 15470), ("resnet50", 3858)])
def test_macs_are_the_published_ones(name, millions):
    assert macs_of(rows_of(name)).sum() / 1e6 == pytest.approx(millions, rel=0.002)
    assert macs_of(rows_of(name, batch=4)).sum() == pytest.approx(4 * macs_of(rows_of(name)).sum())


def test_bytes_hold_weights_and_data():
    rows = rows_of("vgg16")
    parts = memory(load_network(NETWORKS / "vgg16.prototxt"))
    assert bytes_of(rows).sum() >= parts.weights_bytes + parts.data_bytes


def test_one_speed_is_found_where_all_is_macs():
    rows = rows_of("vgg16")
    rows = rows[macs_of(rows) > 0]
    rows = rows.assign(median_ns=macs_of(rows) * 0.07)
    assert macs_only(rows)(rows) == pytest.approx(rows["median_ns"].to_numpy())
    assert macs_per_type(rows)(rows) == pytest.approx(rows["median_ns"].to_numpy())


def test_the_roofline_finds_both_ceilings():
    rows = rows_of("resnet50")
    law = np.maximum(macs_of(rows) * 0.05, bytes_of(rows) * 0.2)
    estimate_ns = roofline(rows.assign(median_ns=law))(rows)
    assert estimate_ns[law > 0] == pytest.approx(law[law > 0], rel=0.02)


@pytest.mark.parametrize("name", BASELINES)
def test_each_follows_its_own_layers_of_a_smooth_law(name):
    """Half of a network's time within a third: looser than any is on layers that it has seen."""
    rows = rows_of("resnet50")
    rows = rows[bytes_of(rows) > 0]
    rows = rows.assign(median_ns=2000 + macs_of(rows) * 0.05 + bytes_of(rows) * 0.2)
    estimate_ns = BASELINES[name](rows)(rows)
    assert estimate_ns.sum() == pytest.approx(rows["median_ns"].sum(), rel=0.35)
    assert (estimate_ns >= 0).all()


def test_a_polynomial_is_no_faster_than_a_tenth_of_the_fastest_layer_however_small_a_layer_is():
    """Times that begin beside 0 are a line that crosses it."""
    rows = rows_of("vgg16")
    rows = rows[(rows["kind"] == "relu") & (rows["in_elements"] > 400_000)]
    rows = rows.assign(median_ns=bytes_of(rows) - 0.99 * bytes_of(rows).min())
    sizes = ("channels", "height", "out_channels", "out_height", "in_elements", "out_elements")
    tiny = rows.head(1).assign(**dict.fromkeys(sizes, 1))
    assert sparse_polynomial(rows)(tiny)[0] == pytest.approx(rows["median_ns"].min() / 10)


@pytest.mark.parametrize("name", BASELINES)
def test_kinds_and_counts_that_were_hardly_seen_are_no_error(name):
    rows = rows_of("googlenet")
    few = rows[rows["kind"] == "relu"].head(1).assign(median_ns=1e5)
    estimate_ns = BASELINES[name](few)(rows)
    assert np.isfinite(estimate_ns).all()
    assert (estimate_ns >= 0).all()
