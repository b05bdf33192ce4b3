"""Everything → one HTML file that opens by double click, with nothing fetched from anywhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined

from sitecnn import __version__
from sitecnn.config import Config
from sitecnn.files import write_text
from sitecnn.report import figures
from sitecnn.report.results import PUBLISHED, ProcessorResults, load_results, memory_table, time_by_group
from sitecnn.workload.flops import GROUPS

GROUP_TITLES = {"conv": "CONV", "pool": "POOL", "relu": "ReLU", "fc": "FC", "other": "other"}


@dataclass(frozen=True)
class Table:
    """A table as the page shows it: cells are text already, `left` columns are names."""

    head: list[str]
    rows: list[list[str]]
    left: int = 1


def write_report(root: Path, output: Path) -> Path:
    """Write the report of what stands in `root`/results; returns its path."""
    config, found = load_results(root)
    environment = Environment(
        loader=PackageLoader("sitecnn.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        version=__version__,
        config=config,
        summary=summary_table(found, config.level),
        verdict=verdict(found),
        processors=[_processor_page(results, first=index == 0) for index, results in enumerate(found)],
        memory=memory_page(root, config, found),
        published_times=published_times(),
        published_memory=published_memory(),
        level=f"{config.level:.0%}",
    )
    write_text(output, page)
    return output


def verdict(found: list[ProcessorResults]) -> str:
    """One sentence on how far to trust the estimates."""
    errors = pd.concat([results.networks["error"].abs() for results in found if len(results.networks)] or [pd.Series()])
    if errors.empty:
        return "Nothing could be held out: with one network there is no telling how far to trust an estimate."
    return (
        f"Networks that a model had never seen were estimated with a median error of {errors.median():.1%}, "
        f"{errors.max():.1%} at worst."
    )


def summary_table(found: list[ProcessorResults], level: float) -> Table:
    """Measured against estimated, every held-out network of every board."""
    head = ["network", "board", "batch", "measured ms", "estimated ms", f"{level:.0%} interval, ms", "error", "inside"]
    rows = [
        [
            row["network"],
            results.name,
            str(row["batch"]),
            _ms(row["measured_ms"]),
            _ms(row["estimate_ms"]),
            f"{_ms(row['low_ms'])} to {_ms(row['high_ms'])}",
            f"{row['error']:+.1%}",
            "yes" if row["covered"] else "no",
        ]
        for results in found
        for row in results.networks.to_dict("records")
    ]
    return Table(head, rows, left=2)


def _processor_page(results: ProcessorResults, first: bool) -> dict[str, Any]:
    times = time_by_group(results.measurements)
    gemms = results.measurements[(results.measurements["kind"] == "gemm") & (results.measurements["mode"] == "warm")]
    layers = results.layers
    groups = layers["layer_type"].map(GROUPS).fillna("other") if len(layers) else pd.Series(dtype=str)
    return {
        "name": results.name,
        "description": results.board.description,
        "times": times_table(times),
        "bars": _html(figures.time_bars(times), first) if len(times) else "",
        "scatter": _html(figures.layers_measured_against_estimated(layers, groups)) if len(layers) else "",
        "layer_verdict": layer_verdict(layers),
        "gemms": _html(figures.gemm_rates(gemms)) if len(gemms) else "",
        "peak": f"{(2 * gemms['m'] * gemms['n'] * gemms['k'] / gemms['median_ns']).max():.0f}" if len(gemms) else "",
        "model": model_table(results),
        "counts": counts_table(results),
        "conditions": conditions_table(results),
    }


def times_table(times: pd.DataFrame) -> Table:
    """The poster's Table 1: ms ± spread and share by layer group, then both passes."""
    head = ["network", "batch", *GROUP_TITLES.values(), "layerwise pass", "forward pass"]
    rows = []
    for _, row in times.iterrows():
        total = row["layerwise"][0]
        groups = [_time_cell(row.get(group), total) for group in GROUP_TITLES]
        rows.append(
            [row["network"], str(row["batch"]), *groups, _time_cell(row["layerwise"]), _time_cell(row["forward"])]
        )
    return Table(head, rows)


def _time_cell(value: Any, total: float | None = None) -> str:
    if not isinstance(value, tuple):
        return "–"
    ms, spread = value
    share = "" if total is None else f", {ms / total:.1%}"
    return f"{_ms(ms)} ± {_ms(spread)}{share}"


def memory_page(root: Path, config: Config, found: list[ProcessorResults]) -> Table:
    """The poster's Table 2 of the networks: MiB as computed, and process totals as measured beside their sum."""
    table = memory_table(root, config, found)
    head = ["network", "weights", "data", "workspace (Caffe)", "workspace (poster)"]
    for results in found:
        head += [f"{results.name}: base", "base + parts", "total measured"]
    rows = []
    for _, row in table.iterrows():
        cells = [
            str(row["network"]),
            *(f"{row[part]:.1f}" for part in ("weights", "data", "workspace", "workspace_poster")),
        ]
        for results in found:
            base, total = row[f"{results.name} base"], row[f"{results.name} total"]
            computed = base + row["weights"] + row["data"] + row["workspace"]
            cells += [_mib(base), _mib(computed), _mib(total)]
        rows.append(cells)
    return Table(head, rows)


def layer_verdict(layers: pd.DataFrame) -> str:
    """How layers that matter (over 1 % of their network's time) were estimated."""
    if layers.empty:
        return "no layers were held out"
    errors = layers.loc[layers["share"] > 0.01, "error"].abs()
    inside = layers.loc[layers["share"] > 0.01, "covered"].mean()
    return (
        f"layers over 1 % of the time are off by {errors.median():.0%} in the median, 90 % of them by less than "
        f"{errors.quantile(0.9):.0%}; {inside:.0%} of their intervals hold"
    )


def model_table(results: ProcessorResults) -> Table:
    """Every coefficient of the board's model, with its unit and standard error."""
    rows = [
        [stack.stack, kind, unit, f"{value:.4g} ± {error:.2g}", str(fitted.rows), f"{fitted.relative_sd:.0%}"]
        for stack in (results.model.stacks if results.model else ())
        for kind, fitted in stack.kinds.items()
        for unit, value, error in zip(fitted.units, fitted.coefficients_ns, fitted.standard_errors_ns, strict=True)
    ]
    return Table(["stack", "kernel", "per", "ns", "measurements", "scatter"], rows, left=3)


def counts_table(results: ProcessorResults) -> Table:
    """What was measured: rows by subject and status."""
    counts = results.measurements.groupby(["subject", "status"]).size().reset_index(name="count")
    rows = [[str(cell) for cell in row] for row in counts.itertuples(index=False)]
    return Table(["what", "status", "rows"], rows, left=2)


def conditions_table(results: ProcessorResults) -> Table:
    """Each run with the board, stack, protocol and conditions it was made under."""
    rows = []
    for run in results.runs:
        board, now = run["board"], run["conditions"]
        blas = board["blas"] if isinstance(board["blas"], str) else "none"
        clocks = f"{np.mean(now['cpu_mhz']):.0f}" if now.get("cpu_mhz") else "not told"
        software = f"Python {board['python']}, kernel {board['kernel']}"
        cells = [
            now["time"],
            board["cpu"],
            run["stack"],
            blas,
            software,
            clocks,
            f"{now['load']:.2f}",
            str(run["protocol"]),
        ]
        rows.append(cells)
    head = ["started", "processor", "stack", "BLAS", "software", "clock, MHz", "load", "protocol"]
    return Table(head, rows, left=8)


def published_times() -> Table:
    """The poster's Table 1, VGGNet."""
    columns = ["conv", "pool", "relu", "fc", "layerwise", "forward"]
    rows = []
    for (board, processor), part in pd.read_csv(PUBLISHED / "table1.csv").groupby(["board", "processor"]):
        ms, spread = (part[part["quantity"] == quantity].iloc[0] for quantity in ("ms", "spread"))
        cells = [f"{ms[name]} ± {spread[name]}" + _share(ms, name) for name in columns]
        rows.append([f"{board} {processor}", *cells])
    return Table(["VGGNet on", "CONV", "POOL", "ReLU", "FC", "layerwise pass", "forward pass"], rows)


def _share(ms: "pd.Series[Any]", name: str) -> str:
    return "" if name in ("layerwise", "forward") else f", {ms[name] / ms['layerwise']:.1%}"


def published_memory() -> Table:
    """The poster's Table 2, MB."""
    table = pd.read_csv(PUBLISHED / "table2.csv")
    return Table(list(table.columns), [[str(cell) for cell in row] for row in table.itertuples(index=False)])


def _html(figure: go.Figure, with_library: bool = False) -> str:
    html: str = figure.to_html(full_html=False, include_plotlyjs=with_library, config={"displaylogo": False})
    return html


def _ms(value: float) -> str:
    """Milliseconds to four significant digits at most, never in powers of ten."""
    if value == 0:
        return "0"
    digits = max(0, min(4, 2 - int(np.floor(np.log10(abs(value))))))
    return f"{value:,.{digits}f}"


def _mib(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}"
