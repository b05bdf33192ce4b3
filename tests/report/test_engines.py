"""Two engines on one processor are shown side by side, and never compared as one before and after the other."""

import pandas as pd

from sitecnn.dataset.difference import IDENTITY, compare


def rows(layer):
    """One thing measured nine times; `layer` is None in a dataset that has no layers."""
    one = dict.fromkeys(IDENTITY) | {"subject": "forward", "network": "net", "batch": 1, "layer": layer}
    return pd.DataFrame([{**one, "status": "ok", "samples_ns": [float(ns) for ns in range(100, 109)]}])


def test_a_column_that_one_side_does_not_have_compares_as_nothing_in_common():
    with_layers = pd.concat([rows("conv1"), rows(None)], ignore_index=True)
    without = rows(None).assign(layer=float("nan"))
    assert len(compare(with_layers, without)) <= 1
