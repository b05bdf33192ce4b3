"""Where the errors of a campaign's networks come from: kernels, kind by kind, and what lies between them and a pass.

    .venv/bin/python -m benchmarks.decomposition RECORDS.jsonl

A record file of ONNX Runtime with probes and networks (results/records/BOARD/cpu-1-threads.jsonl). The model is fitted
on the probes alone. Prints each network's error of the pass and of the sum of its kernels; the kinds of kernels by how
much they add to the errors; and the share of the networks' kernels whose sizes lie inside of what the probes saw.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.models.board_model import estimate_pass
from sitecnn.models.coverage import coverage
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import measured_passes, sizes_of
from sitecnn.models.probe_names import is_probe
from sitecnn.models.rounds import fitted_rows, over_rounds, rounds_sd
from sitecnn.workload.kernels import SIZE_NAMES

RELEVANT_SHARE = 0.01
"""Kernels under 1 % of their network's pass hardly matter to it."""

COMMON = {"processor": "cpu", "source": "agent", "mode": "network", "median_ns": np.nan, "base_bytes": np.nan}


def measurements(path: Path) -> pd.DataFrame:
    """A record file's passes and kernels as the dataset has them, the least over the rounds."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    runs = {record["run"]: record for record in records if record["record"] == "run"}
    rows: list[dict[str, Any]] = []
    for record in records:
        if record["record"] == "measurement" and record["status"] == "ok" and "round" in record:
            named = {name: record[name] for name in ("network", "batch", "round")}
            named |= {name: runs[record["run"]][name] for name in ("stack", "threads")}
            rows += [named | {"subject": "kernel"} | kernel for kernel in record["kernels"]]
            rows.append(named | {"subject": "forward", "samples_ns": record["forward_ns"]})
    empty = dict.fromkeys((*SIZE_NAMES, "layer", "layer_type", "layer_index"), np.nan) | {"variant": ""}
    return over_rounds(pd.DataFrame([empty | COMMON | row for row in rows]))


def estimates(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(a row for each network that is no probe, a row for each of its kernels), errors as fractions."""
    model = fit_stack(fitted_rows(rows), str(rows["stack"].iloc[0]))
    networks, kernels = [], []
    for layers, whole_ns in measured_passes(rows[[not is_probe(name) for name in rows["network"]]]):
        estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
        sum_ns = float(layers["median_ns"].sum())
        networks.append({
            "network": layers["network"].iloc[0],
            "ms": whole_ns / 1e6,
            "error": estimate.forward_ns / whole_ns - 1,
            "error of kernels": estimate.layers.ns.sum() / sum_ns - 1,
            "pass / kernels": whole_ns / sum_ns,
            "kernels": len(layers),
        })  # fmt: skip
        kernels.append(layers.assign(estimate_ns=estimate.layers.ns, whole_ns=whole_ns))
    return pd.DataFrame(networks).sort_values("ms"), pd.concat(kernels, ignore_index=True)


def by_kind(kernels: pd.DataFrame) -> pd.DataFrame:
    """Each kind's mean share of a pass, its error, and what it adds to a pass's error: signed, and kernel by kernel."""
    added = (kernels["estimate_ns"] - kernels["median_ns"]) / kernels["whole_ns"]
    shares = kernels["median_ns"] / kernels["whole_ns"]
    groups = kernels.assign(share=shares, adds=added, misses=added.abs()).groupby("kind")
    kinds = groups[["share", "adds", "misses"]].sum() / kernels["network"].nunique()
    sums = groups[["estimate_ns", "median_ns"]].sum()
    kinds.insert(1, "error", sums["estimate_ns"] / sums["median_ns"] - 1)
    return kinds.sort_values("misses", ascending=False)


def main(path: Path) -> None:
    """Print the tables."""
    rows = measurements(path)
    networks, kernels = estimates(rows)
    print(networks.to_string(index=False, float_format="{:.3f}".format))
    errors = networks["error"].abs()
    relevant = kernels[kernels["median_ns"] > RELEVANT_SHARE * kernels["whole_ns"]]
    of_kernels = (relevant["estimate_ns"] / relevant["median_ns"] - 1).abs()
    bias = networks["error"].median()
    print(f"networks: median {errors.median():.1%}, worst {errors.max():.1%}, of one sign {bias:+.1%}")
    print(f"kernels over 1 %: median {of_kernels.median():.1%}, nine in ten within {of_kernels.quantile(0.9):.1%}")
    print(f"rounds differ by {rounds_sd(fitted_rows(rows)):.1%} (standard error that all passes share)\n")
    print(by_kind(kernels).to_string(float_format="{:.4f}".format))
    seen = coverage(rows)
    print(f"inside of what the probes saw: {seen['inside'].sum() / seen['kernels'].sum():.1%} of kernels", end=", ")
    print(f"{seen['inside_ms'].sum() / seen['ms'].sum():.1%} of their time")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
