"""Everything the report shows, read from results/ into tables; nothing is measured or fitted here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.boards.config import Board, load_board
from sitecnn.config import Config, load_config
from sitecnn.dataset import read_measurements
from sitecnn.models.board_model import BoardModel, load, model_file
from sitecnn.workload.flops import GROUPS

PASSES = ("layerwise", "forward")

PUBLISHED = Path(__file__).parent / "published"


@dataclass(frozen=True)
class ProcessorResults:
    """What was found on one processor of a board; tables are empty where a stage left nothing."""

    board: Board
    processor: str
    measurements: pd.DataFrame
    model: BoardModel | None
    networks: pd.DataFrame
    layers: pd.DataFrame
    runs: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """As people write it: `tx1 cpu`."""
        return f"{self.board.name} {self.processor}"


def load_results(root: Path) -> tuple[Config, list[ProcessorResults]]:
    """The configuration and what was found on each processor of each of its boards."""
    config = load_config(root)
    boards = [load_board(root, name) for name in config.boards]
    return config, [_processor(root, board, processor) for board in boards for processor in board.processors]


def _processor(root: Path, board: Board, processor: str) -> ProcessorResults:
    path = model_file(root, board.name, processor)
    folder = root / "results" / "evaluation" / f"{board.name}-{processor}"
    return ProcessorResults(
        board=board,
        processor=processor,
        measurements=read_measurements(root, board.name, processor),
        model=load(path) if path.exists() else None,
        networks=_table(folder / "networks.parquet"),
        layers=_table(folder / "layers.parquet"),
        runs=_runs(root, board.name, processor),
    )


def _table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def _runs(root: Path, board: str, processor: str) -> list[dict[str, Any]]:
    """The run records of a processor, in the order they were written."""
    runs = []
    for file in sorted((root / "results" / "records" / board).glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines if line.startswith("{") and '"record":"run"' in line]
        runs += [record for record in records if record["processor"] == processor]
    return runs


def time_by_group(measurements: pd.DataFrame) -> pd.DataFrame:
    """The poster's Table 1 of every (stack, network, batch): ms and spread by layer group, and of the passes.

    Groups are summed pass by pass before the median is taken, so that a column's spread is that of the sum.
    Spread is half the interquartile range.
    """
    rows = []
    for (stack, network, batch), part in measurements.dropna(subset="network").groupby(["stack", "network", "batch"]):
        layers = part[part["subject"] == "layer"]
        groups = layers["layer_type"].map(GROUPS).fillna("other")
        sums = {str(group): np.sum(np.stack(list(of["samples_ns"])), axis=0) for group, of in layers.groupby(groups)}
        passes = {str(row.subject): row.samples_ns for row in part.itertuples() if row.subject in PASSES}
        values = {name: _median_and_spread_ms(samples) for name, samples in {**sums, **passes}.items()}
        rows.append({"stack": stack, "network": network, "batch": batch, **values})
    return pd.DataFrame(rows)


def _median_and_spread_ms(samples: Any) -> tuple[float, float]:
    low, middle, high = np.percentile(np.asarray(samples, dtype=float) / 1e6, (25, 50, 75))
    return float(middle), float(high - low) / 2


def memory_table(root: Path, config: Config, found: list[ProcessorResults]) -> pd.DataFrame:
    """The poster's Table 2 of the configured networks, MiB: parts as computed, totals as measured."""
    rows = []
    for network in config.networks:
        path = root / "results" / "networks" / network / "layers.parquet"
        layers = _table(path)
        if layers.empty:
            continue
        row: dict[str, Any] = {"network": network}
        for part in ("weights", "data", "workspace", "workspace_poster"):
            row[part] = layers[f"{part}_bytes"].sum() / 2**20
        for results in found:
            memory = results.measurements
            memory = memory[(memory["subject"] == "memory") & (memory["network"] == network)]
            row[f"{results.name} base"] = memory["base_bytes"].median() / 2**20
            row[f"{results.name} total"] = memory["total_bytes"].median() / 2**20
        rows.append(row)
    return pd.DataFrame(rows)
