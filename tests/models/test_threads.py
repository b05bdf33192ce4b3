"""Threads that were not measured, against Amdahl's law."""

import numpy as np
import pytest

from sitecnn.models.board_model import estimate_kernels
from sitecnn.models.fit import fit_stack, sizes_of
from sitecnn.models.threads import at_threads
from tests.models.boards import board


def at(threads, shared=0.8):
    """The board of known law if `shared` of every time is shared by threads."""
    rows = board(1, noise=0.0)
    return rows.assign(median_ns=rows["median_ns"] * (1 - shared + shared / threads), threads=threads)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_time_between_is_amdahls(threads):
    measured = [fit_stack(at(count), f"{count} threads") for count in (1, 4)]
    found = at_threads(measured, threads)
    rows = at(threads)
    layers = rows[rows["subject"] == "layer"]
    kinds, sizes = layers["kind"].to_numpy(dtype=str), sizes_of(layers)
    estimate, measured_there = (estimate_kernels(model, kinds, sizes) for model in (found, fit_stack(rows, "x")))
    assert estimate.ns == pytest.approx(measured_there.ns, rel=0.005)
    assert estimate.ns == pytest.approx(layers["median_ns"].to_numpy(dtype=float), rel=0.03)
    assert (found.threads, np.isfinite(estimate.sd_ns).all()) == (threads, True)


@pytest.mark.parametrize("threads", [1, 8])
def test_nothing_is_read_beyond_what_was_measured(threads):
    assert at_threads([fit_stack(at(count), "x") for count in (2, 4)], threads) is None
