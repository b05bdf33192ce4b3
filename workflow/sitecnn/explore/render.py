"""What the worker answers, as HTML: the page and the file to take away are made of the same parts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sitecnn.explore import number_format
from sitecnn.explore.number_format import count, number, percent, shape, signed
from sitecnn.workload.stack_names import full_label

ENVIRONMENT = Environment(
    loader=PackageLoader("sitecnn.explore", "template"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.globals["full_label"] = full_label
ENVIRONMENT.filters |= {
    name: getattr(number_format, name)
    for name in ("number", "signed", "megabytes", "signed_megabytes", "percent", "count", "millions", "shape")
}

SHARES = (0.005, 0.01, 0.03, 0.06, 0.12)
"""Where the steps of the colour scale begin, as shares of a pass's time."""

BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW, STRIP = 168, 36, 186, 62, 92
"""Of the drawing, in pixels: a box, from box to box, and the memory's strip at its side."""

MOST_LETTERS = 24
"""Of a name in a box; all of it is in the box's card."""

Document = Mapping[str, Any]


def fragment(template: str, **values: Any) -> str:
    """A part of the page; everything in `values` is text, never markup."""
    return ENVIRONMENT.get_template(f"{template}.html.j2").render(**values)


def answers_html(answers: Document, key: str) -> str:
    """The table of boards, processors and stacks, `key` chosen."""
    return fragment("answers", rows=answers["rows"], key=key)


def types_html(details: Document) -> str:
    """Time by type of layer."""
    document = details["document"]
    types = document["types"]
    whole = sum(one["ms"]["estimate"] for one in types) or 1.0
    changes = details.get("changes", {}).get("types", {})
    gone = [name for name in changes if name not in {one["type"] for one in types}]
    return fragment("types", types=types, whole=whole, changes=changes, gone=gone)


def summary_html(details: Document, answers: Document) -> str:
    """What stands first of the chosen stack: time, memory by part, how sure, what is guessed."""
    return fragment("summary", document=details["document"], notes=details["notes"], answers=answers)


def trials_html(trials: Sequence[Document], details: Document) -> str:
    """The advice, with a button where the page can make the change."""
    document = details["document"]
    per_image_ms = document["forward_ms"]["estimate"] / document["batch"]
    return fragment("trials", trials=trials, per_image_ms=per_image_ms)


def graph_html(details: Document, layer: str) -> str:
    """The drawing of the network, `layer` chosen."""
    drawing = details["drawing"]
    layers = details["document"]["layers"]
    boxes = [_box(box, layers) for box in drawing["boxes"]]
    peak = max([box["alive_bytes"] for box in boxes], default=0)
    return fragment(
        "graph",
        boxes=boxes,
        lines=[_path(line["points"]) for line in drawing["lines"]],
        strip=_strip(drawing, peak),
        peak=peak,
        width=STRIP + round(drawing["columns"] * COLUMN) + BOX_WIDTH + 20,
        height=drawing["rows"] * ROW + 10,
        layer=layer,
        steps=SHARES,
        size=(BOX_WIDTH, BOX_HEIGHT, STRIP),
    )


def _box(box: Document, layers: Sequence[Document]) -> dict[str, Any]:
    members = [layers[index] for index in box["layers"]]
    ms = sum(member["ms"]["estimate"] for member in members)
    share = sum(member["share"] for member in members)
    names = [member["name"] for member in members]
    title = names[0] if len(names) == 1 else f"{names[0]} + {len(names) - 1}"
    return {
        "names": names,
        "title": title if len(title) <= MOST_LETTERS else title[: MOST_LETTERS - 1] + "…",
        "types": " + ".join(member["type"] for member in members),
        "ms": ms,
        "share": share,
        "step": sum(share >= limit for limit in SHARES),
        "doubtful": not all(member["modelled"] for member in members),
        "shapes": list(map(shape, box["shapes"])),
        "x": _x(box["column"]),
        "y": _y(box["row"]),
        "alive_bytes": box["alive_bytes"],
    }


def _strip(drawing: Document, peak: int) -> list[dict[str, Any]]:
    """The most that is alive in each row."""
    rows: dict[int, int] = {}
    for box in drawing["boxes"]:
        rows[box["row"]] = max(rows.get(box["row"], 0), box["alive_bytes"])
    return [
        {"y": _y(row), "bytes": alive, "width": round(alive / (peak or 1) * (STRIP - 20), 1), "most": alive == peak}
        for row, alive in sorted(rows.items())
    ]


def _path(points: Sequence[Sequence[float]]) -> str:
    """An SVG path from box to box, through the points between."""
    middle = [(_x(column) + BOX_WIDTH / 2, _y(row)) for column, row in points]
    (x, top), *rest = middle
    path = f"M{x:g} {top + BOX_HEIGHT:g}"
    last = top + BOX_HEIGHT
    for index, (x_next, top) in enumerate(rest):
        end = top if index == len(rest) - 1 else top + BOX_HEIGHT / 2
        bend = (last + end) / 2
        path += f"C{x:g} {bend:g} {x_next:g} {bend:g} {x_next:g} {end:g}"
        x, last = x_next, end
    return path


def _x(column: float) -> float:
    return round(STRIP + column * COLUMN, 1)


def _y(row: float) -> float:
    return row * ROW + 4


def cards_json(details: Document) -> str:
    """All of each layer, by name, for the card that hover and focus show."""
    changes = {one["name"]: one["ms"] for one in details.get("changes", {}).get("layers", ())}
    return json.dumps({row["name"]: _card(row, changes.get(row["name"])) for row in details["document"]["layers"]})


def _card(row: Document, change: Document | None) -> list[list[str]]:
    """Pairs of words for one layer."""
    ms = row["ms"]
    card = [
        ["type", row["type"]],
        [
            "time",
            f"{number(ms['estimate'])} ms ({number(ms['low'])} to {number(ms['high'])})",
        ],
        ["share of the time", percent(row["share"])],
        ["input", ", ".join(map(shape, row["inputs"])) or "–"],
        ["output", ", ".join(map(shape, row["outputs"])) or "–"],
        ["multiply-accumulates", count(row["macs"])],
        ["parameters", count(row["params"])],
        ["how sure", certainty(row)],
    ]
    if row.get("fused_into"):
        card.append(["done in the kernel of", row["fused_into"]])
    if change:
        low, high = signed(change["low"]), signed(change["high"])
        card.append(["since the pinned state", f"{signed(change['estimate'])} ms ({low} to {high})"])
    if row["note"]:
        card.append(["note", row["note"]])
    return card


def certainty(row: Document) -> str:
    """What a layer's time rests on."""
    if not row["modelled"]:
        return "guessed: its kind was not measured"
    return "extrapolated: beyond the sizes that were measured" if row["extrapolated"] else "of a measured kind and size"


def script_text(text: str) -> str:
    """A text as a JavaScript string that ends no script element."""
    return json.dumps(text).replace("<", "\\u003c")
