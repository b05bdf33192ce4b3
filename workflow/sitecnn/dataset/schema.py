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

_TIME = pa.timestamp("us", "UTC")


def _list(kind: pa.DataType) -> pa.DataType:
    """A list as Parquet names its parts, so that what is read back has the schema it was written with."""
    return pa.list_(pa.field("element", kind))


_SAMPLES = _list(pa.float64())

MEASUREMENTS = pa.schema(
    [
        *[(name, pa.string()) for name in ("key", "run", "source", "origin")],
        ("line", pa.int64()),
        ("stack", pa.string()),
        ("threads", pa.int64()),
        *[(name, pa.string()) for name in ("library", "engine", "precision", "subject", "network")],
        ("batch", pa.int64()),
        ("layer", pa.string()),
        ("layer_index", pa.int64()),
        ("layer_type", pa.string()),
        ("fused", _list(pa.string())),
        ("kind", pa.string()),
        ("variant", pa.string()),
        *[(name, pa.int64()) for name in SIZE_NAMES],
        ("mode", pa.string()),
        ("iterations", pa.int64()),
        ("warm_up", pa.int64()),
        ("stop", pa.string()),
        ("samples_ns", _SAMPLES),
        *[(name, pa.float64()) for name in SUMMARY],
        *[(name, pa.int64()) for name in MEMORY],
        ("status", pa.string()),
        ("reason", pa.string()),
        ("seconds", pa.float64()),
        ("measured_at", _TIME),
        ("attempt", pa.int64()),
        ("round", pa.int64()),
        *[(name, pa.float64()) for name in ("sentinel_before_ns", "sentinel_after_ns")],
        *[(name, pa.float64()) for name in ("load", "cpu_mhz", "temperature_c", "gpu_mhz", "memory_mhz")],
        ("power_rails", _list(pa.string())),
        ("power_mw", _list(pa.float64())),
        *[(name, pa.int64()) for name in (*GPU_MEMORY, *ENGINE_PARTS)],
    ]
)
"""One row per measured thing; `board` and `processor` are in the folders' names."""

COST = tuple(f"cost_{purpose}_s" for purpose in ("timed", "warm_up", "inputs", "files", "other"))
"""Where a run's seconds went, as its agent books them."""

RUNS = pa.schema(
    [
        *[(name, pa.string()) for name in ("run", "board", "processor", "source", "stack")],
        ("threads", pa.int64()),
        *[(name, pa.string()) for name in ("library", "origin", "origin_sha256", "origin_format")],
        ("protocol", pa.int64()),
        *[(name, pa.string()) for name in ("agent_sha256", "commit", "user", "host")],
        *[
            (name, pa.string())
            for name in ("cpu", "machine", "os", "python", "engine", "engine_version", "precision", "blas")
        ],
        ("started_at", _TIME),
        ("load", pa.float64()),
        ("cpu_mhz", pa.float64()),
        ("temperature_c", pa.float64()),
        ("governor", pa.string()),
        ("planned", pa.int64()),
        ("owed", pa.int64()),
        ("seconds", pa.float64()),
        *[(name, pa.float64()) for name in COST],
        ("record_json", pa.string()),
    ]
)
"""One row per start of the agent or import: who measured, on what, with which versions."""

NETWORKS = pa.schema(
    [
        ("network", pa.string()),
        ("batch", pa.int64()),
        ("definition_sha256", pa.string()),
        ("layer_index", pa.int64()),
        *[(name, pa.string()) for name in ("layer", "type")],
        ("inputs", _list(_list(pa.int64()))),
        ("outputs", _list(_list(pa.int64()))),
        *[(name, pa.int64()) for name in ("macs", "parameters", "weights_bytes", "data_bytes")],
        *[(name, pa.int64()) for name in ("workspace_bytes", "touched_bytes")],
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
