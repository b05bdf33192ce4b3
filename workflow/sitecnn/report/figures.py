"""The report's figures, by plotly; a layer type has the same colour in each of them."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

# Okabe & Ito (2008): eight colours that colour-blind readers can tell apart.
COLOURS = {
    "conv": "#0072B2",
    "fc": "#D55E00",
    "pool": "#009E73",
    "relu": "#CC79A7",
    "other": "#E69F00",
}
NAMES = {"conv": "convolution", "fc": "fully connected", "pool": "pooling", "relu": "ReLU", "other": "all other layers"}


def time_bars(times: pd.DataFrame) -> go.Figure:
    """Share of each layer group in the layerwise pass, a bar per network; `times` as `results.time_by_group`."""
    figure = go.Figure()
    totals = np.array([sum(row[group][0] for group in COLOURS if _has(row, group)) for _, row in times.iterrows()])
    for group, colour in COLOURS.items():
        ms = np.array([row[group][0] if _has(row, group) else 0.0 for _, row in times.iterrows()])
        hover = [f"{value:.3g} ms" for value in ms]
        label = NAMES[group]
        bar = go.Bar(y=times["network"], x=100 * ms / totals, name=label, orientation="h", marker_color=colour)
        figure.add_trace(bar.update(hovertext=hover, hoverinfo="name+text"))
    figure.update_layout(
        barmode="stack",
        xaxis_title="share of the layerwise pass, %",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return _plain(figure, height=120 + 50 * len(times))


def layers_measured_against_estimated(layers: pd.DataFrame, groups: "pd.Series[str]") -> go.Figure:
    """One point per layer of each held-out network, both axes logarithmic; on the diagonal an estimate is right."""
    figure = go.Figure()
    shown = layers[(layers["estimate_ms"] > 0) & (layers["measured_ms"] > 0)]
    for group, colour in COLOURS.items():
        of = shown[groups.loc[shown.index] == group]
        figure.add_trace(
            go.Scatter(
                x=of["measured_ms"],
                y=of["estimate_ms"],
                mode="markers",
                name=NAMES[group],
                marker={"color": colour, "size": 7, "opacity": 0.75},
                text=[f"{row.network}: {row.layer} ({row.error:+.0%})" for row in of.itertuples()],
                hovertemplate="%{text}<br>measured %{x:.3g} ms, estimated %{y:.3g} ms<extra></extra>",
            )
        )
    ends = [shown["measured_ms"].min() / 2, shown["measured_ms"].max() * 2]
    line = {"color": "#777777", "dash": "dot"}
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=line, name="estimate = measured", hoverinfo="skip"))
    figure.update_xaxes(type="log", title="measured in the network, ms")
    figure.update_yaxes(type="log", title="estimated without it, ms")
    return _plain(figure, height=520)


def gemm_rates(gemms: pd.DataFrame) -> go.Figure:
    """GFLOP/s of each matrix multiplication against its arithmetic intensity, 2·m·n·k flops over bytes moved."""
    m, n, k = (gemms[name].to_numpy(dtype=float) for name in "mnk")
    intensity = 2 * m * n * k / (4 * (m * k + k * n + m * n))
    rate = 2 * m * n * k / gemms["median_ns"].to_numpy(dtype=float)
    text = [f"m={row.m} n={row.n} k={row.k}" for row in gemms.itertuples()]
    points = go.Scatter(x=intensity, y=rate, mode="markers", text=text, marker={"color": COLOURS["conv"], "size": 7})
    points.update(hovertemplate="%{text}<br>%{y:.3g} GFLOP/s at %{x:.3g} flop/byte<extra></extra>")
    figure = go.Figure(points)
    figure.update_xaxes(type="log", title="arithmetic intensity, flop/byte")
    figure.update_yaxes(type="log", title="GFLOP/s, operands in cache")
    return _plain(figure, height=420)


def _has(row: "pd.Series[Any]", group: str) -> bool:
    return group in row and isinstance(row[group], tuple)


def _plain(figure: go.Figure, height: int) -> go.Figure:
    """Colours that read on light and dark paper alike."""
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.4)"}
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#808080"},
    )
    figure.update_xaxes(**grid)
    figure.update_yaxes(**grid)
    return figure
