"""Records → Parquet: one row per measured thing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.network import Network, parse_prototxt
from sitecnn.workload.kernels import SIZE_NAMES, layer_kernel

SUMMARY = ("median_ns", "spread_ns", "low_ns", "high_ns")


def aggregate(root: Path) -> dict[str, int]:
    """Every board's records to results/dataset/measurements."""
    counts = {}
    for folder in sorted((root / "results" / "records").glob("*")):
        rows = [row for file in sorted(folder.glob("*.jsonl")) for row in _file_rows(file, folder.name)]
        frame = pd.DataFrame(rows)
        frame = frame.astype({name: "Int64" for name in SIZE_NAMES if name in frame})
        for processor, part in frame.groupby("processor"):
            target = root / "results" / "dataset" / "measurements" / f"board={folder.name}" / f"processor={processor}"
            target.mkdir(parents=True, exist_ok=True)
            part.to_parquet(target / "part.parquet", index=False)
        counts[folder.name] = len(frame)
    return counts


def read_measurements(root: Path, board: str, processor: str) -> pd.DataFrame:
    """The measurements of a (board, processor)."""
    path = root / "results" / "dataset" / "measurements" / f"board={board}" / f"processor={processor}"
    frame = pd.concat([pd.read_parquet(file) for file in path.glob("*.parquet")])
    return frame.reindex(columns=list(dict.fromkeys([*frame.columns, *SIZE_NAMES, "base_bytes", "mode"])))


def _file_rows(file: Path, board: str) -> Iterator[dict[str, Any]]:
    runs = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        if record["record"] == "run":
            runs[record["run"]] = record
        elif record["record"] == "measurement":
            run = runs[record["run"]]
            base = {name: run[name] for name in ("processor", "stack", "threads")}
            base |= {"board": board, "key": record["key"], "status": record["status"], "reason": record["reason"]}
            yield from ({**base, **row} for row in _rows(record))


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if record["task"] in ("gemm", "layer"):
        row = {name: record.get(name) for name in (*SUMMARY, "mode", "samples_ns")}
        yield {"subject": "kernel", **record["kernel"], **row}
    elif record["task"] == "memory":
        memory = {f"{name}_bytes": value for name, value in record.get("memory_bytes", {}).items()}
        yield {"subject": "memory", "network": record["network"], "batch": record["batch"], **memory}
    elif record["status"] != "failed":
        yield from _network_rows(record)


def _network_rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    base = {"network": record["network"], "batch": record["batch"], "mode": "network"}
    network: Network = parse_prototxt(record["prototxt"], "record")
    for subject in ("layerwise", "forward"):
        samples = record[f"{subject}_ns"]
        yield {**base, "subject": subject, "median_ns": float(pd.Series(samples).median()), "samples_ns": samples}
    for index, (layer, timed) in enumerate(zip(network.layers, record["layers"], strict=True)):
        samples = timed["samples_ns"]
        median = float(pd.Series(samples).median())
        row = {"subject": "layer", "layer": layer.name, "layer_index": index, "layer_type": layer.type}
        yield {**base, **row, **layer_kernel(layer).as_dict(), "median_ns": median, "samples_ns": samples}
