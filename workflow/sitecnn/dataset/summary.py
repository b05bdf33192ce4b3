"""What a dataset holds, and parts of it as a file of their own."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sitecnn.dataset import store
from sitecnn.dataset.reading import WHOLE, measurements
from sitecnn.errors import DatasetError
from sitecnn.files import atomic_path

STACKS = """
SELECT
    board, processor, stack, source, first(threads) AS threads, count(*) AS rows,
    histogram(subject) AS subjects, histogram(status) AS statuses,
    coalesce(list_sort(list(DISTINCT network) FILTER (network IS NOT NULL)), []) AS networks,
    min(measured_at) AS first, max(measured_at) AS last
FROM measurements
GROUP BY board, processor, stack, source
ORDER BY board, processor, stack, source
"""


def what_is_there(root: Path) -> list[dict[str, Any]]:
    """One entry per (board, processor, stack, source): counts by subject and status, networks, first and last date."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("measurements", measurements(store.existing(root)))
        stacks: list[dict[str, Any]] = connection.sql(STACKS).to_arrow_table().to_pylist()
    for entry in stacks:
        entry |= {name: dict(entry[name]) for name in ("subjects", "statuses")}
        entry |= {name: entry[name] and entry[name].isoformat() for name in ("first", "last")}
    return stacks


def export(root: Path, target: Path, chosen: dict[str, list[str]]) -> int:
    """Rows whose columns are among the `chosen` values, as CSV or Parquet by the ending of `target`; returns how many.

    A CSV's lists (samples_ns, fused, power_mw) are joined by spaces. Memory does not grow with the dataset.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise DatasetError(f"{target}: the ending says the format: .csv or .parquet")
    where = ds.scalar(True)
    for name, values in chosen.items():
        where &= ds.field(name).isin(values)
    rows = 0
    with atomic_path(target) as path:
        make = pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter
        with make(path, _flat(WHOLE.empty_table(), target).schema) as writer:
            for batch in measurements(store.existing(root)).to_batches(filter=where, batch_readahead=2):
                rows += len(batch)
                writer.write_table(_flat(pa.Table.from_batches([batch]), target))
    return rows


def _flat(table: pa.Table, target: Path) -> pa.Table:
    """`table` as CSV can hold it: lists as text."""
    if target.suffix == ".csv":
        lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
        for name in lists:
            position = table.schema.get_field_index(name)
            text = pc.binary_join(table[name].cast(pa.list_(pa.string())), " ")
            table = table.set_column(position, name, text)
    return table
