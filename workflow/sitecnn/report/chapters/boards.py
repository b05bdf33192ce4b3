"""The boards: what was measured when, at what cost, how steadily, and what failed or is still owed."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.models.probe_names import without_probes
from sitecnn.models.rounds import lower_quartile, over_rounds, usual_ratio
from sitecnn.report import figures
from sitecnn.report.kind_names import group_of, kind_label, size_label
from sitecnn.report.page import (
    MOST_POINTS,
    Block,
    Chapter,
    Column,
    Figure,
    Note,
    Table,
    capitalised,
    integer,
    listed,
    number,
    percent,
    plural,
    signed_percent,
    significant,
    tenths,
    where,
    whole_percent,
    words,
)
from sitecnn.report.passes import ways
from sitecnn.report.results import ProcessorResults, Results, joined
from sitecnn.workload.stack_names import stack_label, telling_labels

PURPOSES = {
    "timed": "timed calls",
    "warm_up": "warming up",
    "inputs": "making inputs",
    "files": "writing files",
    "other": "anything else",
}
FEWEST_POINTS = 3
NUMBER = r"\d+(?:[.,]\d+)*"
Floats = np.ndarray[Any, np.dtype[np.float64]]


def chapter(results: Results) -> Chapter:
    """The chapter on the measurements themselves."""
    question = "What was measured on which board?"
    blocks: list[Block] = [overview(results), *(Note(text) for text in next_steps(results))]
    blocks += [*bad_measurements(results), cost_table(results), *account(results.runs)]
    blocks += coverage_table(results)
    missing: dict[str, list[str]] = {}
    for processor in results.measured:
        for block in (*overhead_curve(processor), *repeatability(processor), *drift(processor)):
            if isinstance(block, Note):
                missing.setdefault(block.text, []).append(processor.name)
            else:
                blocks.append(block)
    blocks += [Note(f"{text} on {listed(names)}.", True) for text, names in missing.items()]
    return Chapter("boards", question, answer(results), tuple(blocks))


def answer(results: Results) -> str:
    """Board minutes, failures and repeatability."""
    if not results.measured:
        return "Nothing was measured."
    rows = pd.concat([processor.records[["status", "seconds"]] for processor in results.measured])
    precise = pd.concat([precision(processor)["precision"] for processor in results.measured])
    minutes = sum(known for one in results.measured if (known := results.board_minutes(one)) > 0)
    text = plural(len(rows), "measurement")
    text += f" in {tenths(minutes)} minutes of board time, " if minutes > 0 else ", "
    text += f"{int((rows['status'] == 'failed').sum())} failed, {int((rows['status'] == 'unstable').sum())} unstable"
    if len(precise):
        text += f"; half the medians are known to within ±{percent(precise.median())}"
    return text + "."


def overview(results: Results) -> Table:
    """Each processor with what was measured on it."""
    rows = []
    for processor in results.processors:
        measured = processor.measurements
        ok = measured["status"] != "failed"
        count = {subject: int(((measured["subject"] == subject) & ok).sum()) for subject in ("kernel", "layer")}
        rows.append(
            {
                **processor.place,
                "description": processor.description,
                "stack": "; ".join(stack_label(str(stack)) for stack in sorted(measured["stack"].dropna().unique())),
                "measured_at": last_measured(measured),
                "networks": len(without_probes(measured["network"].dropna().unique())),
                "layers": count["layer"],
                "kernels": count["kernel"],
                "failed": int((measured["status"] == "failed").sum()),
                "unstable": int((measured["status"] == "unstable").sum()),
                "board_minutes": results.board_minutes(processor),
            }
        )
    titles = {"networks": "networks", "layers": "times of layers", "kernels": "times of kernels"}
    counts = [number(titles.get(name, name), name, integer) for name in (*titles, "failed", "unstable")]
    frame = pd.DataFrame(rows)
    columns: tuple[Column, ...] = (
        *where(frame),
        words("what it is", "description"),
        *counts,
        number("board minutes", "board_minutes", tenths),
        words("last measured", "measured_at"),
        words("stack", "stack"),
    )
    return Table("overview", "What was measured", frame, columns)


def coverage_table(results: Results) -> list[Block]:
    """Per kind, how many of the networks' kernels lie inside what the probes saw; nothing without probes."""
    tables = [processor.coverage.assign(**processor.place) for processor in results.measured]
    rows = joined(tables)
    if rows.empty:
        return []
    rows = rows.sort_values(["board", "processor", "stack", "ms"], ascending=[True, True, True, False])
    rows = rows.assign(share=rows["inside"] / rows["kernels"], time=rows["inside_ms"] / rows["ms"])
    columns = (
        *where(rows),
        words("kind", "kind", kind_label),
        number("in probes", "probe_kernels", integer),
        number("in networks", "kernels", integer),
        number("inside", "share", whole_percent),
        number("of the time", "time", whole_percent),
        words("farthest outside", "farthest", size_label),
        number("times", "farthest_factor", significant),
    )
    note = (
        "A kernel is inside if each of its sizes lies between the least and the largest that its kind had in a probe "
        "network. Farthest outside is the size that most exceeds them, and how many times; a kind that no probe has is "
        "guessed."
    )
    title = f"{percent(rows['inside_ms'].sum() / rows['ms'].sum())} of the networks' time is in kernels that probes met"
    return [Table("coverage", title, rows, columns, note)]


def last_measured(measurements: pd.DataFrame) -> str | None:
    """The day of the last measurement, None where the times are not known (imports)."""
    times = measurements["measured_at"].dropna()
    return str(times.max())[:10] if len(times) else None


def next_steps(results: Results) -> list[str]:
    """What is missing or weak here, and what to do about it."""
    steps = []
    unmeasured = [processor.name for processor in results.processors if processor.measurements.empty]
    if unmeasured:
        steps.append(
            f"Nothing was measured on {listed(unmeasured)}: run `snakemake --cores 4 profile`, or import times."
        )
    if not any(processor.processor == "gpu" for processor in results.measured):
        steps.append("No GPU was measured: add one to a board's file, or import times that were measured elsewhere.")
    useless = [processor.name for processor in results.measured if (processor.measurements["status"] == "failed").all()]
    if useless:
        steps.append(f"All measurements on {listed(useless)} failed: fix what the table below says and profile again.")
    thin = [processor.name for processor in results.measured if processor.measurements["network"].nunique() < 2]
    if thin:
        steps.append(f"With one network nothing can be held out on {listed(thin)}: add a second to config/config.yaml.")
    stopped = dict.fromkeys(processor.board for processor in results.processors if processor.interrupted)
    if stopped:
        steps.append(
            f"The campaign on {listed(list(stopped))} was interrupted: run `snakemake --cores 4 profile` again."
        )
    failed = {
        processor.name: int((processor.measurements["status"] == "failed").sum()) for processor in results.measured
    }
    bad = [f"{plural(count, 'measurement')} on {name}" for name, count in failed.items() if count]
    if bad:
        steps.append(f"{capitalised(listed(bad))} failed: the table below says why.")
    return steps


def cost_table(results: Results) -> Table:
    """What was measured by subject and status, with the board time it took."""
    rows = [
        {**processor.place, "subject": subject, "status": status}
        | {"measurements": len(part), "minutes": part["seconds"].sum(min_count=1) / 60}
        for processor in results.measured
        for (subject, status), part in recorded(processor).groupby(["subject", "status"])
    ]
    frame = pd.DataFrame(rows, columns=["board", "processor", "subject", "status", "measurements", "minutes"])
    columns = (
        *where(frame),
        words("what", "subject"),
        words("status", "status"),
        number("measurements", "measurements", integer),
        number("minutes", "minutes", tenths),
    )
    note = (
        "A network's layers, its layerwise and its forward passes are one measurement. Minutes are those of the "
        "measurements themselves; starting and waiting come to them."
    )
    return Table("cost", "Measurements by status", frame, columns, note)


def recorded(processor: ProcessorResults) -> pd.DataFrame:
    """One row per record, `subject` telling networks, kernels and memory."""
    named = processor.records["subject"].where(processor.records["subject"].isin(["kernel", "memory"]), "network")
    return processor.records.assign(subject=named)


def account(runs: pd.DataFrame) -> list[Block]:
    """Where the board's time went, as its agent booked it."""
    names = [f"cost_{purpose}_s" for purpose in PURPOSES]
    booked = runs.dropna(subset=names) if set(names) <= set(runs.columns) else pd.DataFrame()
    if booked.empty:
        return [Note("No agent said what its time went into.", True)]
    frame = booked.groupby(["board", "processor", "stack"], as_index=False)[[*names, "seconds"]].sum()
    sums = frame[names].sum()
    title = f"{whole_percent(sums.iloc[0] / sums.sum())} of the board time was spent in timed calls"
    labels = ways(frame)
    minutes = [
        {
            "label": label,
            "board": row["board"],
            "purpose": PURPOSES[purpose],
            "order": order,
            "minutes": round(row[name] / 60, 6),
        }
        for label, row in zip(labels, frame.to_dict("records"), strict=True)
        for order, (purpose, name) in enumerate(zip(PURPOSES, names, strict=True))
    ]
    alt_text = "Stacked bars of each processor's board minutes by what they were spent on."
    chart = figures.cost_bars(pd.DataFrame(minutes))
    return [Figure("account", title, alt_text, chart)]


def overhead_curve(processor: ProcessorResults) -> list[Block]:
    """One kernel with ever more calls per synchronisation: the cost of waiting for it is shared by all of them."""
    rows = processor.subject("kernel")
    rows = rows[rows["mode"] == "overhead"].dropna(subset=["median_ns", "iterations"])
    rows = rows.groupby(["stack", "iterations"], as_index=False)[["median_ns", "low_ns", "high_ns"]].median()
    lines = [line for _, line in rows.groupby("stack") if len(line) >= FEWEST_POINTS]
    if not lines:
        return [Note("No kernel was timed with more and more calls per synchronisation", True)]
    shown = pd.concat(lines).astype({"iterations": int})
    stack_names = telling_labels(shown["stack"])
    shown = shown.assign(
        us=shown["median_ns"] / 1e3,
        low_us=shown["low_ns"] / 1e3,
        high_us=shown["high_ns"] / 1e3,
        label=shown["stack"].map(stack_names) if len(lines) > 1 else processor.name,
    )
    title = f"{processor.name}: {synchronising(lines[0])}"
    columns = ["label", "iterations", "us", "low_us", "high_us"]
    chart = figures.overhead_curve(shown[columns].round(5))
    alt_text = "Line of microseconds per call against calls per synchronisation, from one on."
    note = "The same multiplication throughout, warm; bars are the median's 95 % intervals."
    frame = shown[["stack", "iterations", "median_ns", "low_ns", "high_ns"]].reset_index(drop=True)
    frame = frame.assign(**processor.place)
    cells = (
        *where(frame),
        number("calls per synchronisation", "iterations", integer),
        *(number(title, name, integer) for title, name in
          (("ns per call", "median_ns"), ("from, ns", "low_ns"), ("to, ns", "high_ns"))),
    )  # fmt: skip
    table = Table(f"synchronising-{processor.slug}", "Time per call of one kernel", frame, cells, searchable=True)
    return [Figure(f"synchronising-{processor.slug}", title, alt_text, chart, note, processor.board), table]


def synchronising(line: pd.DataFrame) -> str:
    """What waiting for a call costs, and from how many calls on it no longer matters."""
    calls, ns = line["iterations"].to_numpy(dtype=float), line["median_ns"].to_numpy(dtype=float)
    waiting, call = cost_of_waiting(calls, ns)
    if waiting <= 0:
        return f"waiting for each call of {significant(call / 1e3)} µs costs nothing that can be seen"
    enough = math.ceil(waiting / (0.01 * call))
    text = f"waiting for a call costs {significant(waiting / 1e3)} µs beside its own {significant(call / 1e3)} µs"
    return f"{text}; shared by {plural(enough, 'call')} or more it adds less than 1 %"


def cost_of_waiting(calls: Floats, ns: Floats) -> tuple[float, float]:
    """(b, a) of time per call = a + b ÷ calls, by least squares on relative errors, ns."""
    waiting, call = np.polyfit(1 / calls, ns, 1, w=1 / ns)
    return float(waiting), float(call)


def precision(processor: ProcessorResults) -> pd.DataFrame:
    """Half of each kernel's 95 % interval of the median, relative."""
    rows = processor.subject("kernel").dropna(subset=["low_ns", "high_ns", "iterations"])
    rows = rows[(rows["median_ns"] > 0) & (rows["mode"] != "overhead")]
    columns = ["kind", "mode", "iterations"]
    relative = (rows["high_ns"] - rows["low_ns"]) / 2 / rows["median_ns"]
    return rows[columns].assign(precision=relative, ms=rows["median_ns"] / 1e6, group=rows["kind"].map(group_of))


def repeatability(processor: ProcessorResults) -> list[Block]:
    """How well each kernel's median is known, against how many calls a sample held."""
    rows = precision(processor)
    if rows.empty:
        return [Note("No kernel's interval is known", True)]
    within = (rows["precision"] <= 0.01).mean()
    title = f"{processor.name}: {whole_percent(within)} of the kernels are known to within ±1 %"
    alt_text = "Scatter of the relative half interval of each kernel's median against calls per sample."
    note = "Half of the 95 % order-statistic interval of the median, relative to it."
    if len(rows) > MOST_POINTS:
        note += f" Of {len(rows):,} kernels the {MOST_POINTS:,} longest."
    shown = (
        rows.nlargest(MOST_POINTS, "ms")
        .assign(iterations=rows["iterations"].astype(int))
        .round({"precision": 5, "ms": 6})
    )
    return [
        Figure(f"spread-{processor.slug}", title, alt_text, figures.spread_by_iterations(shown), note, processor.board)
    ]


def drift(processor: ProcessorResults) -> list[Block]:
    """Whole passes round by round, relative to the least of the rounds; estimates are of the least third."""
    rows = processor.subject("forward").dropna(subset=["round"])
    if rows["round"].nunique() < 2:
        return [Note("Nothing was measured in rounds, so no drift can be seen,", True)]
    passes = rows.assign(ns=[lower_quartile(samples) for samples in rows["samples_ns"]])
    table = passes.groupby(["stack", "network", "batch", "round"])["ns"].min().unstack("round")
    relative = table.div(table.min(axis=1), axis=0).median() - 1
    shown = pd.DataFrame({"round": relative.index.astype(int) + 1, "relative": relative.round(5)})
    low, high = percent(relative.min()), percent(relative.max())
    title = f"{processor.name}: passes took {low} to {high} more than in the fastest round"
    alt_text = "Line: time of whole passes relative to the fastest round, one point for each round of the campaign."
    usual = signed_percent(usual_ratio(over_rounds(rows)) - 1)
    note = (
        "The median over networks and probes. Estimates are of the fastest third of the rounds; the median of all "
        f"passes is {usual} above that."
    )
    return [Figure(f"drift-{processor.slug}", title, alt_text, figures.drift(shown), note, processor.board)]


def reasons(done: dict[str, Any]) -> str:
    """Why measurements of a campaign failed, with how many each."""
    return "; ".join(f"{reason} ({count})" for reason, count in done.get("reasons", {}).items())


def one_reason(alike: "pd.Series[Any]") -> Any:
    """A reason in which numbers that differ between measurements are left out."""
    first = alike.iloc[0]
    return first if alike.nunique() <= 1 else re.sub(NUMBER, "…", first)


def bad_measurements(results: Results) -> list[Block]:
    """What failed or was unstable, with reasons, and records that could not be read."""
    names = ["board", "processor", "subject", "kind", "network", "status", "reason"]
    tables = [
        processor.measurements.loc[processor.measurements["status"] != "ok", names] for processor in results.measured
    ]
    bad = pd.concat(tables) if tables else pd.DataFrame(columns=names)
    blocks: list[Block] = []
    if len(bad):
        alike = bad.groupby([*names[:-1], bad["reason"].str.replace(NUMBER, "…", regex=True)], dropna=False)
        counted = alike.agg(reason=("reason", one_reason), measurements=("status", "size"))
        counted = counted.droplevel("reason").reset_index()
        columns = (
            *where(counted),
            words("subject", "subject"),
            words("kind", "kind", kind_label),
            *(words(name, name) for name in names[4:]),
            number("measurements", "measurements", integer),
        )
        blocks.append(Table("bad", "Failed and unstable measurements", counted, columns))
    else:
        blocks.append(Note("Nothing failed and nothing was unstable."))
    if len(results.refused):
        columns = (words("file", "origin"), number("line", "line", integer), words("reason", "reason"))
        frame = results.refused[["origin", "line", "reason"]]
        title = f"{plural(len(frame), 'record')} could not be read"
        blocks.append(Table("refused", title, frame, columns, searchable=True))
    else:
        blocks.append(Note("Every record could be read."))
    owed = [
        f"{processor.board} {name}: {last['owed']} of {last['planned']} measurements remain"
        for processor in results.processors
        for name, last in processor.done.items()
        if last.get("owed")
    ]
    owed += [
        f"{processor.board} {name}: {last['failed']} of {last['planned']} measurements failed: {reasons(last)}"
        for processor in results.processors
        for name, last in processor.done.items()
        if last.get("failed")
    ]
    stopped = {processor.board: processor.interrupted for processor in results.processors if processor.interrupted}
    owed += [
        f"{board}: the campaign was interrupted ({why}); run it again to continue." for board, why in stopped.items()
    ]
    return [*blocks, *(Note(text, True) for text in owed)]
