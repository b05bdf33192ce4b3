"""Everything → one HTML file that opens by double click, with nothing fetched from anywhere."""

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from sitecnn import __version__
from sitecnn.files import atomic_path, write_text
from sitecnn.report.advice import submit_advice
from sitecnn.report.chapters import CHAPTERS
from sitecnn.report.draw import Drawing, bundle, drawn, inline_svg, interactive
from sitecnn.report.page import Block, Chapter, Figure, Grid, Table
from sitecnn.report.results import load_results
from sitecnn.report.template import resource, template


def write_report(root: Path, output: Path, before: Path | None = None) -> Path:
    """Write the report of what stands in `root`/results; returns its path.

    Beside it: `tables/*.csv` and `figures/*.{svg,png,pdf}`. `before` is an older folder to compare with.
    """
    results = load_results(root, before)
    chapters: list[Chapter] = []
    waiting: dict[str, Future[Drawing]] = {}
    # Advice is found and figures are drawn beside the chapters, which take as long.
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        library = pool.submit(bundle)
        own = [(one.board, one.processor) for one in results.processors]
        results = replace(results, advice=submit_advice(pool, root, results.config, own, results.models))
        for make in CHAPTERS:
            chapters.append(make(results))
            figures = [block for block in chapters[-1].blocks if isinstance(block, Figure)]
            waiting |= {figure.name: pool.submit(drawn, figure.chart.to_dict()) for figure in figures}
        drawings = {name: drawing.result() for name, drawing in waiting.items()}
        script = Markup(library.result().replace("</script", "<\\/script"))  # noqa: S704
    blocks = [block for chapter in chapters for block in chapter.blocks]
    tables = {block.name: csv(block.frame) for block in blocks if isinstance(block, Table | Grid)}
    replace_files(
        output.parent / "tables", {f"{name}.csv": text.encode("utf-8", "replace") for name, text in tables.items()}
    )
    replace_files(
        output.parent / "figures",
        {f"{name}.{suffix}": content for name, one in drawings.items() for suffix, content in one.files().items()},
    )
    write_text(output, render(chapters, drawings, script))
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


def render(chapters: Iterable[Chapter], drawings: Mapping[str, Drawing], library: Markup) -> str:
    """The page, with Vega's `library`. Templates escape text, but not what this package and vl-convert wrote."""
    chapters = list(chapters)
    svgs = {name: Markup(inline_svg(one.svg, name)) for name, one in drawings.items()}  # noqa: S704
    return template("report.html.j2").render(
        version=__version__,
        chapters=chapters,
        choices={name: choices(chapters, name) for name in ("board", "network")},
        kind_of=kind_of,
        split_share=split_share,
        code=code,
        drawings=svgs,
        specs=script_json({name: interactive(one) for name, one in drawings.items()}),
        library=library,
        script=Markup(resource("report.js")),  # noqa: S704
        style=Markup(resource("report.css")),  # noqa: S704
    )


def choices(chapters: Iterable[Chapter], name: str) -> list[str]:
    """The boards or networks that the page can be filtered by."""
    frames = (block.frame for chapter in chapters for block in chapter.blocks if isinstance(block, Table | Grid))
    columns = [frame[name].dropna().astype(str) for frame in frames if name in frame]
    return sorted(set(pd.concat(columns))) if columns else []


def kind_of(block: Block) -> str:
    """`table`, `grid`, `figure`, `note` or `commands`."""
    return type(block).__name__.lower()


def split_share(text: str) -> Markup:
    """A number with its share, as a browser may break it into two lines: `13.7 ± 0.1` and `(25.2 %)`."""
    number, bracket, share = text.partition(" (")
    return Markup("<span>{}</span> <span>({}</span>").format(number, share) if bracket else escape(number)


def code(text: str) -> Markup:
    """A sentence with what stands between backticks as code; a number and its unit stay in one line."""
    text = re.sub(r"(?<=\d) (?=(?:%|ms|µs|MiB|GFLOP)\b|%)", "\u00a0", str(escape(text)))
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", text))  # noqa: S704


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
