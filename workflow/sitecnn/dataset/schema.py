"""The dataset's written schema: three tables, their columns with types and meaning, and the way up from older ones."""

from collections.abc import Callable

import pyarrow as pa

from sitecnn.workload.kernels import SIZE_NAMES

SCHEMA_VERSION = 3
"""Raised when a column changes its name, type or meaning; `UPGRADES` then says how older files are read."""

STATUSES = ("ok", "unstable", "failed")
"""Best first: of several measurements with one key the best status is kept, of those the last taken."""

SUMMARY = ("median_ns", "spread_ns", "low_ns", "high_ns")
MEMORY = ("base_bytes", "loaded_bytes", "load_peak_bytes", "total_bytes", "peak_bytes")

GPU_MEMORY = ("gpu_base_bytes", "gpu_loaded_bytes", "gpu_total_bytes")

ENGINE_PARTS = ("engine_weights_bytes", "engine_activations_bytes", "engine_kernels")
"""What decides the memory of an engine that shares its buffers, as the plan expected it."""

_TEXT, _WHOLE, _REAL, _TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", "UTC")


def _list(kind: pa.DataType) -> pa.DataType:
    """A list as Parquet names its parts, so that what is read back has the schema it was written with."""
    return pa.list_(pa.field("element", kind))


def _columns(kind: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, kind) for name in names]


MEASUREMENTS = pa.schema(
    [
        *_columns(_TEXT, "key", "run", "source", "origin"),
        *_columns(_WHOLE, "line"),
        *_columns(_TEXT, "stack"),
        *_columns(_WHOLE, "threads"),
        *_columns(_TEXT, "library", "engine", "precision", "subject", "network"),
        *_columns(_WHOLE, "batch"),
        *_columns(_TEXT, "layer"),
        *_columns(_WHOLE, "layer_index"),
        *_columns(_TEXT, "layer_type"),
        *_columns(_list(_TEXT), "fused"),
        *_columns(_TEXT, "kind", "variant"),
        *_columns(_WHOLE, *SIZE_NAMES),
        *_columns(_TEXT, "mode"),
        *_columns(_WHOLE, "iterations", "warm_up"),
        *_columns(_TEXT, "stop"),
        *_columns(_list(_REAL), "samples_ns"),
        *_columns(_REAL, *SUMMARY),
        *_columns(_WHOLE, *MEMORY),
        *_columns(_TEXT, "status", "reason"),
        *_columns(_REAL, "seconds"),
        *_columns(_TIME, "measured_at"),
        *_columns(_WHOLE, "attempt", "round"),
        *_columns(_REAL, "sentinel_before_ns", "sentinel_after_ns"),
        *_columns(_REAL, "load", "cpu_mhz", "temperature_c", "gpu_mhz", "memory_mhz"),
        *_columns(_list(_TEXT), "power_rails"),
        *_columns(_list(_REAL), "power_mw"),
        *_columns(_WHOLE, *GPU_MEMORY, *ENGINE_PARTS),
    ]
)
"""One row per measured thing; `board` and `processor` are in the folders' names."""

COST = tuple(f"cost_{purpose}_s" for purpose in ("timed", "warm_up", "inputs", "files", "other"))
"""Where a run's seconds went, as its agent books them."""

RUNS = pa.schema(
    [
        *_columns(_TEXT, "run", "board", "processor", "source", "stack"),
        *_columns(_WHOLE, "threads"),
        *_columns(_TEXT, "library", "origin", "origin_sha256", "origin_format"),
        *_columns(_WHOLE, "protocol"),
        *_columns(_TEXT, "agent_sha256", "commit", "user", "host", "cpu", "machine", "os", "python"),
        *_columns(_TEXT, "engine", "engine_version", "precision", "blas"),
        *_columns(_TIME, "started_at"),
        *_columns(_REAL, "load", "cpu_mhz", "temperature_c"),
        *_columns(_TEXT, "governor"),
        *_columns(_WHOLE, "planned", "owed"),
        *_columns(_REAL, "seconds", *COST),
        *_columns(_TEXT, "record_json"),
    ]
)
"""One row per start of the agent or import: who measured, on what, with which versions."""

NETWORKS = pa.schema(
    [
        *_columns(_TEXT, "network"),
        *_columns(_WHOLE, "batch"),
        *_columns(_TEXT, "definition_sha256"),
        *_columns(_WHOLE, "layer_index"),
        *_columns(_TEXT, "layer", "type"),
        *_columns(_list(_list(_WHOLE)), "inputs", "outputs"),
        *_columns(_WHOLE, "macs", "parameters", "weights_bytes", "data_bytes", "workspace_bytes", "touched_bytes"),
    ]
)
"""One row per layer of every network that was measured, at every batch."""

TABLES = {"measurements": MEASUREMENTS, "runs": RUNS, "networks": NETWORKS}

SORT = ("subject", "kind", "network", "batch", "layer_index")
"""Order of rows in a file, so that statistics let a reader skip what it does not ask for; then that of the records."""

UPGRADES: dict[int, Callable[[pa.Table], pa.Table]] = {}
"""For each older version, the step that makes its measurements those of the next."""


def upgrade(table: pa.Table, version: int) -> pa.Table:
    """`table`, written under `version`, as one of SCHEMA_VERSION: steps one by one, then missing columns as nulls."""
    for step in range(version, SCHEMA_VERSION):
        table = UPGRADES[step](table) if step in UPGRADES else table
    return conform(table, MEASUREMENTS)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema` in its order; what it lacks is null, what the schema lacks is left out."""
    there = set(table.column_names)
    columns = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
