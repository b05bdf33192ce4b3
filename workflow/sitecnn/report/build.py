"""Everything → one HTML file that opens by double click, with nothing fetched from anywhere."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from markupsafe import Markup, escape

from sitecnn import __version__
from sitecnn.files import atomic_path, write_text
from sitecnn.report.chapters import CHAPTERS
from sitecnn.report.draw import Drawing, drawn, inline_svg, interactive
from sitecnn.report.page import Block, Chapter, Figure, Grid, Row, Table
from sitecnn.report.results import load_results
from sitecnn.report.template import resource, template

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the page takes out of the bundle of Vega, Vega-Lite and Vega-Embed."""


def write_report(root: Path, output: Path, before: Path | None = None) -> Path:
    """Write the report of what stands in `root`/results; returns its path.

    Beside it: `tables/*.csv` and `figures/*.{svg,png,pdf}`. `before` is an older folder to compare with.
    """
    results = load_results(root, before)
    chapters = [make(results) for make in CHAPTERS]
    blocks = [block for chapter in chapters for block in chapter.blocks]
    drawings = {block.name: drawn(block) for block in blocks if isinstance(block, Figure)}
    tables = {block.name: csv(block.frame) for block in blocks if isinstance(block, Table | Grid)}
    replace_files(
        output.parent / "tables", {f"{name}.csv": text.encode("utf-8", "replace") for name, text in tables.items()}
    )
    replace_files(
        output.parent / "figures",
        {f"{name}.{suffix}": content for name, one in drawings.items() for suffix, content in one.files().items()},
    )
    write_text(output, render(chapters, drawings))
    return output


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """These files in `folder`, each whole or not at all; those that an earlier report left are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with atomic_path(folder / name) as path:
            path.write_bytes(content)
    for path in folder.iterdir():
        if path.name not in contents:
            path.unlink()


def render(chapters: Iterable[Chapter], drawings: Mapping[str, Drawing]) -> str:
    """The page. Templates escape text; only what this package and vl-convert wrote goes in as it is."""
    chapters = list(chapters)
    svgs = {name: Markup(inline_svg(one.svg, name)) for name, one in drawings.items()}  # noqa: S704
    return template("report.html.j2").render(
        version=__version__,
        chapters=chapters,
        choices={name: choices(chapters, name) for name in ("board", "network")},
        kind_of=kind_of,
        split_share=split_share,
        tags=tags,
        code=code,
        drawings=svgs,
        specs=script_json({name: interactive(one) for name, one in drawings.items()}),
        library=vega() if drawings else "",
        script=Markup(resource("report.js")),  # noqa: S704
        style=Markup(resource("report.css")),  # noqa: S704
    )


@cache
def vega() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script that cannot end the element it stands in."""
    return Markup(vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script"))  # noqa: S704


def choices(chapters: Iterable[Chapter], name: str) -> list[str]:
    """The boards or networks that the page can be filtered by."""
    frames = (block.frame for chapter in chapters for block in chapter.blocks if isinstance(block, Table | Grid))
    columns = [frame[name].dropna().astype(str) for frame in frames if name in frame]
    return sorted(set(pd.concat(columns))) if columns else []


def tags(row: Row) -> dict[str, str]:
    """What a table's row is filtered by: its board and its network, where it has them."""
    return {name: str(row[name]) for name in ("board", "network") if name in row and not pd.isna(row[name])}


def kind_of(block: Block) -> str:
    """`table`, `grid`, `figure`, `note` or `commands`."""
    return type(block).__name__.lower()


def split_share(text: str) -> Markup:
    """A number with its share, as a browser may break it into two lines: `13.7 ± 0.1` and `(25.2 %)`."""
    number, bracket, share = text.partition(" (")
    return Markup("<span>{}</span> <span>({}</span>").format(number, share) if bracket else escape(number)


def code(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV, unrounded, with an apostrophe before text that a spreadsheet would run as a formula."""

    def guarded(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

    words = frame.select_dtypes(exclude="number").columns
    text: str = frame.assign(**{name: frame[name].map(guarded) for name in words}).to_csv(index=False)
    return text


def script_json(content: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704
