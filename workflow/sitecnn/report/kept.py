"""Chapters kept from the last report, each with a hash of all that it was made from: only changed ones are made anew.

In `.kept` beside the page, which Snakemake does not know and so does not delete: `{chapter}.json`, the drawings by the
hash of what they show, and Vega's bundle.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sitecnn.files import write_text

PACKAGE = Path(__file__).parent.parent

PARTS = {
    "config": ("config/config.yaml", "config/boards/*.yaml"),
    "definitions": ("config/networks/*",),
    "networks": ("results/networks/*/*.parquet",),
    "dataset": ("results/dataset/.current/manifest.json", "results/dataset/.current/refused.jsonl"),
    "campaigns": ("results/campaigns/*/*.json",),
    "models": ("results/models/*.json",),
    "evaluation": ("results/evaluation/*/*.parquet",),
}
"""Files by what they are about, below a root; a dataset's manifest holds the checksums of all its files."""

READS = {
    "summary": ("dataset", "evaluation", "campaigns"),
    "time": ("dataset", "networks", "evaluation"),
    "memory": ("dataset", "networks"),
    "gemm": ("dataset", "networks"),
    "accuracy": ("dataset", "evaluation", "models"),
    "placement": ("dataset", "definitions", "models"),
    "comparison": ("dataset",),
    "cost": ("dataset", "campaigns"),
    "published": ("dataset", "networks"),
    "provenance": ("dataset", "models"),
}
"""The chapters in their order; all of them read the configuration. `--before` adds an older dataset to comparison."""


FORMATS = ("svg", "png", "pdf")
SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the page takes out of the bundle."""

Made = dict[str, Any]
"""A chapter ready for the page, as JSON: its `key`, `name`, `question`, `html`, the `specs` of its interactive figures,
its `drawings` (the name that each figure's files have here) and `tables` (each file's text).
"""


def chapter(store: Path, name: str, key: str) -> Made | None:
    """The chapter as it was kept; None if it was made from something else, or is not whole."""
    try:
        made: Made = json.loads((store / f"{name}.json").read_text(encoding="utf-8"))
        whole = made["key"] == key and all((store / file).is_file() for _, file in _drawn(made))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if whole else None


def keep(store: Path, made: Made) -> None:
    """Keep a chapter for the next report."""
    write_text(store / f"{made['name']}.json", json.dumps(made))


def tables(chapters: Iterable[Made]) -> dict[str, bytes]:
    """Every table's file, by its name."""
    return {name: text.encode("utf-8", "replace") for made in chapters for name, text in made["tables"].items()}


def drawings(store: Path, chapters: Iterable[Made]) -> dict[str, bytes]:
    """Every figure's files, by the name that they have beside the page."""
    return {target: (store / file).read_bytes() for made in chapters for target, file in _drawn(made)}


def _drawn(made: Made) -> list[tuple[str, str]]:
    """(name beside the page, name in the store) of each file of a chapter's figures."""
    return [(f"{name}.{end}", f"{stem}.{end}") for name, stem in made["drawings"].items() for end in FORMATS]


def tidy(store: Path, chapters: Iterable[Made]) -> None:
    """Remove what these chapters do not need."""
    needed = {f"{made['name']}.json" for made in chapters} | {file for made in chapters for _, file in _drawn(made)}
    for path in store.iterdir():
        if path.name not in {*needed, _library_file(store).name}:
            path.unlink()


def library(store: Path) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; to bundle it takes a second."""
    path = _library_file(store)
    if not path.exists():
        import vl_convert

        write_text(path, vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script"))
    return path.read_text(encoding="utf-8")


def _library_file(store: Path) -> Path:
    return store / f"vega-{version('vl-convert-python')}.js"


def keys(root: Path, before: Path | None) -> dict[str, str]:
    """For each chapter, a hash of all it is made from: files, older files, and this program."""
    hashes = {part: hash_of(files(root, part)) for part in PARTS}
    older = [hash_of(files(before, part)) for part in ("config", "dataset")] if before else []
    found = {}
    for chapter, parts in READS.items():
        read = [hashes[part] for part in ("config", *parts)] + (older if chapter == "comparison" else [])
        found[chapter] = hashlib.sha256(" ".join([program(), *read]).encode()).hexdigest()
    return found


def files(root: Path, part: str) -> Iterator[tuple[str, Path]]:
    """(path below `root`, path) of each file of a part, in order."""
    for pattern in PARTS[part]:
        yield from ((str(path.relative_to(root)), path) for path in sorted(root.glob(pattern)) if path.is_file())


def hash_of(named: Iterable[tuple[str, Path]]) -> str:
    """Hex digest of files' names and contents."""
    found = hashlib.sha256()
    for name, path in named:
        found.update(f"{name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        found.update(path.read_bytes())
    return found.hexdigest()


@cache
def program() -> str:
    """Hash of SiteCNN's own files and of the versions of what draws."""
    own = (path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    versions = [version(name) for name in ("altair", "pandas", "vl-convert-python")]
    return hash_of((str(path.relative_to(PACKAGE)), path) for path in own) + " ".join(versions)
