"""What a tab gives to take away: one HTML file without a server, CSV, and the command that gives the same answer."""

import csv
import io
import shlex
from collections.abc import Mapping
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
        command += [] if value is None else [name, f"{value:g}"]
    return shlex.join(command)


def page(answers: Mapping[str, Any], details: Mapping[str, Any], trials: Any, key: str, command: str) -> str:
    """A whole HTML file of the state: tables, drawing, cards of the layers; nothing in it is fetched."""
    return render.fragment(
        "takeaway",
        title=f"{answers['network']}: time and memory",
        style=text("page.css"),
        script=text("page.js"),
        answers=render.answers_html(answers, key),
        summary=render.summary_html(details, answers),
        types=render.types_html(details),
        trials=render.trials_html([{**one, "edit": None} for one in trials], _per_image_ms(details)),
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
    rows = [
        {
            "network": answers["network"],
            "batch": answers["batch"],
            **{name: row[name] for name in ("board", "processor", "engine", "precision", "stack", "threads")},
            "ms": row["forward_ms"]["estimate"],
            "low_ms": row["forward_ms"]["low"],
            "high_ms": row["forward_ms"]["high"],
            "images_per_second": row["images_per_second"],
            "memory_bytes": row["memory_bytes"]["total"],
            "modelled_fraction": row["modelled_fraction"],
            "extrapolated_fraction": row["extrapolated_fraction"],
        }
        for row in answers["rows"]
    ]
    return _csv(rows)


def layers_csv(details: Mapping[str, Any]) -> str:
    """A row a layer of the stack that is chosen, with the columns of `sitecnn estimate --csv`."""
    document = details["document"]
    origin = {name: document[name] for name in ("network", "board", "processor", "stack", "batch")}
    rows = [
        {
            **origin,
            "layer": row["name"],
            "type": row["type"],
            "macs": row["macs"],
            "ms": row["ms"]["estimate"],
            "low_ms": row["ms"]["low"],
            "high_ms": row["ms"]["high"],
            "modelled": row["modelled"],
            "extrapolated": row["extrapolated"],
        }
        for row in document["layers"]
    ]
    return _csv(rows)


def _per_image_ms(details: Mapping[str, Any]) -> float:
    document = details["document"]
    return float(document["forward_ms"]["estimate"]) / int(document["batch"])


def _csv(rows: list[dict[str, Any]]) -> str:
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()
