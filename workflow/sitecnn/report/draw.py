"""Charts as SVG, PNG and PDF. A chart that has not changed since the last report is not drawn again."""

import hashlib
import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert

from sitecnn.files import atomic_path
from sitecnn.report.page import Figure

PNG_SCALE = 2.0
CIRCLE = r'<path transform="translate\(([-\d.]+),([-\d.]+)\)" d="M([\d.]+),0A\3,\3,0,1,1,-\3,0A\3,\3,0,1,1,\3,0"'
"""A point as Vega writes it."""


def drawing(figure: Figure, store: Path) -> str:
    """The name, a hash of what it shows, under which `store` holds this figure; it is drawn if it was not there."""
    spec = figure.chart.to_dict()
    text = json.dumps([spec, version("vl-convert-python")], sort_keys=True)
    stem = hashlib.sha256(text.encode()).hexdigest()[:32]
    on_white = {**spec, "config": {**spec["config"], "background": "white"}}
    makers: dict[str, Callable[[], bytes]] = {
        "svg": lambda: renumbered(vl_convert.vegalite_to_svg(spec)).encode(),
        "png": lambda: vl_convert.vegalite_to_png(on_white, scale=PNG_SCALE),
        "pdf": lambda: vl_convert.vegalite_to_pdf(on_white),
    }
    for suffix, make in makers.items():
        target = store / f"{stem}.{suffix}"
        if not target.exists():
            with atomic_path(target) as path:
                path.write_bytes(make())
    return stem


def renumbered(svg: str) -> str:
    """An SVG whose ids count from 0: Vega counts on from one drawing to the next, so that none would come out twice."""
    ids = {name: f"id{number}" for number, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg)))}
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{ids[found[1]]}"', svg)
    return re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{ids.get(found[1], found[1])})", svg)


def inline_svg(svg: str, name: str) -> str:
    """An SVG for the page: scales with its column, its ids are its own, coordinates are rounded to a tenth and points
    are circles, which takes half the room.
    """
    svg = re.sub(r'(id="|url\(#)(?=\w)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (?:d|transform)="[^"]*"', lambda found: re.sub(r"(\.\d)\d+", r"\1", found.group()), svg)
    svg = re.sub(CIRCLE, r'<circle cx="\1" cy="\2" r="\3"', svg)
    svg = re.sub(r'(<circle [^>]*?fill="#[^>]*?) stroke-width="[\d.]+"(?![^>]*stroke=)', r"\1", svg)
    return re.sub(r'<svg ([^>]*?)width="([\d.]+)" height="([\d.]+)"', r"<svg \1", svg, count=1)


def interactive(figure: Figure) -> dict[str, Any]:
    """The figure's Vega-Lite description, as wide as its place on the page."""
    spec: dict[str, Any] = figure.chart.to_dict()
    return {**spec, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
