"""The SQL beside this module: read, completed with the names of the schema, and run."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

import duckdb

from sitecnn.dataset import shapes
from sitecnn.dataset.definitions import lowest_rank
from sitecnn.dataset.schema import COST, ENGINE_PARTS, GPU_MEMORY, MEASUREMENTS, MEMORY, STATUSES
from sitecnn.workload.engines import ENGINES, PRECISIONS
from sitecnn.workload.kernels import SIZE_NAMES

MEMORY_LIMIT = "1GB"
"""Of DuckDB, which goes on on the disk beyond it; Python's part comes on top."""


def connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that may write to the folder `scratch` what does not fit."""
    connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(scratch)})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET preserve_insertion_order = false")  # files are sorted
    connection.create_function("lowest_rank", lowest_rank, ["BIGINT"], "BIGINT")
    connection.create_function("misfit", shapes.misfit, ["VARCHAR", "VARCHAR"], "VARCHAR")
    run(connection, "macros")
    return connection


def run(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """All statements of sql/NAME.sql."""
    connection.execute(statement(name))


@cache
def statement(name: str) -> str:
    """The text of sql/NAME.sql with its `$names` filled in."""
    names = {
        **{name: shapes.structure(shape) for name, shape in shapes.SHAPES.items()},
        "measurement": shapes.structure(shapes.MEASUREMENT),
        "odd": f"'{shapes.odd(shapes.MEASUREMENT)}'",
        "too_long": f"'{shapes.too_long()}'",
        "sizes": ", ".join(f'"{name}"' for name in SIZE_NAMES),  # some are words of SQL
        "columns": ", ".join(f'"{name}"' for name in MEASUREMENTS.names),
        "memory": ", ".join((*MEMORY, *GPU_MEMORY, *ENGINE_PARTS)),
        "part_columns": ", ".join(f"parts.{shapes.part_name(name)} AS {name}" for name in ENGINE_PARTS),
        "memory_columns": ", ".join(f"memory_bytes.{n.removesuffix('_bytes')} AS {n}" for n in (*MEMORY, *GPU_MEMORY)),
        "cost": ", ".join(f"{n} = ended.cost_s.{n.removeprefix('cost_').removesuffix('_s')}" for n in COST),
        "engines": "|".join(ENGINES),
        "precisions": "|".join(PRECISIONS),
        "statuses": str(STATUSES),
        "statuses_list": str(list(STATUSES)),
        "status_names": ", ".join(STATUSES),
        "impossible": _read("impossible") if name != "impossible" else "",
    }
    # Twice: the rules of `impossible` have names to fill in, too.
    return Template(Template(_read(name)).safe_substitute(names)).safe_substitute(names)


def _read(name: str) -> str:
    return files("sitecnn.dataset").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
