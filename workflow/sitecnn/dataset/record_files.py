"""Record files: which there are, how far they were read, and their new lines, a stretch at a time."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sitecnn.errors import DatasetError

STRETCH_BYTES = 64 << 20
"""Of a record file read at once: about 80,000 kernels."""

LONGEST_LINE_BYTES = 256 << 20
"""A longer line is no record, and memory is bounded."""

TAIL_BYTES = 4096
"""Compared to see whether a record file still begins with what was read of it."""

LONGEST_QUOTE = 2000
"""Of a refused line that is shown."""

PIECE_LINES = 2048
"""One thread's work."""

SHORT = 20
"""Bytes of a line that may be blank."""

DEEPEST, MANY_BRACKETS = 500, 2000
"""Objects and lists within one another in a record that is read; lines of fewer brackets are not looked at."""

LINES = pa.schema([("file", pa.int32()), ("line", pa.int64()), ("text", pa.string())])
UNUSABLE = LINES.append(pa.field("reason", pa.string()))


@dataclass
class Source:
    """How far a record file was read: bytes, lines (numbered from 1), and what its last block said."""

    origin: str
    path: Path
    bytes: int = 0
    lines: int = 0
    block: str = ""

    @property
    def board(self) -> str:
        """The board whose records these are."""
        return self.origin.split("/")[0]

    def has_grown(self) -> bool:
        """Whether a whole new line was appended."""
        with self.path.open("rb") as file:
            file.seek(self.bytes)
            return any(b"\n" in part for part in iter(lambda: file.read(1 << 16), b""))

    def entry(self) -> dict[str, Any]:
        """What the manifest remembers."""
        named = {"bytes": self.bytes, "lines": self.lines, "block": self.block}
        return {**named, "tail_sha256": _tail(self.path, self.bytes)}


@dataclass
class Stretch:
    """New lines of some record files: the files, the bytes and lines before them, and the lines, `file` counting files.

    Lines in `unusable` are not for DuckDB.
    """

    sources: list[Source] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    lines: list[pa.Table] = field(default_factory=list)
    unusable: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0


def record_files(root: Path, known: dict[str, dict[str, Any]]) -> list[Source]:
    """Every board's record files in order, read as far as is `known`."""
    records = root / "results" / "records"
    sources = []
    for path in sorted(records.glob("*/*.jsonl")):
        origin = path.relative_to(records).as_posix()
        before = known.get(origin, {})
        sources.append(Source(origin, path, **{name: before[name] for name in ("bytes", "lines", "block") if before}))
    return sources


def all_continue(root: Path, known: dict[str, dict[str, Any]]) -> bool:
    """Whether all files still begin with what was read of them (their last bytes of then are compared)."""
    records = root / "results" / "records"
    return all(_continues(records / origin, entry) for origin, entry in known.items())


def _continues(path: Path, entry: dict[str, Any]) -> bool:
    end = entry["bytes"]
    return path.exists() and path.stat().st_size >= end and _tail(path, end) == entry["tail_sha256"]


def _tail(path: Path, end: int) -> str:
    """Hex digest of the last bytes before `end`."""
    with path.open("rb") as file:
        start = max(end - TAIL_BYTES, 0)
        file.seek(start)
        return hashlib.sha256(file.read(end - start)).hexdigest()


def stretches(sources: Iterable[Source]) -> Iterator[Stretch]:
    """The whole new lines of `sources`, which learn how far they were read; torn last lines are left for later.

    DatasetError if a line is longer than any record.
    """
    stretch = Stretch()
    for source in sources:
        while lines := _whole_lines(source, STRETCH_BYTES - stretch.bytes):
            if stretch.bytes and stretch.sources[-1] is source:
                yield stretch
                stretch = Stretch()
            _add(stretch, source, lines)
            if stretch.bytes > STRETCH_BYTES * 7 // 8:
                yield stretch
                stretch = Stretch()
    if stretch.sources:
        yield stretch


def _whole_lines(source: Source, size: int) -> memoryview:
    """About `size` bytes of new whole lines, one at least; nothing if there is none."""
    with source.path.open("rb", buffering=0) as file:
        file.seek(source.bytes)
        data = file.read(size)
        while b"\n" not in data and (more := file.read(max(size, len(data)))):
            data += more
            if len(data) > LONGEST_LINE_BYTES:
                raise DatasetError(
                    f"{source.path}:{source.lines + 1}: more than {LONGEST_LINE_BYTES} bytes in a line: take it out"
                )
    return memoryview(data)[: data.rfind(b"\n") + 1]


def _add(stretch: Stretch, source: Source, data: memoryview) -> None:
    """Lines of a file to a stretch, in pieces that threads share. Blank lines are nothing."""
    number = len(stretch.sources)
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends + 1], dtype=np.int32)
    texts = pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    numbers = np.full(len(ends), number, np.int32), source.lines + 1 + np.arange(len(ends))
    dropped = []
    lengths = np.diff(offsets)
    for index in np.flatnonzero((lengths > MANY_BRACKETS) | (lengths <= SHORT) | (not _is_utf8(texts))):
        text = bytes(data[offsets[index] : ends[index]])
        if problem := _problem(text):
            quote = text[:LONGEST_QUOTE].decode(errors="replace")
            entry = {"file": number, "line": source.lines + int(index) + 1, "text": quote, "reason": problem}
            stretch.unusable.append(entry)
        if problem or not text.strip():
            dropped.append(index)
    table = pa.table([*numbers, texts], schema=LINES)
    if dropped:
        table = table.take(np.delete(np.arange(len(ends)), dropped))
    stretch.lines += [pa.Table.from_batches([batch], LINES) for batch in table.to_batches(max_chunksize=PIECE_LINES)]
    stretch.sources.append(source)
    stretch.starts.append((source.bytes, source.lines))
    stretch.bytes += len(data)
    source.bytes += len(data)
    source.lines += len(ends)


def _is_utf8(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _problem(text: bytes) -> str | None:
    """Why a line must not go to the JSON reader: it is not UTF-8, or nested so deeply that readers fail."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"not a record: {error}"
    if text.count(b"[") + text.count(b"{") > MANY_BRACKETS and _depth(text) > DEEPEST:
        return f"not a record: more than {DEEPEST} lists and objects in one another"
    return None


def _depth(text: bytes) -> int:
    """How deep brackets nest, those in texts counted as well."""
    codes = np.frombuffer(text, np.uint8)
    opened, closed = ((codes == ord(pair[0])) | (codes == ord(pair[1])) for pair in ("[{", "]}"))
    return int(np.max(np.cumsum(opened.astype(np.int32) - closed.astype(np.int32)), initial=0))
