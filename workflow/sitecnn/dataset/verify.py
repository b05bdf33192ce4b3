"""Whether a dataset is what its manifest says and what can be true."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sitecnn.dataset import store
from sitecnn.dataset.aggregate import record_hashes
from sitecnn.dataset.records import invalid_reasons
from sitecnn.dataset.schema import SCHEMA_VERSION, TABLES


def problems(root: Path) -> Iterator[str]:
    """One line for each thing that is wrong: files, checksums, schema, keys, runs, values. Nothing if all is well."""
    generation = store.existing(root)
    manifest = store.read_manifest(generation)
    there = {path.relative_to(generation).as_posix() for path in generation.rglob("*.parquet")}
    yield from (f"{name}: not in the manifest" for name in sorted(there - set(manifest.files)))
    sound = []
    for name, entry in sorted(manifest.files.items()):
        if found := _file_problem(generation / name, entry):
            yield f"{name}: {found}"
        else:
            sound.append(name)
    if "runs/runs.parquet" in sound:
        runs = pq.read_table(generation / "runs/runs.parquet", columns=["run"])["run"]
        for name in sound:
            if name.startswith("measurements/"):
                yield from (f"{name}: {found}" for found in _row_problems(generation / name, runs))
    yield from _doubled(generation, [name for name in sound if name.startswith("measurements/")])


def _file_problem(path: Path, entry: dict[str, object]) -> str | None:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != entry["bytes"] or store.file_sha256(path) != entry["sha256"]:
        return "its bytes are not those that were written (sha256)"
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    written = int((schema.metadata or {}).get(b"sitecnn_schema", b"0"))
    if written == SCHEMA_VERSION and not schema.equals(_schema_of(path)):
        return "its columns are not the schema's"
    return None


def _schema_of(path: Path) -> pa.Schema:
    return TABLES.get(path.stem if path.parent.name == path.stem else "measurements", TABLES["measurements"])


def _row_problems(path: Path, runs: pa.ChunkedArray) -> Iterator[str]:
    """What is impossible in a file's rows, by reason with its count."""
    table = store.read_file(path)
    reasons = invalid_reasons(table)
    for pair in pc.value_counts(reasons.drop_null()).to_pylist():
        yield f"{pair['counts']} rows: {pair['values']}"
    lost = int(pc.sum(pc.invert(pc.is_in(table["run"], runs))).as_py() or 0)
    if lost:
        yield f"{lost} rows: the run is not in the runs table"


def _doubled(generation: Path, names: list[str]) -> Iterator[str]:
    """Keys that more than one record of a board has."""
    boards = sorted({name.split("/")[1] for name in names})
    for board in boards:
        hashes = [record_hashes(generation / name) for name in names if name.split("/")[1] == board]
        together = np.sort(np.concatenate(hashes))
        count = int((together[1:] == together[:-1]).sum())
        if count:
            yield f"measurements/{board}: {count} records have a key that another has"
