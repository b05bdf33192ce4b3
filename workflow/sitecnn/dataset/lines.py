"""Lines of record files → Arrow: plain ones by a compiled reader, the others by pyarrow's, to the same table."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

Array = np.ndarray[Any, Any]

PADDING = 64
"""Bytes after the last line that may be read and are set to zero."""

LARGEST_ASCII = 127

MOST_PIECES = 100
"""A stretch whose lines change more often between plain and not is read by pyarrow as a whole."""


def read(data: bytes | memoryview, schema: pa.Schema) -> pa.Table:
    """Lines as pyarrow's reader takes them; ValueError (pa.ArrowInvalid is one) if any is not UTF-8 or of other types.

    Blank lines are no rows.
    """
    _check_text(data)
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    block = pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    return pa.json.read_json(pa.BufferReader(data), read_options=block, parse_options=options)


def read_many(data: memoryview, schema: pa.Schema) -> pa.Table:
    """The same, several times faster where most lines are as the agent writes them.

    `data` begins a bytearray that has PADDING bytes more. The table lies in memory that the thread's next call fills
    anew: what is to stay must be copied.
    """
    _check_text(data)
    table, starts, plain = _read_plain(data, schema)
    cuts = [0, *(np.flatnonzero(plain[1:] != plain[:-1]) + 1).tolist(), len(plain)]
    if len(cuts) > MOST_PIECES:
        return read(data, schema)
    pieces = [
        table.slice(first, end - first) if plain[first] else read(data[starts[first] : starts[end]], schema)
        for first, end in pairwise(cuts)
        if end > first
    ]
    return pa.concat_tables([schema.empty_table(), *pieces])


def _check_text(data: bytes | memoryview) -> None:
    """UnicodeDecodeError, a ValueError, if the bytes are not UTF-8."""
    if len(data) and np.frombuffer(data, np.uint8).max() > LARGEST_ASCII:
        bytes(data).decode()


# ---- what the compiled reader is told and what it fills ------------------------------------------------------


@dataclass
class Slots:
    """The names of a schema, depth first: (space, name, kind, column among those of its kind)."""

    found: list[tuple[int, str, int, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * 7)

    def add(self, space: int, fields: Any) -> None:
        """All fields of an object, whose names are told apart from those of others by `space`."""
        from sitecnn.dataset import compiled

        for one in fields:
            kind = _kind(one.type)
            self.counts[kind] += 1
            # The space of what is in an object is its column from 1 on.
            column = self.counts[kind] - (kind != compiled.OBJECT)
            self.found.append((space, one.name, kind, column))
            if kind == compiled.OBJECT:
                self.add(column, one.type)


def _kind(of: pa.DataType) -> int:
    from sitecnn.dataset import compiled

    kinds = {
        pa.string(): compiled.TEXT,
        pa.int64(): compiled.WHOLE,
        pa.float64(): compiled.NUMBER,
        pa.list_(pa.float64()): compiled.NUMBERS,
        pa.list_(pa.string()): compiled.TEXTS,
    }
    return compiled.OBJECT if pa.types.is_struct(of) else kinds[of]


@lru_cache
def _slots(schema: pa.Schema) -> tuple[Slots, tuple[Array, ...]]:
    from sitecnn.dataset import compiled

    slots = Slots()
    slots.add(0, schema)
    texts = [f'{name}":'.encode() for _, name, _, _ in slots.found]
    size = 8 * compiled.NAME_WORDS
    names = np.frombuffer(b"".join(text.ljust(size, b"\0") for text in texts), np.uint64)
    masks = np.frombuffer(b"".join((b"\xff" * len(text)).ljust(size, b"\0") for text in texts), np.uint64)
    spaces, kinds, columns = (np.array([slot[part] for slot in slots.found], np.int64) for part in (0, 2, 3))
    lengths = np.array([len(text) for text in texts], np.int64)
    words = (len(texts), compiled.NAME_WORDS)
    return slots, (spaces, names.reshape(words), masks.reshape(words), kinds, columns, lengths)


def _read_plain(data: memoryview, schema: pa.Schema) -> tuple[pa.Table, Array, Array]:
    """A row for each line, nulls where it is not plain; where the lines start; which are plain."""
    from sitecnn.dataset import compiled

    slots, told = _slots(schema)
    buffer: Any = data.obj
    lines = buffer.count(b"\n", 0, len(data))
    room = _room(slots, lines, len(data))
    padded = np.frombuffer(buffer, np.uint8)
    padded[len(data) : len(data) + PADDING] = 0
    room.there[:, :lines] = False
    follows, stack = np.full(len(slots.found) + 1, compiled.NOWHERE), np.empty(compiled.DEEPEST, np.int64)
    compiled.read(padded.ctypes.data, lines, told, room.arrays(), follows, stack)
    filled = Filled(slots, iter(range(len(slots.found))), room, lines)
    table = pa.Table.from_arrays([filled.column(one.type) for one in schema], schema=schema)
    return table, room.starts[: lines + 1], room.plain[:lines]


_rooms = threading.local()


def _room(slots: Slots, lines: int, size: int) -> "Room":
    """The thread's room if it is large enough, else a larger one: fresh memory costs as much as reading into it."""
    room: Room | None = getattr(_rooms, "room", None)
    if room is None or room.counts != slots.counts or len(room.plain) < lines or room.size < size:
        room = _rooms.room = Room(slots.counts, lines + lines // 8, size + size // 8)
    return room


class Room:
    """Where the compiled reader puts what it finds: by kind of value, column and row.

    Most of it is never touched, and so takes no memory.
    """

    def __init__(self, counts: list[int], lines: int, size: int) -> None:
        self.counts, self.size = counts, size
        texts, wholes, numbers, number_lists, text_lists = (counts[kind] for kind in range(5))
        self.plain, self.starts = np.empty(lines, bool), np.empty(lines + 1, np.int64)
        self.there = np.empty((sum(counts), lines), bool)
        self.texts = np.empty((texts, size + PADDING), np.uint8)
        self.text_ends = np.zeros((texts, lines + 1), np.int32)
        self.wholes, self.numbers = np.empty((wholes, lines), np.int64), np.empty((numbers, lines), np.float64)
        self.number_lists = np.empty((number_lists, size // 2), np.float64)
        self.number_ends = np.zeros((number_lists, lines + 1), np.int32)
        self.text_lists = np.empty((text_lists, size // 3, 2), np.int64)
        self.list_ends = np.zeros((text_lists, lines + 1), np.int32)

    def arrays(self) -> tuple[Array, ...]:
        """What the compiled reader fills; the texts by their addresses."""
        texts = np.array([row.ctypes.data for row in self.texts], np.int64)
        lists = (self.number_lists, self.number_ends, self.text_lists, self.list_ends)
        return self.plain, self.starts, self.there, texts, self.text_ends, self.wholes, self.numbers, *lists


@dataclass
class Filled:
    """A room's first `lines` rows as Arrow's arrays, slot by slot."""

    slots: Slots
    order: Iterator[int]
    room: Room
    lines: int

    def column(self, of: pa.DataType) -> pa.Array:
        """The next slot's values, of Arrow type `of`."""
        from sitecnn.dataset import compiled

        slot = next(self.order)
        _, _, kind, column = self.slots.found[slot]
        room, lines = self.room, self.lines
        there = room.there[slot, :lines]
        if not there.any():
            for _ in range(_slots_of(of) - 1):
                next(self.order)
            return pa.nulls(lines, of)
        if kind == compiled.OBJECT:
            children = [self.column(one.type) for one in of]
            return pa.StructArray.from_arrays(children, fields=list(of), mask=pa.array(~there))
        valid = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        if kind == compiled.TEXT:
            parts = [room.text_ends[column, : lines + 1], room.texts[column]]
        elif kind in (compiled.WHOLE, compiled.NUMBER):
            parts = [(room.wholes if kind == compiled.WHOLE else room.numbers)[column, :lines]]
        else:
            parts = [(room.number_ends if kind == compiled.NUMBERS else room.list_ends)[column, : lines + 1]]
        values = []
        if kind == compiled.NUMBERS:
            values = [pa.array(room.number_lists[column, : parts[0][-1]])]
        elif kind == compiled.TEXTS:
            values = [_joined(room.text_lists[column, : parts[0][-1]])]
        return pa.Array.from_buffers(of, lines, [valid, *map(pa.py_buffer, parts)], children=values)


def _slots_of(of: pa.DataType) -> int:
    """How many slots a type has, its own and those of what is in it."""
    return 1 + sum(_slots_of(one.type) for one in of) if pa.types.is_struct(of) else 1


def _joined(places: Array) -> pa.Array:
    """Texts that stand at (address, length)."""
    from sitecnn.dataset import compiled

    ends = np.zeros(len(places) + 1, np.int32)
    joined = np.empty(places[:, 1].sum(), np.uint8)
    compiled.gather(places, ends, joined)
    return pa.Array.from_buffers(pa.string(), len(places), [None, pa.py_buffer(ends), pa.py_buffer(joined)])
