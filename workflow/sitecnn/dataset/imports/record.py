"""What every importer hands over, and the record file that comes of it."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sitecnn.dataset.store import file_sha256
from sitecnn.errors import DatasetError
from sitecnn.files import write_text
from sitecnn.network import Network, write_prototxt


@dataclass(frozen=True)
class Target:
    """Whose measurements these are."""

    board: str
    processor: str
    stack: str


@dataclass
class Passes:
    """A network's timings in ms: samples of its layers by index, of their sum, and of whole passes.

    `fused` has the names of the layers that ran within another. Where single layers are not known: `types_ms`, all
    layers of a type together. `total_bytes` is of the process.
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

    def add_samples(self, index: int, samples_ms: Iterable[float]) -> None:
        """More samples of a layer."""
        self.layers_ms.setdefault(index, []).extend(samples_ms)

    def fuse(self, index: int, others: Iterable[int]) -> None:
        """The layers `others` ran within the layer `index`."""
        names = [self.network.layers[other].name for other in others]
        self.fused[index] = list(dict.fromkeys([*self.fused.get(index, []), *names]))


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


@dataclass
class Imported:
    """What is taken over from a source of so many `rows`: `left_out` (`left_out_as` says what) are no fault.

    `refused` has the rows (1 is the first) that cannot be imported, each with its reason.
    """

    left_out_as: str = ""
    rows: int = 0
    left_out: int = 0
    passes: list[Passes | Kernels] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def imported(self) -> int:
        """Rows that are neither left out nor refused."""
        return self.rows - self.left_out - len(self.refused)

    def refuse(self, rows: Iterable[int], reason: str) -> None:
        """These rows cannot be imported."""
        self.refused += [(int(row), reason) for row in rows]

    def reasons(self) -> list[str]:
        """One line per reason: how many rows, which is the first."""
        counts = Counter(reason for _, reason in self.refused)
        first = {reason: row for row, reason in reversed(self.refused)}
        return [f"row {first[reason]}: {reason}{_and_more(count - 1)}" for reason, count in counts.items()]


def _and_more(rows: int) -> str:
    return f" (and {rows} more {'row' if rows == 1 else 'rows'} like it)" if rows else ""


def write_import(
    root: Path, target: Target, sources: list[Path], form: str, imported: Imported, filters: str = ""
) -> Path:
    """The record file of an import; the same import again writes the same bytes. Returns its path.

    DatasetError if the board's name is none of a folder, or nothing is imported.
    """
    if not re.fullmatch(r"\w[\w.+-]*", target.board):
        raise DatasetError(f"--board {target.board}: a board's name is letters, digits, and . + - _ between them")
    if not imported.imported:
        reasons = "; ".join(imported.reasons()[:3]) or "no rows are asked for"
        raise DatasetError(f"{sources[0]}: nothing imported: {reasons}")
    digests = [file_sha256(file) for file in sources]
    digest = digests[0] if len(sources) == 1 else _digest(digests)
    origin = {"file": ", ".join(file.name for file in sources), "sha256": digest, "format": form}
    lines = list(_records(origin, target, imported))
    for reason in dict.fromkeys(reason for _, reason in imported.refused):
        rows = [row for row, its_reason in imported.refused if its_reason == reason]
        lines.append(_line({"record": "refused", "origin": sources[0].name, "rows": rows, "reason": reason}))
    # The last line tells of all others, so that a changed import is seen by its end.
    done = {"planned": len(imported.passes), "owed": 0, "seconds": 0, "sha256": _digest(lines)}
    runs = dict.fromkeys(_run_record(origin, target, passes)["run"] for passes in imported.passes)
    lines += [_line({"record": "done", "run": run, **done}) for run in runs]
    name = _digest([digest, target.processor, target.stack, form, filters])[:12]
    path = root / "results" / "records" / target.board / f"import-{name}.jsonl"
    write_text(path, "".join(lines))
    return path


def _records(origin: dict[str, str], target: Target, imported: Imported) -> Iterator[str]:
    """Lines of the passes, each run before its first."""
    runs = set()
    for passes in imported.passes:
        run = _run_record(origin, target, passes)
        if run["run"] not in runs:
            yield _line(run)
        runs.add(run["run"])
        yield from (_line(record) for record in _measurements(run["run"], passes))


def _run_record(origin: dict[str, str], target: Target, passes: Passes | Kernels) -> dict[str, Any]:
    run = _digest([origin, target.board, target.processor, passes.stack, passes.threads, passes.library])
    named = {"stack": passes.stack, "processor": target.processor, "threads": passes.threads, "library": passes.library}
    return {"record": "run", "run": run, "source": "import", "origin": origin, **named}


def _measurements(run: str, passes: Passes | Kernels) -> Iterator[dict[str, Any]]:
    record = {"record": "measurement", "task": "network", "run": run, "status": "ok", "reason": ""}
    forward = {"forward_ns": in_ns(passes.forward_ms)}
    if isinstance(passes, Kernels):
        what = {name: getattr(passes, name) for name in ("batch", "engine", "precision")} | {"network": passes.name}
        yield {**record, "key": _digest([run, what]), **what, "kernels": passes.kernels, **forward}
        return
    what = {"network": passes.name, "batch": passes.network.batch, "prototxt": _prototxt(passes.network)}
    times = {"layers": _layers(passes), "layerwise_ns": in_ns(passes.layerwise_ms), **forward}
    if passes.types_ms:
        times["types"] = [{"type": name, "samples_ns": in_ns([ms])} for name, ms in passes.types_ms.items()]
    if any(times.values()):
        yield {**record, "key": _digest([run, what]), **what, **times, "iterations": passes.iterations}
    if passes.total_bytes:
        memory = {"task": "memory", "memory_bytes": {"total": passes.total_bytes}}
        yield {**record, "key": _digest([run, what, "memory"]), **what, **memory}


def _layers(passes: Passes) -> list[dict[str, Any]]:
    return [
        {
            "name": passes.network.layers[index].name,
            "index": index,
            "fused": passes.fused.get(index),
            "on_zeros": passes.network.layers[index].on_zeros,
            "samples_ns": in_ns(samples),
        }
        for index, samples in sorted(passes.layers_ms.items())
    ]


_prototxt = lru_cache(maxsize=256)(write_prototxt)  # libraries and threads share networks


def in_ns(samples_ms: Iterable[float]) -> list[float]:
    """Times in ms as records have them."""
    return [round(sample * 1e6, 3) for sample in samples_ms]


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
