"""What a person takes away from the page: one HTML file without a server, CSV, and the command line."""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from sitecnn.explore import render
from sitecnn.explore.question import Question

TEMPLATES = files("sitecnn.explore") / "template"


def command_line(question: Question, row: Mapping[str, Any]) -> str:
    """The `sitecnn estimate` that gives the same answer for the file as it stands on the page."""
    command = ["sitecnn", "estimate", question.source.name, "--board", row["board"], "--processor", row["processor"]]
    command += ["--stack", row["stack"]]
    options = {
        "--threads": row["threads"] or None,
        "--batch": question.batch,
        "--level": None if question.level == 0.9 else question.level,
        "--budget-ms": question.budget_ms,
        "--budget-fps": question.budget_fps,
        "--budget-mb": question.budget_mb,
    }
    for name, value in options.items():
        command += [] if value is None else [name, _exact(value)]
    for name, shape in question.inputs:
        command += ["--input", f"{name}:{'x'.join(map(str, shape))}"]
    return shlex.join(command)


def _exact(value: float) -> str:
    """A number as it was typed: `30` and not `30.0`, and all of its digits."""
    return str(int(value)) if value == int(value) else repr(value)


def page(answers: Mapping[str, Any], details: Mapping[str, Any], trials: Any, key: str, command: str) -> str:
    """A whole HTML file of the state: tables, drawing, cards of the layers; nothing in it is fetched."""
    return render.fragment(
        "export",
        title=f"{answers['network']}: time and memory",
        style=text("page.css"),
        script=text("page.js"),
        answers=render.answers_html(answers, key),
        summary=render.summary_html(details, answers),
        types=render.types_html(details),
        trials=render.trials_html([{**one, "edit": None} for one in trials], details),
        graph=render.graph_html(details, ""),
        layers=details["document"]["layers"],
        certainty=render.certainty,
        cards=render.cards_json(details),
        command=command,
    )


def text(name: str) -> str:
    """A file that stands beside the templates."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def boards_csv(answers: Mapping[str, Any]) -> str:
    """A row a stack."""
    names = ("board", "processor", "engine", "precision", "stack", "threads")
    more = ("images_per_second", "modelled_fraction", "extrapolated_fraction")
    return _csv(
        {
            "network": answers["network"],
            "batch": answers["batch"],
            **{name: row[name] for name in names},
            **_times(row["forward_ms"]),
            "memory_bytes": row["memory_bytes"]["total"],
            **{name: row[name] for name in more},
        }
        for row in answers["rows"]
    )


def layers_csv(details: Mapping[str, Any]) -> str:
    """A row a layer of the stack that is chosen: what `sitecnn estimate --csv` prints."""
    document = details["document"]
    origin = {name: document[name] for name in ("network", "board", "processor", "stack", "batch")}
    return _csv(
        {
            **origin,
            "layer": row["name"],
            **{name: row[name] for name in ("type", "macs")},
            **_times(row["ms"]),
            **{name: row[name] for name in ("modelled", "extrapolated")},
            "fused_into": row.get("fused_into", ""),
        }
        for row in document["layers"]
    )


def _times(ms: Mapping[str, float]) -> dict[str, float]:
    return {"ms": ms["estimate"], "low_ms": ms["low"], "high_ms": ms["high"]}


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    first, *others = rows
    target = io.StringIO()
    writer = csv.DictWriter(target, list(first), lineterminator="\n")
    writer.writeheader()
    writer.writerows([first, *others])
    return target.getvalue()
