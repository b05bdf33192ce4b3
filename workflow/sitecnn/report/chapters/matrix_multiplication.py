"""How does matrix multiplication scale? Time against m, n and k, the rate's surface, the roofline."""

from typing import Any

import numpy as np
import pandas as pd

from sitecnn.report import figures
from sitecnn.report.page import (
    Block,
    Chapter,
    Column,
    Figure,
    Note,
    Table,
    flag,
    integer,
    listed,
    milliseconds,
    number,
    plural,
    significant,
    where,
)
from sitecnn.report.results import ProcessorResults, Results

Floats = np.ndarray[Any, np.dtype[np.float64]]
SIZES = ["m", "n", "k"]
FLAGS = ["trans_a", "trans_b", "accumulate"]
LINES, FEWEST_POINTS, MOST_LINE_POINTS = 1, 4, 40
FINE_POINTS, FINE_STEP = 12, 16
"""A line shows the edges of tiles from so many points on, at most so far apart."""
EXPLANATION = (
    "Caffe computes a convolution as a matrix product, C (m × n) = A (m × k) · B (k × n): m counts output channels, n "
    "the pixels of the output, k the values under the filter's window (input channels × kernel height × kernel width). "
    "A fully connected layer is such a product, too."
)
STREAMING = ("relu", "concat", "eltwise", "scale")
"""Kinds that do next to no arithmetic: each element read once and written once."""

FAR_ELEMENTS = 1 << 20
"""A blob of so many, 4 MiB, is out of the caches near a core."""


def chapter(results: Results) -> Chapter:
    """The chapter on matrix multiplication."""
    question = "How does matrix multiplication scale?"
    blocks: list[Block] = [Note(EXPLANATION)]
    answers = []
    for processor in results.measured:
        gemms = rates(processor)
        if gemms.empty:
            blocks.append(Note(f"{processor.name}: no matrix multiplication was measured by itself.", True))
            continue
        answers.append(f"{processor.name} reaches {significant(gemms['gflops'].max())} GFLOP/s")
        blocks += [size_figure(processor, gemms), tile_figure(processor, gemms)]
        blocks += [roofline(processor, gemms), surface(processor, gemms), gemm_table(processor, gemms)]
    answer = "; ".join(answers) + "." if answers else "No matrix multiplication was measured by itself."
    return Chapter("gemm", question, answer, tuple(blocks))


def rates(processor: ProcessorResults) -> pd.DataFrame:
    """GEMMs measured alone with operands in cache: `ms`, `gflops` (2·m·n·k), `intensity` in flop per byte."""
    rows = processor.subject("kernel")
    rows = rows[(rows["kind"] == "gemm") & (rows["mode"] == "warm")]
    gemms = rows[["stack", *SIZES, *FLAGS, "median_ns", "iterations"]].astype(dict.fromkeys([*SIZES, *FLAGS], int))
    m, n, k = (gemms[name].astype(float) for name in SIZES)
    flops, moved = 2 * m * n * k, 4 * (m * k + k * n + m * n)
    return gemms.assign(
        ms=gemms["median_ns"] / 1e6,
        gflops=flops / gemms["median_ns"],
        intensity=flops / moved,
    ).reset_index(drop=True)


def bandwidth(processor: ProcessorResults) -> float:
    """The best GB/s of kernels that only stream, 8 bytes per element, with operands out of cache; NaN without any."""
    rows = processor.subject("kernel", "layer")
    rows = rows[rows["kind"].isin(STREAMING) & (rows["median_ns"] > 0)]
    rows = rows[(rows["mode"] == "cold") | (rows["out_elements"].astype(float) >= FAR_ELEMENTS)]
    return float((8 * rows["out_elements"].astype(float) / rows["median_ns"]).max())


def roofline(processor: ProcessorResults, gemms: pd.DataFrame) -> Figure:
    """Rates under the best rate and the best bandwidth that were seen."""
    peak, streamed = float(gemms["gflops"].max()), bandwidth(processor)
    title = f"{processor.name}: multiplications reach up to {significant(peak)} GFLOP/s"
    title += f", memory {significant(streamed)} GB/s" if streamed > 0 else ""
    note = "Dashed: the highest rate measured"
    if streamed > 0:
        note += (
            " and, at the left, the highest rate from memory; these multiplications have their operands in cache, so "
        )
        note += "small ones may exceed it"
    columns = [*SIZES, "intensity", "gflops", "ms"]
    shown = gemms[columns].round({"intensity": 4, "gflops": 4, "ms": 6})
    alt_text = "Scatter of GFLOP/s against arithmetic intensity, logarithmic, under a roof of peak rate and bandwidth."
    chart = figures.roofline(shown, peak, streamed if streamed > 0 else 1e9)
    return Figure(f"roofline-{processor.slug}", title, alt_text, chart, f"{note}.", processor.board, folded=True)


def size_figure(processor: ProcessorResults, gemms: pd.DataFrame) -> Block:
    """Time against each size with the other two held, as far as the measurements have such lines."""
    lines = {name: longest for name in SIZES if len(longest := lines_along(gemms, name).head(MOST_LINE_POINTS))}
    if not lines:
        text = f"{processor.name}: no {FEWEST_POINTS} multiplications differ in one size alone: no line to draw."
        return Note(text, True)
    growth = [f"{name} to the power of {growth_exponent(line):.2f}" for name, line in lines.items()]
    rows = pd.concat([line.assign(others=name + ", with " + line["others"]) for name, line in lines.items()])
    title = f"{processor.name}: time grows with {listed(growth)}"
    alt_text = "Lines of milliseconds against m, n or k, logarithmic, with the other two sizes held."
    note = "A power of 1.00 is proportional; below it larger multiplications run at a higher rate."
    return Figure(
        f"sizes-{processor.slug}", title, alt_text, figures.against_size(rows, "m, n or k"), note, processor.board
    )


def lines_along(gemms: pd.DataFrame, name: str) -> pd.DataFrame:
    """Of multiplications (bias additions apart) that differ in `name` alone, those over the widest range of it."""
    others = [size for size in SIZES if size != name]
    rows = gemms[gemms["k"] > 1]
    groups = [
        (key, part.sort_values(name))
        for key, part in rows.groupby([*others, *FLAGS, "stack"])
        if part[name].nunique() > 1
    ]
    enough = [part for _, part in groups if part[name].nunique() >= FEWEST_POINTS]
    longest = sorted(enough, key=lambda part: (-part[name].max() / part[name].min(), -part["ms"].max()))[:LINES]
    tables = [part.assign(size=part[name], others=_held(part, others)) for part in longest]
    return pd.concat(tables)[["size", "others", "ms", "gflops"]] if tables else pd.DataFrame()


def _held(part: pd.DataFrame, others: list[str]) -> str:
    return ", ".join(f"{size} = {part[size].iloc[0]:,}" for size in others)


def tile_figure(processor: ProcessorResults, gemms: pd.DataFrame) -> Block:
    """Time against m and n in small steps, where whole tiles show."""
    lines = {name: fine_line(gemms, name) for name in ("m", "n")}
    lines = {name: line for name, line in lines.items() if len(line)}
    if not lines:
        text = f"{processor.name}: no {FINE_POINTS} multiplications lie close enough together to show steps of tiles."
        return Note(f"{text} The plan's sweep has such: `sweep: true` in config/config.yaml.", True)
    steps = {name: tile_step(line["size"].to_numpy(dtype=float), line["ms"].to_numpy()) for name, line in lines.items()}
    seen = [f"of {step} in {name}" for name, step in steps.items() if step]
    none = [name for name, step in steps.items() if not step]
    parts = [f"time rises in steps {listed(seen)}"] if seen else []
    parts += [f"no steps show in {listed(none)}"] if none else []
    chart = figures.tile_steps(pd.concat(lines.values()).round({"ms": 6, "gflops": 4}))
    alt_text = "Lines of milliseconds against m and n in small steps, the other two sizes held."
    note = (
        "A step is the p with which a + b·√x + c·x + d·⌈x/p⌉ fits the time best, if it leaves less than half of the "
        "squared relative errors that the curve without d leaves."
    )
    return Figure(
        f"tiles-{processor.slug}", f"{processor.name}: {', '.join(parts)}", alt_text, chart, note, processor.board
    )


def fine_line(gemms: pd.DataFrame, name: str) -> pd.DataFrame:
    """Of multiplications that differ in `name` alone and by no more than FINE_STEP, those with the most values."""
    others = [size for size in SIZES if size != name]
    lines = []
    for _, part in gemms[gemms["k"] > 1].groupby([*others, *FLAGS, "stack"]):
        line = part.sort_values(name).drop_duplicates(name)
        close = line[line[name].diff().fillna(FINE_STEP) <= FINE_STEP]
        if len(close) >= FINE_POINTS:
            lines.append(close.assign(size=close[name], others=f"{name}, with {_held(close, others)}"))
    return max(lines, key=len)[["size", "others", "ms", "gflops"]] if lines else pd.DataFrame()


def tile_step(sizes: Floats, ms: Floats) -> int | None:
    """The step in which `ms` rises with `sizes`; None where a smooth curve does about as well."""
    spacing = int(np.diff(sizes).min())
    steps = range(2 * spacing, int(np.ptp(sizes)) // 4 + 1, spacing)
    smooth = np.column_stack([np.ones_like(sizes), np.sqrt(sizes), sizes])
    left = {step: _squares(np.column_stack([smooth, np.ceil(sizes / step)]), ms) for step in steps}
    best = min(left, key=lambda step: left[step], default=None)
    return best if best and left[best] < _squares(smooth, ms) / 2 else None


def _squares(columns: Floats, values: Floats) -> float:
    """Sum of squared relative errors that least squares on these columns leaves."""
    relative = columns / values[:, None]
    coefficients = np.linalg.lstsq(relative, np.ones_like(values), rcond=None)[0]
    return float(((1 - relative @ coefficients) ** 2).sum())


def growth_exponent(lines: pd.DataFrame) -> float:
    """Median over the lines of the slope of log time on log size."""
    slopes = [
        np.polyfit(np.log(part["size"].astype(float)), np.log(part["ms"]), 1)[0] for _, part in lines.groupby("others")
    ]
    return float(np.median(slopes))


def surface(processor: ProcessorResults, gemms: pd.DataFrame) -> Figure:
    """Median rates over powers of two."""
    rows = gemms[gemms["k"] > 1]
    powers = pd.DataFrame({"m": _power(rows["m"]), "nk": _power(rows["n"] * rows["k"]), "gflops": rows["gflops"]})
    cells = powers.groupby(["m", "nk"], as_index=False).agg(gflops=("gflops", "median"), kernels=("gflops", "size"))
    small, large = rows.loc[rows["m"] <= 1, "gflops"].median(), rows.loc[rows["m"] >= 64, "gflops"].median()
    title = f"{processor.name}: GFLOP/s over sizes"
    if small > 0 and large > 0:
        title = f"{processor.name}: with m = 1 the rate is {significant(small)}, "
        title += f"from m = 64 on {significant(large)} GFLOP/s"
    alt_text = "Heat map of the median GFLOP/s over powers of two of m and of n times k."
    return Figure(
        f"surface-{processor.slug}", title, alt_text, figures.rate_surface(cells), board=processor.board, folded=True
    )


def _power(values: "pd.Series[int]") -> Any:
    return (2 ** np.floor(np.log2(values.astype(float)))).astype(int)


def gemm_table(processor: ProcessorResults, gemms: pd.DataFrame) -> Table:
    """Every multiplication."""
    frame = gemms.drop(columns="median_ns").sort_values(SIZES, ignore_index=True)
    frame = frame.assign(**processor.place)
    columns: tuple[Column, ...] = (
        *where(frame),
        *(number(size, size, integer) for size in SIZES),
        flag("A transposed", "trans_a"),
        flag("B transposed", "trans_b"),
        flag("adds to C", "accumulate"),
        number("ms", "ms", milliseconds),
        number("GFLOP/s", "gflops", significant),
        number("flop/byte", "intensity", significant),
    )
    title = plural(len(frame), "matrix multiplication")
    return Table(f"gemm-{processor.slug}", title, frame, columns, searchable=True)
