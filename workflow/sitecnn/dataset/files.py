"""Files of measurements: written, with one record per key of a board, and few small ones."""

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb

from sitecnn.dataset import statements, store
from sitecnn.dataset.schema import SORT

SMALL_ROWS, MOST_SMALL_FILES = 20_000, 8
"""A partition's files smaller than this are joined when there are more than so many."""

ORDER = ", ".join(SORT)
"""Of the rows of a file; then comes that of the records."""

Files = dict[str, dict[str, Any]]
Connection = duckdb.DuckDBPyConnection


def write_rows(connection: Connection, generation: Path, name: str, rows: str) -> dict[str, Any]:
    """Write the rows of a query as the Parquet file `name`, synced; returns its entry for the manifest."""
    path = generation / name
    path.parent.mkdir(parents=True, exist_ok=True)
    copy = f"COPY ({rows}) TO {quoted(path)} ({store.PARQUET_OPTIONS})"
    ((count,),) = connection.execute(copy).fetchall()
    return {"rows": count, **store.sealed(path)}


def settle(connection: Connection, generation: Path, files: Files, boards: set[str]) -> int:
    """Keep one record per key in the files of each board and join small ones; returns how many records went."""
    gone = 0
    for board in sorted(boards):
        names = sorted(name for name in files if name.startswith(f"measurements/board={board}/"))
        connection.execute("SET VARIABLE paths = ?", [[str(generation / name) for name in names]])
        statements.run(connection, "keys")
        places = connection.execute("SELECT filename, count(*) FROM superseded GROUP BY ALL ORDER BY ALL").fetchall()
        for path, count in places:
            name = Path(path).relative_to(generation).as_posix()
            _rewrite(connection, generation, files, [name], name, "ANTI JOIN superseded USING (origin, line)")
            gone += count
        _join_small(connection, generation, files, names)
    return gone


def _join_small(connection: Connection, generation: Path, files: Files, names: list[str]) -> None:
    """Join a partition's small files into one, so that a thousand short runs do not become a thousand files."""
    partitions = defaultdict(list)
    for name in names:
        if name in files and files[name]["rows"] < SMALL_ROWS:
            partitions[name.rsplit("/", 1)[0]].append(name)
    for partition, small in sorted(partitions.items()):
        if len(small) > MOST_SMALL_FILES:
            digest = hashlib.sha256("".join(small).encode()).hexdigest()[:12]
            _rewrite(connection, generation, files, small, f"{partition}/joined-{digest}.parquet")


def _rewrite(
    connection: Connection, generation: Path, files: Files, old: list[str], new: str, condition: str = ""
) -> None:
    """Put the rows of files `old` that meet `condition` into the file `new`, in order; no file if there are none."""
    # The old ones may be links to files of the generation before, which stay as they are.
    paths = ", ".join(quoted(generation / name) for name in old)
    rows = f"FROM read_parquet([{paths}], hive_partitioning = false, file_row_number = true) {condition}"
    order = f"{ORDER}, origin, line, file_row_number"
    entry = write_rows(
        connection, generation, f"{new}.new", f"SELECT * EXCLUDE (file_row_number) {rows} ORDER BY {order}"
    )
    for name in old:
        (generation / name).unlink()
        del files[name]
    if entry["rows"]:
        (generation / f"{new}.new").rename(generation / new)
        files[new] = entry
    else:
        (generation / f"{new}.new").unlink()


def quoted(text: str | Path) -> str:
    """A text or path as SQL has it."""
    return "'" + str(text).replace("'", "''") + "'"
