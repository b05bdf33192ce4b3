"""Everything → one HTML file that opens by double click, with nothing fetched from anywhere."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sitecnn import __version__
from sitecnn.files import atomic_path, write_text
from sitecnn.report import kept
from sitecnn.report.template import resource, template


def write_report(root: Path, output: Path, before: Path | None = None) -> Path:
    """Write the report of what stands in `root`/results; returns its path.

    Beside it: `tables/*.csv` and `figures/*.{svg,png,pdf}`. `before` is an older folder to compare with. A chapter
    that reads what it read last time is taken from `.kept`.
    """
    store = output.parent / ".kept"
    keys = kept.keys(root, before)
    made = {name: chapter for name, key in keys.items() if (chapter := kept.chapter(store, name, key))}
    stale = {name: key for name, key in keys.items() if name not in made}
    if stale:
        from sitecnn.report.make import make  # what computes and draws takes a second to import

        made |= make(root, before, stale, store)
    chapters = [made[name] for name in keys]
    put(output.parent / "tables", kept.tables(chapters))
    put(output.parent / "figures", kept.drawings(store, chapters))
    write_text(output, render(chapters, store))
    kept.tidy(store, chapters)
    return output


def put(folder: Path, contents: Mapping[str, bytes]) -> None:
    """These files in `folder`, untouched where they are so already; those that an earlier report left are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        target = folder / name
        if not target.exists() or target.read_bytes() != content:
            with atomic_path(target) as path:
                path.write_bytes(content)
    for path in folder.iterdir():
        if path.name not in contents:
            path.unlink()


def render(chapters: Iterable[kept.Made], store: Path) -> str:
    """The page. Text was escaped in the chapters; only what this package and vl-convert wrote goes in as it is."""
    specs = {name: spec for chapter in chapters for name, spec in chapter["specs"].items()}
    return template("report.html.j2").render(
        version=__version__,
        chapters=[{**chapter, "html": Markup(chapter["html"])} for chapter in chapters],  # noqa: S704
        specs=script_json(specs),
        library=Markup(kept.library(store)) if specs else "",  # noqa: S704
        script=Markup(resource("report.js")),  # noqa: S704
        style=Markup(resource("report.css")),  # noqa: S704
    )


def script_json(content: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704
