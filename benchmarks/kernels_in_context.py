"""Kernels as the agent measures them alone, against the same layers within their network's own pass.

    .venv/bin/python -m benchmarks.kernels_in_context [BOARD PROCESSOR]

reads results/dataset and prints, per network, the sum of its kernels measured alone over its forward pass, and the
error of the layers that take over 1 % of it. Layers that are not measured alone (Split, Dropout in place) count with
the time they took in the network.
"""

import sys
from pathlib import Path

import pandas as pd

from sitecnn.cli.tables import table
from sitecnn.dataset import read_measurements
from sitecnn.workload.kernels import SIZE_NAMES


def compare(measurements: pd.DataFrame) -> list[tuple[str, ...]]:
    """(network, forward ms, sum alone ms, error, median and worst |error| of layers over 1 %) per network."""
    identity = ["stack", "kind", "variant", *SIZE_NAMES]
    timed = measurements.assign(**{name: measurements[name].fillna(-1) for name in SIZE_NAMES})
    alone = timed[(timed["subject"] == "kernel") & (timed["mode"] == "cold")].set_index(identity)["median_ns"]
    rows = []
    for (network, batch), part in timed[timed["subject"] == "layer"].groupby(["network", "batch"]):
        layers = part.join(alone.rename("alone_ns"), on=identity)
        layers["alone_ns"] = layers["alone_ns"].fillna(layers["median_ns"])
        whole = timed[(timed["subject"] == "forward") & (timed["network"] == network) & (timed["batch"] == batch)]
        forward_ns = float(whole["median_ns"].median())
        large = layers[layers["median_ns"] > 0.01 * layers["median_ns"].sum()]
        errors = (large["alone_ns"] / large["median_ns"] - 1).abs()
        total_ns = float(layers["alone_ns"].sum())
        cells = (f"{forward_ns / 1e6:.2f}", f"{total_ns / 1e6:.2f}", f"{total_ns / forward_ns - 1:+.1%}")
        rows.append((str(network), *cells, f"{errors.median():.1%}", f"{errors.max():.1%}"))
    return rows


if __name__ == "__main__":
    board, processor = sys.argv[1:] or ("local", "cpu")
    head = ("network", "forward ms", "alone ms", "error", "layers over 1 %: median", "worst")
    print(table(head, compare(read_measurements(Path(), board, processor)), right=range(1, 6)))
