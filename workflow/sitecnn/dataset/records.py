"""A stretch of a record file → Arrow: kernels by pyarrow's JSON reader, a million at a time; the rest line by line."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sitecnn.dataset.lines import PADDING, Array, read
from sitecnn.dataset.schema import MEASUREMENTS, MEMORY, STATUSES, SUMMARY, conform
from sitecnn.workload.kernels import SIZE_NAMES

CHUNK_BYTES = 24 << 20
"""Of a record file read at once: about 30,000 kernels."""

LONGEST_QUOTE = 2000

BLOCK_MARKS = (b'"record":"block"', b'"record": "block"')
WINDOW_BYTES = 1 << 16

_NUMBERS = pa.list_(pa.float64())
_CLOCKS = ("gpu_mhz", "memory_mhz")
_CONDITIONS = pa.struct(
    [
        ("time", pa.string()),
        *[(name, pa.float64()) for name in ("load", *_CLOCKS)],
        *[(name, _NUMBERS) for name in ("cpu_mhz", "temperature_c")],
    ]
)
_SENTINELS = ("sentinel_before_ns", "sentinel_after_ns")
LINE = pa.schema(
    [
        *[(name, pa.string()) for name in ("record", "key", "run", "task", "mode", "status", "reason", "stop")],
        *[(name, pa.int64()) for name in ("iterations", "warm_up")],
        ("seconds", pa.float64()),
        ("samples_ns", _NUMBERS),
        *[(name, pa.float64()) for name in SUMMARY],
        (
            "kernel",
            pa.struct([("kind", pa.string()), ("variant", pa.string()), *[(n, pa.int64()) for n in SIZE_NAMES]]),
        ),
        ("power_rails", pa.list_(pa.string())),
        ("power_mw", _NUMBERS),
        ("block", pa.string()),
        ("attempt", pa.int64()),
        *[(name, pa.float64()) for name in _SENTINELS],
        ("after", _CONDITIONS),
    ]
)
"""What is read of a line that is a kernel's measurement, or a block that such lines refer to."""

BLOCK = ["block", "attempt", *_SENTINELS, "after"]
LOST_BLOCK = "its block is not the last one before it"

KERNEL_TASKS = pa.array(["gemm", "layer"])

LONGEST_NS, MOST_BYTES = 1e16, 1e18
"""Of a sample (four months) and of a process; what is more is no measurement."""

BAD_SAMPLE = f"a sample of samples_ns is no number from 0 to {LONGEST_NS:g}"
BAD_MEMORY = "memory_bytes is missing or impossible"


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a record file: where they stand, what they say, and the last block's line before and in them.

    They are the first `size` bytes of a buffer that has more room, and that is used again when they were parsed.
    """

    origin: str
    offset: int
    first_line: int
    buffer: bytearray
    size: int
    lines: int
    block: bytes
    last_block: bytes

    def view(self) -> memoryview:
        """The lines as they lie in the buffer."""
        return memoryview(self.buffer)[: self.size]

    def split(self) -> list[bytes]:
        """The lines one by one, without their ends."""
        return bytes(self.view()).split(b"\n")[:-1]


@dataclass
class Parsed:
    """What a chunk holds: kernels' rows, the other records as (line, dict), and refusals as JSON-ready dicts."""

    kernels: pa.Table
    others: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)


def chunks(
    path: Path,
    origin: str,
    offset: int,
    line: int,
    block: bytes = b"",
    *,
    chunk_bytes: int | None = None,
    used: list[bytearray] | None = None,
) -> Iterator[Chunk]:
    """The whole lines of `path` from byte `offset` on, after the block `block`; a torn last line is left for later.

    `chunk_bytes` are read at once (CHUNK_BYTES unless given). Buffers are taken from `used` where there are any: fresh
    memory costs as much as reading into it.
    """
    chunk_bytes = chunk_bytes or CHUNK_BYTES
    with path.open("rb", buffering=0) as source:
        source.seek(offset)
        rest = b""
        while True:
            buffer = used.pop() if used else bytearray()
            buffer.extend(bytes(max(len(rest) + chunk_bytes + PADDING - len(buffer), 0)))
            buffer[: len(rest)] = rest
            filled = len(rest) + (source.readinto(memoryview(buffer)[len(rest) : len(rest) + chunk_bytes]) or 0)
            if filled == len(rest):
                return
            end = buffer.rfind(b"\n", 0, filled) + 1
            rest = bytes(memoryview(buffer)[end:filled])
            if not end:
                continue
            count = buffer.count(b"\n", 0, end)
            last = last_block(buffer, end) or block
            yield Chunk(origin, offset, line, buffer, end, count, block, last)
            offset, line, block = offset + end, line + count, last


def last_block(data: bytearray, size: int) -> bytes:
    """The last line among the first `size` bytes that is a block's record; empty if none is."""
    place, start = -1, size
    while place < 0 < start:
        # From the end on: blocks come often, and where there is none of one spelling all would be looked through.
        end, start = min(start + len(BLOCK_MARKS[-1]), size), max(start - WINDOW_BYTES, 0)
        place = max(data.rfind(mark, start, end) for mark in BLOCK_MARKS)
    if place < 0:
        return b""
    return bytes(data[data.rfind(b"\n", 0, place) + 1 : data.find(b"\n", place)])


Reader = Callable[[memoryview, pa.Schema], pa.Table]


def parse(chunk: Chunk, reader: Reader = read) -> Parsed:
    """Every line of a chunk, accounted for: a kernel's row, another record, or refused with a reason."""
    refused: list[dict[str, Any]] = []
    table, numbers = _table(chunk, reader, refused)
    is_kernel = pc.and_(pc.equal(table["record"], "measurement"), pc.is_in(table["task"], KERNEL_TASKS))
    chosen = pc.fill_null(is_kernel, False).to_numpy()
    is_block = pc.fill_null(pc.equal(table["record"], "block"), False).to_numpy()
    blocks, met = _blocks_met(table, is_block, chunk.block)
    places = _by_kind(table, np.flatnonzero(chosen))
    conditions = _conditions(blocks).take(met[places])
    kernels = _kernel_rows(table, places, conditions, chunk, numbers)
    named = table["block"].take(places)
    lost = pc.and_(pc.is_valid(named), pc.fill_null(pc.not_equal(named, conditions["block"]), True))
    bad = pc.if_else(lost, LOST_BLOCK, invalid_reasons(kernels)).combine_chunks()
    others = np.flatnonzero(~chosen & ~is_block).tolist()
    lines = chunk.split() if others or bad.null_count < len(bad) else []
    for index in np.flatnonzero(bad.is_valid().to_numpy(zero_copy_only=False)):
        number = int(numbers[places[index]])
        refused.append(refusal(chunk.origin, chunk.first_line + number + 1, bad[int(index)].as_py(), lines[number]))
    parsed = Parsed(where(kernels, bad.is_null()), refused=refused)
    for place in others:
        number = int(numbers[place])
        line = chunk.first_line + number + 1
        try:
            record = json_object(lines[number])
            if record.get("block"):
                record["block"] = _block_met(record["block"], blocks, met[place])
            parsed.others.append((line, record))
        except (ValueError, RecursionError) as error:
            refused.append(refusal(chunk.origin, line, f"not a record: {error}", lines[number]))
    return parsed


def _table(chunk: Chunk, reader: Reader, refused: list[dict[str, Any]]) -> tuple[pa.Table, Array]:
    """A chunk's lines as a table, and which line of the chunk each row was; what is no record is refused."""
    try:
        table = reader(chunk.view(), LINE)
        if len(table) == chunk.lines:
            return table, np.arange(chunk.lines)
    except ValueError:
        pass
    lines = chunk.split()
    parts = _read_halves(chunk, lines, [number for number, line in enumerate(lines) if line.strip()], refused)
    table = pa.concat_tables([LINE.empty_table(), *(part for part, _ in parts)])
    return table, np.array([number for _, some in parts for number in some], dtype=int)


def _by_kind(table: pa.Table, places: Array) -> Array:
    """Rows `places`, in the order of their kernels' kinds: that of the dataset's files."""
    return places[np.argsort(ranks(pc.struct_field(table["kernel"], "kind"))[places], kind="stable")]


def ranks(column: pa.ChunkedArray) -> Array:
    """The place of each value among a column's different ones in their order, nulls last."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank: Array = np.empty(len(order) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(order)), len(order)
    found: Array = rank[pc.fill_null(encoded.indices, len(order)).to_numpy()]
    return found


Parts = list[tuple[pa.Table, list[int]]]


def _blocks_met(table: pa.Table, is_block: Array, before: bytes) -> tuple[pa.Table, Array]:
    """The blocks of a table, the one before it first (nulls if there is none), and which of them each row follows."""
    first = (
        read(before, LINE) if before else pa.table({name: pa.nulls(1, LINE.field(name).type) for name in LINE.names})
    )
    blocks = pa.concat_tables([first.select(BLOCK), table.select(BLOCK).filter(pa.array(is_block))])
    return blocks.combine_chunks(), np.cumsum(is_block)


def _block_met(name: Any, blocks: pa.Table, index: int) -> dict[str, Any]:
    found: dict[str, Any] = blocks.slice(index, 1).to_pylist()[0]
    if found["block"] != name:
        raise ValueError(LOST_BLOCK)
    return found


def json_object(line: bytes) -> dict[str, Any]:
    """A line's JSON object; ValueError or RecursionError where Python cannot hold it, though Arrow's reader can."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__}, not an object")
    return found


def where(table: pa.Table, chosen: Any) -> pa.Table:
    """The chosen rows: the table itself, uncopied, where that is all of them."""
    return table if pc.all(chosen, min_count=0).as_py() else table.filter(chosen)


def refusal(origin: str, line: int, reason: str, text: bytes = b"") -> dict[str, Any]:
    """A line of the refused file: where it stood, why, and what it said."""
    return {"origin": origin, "line": line, "reason": reason, "text": text[:LONGEST_QUOTE].decode("utf-8", "replace")}


def _read_halves(chunk: Chunk, lines: list[bytes], numbers: list[int], refused: list[dict[str, Any]]) -> Parts:
    """Lines `numbers` of a chunk that is not all records: halved until what is none stands alone and is refused."""
    try:
        table = read(b"".join(lines[number] + b"\n" for number in numbers), LINE)
        if len(table) == len(numbers):
            return [(table, numbers)]
        reason = "not one JSON object"
    except ValueError as error:
        reason = str(error).splitlines()[0]
    if len(numbers) > 1:
        half = len(numbers) // 2
        first, second = (_read_halves(chunk, lines, part, refused) for part in (numbers[:half], numbers[half:]))
        return [*first, *second]
    line = lines[numbers[0]]
    refused.append(refusal(chunk.origin, chunk.first_line + numbers[0] + 1, f"not a record: {reason}", line))
    return []


def _conditions(blocks: pa.Table) -> pa.Table:
    """Blocks with the conditions after them in the columns of the schema."""
    after = blocks["after"]
    columns = {name: blocks[name] for name in ("block", "attempt", *_SENTINELS)}
    columns |= {name: pc.struct_field(after, name) for name in (*_CLOCKS, "load")}
    columns |= {"measured_at": times(pc.struct_field(after, "time"))}
    for name, function in (("cpu_mhz", np.mean), ("temperature_c", np.max)):
        columns[name] = _over_list(pc.struct_field(after, name), function)
    return pa.table(columns)


def _kernel_rows(table: pa.Table, places: Array, conditions: pa.Table, chunk: Chunk, numbers: Array) -> pa.Table:
    """Kernels' records, each with its block's conditions, as rows of the schema; their runs are joined later."""
    names = ("key", "run", "mode", "iterations", "warm_up", "stop", "status", "reason", "seconds", "samples_ns")
    given = {name: table[name] for name in (*names, "power_rails", "power_mw", *SUMMARY)}
    given |= {name: pc.struct_field(table["kernel"], name) for name in ("kind", "variant", *SIZE_NAMES)}
    columns = {name: column.take(places) for name, column in given.items() if column.null_count < len(table)}
    columns |= {name: conditions[name] for name in conditions.column_names}
    columns |= {"line": pa.array(chunk.first_line + numbers[places] + 1, pa.int64())}
    columns |= {name: pa.repeat(text, len(places)) for name, text in (("origin", chunk.origin), ("subject", "kernel"))}
    return conform(pa.table(columns), MEASUREMENTS)


def times(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 in UTC, as agents write it, as timestamps; null where it is not that."""
    whole = pc.if_else(pc.match_substring_regex(texts, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), texts, None)
    return pc.strptime(whole, format="%Y-%m-%dT%H:%M:%SZ", unit="s", error_is_null=True).cast(pa.timestamp("ms", "UTC"))


def _over_list(lists: pa.ChunkedArray, function: Callable[[Any], Any]) -> pa.Array:
    """`function`, the mean or the largest, of each list; null where it is empty."""
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    result = np.full(len(lists), np.nan)
    if len(lists.values):
        starts, ends = lists.offsets.to_numpy()[:-1], lists.offsets.to_numpy()[1:]
        filled = np.flatnonzero(ends > starts)
        values = lists.values.to_numpy(zero_copy_only=False)
        if function is np.mean:
            result[filled] = np.add.reduceat(values, starts[filled]) / (ends - starts)[filled]
        else:
            result[filled] = np.maximum.reduceat(values, starts[filled])
    return pa.array(result, from_pandas=True)


def invalid_reasons(table: pa.Table) -> pa.Array:
    """For each row, why it cannot be: null where it can."""
    measured = pc.not_equal(table["status"], "failed")
    is_memory = pc.equal(table["subject"], "memory")
    timed, remembered = pc.and_kleene(pc.invert(is_memory), measured), pc.and_kleene(is_memory, measured)
    median, low, high = (table[name] for name in ("median_ns", "low_ns", "high_ns"))
    smallest, largest = extremes(table["samples_ns"])
    gemm = pc.and_(pc.equal(table["subject"], "kernel"), pc.equal(table["kind"], "gemm"))
    rules = [
        (pc.equal(pc.fill_null(table["key"], ""), ""), "no key"),
        (pc.is_null(table["run"]), "no run"),
        (
            pc.invert(pc.fill_null(pc.is_in(table["status"], pa.array(STATUSES)), False)),
            "status is none of " + ", ".join(STATUSES),
        ),
        (pc.and_(pc.equal(table["subject"], "kernel"), pc.is_null(table["kind"])), "no kernel"),
        (pc.and_kleene(gemm, _any(pc.is_null(table[name]) for name in ("m", "n", "k"))), "a gemm without m, n and k"),
        (pc.less(pc.min_element_wise(*(table[name] for name in SIZE_NAMES)), 0), "a size is negative"),
        (pc.and_kleene(timed, _outside(median, 0, LONGEST_NS)), "median_ns is missing or impossible"),
        (pc.and_kleene(timed, pc.is_null(smallest)), "no samples_ns"),
        (pc.and_kleene(timed, pc.or_(_outside(smallest, 0, LONGEST_NS), _outside(largest, 0, LONGEST_NS))), BAD_SAMPLE),
        (pc.and_kleene(timed, _outside(median, smallest, largest)), "median_ns is outside of samples_ns"),
        (pc.and_kleene(timed, pc.greater(low, high)), "low_ns is above high_ns"),
        (pc.and_kleene(remembered, _any(_no_bytes(table[name]) for name in MEMORY)), BAD_MEMORY),
        (pc.and_kleene(remembered, pc.is_null(table["total_bytes"])), BAD_MEMORY),
    ]
    reasons = pa.nulls(len(table), pa.string())
    for broken, reason in reversed(rules):
        if pc.any(broken).as_py():
            reasons = pc.if_else(pc.fill_null(broken, False), reason, reasons)
    return reasons.combine_chunks() if isinstance(reasons, pa.ChunkedArray) else reasons


def _any(conditions: Iterable[Any]) -> Any:
    """Whether any condition holds; unknown ones do not."""
    return reduce(pc.or_, (pc.fill_null(condition, False) for condition in conditions))


def _no_bytes(values: Any) -> Any:
    """Whether a value is there and impossible: a paper may print no more than a total."""
    return pc.and_kleene(pc.is_valid(values), _outside(values, 0, MOST_BYTES))


def _outside(values: Any, least: Any, most: Any) -> Any:
    """Whether a value is missing, no number, or beyond its bounds by more than rounding."""
    inside = pc.and_(
        pc.greater_equal(values, pc.multiply(least, 1 - 1e-9)), pc.less_equal(values, pc.multiply(most, 1 + 1e-9))
    )
    return pc.invert(pc.fill_null(inside, False))


def extremes(samples: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """(smallest, largest) of each list, null where it is empty; NaN where one of its samples is null or NaN."""
    lists = samples.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    filled = lengths > 0
    starts = (np.cumsum(lengths) - lengths)[filled]
    values = lists.flatten().to_numpy(zero_copy_only=False)
    found = []
    for extreme in (np.minimum, np.maximum):
        result = np.zeros(len(lists))
        if len(starts):
            result[filled] = extreme.reduceat(values, starts)
        found.append(pa.array(result, mask=~filled))
    return found[0], found[1]


def join_runs(table: pa.Table, runs: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """`table` with what its runs say: processor (an extra column), source, stack, threads, library; null if unknown."""
    encoded = table["run"].combine_chunks().dictionary_encode()
    found = [runs.get(name, {}) for name in encoded.dictionary.to_pylist()]
    for name in ("source", "stack", "threads", "library", "processor"):
        kind = pa.int64() if name == "threads" else pa.string()
        values = pa.array([run.get(name) for run in found], kind).take(encoded.indices)
        position = table.schema.get_field_index(name)
        table = table.append_column(name, values) if position < 0 else table.set_column(position, name, values)
    return table
