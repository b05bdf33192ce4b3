"""What is read of a record's line: names and types of its fields, as DuckDB's `from_json` takes them.

A field may be missing or null. Where a field that is here has another type, its line is refused; fields that are not
here are left alone.
"""

import json
from typing import Any

from sitecnn.dataset.schema import COST, ENGINE_PARTS, GPU_MEMORY, MEMORY, SUMMARY
from sitecnn.workload.kernels import SIZE_NAMES

Shape = dict[str, Any]

TYPES = {
    "VARCHAR": ["VARCHAR"],
    "BIGINT": ["BIGINT", "UBIGINT"],
    "DOUBLE": ["DOUBLE", "BIGINT", "UBIGINT"],
    "BOOLEAN": ["BOOLEAN"],
    "JSON": ["OBJECT", "VARCHAR"],
}
"""For each type of a field, what DuckDB's `json_type` may say of its value."""


def part_name(column: str) -> str:
    """What a record calls a column of ENGINE_PARTS."""
    return column.removeprefix("engine_").removesuffix("_bytes")


def _of(kind: str, *names: str) -> Shape:
    return dict.fromkeys(names, kind)


CONDITIONS = _of("VARCHAR", "time") | _of("DOUBLE", "load", "gpu_mhz", "memory_mhz")
CONDITIONS |= {"cpu_mhz": ["DOUBLE"], "temperature_c": ["DOUBLE"]}

KERNEL = _of("VARCHAR", "kind", "variant") | _of("BIGINT", *SIZE_NAMES)

MEASUREMENT = {
    **_of("VARCHAR", "record", "key", "run", "task", "mode", "status", "reason", "stop", "block"),
    **_of("BIGINT", "iterations", "warm_up", "attempt"),
    **_of("DOUBLE", "seconds", *SUMMARY, "sentinel_before_ns", "sentinel_after_ns"),
    "samples_ns": ["DOUBLE"],
    "power_rails": ["VARCHAR"],
    "power_mw": ["DOUBLE"],
    "kernel": "JSON",
    "after": CONDITIONS,
}
"""A kernel's measurement, or the block of measurements that the lines after it refer to."""

_LAYER = _of("VARCHAR", "name") | {"index": "BIGINT", "on_zeros": "BOOLEAN", "fused": ["VARCHAR"]}

PASS = {
    **_of("VARCHAR", "key", "run", "task", "status", "reason", "block", "network", "prototxt", "engine", "precision"),
    **_of("BIGINT", "batch", "iterations", "round"),
    "seconds": "DOUBLE",
    "layers": [{**_LAYER, "samples_ns": ["DOUBLE"]}],
    "types": [{"type": "VARCHAR", "samples_ns": ["DOUBLE"]}],
    "kernels": ["JSON"],
    "forward_ns": ["DOUBLE"],
    "layerwise_ns": ["DOUBLE"],
    "memory_bytes": _of("BIGINT", *(name.removesuffix("_bytes") for name in (*MEMORY, *GPU_MEMORY))),
    "parts": _of("BIGINT", *map(part_name, ENGINE_PARTS)),
}
"""A pass of a network or of a probe network, or its memory."""

RUN = {
    **_of("VARCHAR", "run", "processor", "stack", "library", "source", "agent_sha256", "commit", "user", "host"),
    **_of("VARCHAR", "engine", "precision"),
    **_of("BIGINT", "threads", "protocol"),
    "board": {**_of("VARCHAR", "cpu", "machine", "kernel", "python"), "blas": "JSON"}
    | {"engine": _of("VARCHAR", "name", "version")},
    "conditions": CONDITIONS | {"governor": "VARCHAR"},
    "origin": _of("VARCHAR", "file", "sha256", "format"),
}
"""A start of the agent, or an import."""

DONE = {
    **_of("VARCHAR", "run"),
    **_of("BIGINT", "planned", "owed"),
    "seconds": "DOUBLE",
    "cost_s": _of("DOUBLE", *(name.removeprefix("cost_").removesuffix("_s") for name in COST)),
}
"""The end of a run."""

REFUSED = {**_of("VARCHAR", "origin", "reason"), "rows": ["BIGINT"]}
"""Rows of an import that could not be taken."""


def structure(shape: Shape) -> str:
    """A shape as the second argument of `from_json`, an SQL text."""
    return f"'{json.dumps(shape)}'".replace('"JSON"', '"VARCHAR"')  # which holds an object's text as it is


def expected_types(shape: Shape, path: str = "$") -> list[tuple[str, list[str]]]:
    """(JSON path, types that may stand there) of every field of a shape, objects within it included."""
    found = []
    for name, kind in shape.items():
        allowed = ["OBJECT"] if isinstance(kind, dict) else ["ARRAY"] if isinstance(kind, list) else TYPES[kind]
        found.append((f"{path}.{name}", allowed))
        found += expected_types(kind, f"{path}.{name}") if isinstance(kind, dict) else []
    return found


def misfit(shape: Shape) -> str:
    """An SQL expression of `text`: which of its fields has another type than the shape's, null if none has."""
    paths, types = zip(*expected_types(shape), strict=True)
    return f"misfit(text, {list(paths)}, {list(types)})"
