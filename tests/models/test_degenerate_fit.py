"""Data that no fit can be made of, and errors that no float can hold."""

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import interval
from sitecnn.models.calibrate import fit_board
from tests.models.fixtures import board


def test_an_error_beyond_all_bounds_is_an_interval_of_numbers():
    low, high = interval(1e6, 1e12, 0.9)
    assert 0 < low < 1e6 < high < float("inf")


def test_nothing_but_passes_is_one_line():
    rows = board(8)
    with pytest.raises(SiteCNNError):
        fit_board(rows[rows["subject"] == "forward"], "shelf", "cpu", {})


def test_kernels_that_say_nothing_of_what_they_move_are_one_line():
    """As a table of matrix products has them: their own sizes and no number of elements."""
    rows = board(8)
    rows = rows[rows["subject"].isin(["kernel", "layer"])].assign(kind="gemm")
    rows[["in_elements", "out_elements", "parameters"]] = float("nan")
    with pytest.raises(SiteCNNError, match="no kernel says how many elements it moves"):
        fit_board(rows, "shelf", "cpu", {})
