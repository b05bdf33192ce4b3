"""Everything → one HTML file that opens by double click, with nothing fetched from anywhere."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sitecnn import __version__
from sitecnn.files import atomic_path, write_text
from sitecnn.report.chapters import chapters
from sitecnn.report.draw import draw, interactive, remove_others
from sitecnn.report.page import Chapter, Commands, Figure, Note, Table
from sitecnn.report.results import load_results

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the page takes out of the bundle."""

Kind = TypeVar("Kind", Table, Figure, Note, Commands)


def write_report(root: Path, output: Path, before: Path | None = None) -> Path:
    """Write the report of what stands in `root`/results; returns its path.

    Beside it: `tables/*.csv` and `figures/*.{svg,png,pdf}`. `before` is an older folder to compare with.
    """
    made = chapters(load_results(root, before))
    folder = output.parent
    drawings = draw(of_kind(made, Figure), folder / "figures", folder / ".drawn")
    write_tables(of_kind(made, Table), folder / "tables")
    write_text(output, render(made, drawings))
    return output


def of_kind(made: Iterable[Chapter], kind: type[Kind]) -> list[Kind]:
    """All blocks of one kind."""
    return [block for chapter in made for block in chapter.blocks if isinstance(block, kind)]


def write_tables(tables: list[Table], folder: Path) -> None:
    """Every table as CSV, unrounded; those that an earlier report left are removed."""
    for table in tables:
        with atomic_path(folder / f"{table.name}.csv") as path:
            without_formulas(table.frame).to_csv(path, index=False)
    remove_others(folder, {f"{table.name}.csv" for table in tables})


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with an apostrophe before text that a spreadsheet would run as a formula."""

    def guarded(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

    words = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{name: frame[name].map(guarded) for name in words})


def render(made: list[Chapter], drawings: dict[str, str]) -> str:
    """The page. Text is escaped; only what this package and vl-convert wrote goes in as it is."""
    loader = PackageLoader("sitecnn.report", "template")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    specs = {figure.name: interactive(figure) for figure in of_kind(made, Figure)}
    return environment.get_template("report.html.j2").render(
        version=__version__,
        chapters=made,
        kind_of=kind_of,
        drawings={name: Markup(svg) for name, svg in drawings.items()},  # noqa: S704
        specs=script_json(specs),
        library=Markup(library()) if specs else "",  # noqa: S704
        script=Markup(resource("report.js")),  # noqa: S704
        style=Markup(resource("report.css")),  # noqa: S704
    )


def kind_of(block: Table | Figure | Note | Commands) -> str:
    """`table`, `figure`, `note` or `commands`."""
    return type(block).__name__.lower()


def script_json(content: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704


def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    bundle: str = vl_convert.javascript_bundle(SNIPPET)
    return bundle.replace("</script", "<\\/script")


def resource(name: str) -> str:
    """A file of the template folder."""
    return (Path(__file__).parent / "template" / name).read_text(encoding="utf-8")
