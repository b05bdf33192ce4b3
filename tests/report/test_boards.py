"""What the chapter on boards says of the probes: by kernels and by their time."""

from types import SimpleNamespace

import pandas as pd
import pytest

from sitecnn.report.chapters.boards import coverage_table


def test_probes_met_a_share_of_the_kernels_and_another_of_their_time():
    kinds = pd.DataFrame(
        {
            "stack": "caffe-1.0",
            "kind": ["inner_product", "convolution"],
            "probe_kernels": [5, 50],
            "kernels": [2, 8],
            "inside": [1, 8],
            "ms": [10.0, 30.0],
            "inside_ms": [2.0, 30.0],
            "farthest": ["out_channels", ""],
            "farthest_factor": [4.0, None],
        }
    )
    one = SimpleNamespace(coverage=kinds, place={"board": "b", "processor": "cpu"})
    (table,) = coverage_table(SimpleNamespace(measured=[one]))
    assert table.title == "80.0 % of the networks' time is in kernels that probes met"
    cells = [[cell.text for cell in cells] for _, cells in table.rows]
    assert cells[0][:5] == ["convolution", "50", "8", "100 %", "100 %"]
    assert cells[1] == ["fully connected", "5", "2", "50 %", "20 %", "output channels", "4.00"]
    assert [cell.value for _, cells in table.rows for cell in cells[3:4]] == pytest.approx([1.0, 0.5])
