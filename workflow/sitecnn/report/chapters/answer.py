"""My networks on my boards: how fast, how much memory, do they fit? Measured where they were, else estimated."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import pandas as pd

from sitecnn.errors import NetworkError
from sitecnn.estimation.estimate import estimate
from sitecnn.models.board_model import BoardModel
from sitecnn.models.lookup import free_bytes
from sitecnn.network import Network
from sitecnn.report import figures
from sitecnn.report.page import (
    Block,
    Chapter,
    Figure,
    Grid,
    GridCell,
    Note,
    Row,
    capitalised,
    is_missing,
    listed,
    mebibytes,
    plural,
    significant,
    whole_percent,
)
from sitecnn.report.passes import ways
from sitecnn.report.results import Results
from sitecnn.workload.engines import engine_of_stack
from sitecnn.workload.stack_names import stack_label

QUESTION = "How fast are my networks on each board, and do they fit?"

MOSTLY_UNSEEN = 0.5
"""An estimate more than half of whose time lies beyond what the board's model saw is marked."""


CASE = ["network", "batch", "board", "processor", "stack"]
"""What a time is of."""

MANY_FAILED = 0.05
"""Where so many of a processor's measurements failed, the first screen says so."""


@dataclass(frozen=True)
class Contender:
    """A column: a stack on a processor of a board, with the board's `model` where one was fitted."""

    board: str
    processor: str
    stack: str
    model: BoardModel | None

    @property
    def label(self) -> str:
        """What tells it from all others: the place, and the stack as people call it."""
        return f"{self.board} {self.processor}, {stack_label(self.stack)}"


def chapter(results: Results) -> Chapter:
    """The first chapter: a table of networks × boards, then the same as a chart."""
    networks, refused = results.networks
    contenders = list(_contenders(results))
    rows = pd.DataFrame([row for network in networks for row in answers(results, network, contenders)])
    notes = [Note(text, True) for text in (*refused, *_without_models(results))]
    if rows.empty:
        return Chapter("answer", QUESTION, "There is no network, or no board with a model.", tuple(notes))
    blocks: tuple[Block, ...] = (answer_grid(rows, results.config.level), answer_figure(rows, results.config.level))
    return Chapter("answer", QUESTION, summary(rows), (*notes, *blocks))


def _contenders(results: Results) -> Iterator[Contender]:
    """Boards that were measured and have no model; of each model file every engine's first stack, own boards first."""
    own = [processor.board for processor in results.processors]
    if len(results.times):
        for board, processor, stack in results.times[["board", "processor", "stack"]].drop_duplicates().to_numpy():
            if (board, processor) not in results.models:
                yield Contender(board, processor, stack, None)
    for (board, processor), model in sorted(results.models.items(), key=lambda item: (item[0][0] not in own, item[0])):
        engines: dict[str, str] = {}
        for stack in model.stacks:
            engines.setdefault(engine_of_stack(stack.stack).name, stack.stack)
        yield from (Contender(board, processor, stack, model) for stack in engines.values())


def _without_models(results: Results) -> Iterator[str]:
    """What is missing of the boards."""
    names = [processor.name for processor in results.processors if not processor.model]
    if names:
        yield f"No model was fitted for {listed(names)}: the chapter on boards says what is missing."
    for processor in results.measured:
        failed, count = int((processor.records["status"] == "failed").sum()), len(processor.records)
        if failed >= MANY_FAILED * count:
            share = f"{failed:,} of {plural(count, 'measurement')}"
            yield f"{share} on {processor.name} failed: the chapter on boards says why."


def answers(results: Results, network: Network, contenders: list[Contender]) -> Iterator[dict[str, Any]]:
    """A row for each contender: time with its interval, memory, and what they are held against; ms and bytes."""
    own, measured = {processor.board for processor in results.processors}, _measured(results.times)
    for contender in contenders:
        row: dict[str, Any] = {"network": network.name, "batch": network.batch, "board": contender.board}
        row |= {"is_own": contender.board in own}
        row |= {"processor": contender.processor, "stack": contender.stack, "label": contender.label}
        row |= {"engine": engine_of_stack(contender.stack).name, "measured_ms": nan}
        row["measured_ms"] = measured.get(tuple(row[name] for name in CASE), nan)
        row |= _estimated(network, contender, results.config.level)
        ms = row["estimate_ms"] if isnan(row["measured_ms"]) else row["measured_ms"]
        if not isnan(ms):
            yield row | {"ms": ms, "images_per_second": network.batch / ms * 1e3 if ms else nan}


def _estimated(network: Network, contender: Contender, level: float) -> dict[str, Any]:
    """What the contender's model says; NaN where there is none, or where its engine cannot run such a network."""
    names = (
        "estimate_ms",
        "low_ms",
        "high_ms",
        "memory_bytes",
        "base_bytes",
        "free_bytes",
        "unseen_share",
        "precision",
    )
    if contender.model is None:
        return dict.fromkeys(names, nan)
    try:
        estimated = estimate(network, contender.model, stack=contender.stack, level=level)
    except NetworkError:
        return dict.fromkeys(names, nan)
    time, memory = estimated.forward_ms, estimated.memory_bytes
    values = (time.estimate, time.low, time.high, memory.total, memory.base, free_bytes(contender.model))
    precision = estimated.precision if estimated.is_of_another_precision else nan
    return dict(zip(names, (*values, estimated.extrapolated_fraction, precision), strict=True))


def _measured(times: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """The medians of networks' own passes, by CASE."""
    known = times.dropna(subset="forward_ms") if "forward_ms" in times else pd.DataFrame(columns=[*CASE, "forward_ms"])
    return dict(zip(known[CASE].itertuples(index=False, name=None), known["forward_ms"].astype(float), strict=True))


def summary(rows: pd.DataFrame) -> str:
    """Where networks are the fastest, on own boards and on all, and how many times are measured."""
    rows = rows.assign(way=ways(rows))
    own, measured = rows[rows["is_own"]], int(rows["measured_ms"].notna().sum())
    texts = [f"of your boards, {fastest(own)}"] if len(own) else []
    if len(own) < len(rows):
        best = fastest(rows)
        texts = [*(text for text in texts if best not in text), f"of all boards, {best}"]
    count = f"{measured} of {plural(len(rows), 'time')} {'was' if measured == 1 else 'were'} measured"
    return f"{capitalised('; '.join(texts))}. {count}, the others are estimates."


def fastest(rows: pd.DataFrame) -> str:
    """Which way is the fastest for most networks."""
    winners = rows.loc[rows.groupby("network")["ms"].idxmin(), "way"].value_counts()
    return f"{winners.index[0]} is the fastest for {winners.iloc[0]} of {plural(rows['network'].nunique(), 'network')}"


def answer_grid(rows: pd.DataFrame, level: float) -> Grid:
    """Networks × boards."""
    labels = list(dict.fromkeys(rows["label"]))
    heads = tuple(tuple(label.split(", ", 1)) for label in labels)
    body = []
    for network, part in rows.groupby("network", sort=False):
        cells: dict[str, dict[str, Any]] = part.set_index("label").to_dict("index")  # type: ignore[assignment]
        body.append((str(network), tuple(answer_cell(cells[label]) if label in cells else None for label in labels)))
    note = (
        f"Milliseconds for a pass of {plural(int(rows['batch'].iloc[0]), 'image')}, with the {whole_percent(level)} "
        "interval of an estimate; images per second; memory of the process (+ engine: nobody measured there what the "
        "engine itself takes). ● marks measured times, the median of all passes. ≈ marks estimates of which more than "
        "half is of layers unlike those that the board's model has seen."
    )
    return Grid("answer", "Networks on boards", ("network", heads), tuple(body), rows, note)


def answer_cell(row: Row) -> GridCell:
    """Time large, what qualifies it small."""
    is_measured = not is_missing(row["measured_ms"])
    is_unseen = not is_measured and row["unseen_share"] > MOSTLY_UNSEEN
    interval = "measured" if is_measured else f"{significant(row['low_ms'])} – {significant(row['high_ms'])}"
    rate = f"{significant(row['images_per_second'])} images/s"
    precision = "" if is_missing(row["precision"]) else str(row["precision"])
    details = (interval, rate, *filter(None, [_memory(row), _fit(row), precision]))
    text = f"{'≈ ' if is_unseen else ''}{significant(row['ms'])} ms"
    mark = "measured" if is_measured else "unseen" if is_unseen else "estimated"
    return GridCell(text, details, float(row["ms"]), mark)


def _memory(row: Row) -> str:
    """MiB of the process; empty where no model tells them."""
    if is_missing(row["memory_bytes"]):
        return ""
    return f"{mebibytes(row['memory_bytes'])} MiB{'' if row['base_bytes'] else ' + engine'}"


def _fit(row: Row) -> str:
    """Whether the process fits into what the board has free; empty where nobody knows that."""
    free = row["free_bytes"]
    if is_missing(free):
        return ""
    return "fits" if row["memory_bytes"] <= free else f"does not fit {mebibytes(free)} MiB"


def answer_figure(rows: pd.DataFrame, level: float) -> Figure:
    """The same as a chart: a line for each board and a colour for each network, or the other way where that is less."""
    columns = ["ms", "low_ms", "high_ms", "images_per_second"]
    is_measured = rows["measured_ms"].notna()
    names = {"line": ways(rows), "series": rows["network"].astype(str)}
    if names["series"].nunique() > names["line"].nunique():
        names = {"line": names["series"], "series": names["line"]}
    shown = rows[["board", "network", *columns]].assign(
        **names, how=is_measured.map({True: "measured", False: "estimated"})
    )
    shown.loc[is_measured, ["low_ms", "high_ms"]] = shown["ms"]
    ordered: list[dict[str, Any]] = rows.sort_values("ms").to_dict("records")  # type: ignore[assignment]
    ends = [f"{significant(row['ms'])} ms ({row['network']} on {row['board']})" for row in (ordered[0], ordered[-1])]
    alt_text = "Time of a pass on each board, a symbol for each network, on a logarithmic axis."
    note = "Filled symbols: measured. Boards and networks are in the order of their median time."
    return Figure("answer", f"From {ends[0]} to {ends[1]}", alt_text, figures.answer_dots(shown, level), note)
