"""Records → dataset: only what is new is read, every line is accounted for, and all of it counts or nothing."""

import hashlib
import json
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sitecnn.dataset import passes, store
from sitecnn.dataset.lines import read, read_many
from sitecnn.dataset.records import (
    Chunk,
    Parsed,
    Reader,
    chunks,
    invalid_reasons,
    join_runs,
    parse,
    ranks,
    refusal,
    times,
    where,
)
from sitecnn.dataset.schema import MEASUREMENTS, NETWORKS, RUNS, SCHEMA_VERSION, SORT, STATUSES, conform
from sitecnn.dataset.store import Manifest
from sitecnn.errors import SiteCNNError

TAIL_BYTES = 4096
"""Compared to see whether a record file still begins with what was read of it."""

MANY_BYTES = 64 << 20
"""Of records: to load the reader for many takes as long as to read these with the other."""

SMALL_ROWS, MOST_SMALL_FILES = 20_000, 8
"""A partition's files smaller than this are joined when there are more than so many."""

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass
class Batch:
    """What one aggregation gathers beside the files it writes."""

    runs: dict[str, dict[str, Any]]
    networks: dict[tuple[Any, ...], dict[str, Any]]
    refused: list[dict[str, Any]] = field(default_factory=list)


def aggregate(root: Path) -> dict[str, Any]:
    """Bring results/dataset up to the records; returns its summary. SiteCNNError if the disk is full."""
    with store.locked(root):
        before = store.current(root)
        manifest = store.read_manifest(before) if before else Manifest()
        sources = _record_files(root)
        if manifest.schema != SCHEMA_VERSION or not all(_continues(root, *item) for item in manifest.sources.items()):
            before, manifest = None, Manifest()
        grown = [name for name, path in sources.items() if _new_bytes(path, manifest.sources.get(name))]
        if grown or store.current(root) is None or before is None:
            try:
                _write(root, before, manifest, {name: sources[name] for name in grown})
            except OSError as error:
                raise SiteCNNError(f"{store.folder(root)}: {error.strerror}; the dataset is as it was before") from None
    return summary(root)


def summary(root: Path) -> dict[str, Any]:
    """Counts of the dataset: per board and processor, refused and superseded records."""
    manifest = store.read_manifest(store.existing(root))
    boards: dict[str, int] = defaultdict(int)
    for name, entry in manifest.files.items():
        table, *folders = name.split("/")
        if table == "measurements":
            boards["/".join(part.split("=", 1)[1] for part in folders[:2])] += entry["rows"]
    counts = {"refused": manifest.refused, "superseded": manifest.superseded}
    return {"schema": manifest.schema, "measurements": dict(sorted(boards.items())), **counts}


def _record_files(root: Path) -> dict[str, Path]:
    """Every board's record files by their name within results/records, in order."""
    records = root / "results" / "records"
    return {path.relative_to(records).as_posix(): path for path in sorted(records.glob("*/*.jsonl"))}


def _continues(root: Path, name: str, known: dict[str, Any]) -> bool:
    """Whether a record file still begins with what was read of it (its last bytes of then are compared)."""
    path = root / "results" / "records" / name
    return (
        path.exists() and path.stat().st_size >= known["bytes"] and _tail(path, known["bytes"]) == known["tail_sha256"]
    )


def _tail(path: Path, end: int) -> str:
    with path.open("rb") as source:
        start = max(end - TAIL_BYTES, 0)
        source.seek(start)
        return hashlib.sha256(source.read(end - start)).hexdigest()


def _new_bytes(path: Path, known: dict[str, Any] | None) -> bool:
    """Whether a whole new line was appended."""
    offset = known["bytes"] if known else 0
    return any(True for _ in chunks(path, "", offset, 0, chunk_bytes=1 << 16))


def _write(root: Path, before: Path | None, manifest: Manifest, grown: dict[str, Path]) -> None:
    """The next generation: what was there, the new records, and their kin in runs and networks."""
    with store.new_generation(root) as generation:
        batch = _known(before)
        new = _write_parts(generation, manifest, grown, batch)
        touched = {name.rsplit("/", 2)[0] for name in new}
        old = [name for name in manifest.files if name.startswith("measurements/")]
        if before:
            for name in old:
                store.take_over(before, generation, name)
        _settle(generation, manifest, {name: manifest.files[name] for name in old} | new, touched)
        runs = [row for _, row in sorted(batch.runs.items())]
        layers = [row for _, row in sorted(batch.networks.items())]
        for name, schema, rows in (("runs", RUNS, runs), ("networks", NETWORKS, layers)):
            table = pa.Table.from_pylist(rows, schema)
            manifest.files[f"{name}/{name}.parquet"] = store.write_table(generation, f"{name}/{name}.parquet", table)
        _write_refused(before, generation, batch.refused)
        manifest.refused += len(batch.refused)
        store.commit(root, generation, manifest)


def _known(before: Path | None) -> Batch:
    """Runs and networks of the generation before."""
    if before is None:
        return Batch({}, {})
    runs, networks = (pq.read_table(before / name / f"{name}.parquet").to_pylist() for name in ("runs", "networks"))
    return Batch({row["run"]: row for row in runs}, {_network_key(row): row for row in networks})


def _network_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["network"], row["batch"], row["definition_sha256"], row["layer_index"]


def _write_refused(before: Path | None, generation: Path, refused: list[dict[str, Any]]) -> None:
    text = (before / "refused.jsonl").read_text(encoding="utf-8") if before else ""
    text += "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in refused)
    (generation / "refused.jsonl").write_text(text, encoding="utf-8")


# ---- parts: what a stretch of a record file becomes ----------------------------------------------------------


def _write_parts(
    generation: Path, manifest: Manifest, grown: dict[str, Path], batch: Batch
) -> dict[str, dict[str, Any]]:
    """Files of measurements from the new lines of `grown`, by name; two chunks are read and written at a time."""
    files: dict[str, dict[str, Any]] = {}
    unread = sum(
        path.stat().st_size - manifest.sources.get(name, {"bytes": 0})["bytes"] for name, path in grown.items()
    )
    reader = read_many if unread > MANY_BYTES else read
    with _memory_kept(), ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[dict[str, dict[str, Any]]]] = deque()
        used: list[bytearray] = []
        for chunk, parsed in _in_order(pool, reader, _new_chunks(manifest, grown, used), used):
            rows = _rows(chunk, parsed, batch)
            waiting.append(pool.submit(_write_part, generation, chunk, rows))
            while len(waiting) > 1:
                files |= waiting.popleft().result()
        for written in waiting:
            files |= written.result()
    return files


@contextmanager
def _memory_kept() -> Iterator[None]:
    """Arrow's memory from the C library, which keeps what one chunk gave back for the next."""
    # Arrow's own allocator returns it to the kernel: to get it anew, page by page, took an eighth of the time.
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _in_order(
    pool: ThreadPoolExecutor, reader: Reader, stream: Iterable[Chunk], used: list[bytearray]
) -> Iterator[tuple[Chunk, Parsed]]:
    """Chunks with what they hold, in their order, parsed one ahead; their buffers go to `used`."""
    waiting: deque[tuple[Chunk, Future[Parsed]]] = deque()
    for chunk in chain(stream, repeat(None, 1)):
        if chunk:
            waiting.append((chunk, pool.submit(parse, chunk, reader)))
        while len(waiting) > (1 if chunk else 0):
            first, future = waiting.popleft()
            parsed = future.result()
            used.append(first.buffer)
            yield first, parsed


def _new_chunks(manifest: Manifest, grown: dict[str, Path], used: list[bytearray]) -> Iterator[Chunk]:
    """The unread lines of each record file; the manifest learns how far each was read."""
    for name, path in grown.items():
        known = manifest.sources.get(name, {"bytes": 0, "lines": 0, "block": ""})
        end, line, block = known["bytes"], known["lines"], known["block"].encode()
        for chunk in chunks(path, name, end, line, block, used=used):
            end, line, block = chunk.offset + chunk.size, chunk.first_line + chunk.lines, chunk.last_block
            yield chunk
        read = {"bytes": end, "lines": line, "block": block.decode(errors="replace")}
        manifest.sources[name] = {**read, "tail_sha256": _tail(path, end)}


def _rows(chunk: Chunk, parsed: Parsed, batch: Batch) -> pa.Table:
    """A chunk's rows, their runs joined; its runs and networks go to `batch`, what cannot be is refused."""
    board = chunk.origin.split("/")[0]
    passes_found = []
    for line, record in parsed.others:
        try:
            passes_found += _take_record(board, chunk.origin, line, record, batch)
        except (SiteCNNError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            parsed.refused.append(refusal(chunk.origin, line, missing, json.dumps(record).encode()))
    table = join_runs(pa.concat_tables([parsed.kernels, *passes_found]), batch.runs)
    unknown = pc.is_null(table["processor"])
    for row in table.filter(unknown).select(["origin", "line", "run"]).to_pylist():
        parsed.refused.append(refusal(row["origin"], row["line"], f"run {row['run']} is nowhere before it"))
    batch.refused += sorted(parsed.refused, key=lambda entry: int(entry["line"]))
    return where(table, pc.invert(unknown))


def _take_record(board: str, origin: str, line: int, record: dict[str, Any], batch: Batch) -> list[pa.Table]:
    """One record that is no kernel: a run or its end is noted, a network becomes rows."""
    match record.get("record"):
        case "run":
            batch.runs[record["run"]] = _run_row(board, origin, record)
        case "done":
            row = batch.runs[record["run"]] | {name: record[name] for name in ("planned", "owed", "seconds")}
            cost = passes.part(record, "cost_s")
            row |= {f"cost_{purpose}_s": seconds for purpose, seconds in cost.items()}
            batch.runs[record["run"]] = _typed(row)
        case "refused":
            entries = [
                {"origin": record["origin"], "line": row, "reason": record["reason"], "text": ""}
                for row in record["rows"]
            ]
            batch.refused += entries
        case "measurement" if record.get("task") in ("network", "memory"):
            return [_pass_table(origin, line, record, batch)]
        case "measurement":
            raise ValueError(f"task is {record.get('task')!r}, none of gemm, layer, network, memory")
        case other:
            raise ValueError(f"record is {other!r}, none of run, block, measurement, done, refused")
    return []


def _pass_table(origin: str, line: int, record: dict[str, Any], batch: Batch) -> pa.Table:
    rows = [{**row, "origin": origin, "line": line} for row in passes.network_rows(record)]
    taken = times(pa.chunked_array([[row.pop("time") for row in rows]], pa.string())).to_pylist()
    rows = [{**row, "measured_at": when} for row, when in zip(rows, taken, strict=True)]
    table = pa.Table.from_pylist(rows, MEASUREMENTS)
    if (reasons := invalid_reasons(table).drop_null()) and len(reasons):
        raise ValueError(reasons[0].as_py())
    for row in passes.definition_rows(record["network"], record["prototxt"]):
        batch.networks[_network_key(row)] = row
    return table


def _run_row(board: str, origin: str, record: dict[str, Any]) -> dict[str, Any]:
    """A run record flattened; what the schema has no column for stays in record_json."""
    found, now, source = (passes.part(record, name) for name in ("board", "conditions", "origin"))
    engine = passes.part(found, "engine")
    clocks, heat = now.get("cpu_mhz"), now.get("temperature_c")
    started = times(pa.chunked_array([[now.get("time")]], pa.string()))[0].as_py()
    names = ("run", "processor", "stack", "threads", "library", "protocol", "agent_sha256", "commit", "user", "host")
    row = {field.name: None for field in RUNS} | {name: record.get(name) for name in names}
    if row["processor"] not in ("cpu", "gpu") or not isinstance(row["stack"], str) or not row["run"]:
        raise ValueError("a run needs a processor, cpu or gpu, a stack and a name")
    row |= {"board": board, "source": record.get("source", "agent"), "origin": source.get("file", origin)}
    row |= {"origin_sha256": source.get("sha256"), "origin_format": source.get("format")}
    row |= {"cpu": found.get("cpu"), "machine": found.get("machine"), "os": found.get("kernel")}
    row |= {"python": found.get("python"), "blas": _text(found.get("blas"))}
    row |= {"engine": engine.get("name"), "engine_version": engine.get("version"), "started_at": started}
    row |= {"load": now.get("load"), "governor": now.get("governor")}
    row |= {"cpu_mhz": sum(clocks) / len(clocks) if clocks else None, "temperature_c": max(heat) if heat else None}
    row["record_json"] = json.dumps(record, sort_keys=True)
    return _typed(row)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the runs table whose values are what its schema says; ValueError, TypeError or OverflowError if not."""
    typed: dict[str, Any] = pa.Table.from_pylist([row], RUNS).to_pylist()[0]
    return typed


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value, sort_keys=True)


def _write_part(generation: Path, chunk: Chunk, rows: pa.Table) -> dict[str, dict[str, Any]]:
    """A chunk's rows as a file for each processor."""
    board, _, stem = chunk.origin.removesuffix(".jsonl").partition("/")
    files = {}
    for processor in sorted(pc.unique(rows["processor"]).to_pylist()):
        table = _sorted(conform(where(rows, pc.equal(rows["processor"], processor)), MEASUREMENTS))
        name = f"measurements/board={board}/processor={processor}/{stem}.{chunk.offset:014d}.parquet"
        files[name] = store.write_table(generation, name, table)
    return files


def _sorted(table: pa.Table) -> pa.Table:
    """`table` in the order of SORT; itself, uncopied, where it is."""
    order = np.lexsort([ranks(table[name]) for name in reversed(SORT)])
    return table if (order[1:] > order[:-1]).all() else table.take(order)


# ---- one measurement per key ---------------------------------------------------------------------------------


def _settle(generation: Path, manifest: Manifest, files: dict[str, dict[str, Any]], touched: set[str]) -> None:
    """The manifest's files: one record per key, and few small files, in the boards that were touched."""
    boards = {board: {name: files[name] for name in files if name.startswith(f"{board}/")} for board in sorted(touched)}
    manifest.files = {name: entry for name, entry in files.items() if name.rsplit("/", 2)[0] not in touched}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for gone, settled in pool.map(lambda mine: _settle_board(generation, mine), boards.values()):
            manifest.superseded += gone
            manifest.files |= settled


def _settle_board(generation: Path, files: dict[str, dict[str, Any]]) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many records of a board went, because others supersede them; its files then."""
    gone = _drop_superseded(generation, files)
    _join_small(generation, files)
    return gone, files


def _drop_superseded(generation: Path, files: dict[str, dict[str, Any]]) -> int:
    """Keep one record per key in a board's files; returns how many went.

    The best status stays (ok, unstable, failed), of those the last taken, of those the last in order of files.
    """
    hashes = {name: record_hashes(generation / name) for name in files}
    together = np.sort(np.concatenate(list(hashes.values())))
    doubled = np.unique(together[1:][together[1:] == together[:-1]])
    suspects = [name for name in files if len(doubled) and np.isin(hashes[name], doubled).any()]
    best: dict[str, tuple[Any, ...]] = {}
    for name in suspects:
        for key, place in _ranked(generation / name, doubled):
            best[key] = max(best.get(key, place), place)
    return sum(_keep_best(generation, files, name, best) for name in suspects)


def record_hashes(path: Path) -> Hashes:
    """A 64-bit hash of each record's key; a record of many rows counts once."""
    subject = pq.read_table(path, columns=["subject"], partitioning=None)["subject"]
    alone = pc.equal(subject, "kernel")
    if pc.all(alone, min_count=0).as_py():
        return _hashes(pq.read_table(path, columns=["key"], partitioning=None)["key"])
    table = pq.read_table(path, columns=["key", "line"], partitioning=None)
    rest = table.filter(pc.invert(alone)).group_by(["key", "line"]).aggregate([])
    return np.concatenate([_hashes(table["key"].filter(alone)), _hashes(rest["key"])])


def _hashes(keys: pa.ChunkedArray) -> Hashes:
    """Keys of 32 characters, as the agent writes them, mixed as they lie in memory; others by SHA-256."""
    array = pa.array([], pa.string()) if not len(keys) else pa.concat_arrays(keys.chunks)
    offsets = (
        np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4) if len(array) else np.zeros(1)
    )
    if (np.diff(offsets) == 32).all() and len(array):
        words = np.frombuffer(array.buffers()[2], np.uint64, 4 * len(array), int(offsets[0])).reshape(-1, 4)
        odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
        mixed: Hashes = (words * odd).sum(axis=1, dtype=np.uint64)
        return mixed
    digests = b"".join(hashlib.sha256(key.encode()).digest()[:8] for key in array.to_pylist())
    return np.frombuffer(digests, np.uint64)


def _ranked(path: Path, doubled: Hashes) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(key, how good its record is) of each row whose key may be doubled."""
    columns = ["key", "status", "measured_at", "origin", "line"]
    table = pq.read_table(path, columns=columns, partitioning=None)
    table = table.filter(pa.array(np.isin(_hashes(table["key"]), doubled)))
    for key, status, taken, origin, line in zip(*(table[name].to_pylist() for name in columns), strict=True):
        yield key, (-STATUSES.index(status), str(taken or ""), origin, line)


def _keep_best(generation: Path, files: dict[str, dict[str, Any]], name: str, best: dict[str, tuple[Any, ...]]) -> int:
    """Rewrite a file without the records that others supersede; returns how many those are."""
    table = pq.read_table(generation / name, partitioning=None)
    places = zip(table["key"].to_pylist(), table["origin"].to_pylist(), table["line"].to_pylist(), strict=True)
    keep = [key not in best or best[key][2:] == (origin, line) for key, origin, line in places]
    gone = table.filter(pa.array([not kept for kept in keep])).group_by(["origin", "line"]).aggregate([])
    (generation / name).unlink()
    kept = table.filter(pa.array(keep))
    if len(kept):
        files[name] = store.write_table(generation, name, kept)
    else:
        del files[name]
    return len(gone)


def _join_small(generation: Path, files: dict[str, dict[str, Any]]) -> None:
    """Join a partition's small files into one, so that a thousand short runs do not become a thousand files."""
    partitions = defaultdict(list)
    for name, entry in files.items():
        if entry["rows"] < SMALL_ROWS:
            partitions[name.rsplit("/", 1)[0]].append(name)
    for partition, names in sorted(partitions.items()):
        if len(names) > MOST_SMALL_FILES:
            table = pa.concat_tables([pq.read_table(generation / name, partitioning=None) for name in sorted(names)])
            for name in names:
                (generation / name).unlink()
                del files[name]
            joined = f"{partition}/joined-{hashlib.sha256(''.join(names).encode()).hexdigest()[:12]}.parquet"
            files[joined] = store.write_table(generation, joined, _sorted(table))
