"""A person's own SQL over the dataset's tables: nothing is written, no file but the dataset's is read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from sitecnn.dataset import store
from sitecnn.dataset.files import quoted
from sitecnn.dataset.schema import TABLES
from sitecnn.dataset.statements import MEMORY_LIMIT
from sitecnn.errors import DatasetError


def query(root: Path, sql: str) -> pa.Table:
    """The rows of one SELECT over the views measurements, runs and networks; DatasetError if it is none or fails."""
    generation = store.existing(root)
    if not store.read_manifest(generation).is_current():
        raise DatasetError(f"{store.folder(root)}: written by another SiteCNN: run `sitecnn aggregate` first")
    with TemporaryDirectory() as scratch, duckdb.connect() as connection:
        _make_views(connection, generation)
        _lock(connection, generation, Path(scratch))
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise DatasetError(f"--root {root}: a query is one SELECT over {', '.join(TABLES)}")
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise DatasetError(f"query: {' '.join(str(error).split())}") from None


def _make_views(connection: duckdb.DuckDBPyConnection, generation: Path) -> None:
    for name, schema in TABLES.items():
        if name == "measurements" and not any((generation / name).rglob("*.parquet")):
            connection.register("empty", store.with_partitions(schema).empty_table())
            connection.execute("CREATE TABLE measurements AS FROM empty")
            continue
        files = quoted(generation / name / ("*/*/*.parquet" if name == "measurements" else "*.parquet"))
        options = "hive_partitioning = true, hive_types_autocast = false" if name == "measurements" else ""
        connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({files}{', ' + options if options else ''})")


def _lock(connection: duckdb.DuckDBPyConnection, generation: Path, scratch: Path) -> None:
    """From now on no file outside of the dataset, no Python variable, no extension, no other setting."""
    for setting in (
        "TimeZone = 'UTC'",
        f"memory_limit = '{MEMORY_LIMIT}'",
        f"temp_directory = {quoted(scratch)}",
        f"allowed_directories = [{quoted(generation)}]",
        "python_enable_replacements = false",
        "autoload_known_extensions = false",
        "autoinstall_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
