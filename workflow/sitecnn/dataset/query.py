"""A person's own SQL over the dataset's tables: nothing is written, no file but the dataset's is read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from sitecnn.dataset import reading, store
from sitecnn.dataset.files import quoted
from sitecnn.dataset.schema import TABLES
from sitecnn.dataset.statements import MEMORY_LIMIT
from sitecnn.errors import DatasetError


def query(root: Path, sql: str) -> pa.Table:
    """The rows of one SELECT over measurements, runs and networks; DatasetError if it is none or fails."""
    generation = store.existing(root)
    with TemporaryDirectory() as scratch, duckdb.connect() as connection:
        connection.register("measurements", reading.measurements(generation))
        for name in ("runs", "networks"):
            connection.register(name, reading.read_table_of(generation, name))
        _lock(connection, Path(scratch))
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise DatasetError(f"query: a query is one SELECT over {', '.join(TABLES)}")
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise DatasetError(f"query: {' '.join(str(error).split())}") from None


def _lock(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    """From now on no file, no Python variable, no extension, no other setting."""
    for setting in (
        "TimeZone = 'UTC'",
        f"memory_limit = '{MEMORY_LIMIT}'",
        f"temp_directory = {quoted(scratch)}",
        "python_enable_replacements = false",
        "autoload_known_extensions = false",
        "autoinstall_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
