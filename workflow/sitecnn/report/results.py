"""Everything the report shows, read from results/; nothing is measured or fitted here."""

import json
import math
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.boards.config import Board, load_board_config
from sitecnn.config import Config, load_config, network_file
from sitecnn.dataset import read_measurements, reading, store
from sitecnn.errors import DatasetError, NetworkError
from sitecnn.models.board_model import BoardModel, load, model_file
from sitecnn.models.model_files import known_models
from sitecnn.models.probe_names import is_probe
from sitecnn.models.rounds import over_rounds
from sitecnn.network import Network, load_network
from sitecnn.report import passes
from sitecnn.report.advice import AdviceRows

PUBLISHED = Path(__file__).parent / "published"

STACKS_START_S = 60
"""Stacks of one campaign begin within this of each other."""


@dataclass(frozen=True)
class ProcessorResults:
    """What is known of one processor of a board; tables are empty where a stage left nothing.

    `networks` and `layers` are of networks that were left out, measured against estimated, in the `split` of
    leave-one-`network`-out or of those that are always `held out`; `baselines` are simpler methods' estimates, `memory`
    is what each network's process took, and was estimated to take from the others', `coverage`
    how far the probes met the networks' kernels, `board_time` the errors by models of the first rounds of probes.
    `interrupted` is why the last campaign did not end, empty if it did.
    """

    board: str
    processor: str
    description: str
    measurements: pd.DataFrame
    model: BoardModel | None = None
    networks: pd.DataFrame = field(default_factory=pd.DataFrame)
    layers: pd.DataFrame = field(default_factory=pd.DataFrame)
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    memory: pd.DataFrame = field(default_factory=pd.DataFrame)
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)
    board_time: pd.DataFrame = field(default_factory=pd.DataFrame)
    done: dict[str, Any] = field(default_factory=dict)
    interrupted: str = ""

    @property
    def name(self) -> str:
        """As people say it: `tx1 cpu`."""
        return f"{self.board} {self.processor}"

    @property
    def place(self) -> dict[str, str]:
        """As columns of a table: `board` and `processor`."""
        return {"board": self.board, "processor": self.processor}

    @property
    def slug(self) -> str:
        """As files are called: `tx1-cpu`."""
        return f"{self.board}-{self.processor}"

    def subject(self, *names: str) -> pd.DataFrame:
        """Measurements of these subjects that did not fail."""
        rows = self.measurements
        chosen: pd.DataFrame = rows[rows["subject"].isin(names) & (rows["status"] != "failed")]
        return chosen

    @property
    def network_layers(self) -> pd.DataFrame:
        """Layers that were measured in networks, each once, over its rounds; those of probes are no one's."""
        rows = self.subject("layer")
        return over_rounds(rows[~rows["network"].map(is_probe).astype(bool)])

    @property
    def records(self) -> pd.DataFrame:
        """One row per record: a network's layers and passes come from one, and each row repeats its `seconds`."""
        return self.measurements.drop_duplicates(["origin", "line"])


@dataclass(frozen=True)
class Results:
    """All of `root`/results; `layers` are of every network that was converted, `advice` is being found."""

    root: Path
    config: Config
    processors: tuple[ProcessorResults, ...]
    layers: pd.DataFrame
    runs: pd.DataFrame
    refused: pd.DataFrame
    before: tuple[ProcessorResults, ...] = ()
    advice: list[Future[AdviceRows]] = field(default_factory=list)

    @property
    def measured(self) -> list[ProcessorResults]:
        """Processors with at least one measurement."""
        return [processor for processor in self.processors if len(processor.measurements)]

    @cached_property
    def times(self) -> pd.DataFrame:
        """Every network's passes on every processor: `passes.times`."""
        return joined([passes.times(processor.measurements) for processor in self.measured])

    @cached_property
    def networks(self) -> tuple[list[Network], list[str]]:
        """The configured networks under the names that they have there, and why others cannot be read."""
        networks, refused = [], []
        for name in (*self.config.networks, *self.config.held_out):
            try:
                network = load_network(network_file(self.root, name), batch=self.config.batch)
            except NetworkError as error:
                refused.append(str(error))
            else:
                networks.append(replace(network.fixed, name=name))
        return networks, refused

    @cached_property
    def models(self) -> dict[tuple[str, str], BoardModel]:
        """By board and processor, the models of own boards and those that ship with SiteCNN."""
        return {place: load(file) for place, file in known_models(self.root).items()}

    def board_minutes(self, processor: ProcessorResults) -> float:
        """How long agents kept a processor's board; where a run did not end, how long its measurements took; or NaN.

        A campaign of two engines has a run of each and ends once: its time is that of the run that says so.
        """
        if self.runs.empty:
            return math.nan
        mine = self.runs[(self.runs["board"] == processor.board) & (self.runs["processor"] == processor.processor)]
        ended = mine.dropna(subset="seconds")
        rest = processor.records[~processor.records["run"].isin(_accounted(mine, ended))]
        seconds = float(pd.concat([ended["seconds"], rest["seconds"]]).sum())
        return seconds / 60 if seconds else math.nan  # imports know none

    def held_out(self, which: str) -> pd.DataFrame:
        """The `networks` or `layers` table of every processor, with `board` and `processor`.

        A network that is its family's only one is left out once, though both splits have it.
        """
        tables = [getattr(processor, which).assign(**processor.place) for processor in self.measured]
        rows = joined(tables)
        if rows.empty:
            return rows
        same = ["board", "processor", "stack", "network", "batch", "measured_ms", "estimate_ms"]
        return rows.drop_duplicates([*same, *(["layer"] if "layer" in rows else [])], ignore_index=True)


def _accounted(runs: pd.DataFrame, ended: pd.DataFrame) -> set[str]:
    """Runs that ended, and those of other engines that began in the campaign of one that did."""
    both = runs.merge(ended, on="origin", suffixes=("", "_ended"))
    into_s = (both["started_at"] - both["started_at_ended"]).dt.total_seconds()
    during = (into_s >= -STACKS_START_S) & (into_s <= both["seconds_ended"])
    return {*ended["run"], *both.loc[during, "run"]}


def joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other; without those that are empty, whose columns have no types."""
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()


def load_results(root: Path, before: Path | None = None) -> Results:
    """The results of `root`, and those of an older folder `before` to compare with."""
    config = load_config(root)
    generation = store.current(root)
    return Results(
        root=root,
        config=config,
        processors=_processors(root, config),
        layers=_network_layers(root),
        runs=reading.read_table(root, "runs").to_pandas() if generation else pd.DataFrame(),
        refused=_refused(generation / "refused.jsonl") if generation else pd.DataFrame(),
        before=_processors(before, load_config(before)) if before else (),
    )


def _processors(root: Path, config: Config) -> tuple[ProcessorResults, ...]:
    """Every processor that is configured, then every other that the dataset has, which was imported."""
    boards = {name: _board(root, name) for name in config.boards}
    configured = [(name, str(processor)) for name, board in boards.items() if board for processor in board.processors]
    names = dict.fromkeys([*configured, *_partitions(root)])
    return tuple(_processor(root, board, processor, boards.get(board)) for board, processor in names)


def _board(root: Path, name: str) -> Board | None:
    return load_board_config(root, name) if (root / "config" / "boards" / f"{name}.yaml").is_file() else None


def _partitions(root: Path) -> list[tuple[str, str]]:
    generation = store.current(root)
    files = sorted(generation.glob("measurements/board=*/processor=*/*.parquet")) if generation else []
    return [store.partition_of(path) for path in files]


def _processor(root: Path, board: str, processor: str, described: Board | None) -> ProcessorResults:
    path = model_file(root, board, processor)
    folder = root / "results" / "evaluation" / f"{board}-{processor}"
    campaign = root / "results" / "campaigns" / board
    return ProcessorResults(
        board=board,
        processor=processor,
        description=described.description if described else "imported measurements",
        measurements=read_measurements(root, board, processor),
        model=load(path) if path.exists() else None,
        networks=_table(folder / "networks.parquet"),
        layers=_table(folder / "layers.parquet"),
        baselines=_table(folder / "baselines.parquet"),
        memory=_table(folder / "memory.parquet"),
        coverage=_table(folder / "coverage.parquet"),
        board_time=_table(folder / "board_time.parquet"),
        done={name: last for name, last in _json(campaign / "done.json").items() if name.startswith(processor)},
        interrupted=_why(campaign / "interrupted.json"),
    )


def _json(path: Path) -> dict[str, Any]:
    """A campaign's file, empty where there is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON: {error}; remove it and run the campaign again") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: a {type(content).__name__}, not an object; remove it and run the campaign again")
    return content


def _why(path: Path) -> str:
    """Why a campaign was interrupted, in one line; empty where it was not."""
    said = _json(path)
    return ", ".join(f"{name}: {value}" for name, value in said.items()) or ("no reason given" if path.exists() else "")


def _table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def _network_layers(root: Path) -> pd.DataFrame:
    tables = [pd.read_parquet(path) for path in sorted((root / "results" / "networks").glob("*/layers.parquet"))]
    return joined(tables)


def _refused(path: Path) -> pd.DataFrame:
    """Records that are none, each with its reason."""
    if not path.exists():
        return pd.DataFrame()
    with path.open(encoding="utf-8") as lines:
        return pd.DataFrame([json.loads(line) for line in lines])
