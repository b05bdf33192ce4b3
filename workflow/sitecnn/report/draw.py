"""Charts as SVG, PNG and PDF. A chart that has not changed since the last report is not drawn again."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert

from sitecnn.files import atomic_path
from sitecnn.report.page import Figure

FORMATS = ("svg", "png", "pdf")
PNG_SCALE = 2.0


def draw(figures: Iterable[Figure], folder: Path, cache: Path) -> dict[str, str]:
    """Write every figure's files into `folder` and return its SVG by name; what no figure needs is removed.

    `cache` holds drawings by the hash of what they show.
    """
    drawn = {figure.name: drawing(figure, cache) for figure in figures}
    wanted = {f"{name}.{suffix}" for name in drawn for suffix in FORMATS}
    for name, stem in drawn.items():
        for suffix in FORMATS:
            copy(cache / f"{stem}.{suffix}", folder / f"{name}.{suffix}")
    remove_others(folder, wanted)
    remove_others(cache, {f"{stem}.{suffix}" for stem in drawn.values() for suffix in FORMATS})
    return {name: inline_svg((folder / f"{name}.svg").read_text(encoding="utf-8"), name) for name in drawn}


def drawing(figure: Figure, cache: Path) -> str:
    """The name under which the cache holds this figure, drawn if it was not there."""
    spec = figure.chart.to_dict()
    text = json.dumps([spec, version("vl-convert-python")], sort_keys=True)
    stem = hashlib.sha256(text.encode()).hexdigest()[:32]
    on_white = {**spec, "config": {**spec["config"], "background": "white"}}
    makers: dict[str, Callable[[], bytes]] = {
        "svg": lambda: vl_convert.vegalite_to_svg(spec).encode(),
        "png": lambda: vl_convert.vegalite_to_png(on_white, scale=PNG_SCALE),
        "pdf": lambda: vl_convert.vegalite_to_pdf(on_white),
    }
    for suffix, make in makers.items():
        target = cache / f"{stem}.{suffix}"
        if not target.exists():
            with atomic_path(target) as path:
                path.write_bytes(make())
    return stem


def copy(source: Path, target: Path) -> None:
    """`source` as `target`, untouched where it is that already."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        with atomic_path(target) as path:
            path.write_bytes(content)


def remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove files that an earlier report left and this one does not have."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in wanted:
            path.unlink()


def inline_svg(svg: str, name: str) -> str:
    """An SVG for the page: scales with its column, its ids are its own, coordinates are rounded to a tenth."""
    svg = re.sub(r'(id="|url\(#)(?=\w)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (?:d|transform)="[^"]*"', lambda found: re.sub(r"(\.\d)\d+", r"\1", found.group()), svg)
    return re.sub(r'<svg ([^>]*?)width="([\d.]+)" height="([\d.]+)"', r"<svg \1", svg, count=1)


def interactive(figure: Figure) -> dict[str, Any]:
    """The figure's Vega-Lite description, as wide as its place on the page."""
    spec: dict[str, Any] = figure.chart.to_dict()
    return {**spec, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
