"""Records → dataset: only what is new is read, every line is accounted for, and all of it counts or nothing.

What a row is, which lines are refused and which of two records counts is said by the statements in sql/.
"""

import json
import shutil
from collections import ChainMap, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sitecnn.dataset import statements, store
from sitecnn.dataset.definitions import DEFINITIONS, UNREAD, read_definitions
from sitecnn.dataset.files import ORDER, Connection, Files, quoted, settle, write_rows
from sitecnn.dataset.reading import read_table_of
from sitecnn.dataset.record_files import (
    LINES,
    LONGEST_QUOTE,
    UNUSABLE,
    Source,
    Stretch,
    all_continue,
    record_files,
    stretches,
)
from sitecnn.dataset.schema import NETWORKS, RUNS
from sitecnn.dataset.store import Manifest
from sitecnn.errors import DatasetError

KEYS = {"runs": "run", "networks": "network, batch, definition_sha256, layer_index"}
"""What tells the rows of these tables apart."""

Refusal = dict[str, Any]
"""A line of the refused file."""

MOST_DEFINITIONS = 500
"""Networks that are remembered from one stretch to the next."""


def aggregate(root: Path) -> dict[str, Any]:
    """Bring results/dataset up to the records; returns its summary. DatasetError if the disk is full."""
    with store.locked(root):
        before = store.current(root)
        manifest = store.read_manifest(before) if before else Manifest()
        if not (manifest.is_current() and all_continue(root, manifest.sources)):
            before, manifest = None, Manifest()
        grown = [source for source in record_files(root, manifest.sources) if source.has_grown()]
        if grown or before is None:
            with _disk_errors(root):
                _write(root, before, manifest, grown)
    return summary(root)


def summary(root: Path) -> dict[str, Any]:
    """Counts of the dataset: per board and processor, refused and superseded records."""
    manifest = store.read_manifest(store.existing(root))
    boards: dict[str, int] = defaultdict(int)
    for name in manifest.measurements():
        boards["/".join(store.partition_of(name))] += manifest.files[name]["rows"]
    counts = {"refused": manifest.refused, "superseded": manifest.superseded}
    return {"schema": manifest.schema, "measurements": dict(sorted(boards.items())), **counts}


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """What a disk refuses, as a DatasetError."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException) as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DatasetError(f"{store.folder(root)}: {said}; the dataset is as it was before") from None


def _write(root: Path, before: Path | None, manifest: Manifest, sources: list[Source]) -> None:
    """The next generation: what was there, the new records, and their kin in runs and networks."""
    with store.new_generation(root) as generation:
        scratch = generation / ".scratch"
        connection = statements.connect(scratch)
        try:
            _begin(connection, before)
            for name in manifest.measurements():
                store.take_over(before or generation, generation, name)
            files, refused = _take_records(connection, generation, sources)
            manifest.files |= files
            boards = {store.partition_of(name)[0] for name in files}
            manifest.superseded += settle(connection, generation, manifest.files, boards)
            for name, key in KEYS.items():
                file = f"{name}/{name}.parquet"
                manifest.files[file] = write_rows(connection, generation, file, f"FROM {name} ORDER BY {key}")
        finally:
            connection.close()
            shutil.rmtree(scratch, ignore_errors=True)
        for source in sources:
            manifest.sources[source.origin] = source.entry()
        _write_refused(before, generation, refused)
        manifest.refused += len(refused)
        store.commit(root, generation, manifest)


def _write_refused(before: Path | None, generation: Path, refused: list[Refusal]) -> None:
    text = (before / "refused.jsonl").read_text(encoding="utf-8") if before else ""
    text += "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in refused)
    (generation / "refused.jsonl").write_text(text, encoding="utf-8")


def _begin(connection: Connection, before: Path | None) -> None:
    """The tables that grow over the stretches: runs and networks of the generation before, definitions."""
    schemas = {"runs": RUNS, "networks": NETWORKS, "definitions": DEFINITIONS, "unread": UNREAD}
    for name, schema in schemas.items():
        rows = read_table_of(before, name) if before and name in KEYS else schema.empty_table()
        connection.register("given", rows)
        connection.execute(f"CREATE TABLE {name} AS FROM given")
        if name in KEYS:
            connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({KEYS[name]})")


def _take_records(connection: Connection, generation: Path, sources: list[Source]) -> tuple[Files, list[Refusal]]:
    """(files of measurements from the new lines of `sources`, refused lines)."""
    written: list[Future[tuple[Files, list[Refusal]]]] = []
    with ThreadPoolExecutor(1) as pool:
        for stretch in stretches(sources):
            _read(connection, stretch, is_first=not written)
            if written:
                written[-1].result()  # memory is that of two stretches
            written.append(pool.submit(_write_stretch, _snapshot(connection), generation, stretch))
    files, refused = zip(*(one.result() for one in written), strict=True) if written else ((), ())
    return dict(ChainMap(*files)), list(chain(*refused))


def _snapshot(connection: Connection) -> Connection:
    """A cursor in a transaction: it sees the tables as they are now, while the next stretch replaces them."""
    cursor = connection.cursor()
    cursor.begin()
    cursor.execute("FROM files LIMIT 0")
    return cursor


def _read(connection: Connection, stretch: Stretch, is_first: bool) -> None:
    """Make the tables and views of a stretch: see the statements."""
    origins, boards = [source.origin for source in stretch.sources], [source.board for source in stretch.sources]
    numbers = pa.array(range(len(origins)), pa.int32())
    connection.register("given", pa.table({"file": numbers, "origin": origins, "board": boards}))
    connection.execute("CREATE OR REPLACE TABLE files AS FROM given")
    connection.register("lines", pa.concat_tables([_last_blocks(stretch), *stretch.lines]))
    statements.run(connection, "lines")
    statements.run(connection, "runs")
    ((passes,),) = connection.execute("SELECT count(*) FROM passes").fetchall()
    if passes or is_first:
        _define(connection)
        statements.run(connection, "passes")
    else:
        # Planning these statements takes longer than to read 10,000 kernels.
        connection.execute("TRUNCATE sound_passes; TRUNCATE pass_rows")
    _remember_blocks(connection, stretch)


def _last_blocks(stretch: Stretch) -> pa.Table:
    """The last block of each file before its lines."""
    places = enumerate(zip(stretch.sources, stretch.starts, strict=True))
    blocks = [{"file": number, "line": line, "text": source.block} for number, (source, (_, line)) in places]
    return pa.Table.from_pylist([block for block in blocks if block["text"]], LINES)


def _remember_blocks(connection: Connection, stretch: Stretch) -> None:
    last = "SELECT file, max(line) AS line FROM blocks GROUP BY file"
    blocks = f"SELECT file, rtrim(text, chr(10)) FROM lines JOIN ({last}) USING (file, line)"
    for number, text in connection.execute(blocks).fetchall():
        stretch.sources[number].block = text


def _define(connection: Connection) -> None:
    """The layers of the networks that the passes of a stretch tell of."""
    for name in ("definitions", "unread"):
        ((count,),) = connection.execute(f"SELECT count(DISTINCT prototxt) FROM {name}").fetchall()
        if count > MOST_DEFINITIONS:
            connection.execute(f"TRUNCATE {name}")
    known = "SELECT prototxt FROM definitions UNION ALL SELECT prototxt FROM unread"
    wanted = f"SELECT prototxt FROM passes WHERE has_definition AND prototxt IS NOT NULL EXCEPT ({known})"
    layers, unread = read_definitions(text for (text,) in connection.execute(wanted).fetchall())
    for name, table in (("definitions", layers), ("unread", unread)):
        connection.register("given", table)
        connection.execute(f"INSERT INTO {name} FROM given")


def _write_stretch(cursor: Connection, generation: Path, stretch: Stretch) -> tuple[Files, list[Refusal]]:
    """(files of the measurements of a stretch, refused lines)."""
    cursor.register("lines", pa.concat_tables(stretch.lines))
    cursor.register("unusable", pa.Table.from_pylist(stretch.unusable, UNUSABLE))
    statements.run(cursor, "measurements")
    files = _write_partitions(cursor, generation, stretch)
    refused = _refused(cursor)
    cursor.commit()
    cursor.close()
    return files, refused


def _write_partitions(connection: Connection, generation: Path, stretch: Stretch) -> Files:
    """The measurements of a stretch, a file for each board and processor."""
    partitions = "SELECT board, processor, min(file) FROM sound GROUP BY ALL ORDER BY ALL"
    files: Files = {}
    for board, processor, number in connection.execute(partitions).fetchall():
        stem, start = Path(stretch.sources[number].origin).stem, stretch.starts[number][0]
        name = f"measurements/board={board}/processor={processor}/{stem}.{start:014d}.parquet"
        mine = f"FROM sound WHERE board = {quoted(board)} AND processor = {quoted(processor)}"
        chosen = f"SELECT * EXCLUDE (board, processor, file, position) {mine} ORDER BY {ORDER}, file, line, position"
        files[name] = write_rows(connection, generation, name, chosen)
    return files


def _refused(connection: Connection) -> list[Refusal]:
    """The lines of a stretch that are no rows, in order, as the refused file has them."""
    columns = f"origin, shown_line AS line, reason, left(text, {LONGEST_QUOTE}) AS text"
    rows = connection.sql(f"SELECT {columns} FROM refused_lines ORDER BY file, refused_lines.line, shown_line")
    refused: list[Refusal] = rows.to_arrow_table().to_pylist()
    return refused
