"""The report's charts, by Vega-Altair; a layer type has the same colour in each of them.

One description of a chart makes the interactive figure, its SVG for pages without JavaScript, its PNG and its PDF.
"""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sitecnn.report.page import whole_percent

# Okabe & Ito (2008): eight colours that colour-blind readers can tell apart.
COLOURS = {
    "convolution": "#0072B2",
    "fully connected": "#D55E00",
    "pooling": "#009E73",
    "ReLU": "#CC79A7",
    "other": "#E69F00",
}
GROUP_NAMES = {"conv": "convolution", "fc": "fully connected", "pool": "pooling", "relu": "ReLU", "other": "other"}
PARTS = {"weights": "#0072B2", "data": "#009E73", "workspace": "#E69F00"}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

MOST_OFFSET = 6
"""So many series stand one below the other in a line, with their intervals; more would make a chart too high to see."""

LONG_LABEL = 22
"""Letters of a legend's label of which four do not fit side by side."""

FARTHEST_RATIO = 3.0
FARTHEST_ERROR = 1.0
"""What is beyond is drawn at the edge: one bad estimate would leave no room to tell the others apart."""

BY_RANK = alt.EncodingSortField(field="rank", op="min")
"""Rows in the order of a column: a list of names would become a program, in which not every name can stand."""

WIDTH = 720
AXIS = {
    "labelColor": "currentColor",
    "titleColor": "currentColor",
    "gridColor": "rgba(128,128,128,0.25)",
    "domainColor": "rgba(128,128,128,0.6)",
    "tickColor": "rgba(128,128,128,0.6)",
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelLimit": 300,
}
LEGEND = {
    "labelColor": "currentColor",
    "orient": "top",
    "labelFontSize": 12,
    "columnPadding": 30,
    "labelLimit": 260,
}


def styled(chart: Any, height: int, columns: int = 5) -> Any:
    """`chart` at the report's width, in colours that read on light and dark paper alike; `columns` of the legend."""
    chart = chart.properties(width=WIDTH, height=height)
    chart = chart.configure(background="transparent", font="system-ui, sans-serif", aria=False)
    return chart.configure_axis(**AXIS).configure_legend(**LEGEND, columns=columns).configure_view(stroke=None)


def zoomable() -> alt.Parameter:
    """Drag to move, shift and wheel to zoom (the wheel alone scrolls the page), double click to go back."""
    return alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]", name="view")


def by_group(rows: pd.DataFrame) -> alt.Color:
    """Colour by layer group, the same everywhere; the legend has those of `rows`."""
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    shown = [name for name in COLOURS if name in set(rows["group"])]
    return alt.Color("group:N", scale=scale, title=None, legend=alt.Legend(values=shown))


def log(title: str, **options: Any) -> dict[str, Any]:
    """A logarithmic axis with plain numbers."""
    return {
        "title": title,
        "scale": alt.Scale(type="log", nice=False, padding=10, **options),
        "axis": alt.Axis(format=",~g", tickCount=6),
    }


def answer_dots(rows: pd.DataFrame, level: float) -> Any:
    """`ms` by `line`, a symbol for each of the `series`, with its interval where they are few; filled if measured.

    Both are in the order of their median time.
    """
    order = rows.groupby("series")["ms"].median().sort_values()
    labels, is_few = list(order.index), len(order) <= MOST_OFFSET
    numbers = range(len(labels))
    scale = alt.Scale(domain=labels, range=[SERIES[number % len(SERIES)] for number in numbers])
    symbols = alt.Scale(domain=labels, range=[SHAPES[number // len(SERIES) % len(SHAPES)] for number in numbers])
    rows = rows.assign(rank=rows.groupby("line")["ms"].transform("median"), place=rows["series"].map(labels.index))
    base = alt.Chart(rows).encode(
        y=alt.Y("line:N", title=None, sort=BY_RANK, axis=alt.Axis(grid=True)),
        color=alt.Color("series:N", title=None, scale=scale),
    )
    if is_few:
        offset = alt.EncodingSortField(field="place", op="min")
        base = base.encode(yOffset=alt.YOffset("series:N", sort=offset))
    title = f"ms per pass, {whole_percent(level)} interval" if is_few else "ms per pass"
    tooltip = ["line:N", "series:N", "how:N", *(alt.Tooltip(f"{name}:Q", format=".4~g")
               for name in ("ms", "low_ms", "high_ms", "images_per_second"))]  # fmt: skip
    dots = base.mark_point(size=45, opacity=1).encode(
        x=alt.X("ms:Q", **log(title)),
        shape=alt.Shape("series:N", title=None, scale=symbols),
        fill=alt.Fill("series:N", title=None, scale=scale),
        fillOpacity=alt.condition("datum.how == 'measured'", alt.value(1), alt.value(0.15)),
        tooltip=tooltip,
    )
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("low_ms:Q", **log(title)), x2="high_ms:Q")
    height = rows["line"].nunique() * (12 + 9 * len(labels) if is_few else 26)
    return styled(bars + dots if is_few else dots, height, columns=1 if max(map(len, labels)) > LONG_LABEL else 4)


def share_bars(rows: pd.DataFrame) -> Any:
    """Stacked bars of `share` by `group`, one per `label`; hover shows `ms`."""
    order = {name: position for position, name in enumerate(COLOURS)}
    chart = (
        alt.Chart(rows.assign(order=rows["group"].map(order)))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of the layerwise pass", axis=alt.Axis(format="%"), stack="normalize"),
            y=alt.Y("label:N", title=None, sort=None),
            color=by_group(rows),
            order="order:Q",
            tooltip=["label:N", "group:N", alt.Tooltip("ms:Q", format=".3~g"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return styled(chart, 26 * rows["label"].nunique())


def memory_bars(rows: pd.DataFrame, totals: pd.DataFrame) -> Any:
    """Stacked bars of `mib` by `part`, one per `network`; ticks are what was measured on a processor, less its base."""
    colour = alt.Color("part:N", title=None, scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())))
    order = {name: position for position, name in enumerate(PARTS)}
    tooltip = ["network:N", "part:N", alt.Tooltip("mib:Q", format=".1f")]
    bars = alt.Chart(rows.assign(order=rows["part"].map(order))).mark_bar()
    chart = bars.encode(
        x=alt.X("mib:Q", title="MiB"), y=alt.Y("network:N", title=None, sort=None), color=colour, order="order:Q",
        tooltip=tooltip,
    )  # fmt: skip
    if len(totals):
        tick = alt.Chart(totals).mark_tick(thickness=3, size=24, color="currentColor")
        hover = ["network:N", "processor:N", alt.Tooltip("mib:Q", format=".1f")]
        chart = chart + tick.encode(x="mib:Q", y=alt.Y("network:N", sort=None), tooltip=hover)
    return styled(chart, 30 * rows["network"].nunique())


def intervals(rows: pd.DataFrame, level: float) -> Any:
    """For each `label`: the estimate ÷ measured with its interval, beside 1."""
    ratios = ["ratio", "low_ratio", "high_ratio"]
    base = alt.Chart(rows.assign(**{name: rows[name].clip(upper=FARTHEST_RATIO) for name in ratios})).encode(
        y=alt.Y("label:N", title=None, sort=None)
    )
    title = f"estimated ÷ measured, {whole_percent(level)} interval"
    axis = alt.Axis(tickCount=8)
    x = alt.X("ratio:Q", title=title, axis=axis, scale=alt.Scale(zero=False, nice=True))
    colour = alt.Color(
        "holds:N",
        title=None,
        scale=alt.Scale(domain=["interval contains it", "interval misses it"], range=["#0072B2", "#D55E00"]),
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("low_ratio:Q", title=title, axis=axis), x2="high_ratio:Q", color=colour
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x,
        color=colour,
        shape=alt.Shape(
            "holds:N",
            title=None,
            scale=alt.Scale(domain=["interval contains it", "interval misses it"], range=["circle", "diamond"]),
        ),
        tooltip=["label:N", alt.Tooltip("measured_ms:Q", format=".4~g"), alt.Tooltip("estimate_ms:Q", format=".4~g")],
    )
    one = alt.Chart(pd.DataFrame({"ratio": [1.0]})).mark_rule(strokeDash=[4, 4], color="gray").encode(x="ratio:Q")
    return styled(one + bars + dots, 26 * rows["label"].nunique())


def measured_against_estimated(layers: pd.DataFrame) -> Any:
    """A point per layer, both axes logarithmic; on the diagonal an estimate is right."""
    low, high = float(layers["measured_ms"].min() / 2), float(layers["measured_ms"].max() * 2)
    ends = pd.DataFrame({"measured_ms": [low, high], "estimate_ms": [low, high]})
    line = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="gray").encode(x="measured_ms:Q", y="estimate_ms:Q")
    points = alt.Chart(layers).mark_circle(size=36, opacity=0.75, clip=True)
    tooltip = [
        "network:N",
        "layer:N",
        alt.Tooltip("measured_ms:Q", format=".3~g"),
        alt.Tooltip("estimate_ms:Q", format=".3~g"),
    ]
    points = points.encode(
        x=alt.X("measured_ms:Q", **log("measured in the network, ms", domain=[low, high])),
        y=alt.Y("estimate_ms:Q", **log("estimated without it, ms")),
        color=by_group(layers),
        tooltip=tooltip,
    ).add_params(zoomable())
    return styled(line + points, 420)


def residuals(layers: pd.DataFrame) -> Any:
    """A point per layer: the signed `error` by kind, in percent; a tick for each kind's median."""
    errors = alt.X("error:Q", title="error", axis=alt.Axis(format="+%"))
    layers = layers.assign(
        rank=-layers.groupby("kind")["error"].transform("median"),
        error=layers["error"].clip(-FARTHEST_ERROR, FARTHEST_ERROR),
    )
    kinds = alt.Y("kind:N", title=None, sort=BY_RANK)
    base = alt.Chart(layers)
    tooltip = [
        "network:N",
        "layer:N",
        alt.Tooltip("error:Q", format="+.1%"),
        alt.Tooltip("measured_ms:Q", format=".3~g"),
    ]
    points = base.mark_circle(size=30, opacity=0.5).encode(x=errors, y=kinds, color=by_group(layers), tooltip=tooltip)
    middle = base.mark_tick(thickness=3, size=20, color="currentColor").encode(x="median(error):Q", y=kinds)
    return styled(points + middle, 26 * layers["kind"].nunique())


def roofline(gemms: pd.DataFrame, peak: float, bandwidth: float) -> Any:
    """GFLOP/s of each GEMM against flop per byte, under the best rate and the best GB/s that were seen."""
    low, high = float(gemms["intensity"].min() / 1.5), float(gemms["intensity"].max() * 1.5)
    corners = np.array([low, max(low, peak / bandwidth), high])
    roof = pd.DataFrame({"intensity": corners, "gflops": np.minimum(peak, corners * bandwidth)})
    line = alt.Chart(roof).mark_line(color="gray", strokeDash=[4, 4]).encode(x="intensity:Q", y="gflops:Q")
    points = alt.Chart(gemms).mark_circle(size=34, opacity=0.75, clip=True, color=SERIES[0])
    points = points.encode(
        x=alt.X("intensity:Q", **log("arithmetic intensity, flop/byte", domain=[low, high])),
        y=alt.Y("gflops:Q", **log("GFLOP/s")),
        tooltip=["m:Q", "n:Q", "k:Q", alt.Tooltip("gflops:Q", format=".3~g"), alt.Tooltip("ms:Q", format=".3~g")],
    ).add_params(zoomable())
    return styled(line + points, 400)


def rate_surface(gemms: pd.DataFrame) -> Any:
    """Median GFLOP/s over powers of two of m and of n · k."""
    chart = (
        alt.Chart(gemms)
        .mark_rect()
        .encode(
            x=alt.X("nk:O", title="n · k, to the power of two below", axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("m:O", title="m, to the power of two below", sort="descending"),
            color=alt.Color(
                "gflops:Q",
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(title="GFLOP/s", titleColor="currentColor", orient="right"),
            ),
            tooltip=["m:O", "nk:O", alt.Tooltip("gflops:Q", format=".3~g"), "kernels:Q"],
        )
    )
    return styled(chart, 60 + 24 * gemms["m"].nunique())


def against_size(gemms: pd.DataFrame, name: str) -> Any:
    """Time against one of m, n and k, a line for each pair of the other two."""
    chart = alt.Chart(gemms).mark_line(point=alt.OverlayMarkDef(size=30), clip=True)
    chart = chart.encode(
        x=alt.X("size:Q", **log(name)),
        y=alt.Y("ms:Q", **log("ms")),
        color=alt.Color("others:N", title=None, scale=alt.Scale(range=list(SERIES)), sort=None),
        tooltip=[
            "others:N",
            alt.Tooltip("size:Q", title=name),
            alt.Tooltip("ms:Q", format=".3~g"),
            alt.Tooltip("gflops:Q", format=".3~g"),
        ],
    ).add_params(zoomable())
    return styled(chart, 260)


def tile_steps(gemms: pd.DataFrame) -> Any:
    """Time against m or n in small steps, on straight axes."""
    chart = alt.Chart(gemms).mark_line(point=alt.OverlayMarkDef(size=24), clip=True)
    chart = chart.encode(
        x=alt.X("size:Q", title="m or n"),
        y=alt.Y("ms:Q", title="ms"),
        color=alt.Color("others:N", title=None, scale=alt.Scale(range=list(SERIES)), sort=None),
        tooltip=[
            "others:N",
            "size:Q",
            alt.Tooltip("ms:Q", format=".3~g"),
            alt.Tooltip("gflops:Q", format=".3~g"),
        ],
    ).add_params(zoomable())
    return styled(chart, 300)


def overhead_curve(rows: pd.DataFrame) -> Any:
    """Microseconds per call, with the median's 95 % interval, against calls per synchronisation; a line for `label`."""
    x = alt.X("iterations:Q", title="calls per synchronisation", scale=alt.Scale(type="log", base=2, padding=10))
    y = alt.Y("us:Q", title="µs per call", scale=alt.Scale(zero=False))
    legend = alt.Legend() if rows["label"].nunique() > 1 else None
    colour = alt.Color("label:N", title=None, scale=alt.Scale(range=list(SERIES)), legend=legend)
    base = alt.Chart(rows)
    bars = base.mark_rule(opacity=0.6).encode(
        x=x, y=alt.Y("low_us:Q", title="µs per call"), y2="high_us:Q", color=colour
    )
    tooltip = ["label:N", "iterations:Q", alt.Tooltip("us:Q", format=".4~g")]
    line = base.mark_line(point=alt.OverlayMarkDef(size=40)).encode(x=x, y=y, color=colour, tooltip=tooltip)
    return styled(bars + line, 280)


def cost_bars(rows: pd.DataFrame) -> Any:
    """Stacked bars of board `minutes` by `purpose`, one per `label`."""
    names = list(dict.fromkeys(rows["purpose"]))
    chart = alt.Chart(rows).mark_bar().encode(
        x=alt.X("minutes:Q", title="minutes of board time", axis=alt.Axis(tickCount=8)),
        y=alt.Y("label:N", title=None, sort=None),
        color=alt.Color("purpose:N", title=None, scale=alt.Scale(domain=names, range=list(SERIES[: len(names)]))),
        order="order:Q",
        tooltip=["label:N", "purpose:N", alt.Tooltip("minutes:Q", format=".3~g")],
    )  # fmt: skip
    return styled(chart, 30 * rows["label"].nunique())


def method_errors(rows: pd.DataFrame, ours: str) -> Any:
    """A point per network: |error| by method, best first, with each method's median; `ours` has a colour of its own."""
    rows = rows.assign(
        rank=rows.groupby("method")["size"].transform("median"), size=rows["size"].clip(upper=FARTHEST_ERROR)
    )
    y = alt.Y("method:N", title=None, sort=BY_RANK)
    axis = alt.Axis(format="~%", tickCount=6)
    x = alt.X("size:Q", title="absolute error", axis=axis, scale=alt.Scale(domainMin=0))
    colour = alt.condition(f"datum.method == '{ours}'", alt.value(SERIES[0]), alt.value(SERIES[4]))
    tooltip = ["network:N", "method:N", alt.Tooltip("error:Q", format="+.1%"),
               alt.Tooltip("measured_ms:Q", format=".4~g"), alt.Tooltip("estimate_ms:Q", format=".4~g")]  # fmt: skip
    points = alt.Chart(rows).mark_circle(size=60, opacity=0.7).encode(x=x, y=y, color=colour, tooltip=tooltip)
    middle = alt.Chart(rows).mark_tick(thickness=3, size=22, color="currentColor").encode(x="median(size):Q", y=y)
    return styled(points + middle, 30 * rows["method"].nunique())


def errors_by_seconds(rows: pd.DataFrame) -> Any:
    """A line per way: the median error of networks against the seconds in which probes were measured."""
    legend = alt.Legend() if rows["way"].nunique() > 1 else None
    base = alt.Chart(rows).encode(
        x=alt.X("seconds:Q", title="seconds of measuring probes", scale=alt.Scale(domainMin=0)),
        y=alt.Y("median_error:Q", title="median error", axis=alt.Axis(format="~%"), scale=alt.Scale(domainMin=0)),
        color=alt.Color("way:N", title=None, scale=alt.Scale(range=list(SERIES)), legend=legend),
        tooltip=["way:N", "rounds:Q", alt.Tooltip("seconds:Q", format=".0f"),
                 alt.Tooltip("median_error:Q", format=".1%"), alt.Tooltip("worst_error:Q", format=".1%")],
    )  # fmt: skip
    return styled(base.mark_line(point=alt.OverlayMarkDef(size=40)), 220)


def spread_by_iterations(rows: pd.DataFrame) -> Any:
    """Half the median's 95 % interval, relative, against calls per sample."""
    chart = alt.Chart(rows).mark_circle(size=30, opacity=0.6, clip=True)
    chart = chart.encode(
        x=alt.X("iterations:Q", title="calls per sample", scale=alt.Scale(type="log", base=2, padding=10)),
        y=alt.Y("precision:Q", title="± of the median", axis=alt.Axis(format="~%"), scale=alt.Scale(domainMin=0)),
        color=by_group(rows),
        tooltip=[
            "kind:N",
            "mode:N",
            "iterations:Q",
            alt.Tooltip("precision:Q", format=".2%"),
            alt.Tooltip("ms:Q", format=".3~g"),
        ],
    ).add_params(zoomable())
    return styled(chart, 320)


def drift(rounds: pd.DataFrame) -> Any:
    """Whole passes relative to the least of the rounds, round by round."""
    chart = alt.Chart(rounds).mark_line(point=alt.OverlayMarkDef(size=20), color=SERIES[0]).encode(
        x=alt.X("round:O", title="round of the campaign", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("relative:Q", title="more than least", axis=alt.Axis(format="+%"), scale=alt.Scale(zero=False)),
        tooltip=["round:O", alt.Tooltip("relative:Q", format="+.2%")],
    )  # fmt: skip
    return styled(chart, 220)
