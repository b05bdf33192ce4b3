"""Charts as SVG, PNG and PDF."""

import html
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import vl_convert

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the page takes out of the bundle of Vega, Vega-Lite and Vega-Embed."""

PNG_SCALE = 2.0
LETTER_SLACK_PX = 1.0
"""How much wider a letter of 12 px may be in a reader's font (DejaVu Sans, Verdana) than where Vega measured it."""
CIRCLE = r'<path transform="translate\(([-\d.]+),([-\d.]+)\)" d="M([\d.]+),0A\3,\3,0,1,1,-\3,0A\3,\3,0,1,1,\3,0"'
"""A point as Vega writes it."""


@dataclass(frozen=True)
class Drawing:
    """A figure as files, the same each time it is drawn from the same data, and the Vega-Lite `spec` they show."""

    spec: dict[str, Any]
    svg: str
    png: bytes
    pdf: bytes

    def files(self) -> dict[str, bytes]:
        """Their contents by suffix."""
        return {"svg": self.svg.encode(), "png": self.png, "pdf": self.pdf}


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which takes seconds to write."""
    script: str = vl_convert.javascript_bundle(SNIPPET)
    return script


def drawn(spec: dict[str, Any]) -> Drawing:
    """A figure at the report's width: the SVG in the colours of the page, PNG and PDF on white, for a paper.

    Vega runs once, as it takes most of the time; the other two are made from its SVG.
    """
    svg = with_slack(renumbered(vl_convert.vegalite_to_svg(spec)))
    on_white = svg.replace(">", '><rect x="-100%" width="200%" height="100%" fill="white"/>', 1)
    png = vl_convert.svg_to_png(on_white, scale=PNG_SCALE)
    return Drawing(spec, svg, png, vl_convert.svg_to_pdf(on_white))


def renumbered(svg: str) -> str:
    """An SVG whose ids count from 0: Vega counts on from one drawing to the next, so that none would come out twice."""
    ids = {name: f"id{number}" for number, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg)))}
    svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{ids[match[1]]}"', svg)
    return re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{ids.get(match[1], match[1])})", svg)


def with_slack(svg: str) -> str:
    """An SVG with room at the left for labels of an axis in a wider font than they were measured in."""
    labels = re.findall(r'<text text-anchor="end"[^>]*>([^<]*)', svg)
    more = round(LETTER_SLACK_PX * max(map(len, map(html.unescape, labels)), default=0))

    def widened(size: re.Match[str]) -> str:
        width, height = float(size[1]) + more, size[2]
        return f'width="{width:g}" height="{height}" viewBox="{-more} 0 {width:g} {height}"'

    return re.sub(r'width="([\d.]+)" height="([\d.]+)" viewBox="0 0 [\d.]+ [\d.]+"', widened, svg, count=1)


def inline_svg(svg: str, name: str) -> str:
    """An SVG for the page: scales with its column, its ids are its own, coordinates are rounded to a tenth and points
    are circles, which takes half the room.
    """
    svg = re.sub(r'(id="|url\(#)(?=\w)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (?:d|transform)="[^"]*"', lambda match: re.sub(r"(\.\d)\d+", r"\1", match.group()), svg)
    svg = re.sub(CIRCLE, r'<circle cx="\1" cy="\2" r="\3"', svg)
    svg = re.sub(r'(<circle [^>]*?fill="#[^>]*?) stroke-width="[\d.]+"(?![^>]*stroke=)', r"\1", svg)
    return re.sub(r'<svg ([^>]*?)width="([\d.]+)" height="([\d.]+)"', r"<svg \1", svg, count=1)


def interactive(drawing: Drawing) -> dict[str, Any]:
    """The figure's Vega-Lite description, as wide as its place on the page."""
    return {**drawing.spec, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
