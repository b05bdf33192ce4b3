"""Whether a dataset is what its manifest says and what can be true."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from sitecnn.dataset import reading, statements, store
from sitecnn.dataset.schema import SCHEMA_VERSION, TABLES


def problems(root: Path) -> Iterator[str]:
    """One line for each thing that is wrong: files, checksums, schema, keys, runs, values. Nothing if all is well."""
    generation = store.existing(root)
    manifest = store.read_manifest(generation)
    there = {path.relative_to(generation).as_posix() for path in generation.rglob("*.parquet")}
    yield from (f"{name}: not in the manifest" for name in sorted(there - set(manifest.files)))
    sound = []
    for name, entry in sorted(manifest.files.items()):
        if problem := _file_problem(generation / name, entry):
            yield f"{name}: {problem}"
        else:
            sound.append(name)
    rows = [name for name in sound if name.startswith("measurements/") and manifest.is_current()]
    if rows and "runs/runs.parquet" in sound:
        yield from _row_problems(generation, rows)


def _row_problems(generation: Path, names: list[str]) -> Iterator[str]:
    """What cannot be in the rows of these files, with its count."""
    with TemporaryDirectory() as scratch, statements.connect(Path(scratch)) as connection:
        connection.execute("SET VARIABLE paths = ?", [[str(generation / name) for name in names]])
        connection.register("known_runs", reading.read_table_of(generation, "runs"))
        for path, problem in connection.execute(statements.statement("verify")).fetchall():
            yield f"{path.removeprefix(f'{generation}/')}: {problem}"


def _file_problem(path: Path, entry: dict[str, object]) -> str | None:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != entry["bytes"] or store.file_sha256(path) != entry["sha256"]:
        return "its bytes are not those that were written (sha256)"
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    written = int((schema.metadata or {}).get(b"sitecnn_schema", b"0"))
    wanted = TABLES.get(path.parent.name, TABLES["measurements"])
    # Whether a file's column may have nulls does not matter.
    if written == SCHEMA_VERSION and (schema.names, schema.types) != (wanted.names, wanted.types):
        return "its columns are not the schema's"
    return None
