"""What every importer hands over, its checks, and the record file that comes of it."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sitecnn.dataset.store import file_sha256
from sitecnn.errors import DatasetError
from sitecnn.files import write_text
from sitecnn.network import Network, write_prototxt
from sitecnn.workload.kernels import macs

SLOWEST_MACS_PER_S, FASTEST_MACS_PER_S = 2e7, 1e15
"""A pass outside of these is given in another unit: a Raspberry Pi Zero does 10⁸, the fastest GPU of 2026 some 10¹⁵."""

LONGEST_SHARE = 2.0
"""A layer timed alone may take longer than its share of an asynchronous pass, but not twice the whole pass."""


@dataclass(frozen=True)
class Target:
    """Whose measurements these are."""

    board: str
    processor: str
    stack: str


@dataclass(frozen=True)
class Refused:
    """A row (1 is the first) that cannot be imported."""

    row: int
    reason: str


@dataclass
class Passes:
    """A network's timings in ms: samples of its layers by index, of their sum, and of whole passes.

    Where single layers are not known: `types_ms`, all layers of a type together. `total_bytes` is of the process.
    """

    name: str
    network: Network
    stack: str
    threads: int = 0
    library: str | None = None
    iterations: int | None = None
    layers_ms: dict[int, list[float]] = field(default_factory=dict)
    fused: dict[int, list[str]] = field(default_factory=dict)
    layerwise_ms: list[float] = field(default_factory=list)
    forward_ms: list[float] = field(default_factory=list)
    types_ms: dict[str, float] = field(default_factory=dict)
    total_bytes: int | None = None


@dataclass(frozen=True)
class Kernels:
    """A network's kernels as records have them, in the order they ran, and whole passes in ms."""

    name: str
    batch: int
    stack: str
    kernels: list[dict[str, Any]]
    engine: str | None = None
    precision: str | None = None
    forward_ms: list[float] = field(default_factory=list)
    threads: int = 0
    library: str | None = None


@dataclass(frozen=True)
class Imported:
    """Every row of a source accounted for: `left_out` (`left_out_as` says what) are no fault, `refused` cannot be."""

    passes: Sequence[Passes | Kernels]
    rows: int
    imported: int
    left_out: int
    refused: list[Refused]
    left_out_as: str = "of another library or processor"

    def reasons(self) -> list[str]:
        """One line per reason: how many rows, which is the first."""
        counts = Counter(entry.reason for entry in self.refused)
        first = {entry.reason: entry.row for entry in reversed(self.refused)}
        return [f"row {first[reason]}: {reason} ({count} rows so)" for reason, count in counts.items()]


def brief(value: Any) -> str:
    """A value of a file as a message can show it."""
    return f"{value!r:.80}"


def layer_index(network: Network, name: str, position: int | None = None) -> int | None:
    """Where the layer called `name` stands; the sole input may be called `input` or `data`. None if nowhere."""
    found = network.positions.get(name, [])
    if len(found) > 1 and position in found:
        return position
    if found:
        return found[0]
    inputs = [index for index, layer in enumerate(network.layers) if layer.type == "Input"]
    return inputs[0] if len(inputs) == 1 and name in ("input", "data") else None


def only_measures(network: Network, name: str) -> bool:
    """Whether `name` is a layer of the network's file that was left out of it: a loss, an accuracy, a Split for those.

    The reader's notes name the former; the latter, Caffe calls `{blob}_{layer}_{top}_split` (insert_splits.cpp).
    """
    notes = (re.match(r"layer (?:'(.*)'|\"(.*)\") \(\S*\) is left out", note) for note in network.notes)
    left_out = {found[1] or found[2] for found in notes if found}
    return name in left_out or bool(left_out and re.fullmatch(r".+_\d+_split", name))


def implausible(network: Network, pass_ms: float, indices: Collection[int] | None = None) -> str | None:
    """Why a pass (of the layers `indices` only, where given) cannot take `pass_ms`; None if it can."""
    work = sum(macs(layer) for index, layer in enumerate(network.layers) if indices is None or index in indices)
    what = "a pass" if indices is None else "a part of a pass"
    if pass_ms <= 0:
        return f"{what} of {pass_ms:g} ms"
    rate = work / (pass_ms / 1e3)
    if work and not SLOWEST_MACS_PER_S < rate < FASTEST_MACS_PER_S:
        return f"{what} of {pass_ms:g} ms would do {rate:.1e} multiply-accumulates/s: are the times in ms?"
    return None


def write_import(
    root: Path, target: Target, sources: list[Path], form: str, imported: Imported, filters: str = ""
) -> Path:
    """The record file of an import; the same import again writes the same bytes. Returns its path."""
    source = sources[0]
    if not re.fullmatch(r"\w[\w.+-]*", target.board):
        raise DatasetError(f"--board {target.board}: a board's name is letters, digits, and . + - _ between them")
    if not imported.imported:
        raise DatasetError(
            f"{source}: nothing imported: {'; '.join(imported.reasons()[:3]) or 'no rows are asked for'}"
        )
    digest = file_sha256(source) if len(sources) == 1 else _digest([file_sha256(file) for file in sources])
    origin = {"file": ", ".join(file.name for file in sources), "sha256": digest, "format": form}
    lines, runs = [], {}
    for passes in imported.passes:
        what = [origin, target.board, target.processor, passes.stack, passes.threads, passes.library]
        run = _digest(what)
        if run not in runs:
            runs[run] = _line(_run_record(run, origin, target, passes))
            lines.append(runs[run])
        lines += [_line(record) for record in _measurements(run, passes)]
    for reason in dict.fromkeys(entry.reason for entry in imported.refused):
        rows = [entry.row for entry in imported.refused if entry.reason == reason]
        lines.append(_line({"record": "refused", "origin": source.name, "rows": rows, "reason": reason}))
    # The last line tells of all others, so that a changed import is seen by its end.
    done = {"planned": len(imported.passes), "owed": 0, "seconds": 0, "sha256": _digest(lines)}
    lines += [_line({"record": "done", "run": run, **done}) for run in runs]
    name = _digest([digest, target.processor, target.stack, form, filters])[:12]
    path = root / "results" / "records" / target.board / f"import-{name}.jsonl"
    write_text(path, "".join(lines))
    return path


def _run_record(run: str, origin: dict[str, str], target: Target, passes: Passes | Kernels) -> dict[str, Any]:
    named = {"stack": passes.stack, "processor": target.processor, "threads": passes.threads, "library": passes.library}
    return {"record": "run", "run": run, "source": "import", "origin": origin, **named}


def _measurements(run: str, passes: Passes | Kernels) -> Iterator[dict[str, Any]]:
    if isinstance(passes, Kernels):
        yield _kernels_record(run, passes)
        return
    network = passes.network
    what = {"network": passes.name, "batch": network.batch, "prototxt": _prototxt(network)}
    layers = [
        {
            "name": network.layers[index].name,
            "index": index,
            "fused": passes.fused.get(index),
            "on_zeros": network.layers[index].on_zeros,
            "samples_ns": in_ns(samples),
        }
        for index, samples in sorted(passes.layers_ms.items())
    ]
    times = {"layers": layers, "layerwise_ns": in_ns(passes.layerwise_ms), "forward_ns": in_ns(passes.forward_ms)}
    if passes.types_ms:
        times["types"] = [{"type": name, "samples_ns": in_ns([ms])} for name, ms in passes.types_ms.items()]
    record = {"record": "measurement", "run": run, **what, "status": "ok", "reason": ""}
    if any(times.values()):
        key = _digest([run, what])
        yield {**record, "task": "network", "key": key, **times, "iterations": passes.iterations}
    if passes.total_bytes:
        key = _digest([run, what, "memory"])
        yield {**record, "task": "memory", "key": key, "memory_bytes": {"total": passes.total_bytes}}


def _kernels_record(run: str, passes: Kernels) -> dict[str, Any]:
    named = {"network": passes.name, "batch": passes.batch, "engine": passes.engine, "precision": passes.precision}
    times = {"kernels": passes.kernels, "forward_ns": in_ns(passes.forward_ms)}
    told = {"record": "measurement", "task": "network", "run": run, "status": "ok", "reason": ""}
    return {**told, "key": _digest([run, named]), **named, **times}


_prototxt = lru_cache(maxsize=256)(write_prototxt)  # libraries and threads share networks


def in_ns(samples_ms: Iterable[float]) -> list[float]:
    """Times in ms as records have them."""
    return [round(sample * 1e6, 3) for sample in samples_ms]


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
