"""The tables of a dataset as pyarrow and pandas have them, whichever version wrote their files."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sitecnn.dataset import store
from sitecnn.dataset.schema import MEASUREMENTS, SCHEMA_VERSION, TABLES, conform, upgrade

if TYPE_CHECKING:
    import pandas as pd

PARTITIONS = pa.schema([("board", pa.string()), ("processor", pa.string())])
WHOLE = pa.schema([*PARTITIONS, *MEASUREMENTS])
"""Measurements with what their folders' names say."""


def read_measurements(
    root: Path,
    board: str,
    processor: str,
    *,
    columns: list[str] | None = None,
    subjects: list[str] | None = None,
    kinds: list[str] | None = None,
) -> "pd.DataFrame":
    """The measurements of a (board, processor), empty if there are none; integers as nullable Int64.

    `columns`, `subjects` (`kernel`, `layer`, `layerwise`, `forward`, `memory`) and `kinds` read only these.
    """
    import pandas as pd  # which aggregation does without

    generation = store.current(root)
    rows = measurements(generation) if generation else ds.dataset(WHOLE.empty_table())
    where = (ds.field("board") == board) & (ds.field("processor") == processor)
    for name, values in (("subject", subjects), ("kind", kinds)):
        where = where & ds.field(name).isin(values) if values is not None else where
    table = rows.to_table(columns or [*MEASUREMENTS.names, *PARTITIONS.names], filter=where)
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def measurements(generation: Path) -> ds.Dataset:
    """All measurements of a generation, with the columns of WHOLE; files are read as they are asked for."""
    manifest = store.read_manifest(generation)
    paths = [generation / name for name in manifest.measurements()]
    if not paths:
        return ds.dataset(WHOLE.empty_table())
    if manifest.schema < SCHEMA_VERSION:
        return ds.dataset([_read_older(path) for path in paths])
    partitioning = ds.partitioning(PARTITIONS, flavor="hive")
    base = str(generation / "measurements")
    return ds.dataset(paths, WHOLE, format="parquet", partitioning=partitioning, partition_base_dir=base)


def _read_older(path: Path) -> pa.Table:
    """One file of measurements as of this schema."""
    with pq.ParquetFile(path) as file:
        written = int((file.schema_arrow.metadata or {}).get(b"sitecnn_schema", b"1"))
        table = upgrade(file.read(), written)
    for name, value in zip(PARTITIONS.names, store.partition_of(path), strict=True):
        table = table.append_column(name, pa.repeat(value, len(table)))
    return table.select(WHOLE.names)


def read_table(root: Path, name: str) -> pa.Table:
    """The whole `runs` or `networks` table."""
    return read_table_of(store.existing(root), name)


def read_table_of(generation: Path, name: str) -> pa.Table:
    """The whole `runs` or `networks` table of a generation."""
    return conform(pq.read_table(generation / name / f"{name}.parquet"), TABLES[name])
