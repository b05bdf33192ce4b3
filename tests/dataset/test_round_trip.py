"""What is exported and imported again is what it was."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.dataset import read_measurements
from sitecnn.workload.kernels import SIZE_NAMES
from tests.dataset.test_import import networks, run, toy_table  # noqa: F401

KEPT = ["subject", "layer", "layer_type", "layer_index", "kind", "variant", "median_ns", "low_ns", "high_ns", "status"]


def as_table(exported: pd.DataFrame) -> pd.DataFrame:
    """An export's layers as the table that `import table` takes: a row for each sample, times in ms."""
    layers = exported[exported["subject"] == "layer"]
    forward = exported[exported["subject"] == "forward"].iloc[0]["samples_ns"]
    rows = [
        {
            **{name: row[name] for name in ("network", "batch", "layer")},
            "layer_ms": ns / 1e6,
            "repeat": repeat,
            "forward_ms": forward[repeat] / 1e6,
        }
        for _, row in layers.iterrows()
        for repeat, ns in enumerate(row["samples_ns"])
    ]
    return pd.DataFrame(rows)


def lists(value):
    return [float(one) for one in value.split()] if isinstance(value, str) else list(value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_import_of_an_export_is_the_dataset_that_was_exported(tmp_path, networks, suffix):  # noqa: F811
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    assert run(first, "table", toy_table(tmp_path), "--networks", networks) == 0
    out = tmp_path / f"all.{suffix}"
    assert main(["--root", str(first), "dataset", "export", "-o", str(out)]) == 0
    exported = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    as_table(exported.assign(samples_ns=exported["samples_ns"].map(lists))).to_csv(tmp_path / "again.csv", index=False)
    assert run(second, "table", tmp_path / "again.csv", "--networks", networks) == 0
    before, after = (
        read_measurements(root, "x", "cpu").sort_values(["subject", "layer_index"]).reset_index(drop=True)
        for root in (first, second)
    )
    assert len(before) == len(after) == 5
    pd.testing.assert_frame_equal(before[[*KEPT, *SIZE_NAMES]], after[[*KEPT, *SIZE_NAMES]], rtol=1e-9)
    for one, other in zip(before["samples_ns"], after["samples_ns"], strict=True):
        assert np.allclose(one, other, rtol=1e-9)
