"""Chapters from results: computed, drawn and kept."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from markupsafe import Markup, escape

from sitecnn.report import kept
from sitecnn.report.chapters import MAKERS
from sitecnn.report.draw import drawing, inline_svg, interactive
from sitecnn.report.page import Block, Chapter, Commands, Figure, Note, Table
from sitecnn.report.results import load_results
from sitecnn.report.template import template

Kind = TypeVar("Kind", Table, Figure, Note, Commands)


def make(root: Path, before: Path | None, keys: Mapping[str, str], store: Path) -> dict[str, kept.Made]:
    """The chapters that `keys` names, kept in `store` under their keys."""
    results = load_results(root, before)
    return {name: made(MAKERS[name](results), key, store) for name, key in keys.items()}


def made(chapter: Chapter, key: str, store: Path) -> kept.Made:
    """A chapter as the page takes it."""
    figures = of_kind(chapter.blocks, Figure)
    drawings = {figure.name: drawing(figure, store) for figure in figures}
    svgs = {name: (store / f"{stem}.svg").read_text(encoding="utf-8") for name, stem in drawings.items()}
    drawn = {name: Markup(inline_svg(svg, name)) for name, svg in svgs.items()}  # noqa: S704
    found = {
        "key": key,
        "name": chapter.name,
        "question": chapter.question,
        "html": template("chapter.html.j2").render(
            chapter=chapter, kind_of=kind_of, in_pieces=in_pieces, drawings=drawn
        ),
        "specs": {figure.name: interactive(figure) for figure in figures},
        "drawings": drawings,
        "tables": {f"{table.name}.csv": csv(table.frame) for table in of_kind(chapter.blocks, Table)},
    }
    kept.keep(store, found)
    return found


def of_kind(blocks: Iterable[Block], kind: type[Kind]) -> list[Kind]:
    """All blocks of one kind."""
    return [block for block in blocks if isinstance(block, kind)]


def kind_of(block: Block) -> str:
    """`table`, `figure`, `note` or `commands`."""
    return type(block).__name__.lower()


def in_pieces(text: str) -> Markup:
    """A number with its share, as a browser may break it into two lines: `13.7 ± 0.1` and `(25.2 %)`."""
    number, bracket, share = text.partition(" (")
    return Markup("<span>{}</span> <span>({}</span>").format(number, share) if bracket else escape(number)


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV, unrounded, with an apostrophe before text that a spreadsheet would run as a formula."""

    def guarded(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

    words = frame.select_dtypes(exclude="number").columns
    text: str = frame.assign(**{name: frame[name].map(guarded) for name in words}).to_csv(index=False)
    return text
