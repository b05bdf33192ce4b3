"""What is read of a record's line: names and types of its fields, as DuckDB's `from_json` takes them.

A field may be missing or null. Where a field that is here has another type, its line is refused; fields that are not
here are left alone.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sitecnn.dataset.schema import COST, ENGINE_PARTS, GPU_MEMORY, MEMORY, SUMMARY
from sitecnn.workload.kernels import SIZE_NAMES

Shape = dict[str, Any]

WHOLE = {"BIGINT", "UBIGINT", "HUGEINT"}
TYPES = {
    "VARCHAR": {"VARCHAR"},
    "BIGINT": WHOLE,
    "DOUBLE": {"DOUBLE", *WHOLE},
    "BOOLEAN": {"BOOLEAN"},
    "JSON": {"OBJECT", "VARCHAR"},
}
"""For each type of a field, what DuckDB's `json_structure` may say of its value; `JSON` is kept as the text it is."""


LATER_ELEMENT = r',\s*(?:[tf[{]|"(?:[^"\\]|\\.)*"\s*[,\]])|"\s*,\s*[^"\sn}]'
"""A later element of a list that may be of another type than a number, or than the text before it. After a comma an
object has a name, which ends in a colon.
"""


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
    "kernel": KERNEL,
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
    "kernels": [{**KERNEL, "samples_ns": ["DOUBLE"]}],
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


SHAPES = {"kernel": MEASUREMENT, "block": MEASUREMENT, "pass": PASS, "run": RUN, "done": DONE, "refused": REFUSED}
"""What is read of a line, by what it is."""


def structure(shape: Shape) -> str:
    """A shape as the second argument of `from_json`, an SQL text."""
    return f"'{json.dumps(shape)}'".replace('"JSON"', '"VARCHAR"')  # which holds an object's text as it is


@lru_cache(maxsize=4096)
def misfit(shape: str, structure: str) -> str:
    """Which field of a line has another type than its shape's, by DuckDB's `json_structure` of it; "" if none has."""
    return next(_misfits(SHAPES[shape], json.loads(structure), ""), "")


def _misfits(shape: Any, value: Any, place: str) -> Iterator[str]:
    wanted = "OBJECT" if isinstance(shape, dict) else "ARRAY" if isinstance(shape, list) else shape
    kind = "OBJECT" if isinstance(value, dict) else "ARRAY" if isinstance(value, list) else value
    if kind == "NULL" or ((kind, wanted) == ("JSON", "OBJECT") and not place.endswith("[]")):  # what is empty
        return
    if kind not in TYPES.get(wanted, {wanted}):
        yield f"{place} is {'empty or of several types' if kind == 'JSON' else kind}, not {wanted}"
    elif isinstance(shape, list):
        yield from _misfits(shape[0], value[0], f"{place}[]")
    elif isinstance(shape, dict):
        for name in shape.keys() & value.keys():
            yield from _misfits(shape[name], value[name], f"{place}.{name}".lstrip("."))


def odd(shape: Shape) -> str:
    """A regular expression of lines in which a field of this shape may have another type.

    It may find more than there is, as names are not told apart by their places.
    """
    names: dict[str, set[str]] = defaultdict(set)
    _collect(shape, names)
    patterns = {
        "VARCHAR": r'[^"n\s]',
        "BIGINT": r"[^-\dn\s]|n[^u]|-?\d+[.eE]|-?\d{19}",
        "DOUBLE": r"[^-\dnNI\s]",
        "OBJECT": r"[^{n\s]",
        "VARCHAR[]": r'[^[n\s]|\[\s*[^"\s\]]',
        "DOUBLE[]": r'[^[n\s]|\[\s*["tf[{]',
    }
    fields = [rf'"(?:{"|".join(sorted(names[kind]))})"\s*:\s*(?:{patterns[kind]})' for kind in names]
    return "|".join((*fields, LATER_ELEMENT))


def too_long() -> str:
    """A regular expression of lines with whole numbers that may not fit into 64 bits."""
    names: dict[str, set[str]] = defaultdict(set)
    for shape in (MEASUREMENT, PASS, RUN, DONE, REFUSED):
        _collect(shape, names)
    return rf'"(?:{"|".join(sorted(names["BIGINT"] | names["BIGINT[]"]))})"\s*:\s*\[?[-\d\s,]*\d{{19}}'


def _collect(shape: Shape, names: dict[str, set[str]]) -> None:
    for name, kind in shape.items():
        names["OBJECT" if isinstance(kind, dict) else f"{kind[0]}[]" if isinstance(kind, list) else kind].add(name)
        inner = kind[0] if isinstance(kind, list) else kind
        if isinstance(inner, dict):
            _collect(inner, names)
