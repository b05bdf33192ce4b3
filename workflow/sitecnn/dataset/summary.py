"""What a dataset holds, and parts of it as a file of their own."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sitecnn.dataset import store
from sitecnn.dataset.schema import MEASUREMENTS
from sitecnn.errors import DatasetError
from sitecnn.files import atomic_path

FILTERS = ("board", "processor", "stack", "network", "subject", "kind", "source", "status")


def what_is_there(root: Path) -> list[dict[str, Any]]:
    """One entry per (board, processor, stack, source): counts by subject and status, networks, first and last date."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    columns = ["stack", "source", "threads", "subject", "status", "network", "measured_at"]
    for path in files(root):
        table = store.read_file(path, columns)
        for stack, source in table.group_by(["stack", "source"]).aggregate([]).to_pandas().itertuples(index=False):
            part = table.filter((pc.field("stack") == stack) & (pc.field("source") == source))
            key = (*store.partition_of(path), stack, source)
            _count(found.setdefault(key, _entry(key, part)), part)
    return [{**found[key], "networks": sorted(found[key]["networks"])} for key in sorted(found)]


def _entry(key: tuple[str, ...], part: pa.Table) -> dict[str, Any]:
    named = dict(zip(("board", "processor", "stack", "source"), key, strict=True))
    counts = {"rows": 0, "subjects": defaultdict(int), "statuses": defaultdict(int), "networks": set()}
    return {**named, "threads": part["threads"][0].as_py(), **counts, "first": None, "last": None}


def _count(entry: dict[str, Any], part: pa.Table) -> None:
    entry["rows"] += len(part)
    for name, plural in (("subject", "subjects"), ("status", "statuses")):
        for pair in pc.value_counts(part[name]).to_pylist():
            entry[plural][pair["values"]] += pair["counts"]
    entry["networks"] |= set(pc.unique(part["network"]).to_pylist()) - {None}
    times = [time.isoformat() for time in pc.min_max(part["measured_at"]).as_py().values() if time]
    if times:
        entry["first"] = min(filter(None, (entry["first"], times[0])))
        entry["last"] = max(filter(None, (entry["last"], times[-1])))


def files(root: Path) -> list[Path]:
    """The dataset's files of measurements, in order."""
    generation = store.existing(root)
    manifest = store.read_manifest(generation)
    return [generation / name for name in sorted(manifest.files) if name.startswith("measurements/")]


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
        schema = _flat(store.with_partitions(MEASUREMENTS).empty_table(), target).schema
        make = pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter
        with make(path, schema) as writer:
            for table in _parts(root, where):
                rows += len(table)
                writer.write_table(_flat(table, target))
    return rows


def _parts(root: Path, where: ds.Expression) -> Iterator[pa.Table]:
    for path in files(root):
        table = store.with_partitions(store.read_file(path), path).filter(where)
        if len(table):
            yield table


def _flat(table: pa.Table, target: Path) -> pa.Table:
    """`table` as CSV can hold it: lists as text."""
    if target.suffix == ".csv":
        lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
        for name in lists:
            position = table.schema.get_field_index(name)
            text = pc.binary_join(table[name].cast(pa.list_(pa.string())), " ")
            table = table.set_column(position, name, text)
    return table
