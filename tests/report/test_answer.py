"""What the first screen says of a network on a board: whether it fits, what is doubtful, and the two ends."""

import pandas as pd
import pytest

from sitecnn.report.chapters.answer import answer_cell, answer_figure

MIB = 2**20
ROW = {
    "network": "a",
    "board": "b",
    "processor": "cpu",
    "stack": "caffe-1.0",
    "measured_ms": None,
    "ms": 10.0,
    "low_ms": 8.0,
    "high_ms": 12.0,
    "images_per_second": 100.0,
    "memory_bytes": 10 * MIB,
    "base_bytes": MIB,
    "free_bytes": None,
    "unseen_share": 0.1,
    "precision": None,
}


@pytest.mark.parametrize(
    ("free_mib", "said"), [(9, ["does not fit 9.0 MiB"]), (10, ["fits"]), (11, ["fits"]), (None, [])]
)
def test_it_fits_what_is_free(free_mib, said):
    cell = answer_cell({**ROW, "free_bytes": free_mib and free_mib * MIB})
    assert [text for text in cell.details if "fit" in text] == said


@pytest.mark.parametrize(
    ("values", "mark", "text"),
    [
        ({}, "estimated", "10.0 ms"),
        ({"unseen_share": 0.49}, "estimated", "10.0 ms"),
        ({"unseen_share": 0.51}, "unseen", "≈ 10.0 ms"),
        ({"unseen_share": 0.51, "measured_ms": 10.0}, "measured", "10.0 ms"),
    ],
)
def test_a_time_is_marked_by_where_it_comes_from(values, mark, text):
    cell = answer_cell({**ROW, **values})
    assert (cell.mark, cell.text) == (mark, text)
    assert cell.details[0] == ("measured" if mark == "measured" else "8.00 – 12.0")


def test_the_ends_are_those_of_the_times_and_not_of_their_intervals():
    rows = pd.DataFrame(
        [
            {**ROW, "network": "wide", "ms": 20.0, "low_ms": 1.0, "high_ms": 90.0},
            {**ROW, "network": "quick", "ms": 10.0, "low_ms": 9.0, "high_ms": 11.0},
            {**ROW, "network": "slow", "ms": 30.0, "low_ms": 29.0, "high_ms": 31.0},
        ]
    ).astype({"measured_ms": float})
    assert answer_figure(rows, 0.9).title == "From 10.0 ms (quick on b) to 30.0 ms (slow on b)"
