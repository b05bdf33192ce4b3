"""Where the dataset lies: whole generations of files, of which one link names the current; switching it is the commit.

    results/dataset/.generations/000007/{measurements,runs,networks}/…   one whole dataset
    results/dataset/.current → .generations/000007
    results/dataset/{measurements,runs,networks,refused.jsonl} → .current/…

A run that dies leaves the link as it was. A new generation takes unchanged files over as hard links. The one before it
stays for its readers until the next begins.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sitecnn.dataset.schema import MEASUREMENTS, SCHEMA_VERSION
from sitecnn.errors import DatasetError

VISIBLE = ("measurements", "runs", "networks", "refused.jsonl")
WRITTEN_BY = f"sitecnn {version('sitecnn')}"
PARQUET_OPTIONS = (
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2, ROW_GROUP_SIZE 16384, "
    f"KV_METADATA {{sitecnn_schema: '{SCHEMA_VERSION}', written_by: '{WRITTEN_BY}'}}"
)
"""How DuckDB writes the dataset's files."""


@dataclass
class Manifest:
    """What a generation is made of: record files read so far, its own files with checksums, and counts."""

    schema: int = SCHEMA_VERSION
    columns: list[str] = field(default_factory=lambda: MEASUREMENTS.names)
    written_by: str = WRITTEN_BY
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0
    superseded: int = 0

    def is_current(self) -> bool:
        """Whether what it was written as is what is written now."""
        return self.schema == SCHEMA_VERSION and self.columns == MEASUREMENTS.names

    def measurements(self) -> list[str]:
        """Names of the files of measurements, in order."""
        return sorted(name for name in self.files if name.startswith("measurements/"))


def folder(root: Path) -> Path:
    """Where the dataset of `root` lies."""
    return root / "results" / "dataset"


def current(root: Path) -> Path | None:
    """The current generation's folder; None where nothing was aggregated yet."""
    link = folder(root) / ".current"
    return link.resolve() if link.exists() else None


def read_manifest(generation: Path) -> Manifest:
    """The manifest of a generation; DatasetError where it is damaged or a newer SiteCNN wrote it."""
    path = generation / "manifest.json"
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: no manifest: {error}; remove {generation.parent.parent} and aggregate") from None
    if manifest.schema > SCHEMA_VERSION:
        raise DatasetError(f"{path}: schema {manifest.schema} is newer than this SiteCNN's {SCHEMA_VERSION}; update it")
    return manifest


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the dataset for writing; another writer is waited for."""
    folder(root).mkdir(parents=True, exist_ok=True)
    with (folder(root) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def new_generation(root: Path) -> Iterator[Path]:
    """A folder for the next generation, gone again if the block fails; all but the current are removed first."""
    # Absolute like `current`, which is to be told from the leftovers.
    generations = folder(root).resolve() / ".generations"
    generations.mkdir(exist_ok=True)
    now = current(root)
    for left in generations.iterdir():
        if left != now:
            shutil.rmtree(left)
    # Counted from the link even if it dangles: a generation of its name would count as the one before.
    link = folder(root) / ".current"
    target = generations / f"{int(link.readlink().name) + 1 if link.is_symlink() else 1:06d}"
    target.mkdir()
    try:
        yield target
    except BaseException:
        if current(root) != target:
            shutil.rmtree(target, ignore_errors=True)
        raise


def commit(root: Path, generation: Path, manifest: Manifest) -> None:
    """Make `generation` the dataset: everything on the disk first, then one rename.

    The generation before stays until the next begins, for those who are reading it.
    """
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"
    (generation / "manifest.json").write_text(text, encoding="utf-8")
    for path in (generation / "manifest.json", generation / "refused.jsonl", generation, generation.parent):
        _sync(path)
    for name in VISIBLE:
        _link(folder(root) / name, Path(".current") / name)
    _link(folder(root) / ".current", Path(".generations") / generation.name)
    _sync(folder(root))


def _link(link: Path, target: Path) -> None:
    """A symbolic link in one step, whatever link was there."""
    if link.is_symlink() and link.readlink() == target:
        return
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def take_over(before: Path, generation: Path, name: str) -> None:
    """An unchanged file of the generation before, as a hard link where the file system has them."""
    target = generation / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(before / name, target)
    except OSError:
        shutil.copyfile(before / name, target)


def sealed(path: Path) -> dict[str, Any]:
    """Bring a file to the disk; returns its size and checksum."""
    _sync(path)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def existing(root: Path) -> Path:
    """The current generation; DatasetError where there is none."""
    generation = current(root)
    if generation is None:
        raise DatasetError(
            f"{folder(root)}: no dataset yet; run `sitecnn profile` or `sitecnn import`, then `sitecnn aggregate`"
        )
    return generation


def partition_of(name: str | Path) -> tuple[str, str]:
    """(board, processor) of a file of measurements, by its folders."""
    board, processor = Path(name).parts[-3:-1]
    return board.removeprefix("board="), processor.removeprefix("processor=")
