"""What did profiling cost, and can it be trusted? Board time, overhead, repeatability, drift, and what failed."""

import pandas as pd

from sitecnn.report import figures
from sitecnn.report.page import (
    Block,
    Chapter,
    Figure,
    Note,
    Table,
    integer,
    milliseconds,
    number,
    percent,
    plural,
    signed_percent,
    timed,
    whole_percent,
    words,
)
from sitecnn.report.results import ProcessorResults, Results


def chapter(results: Results) -> Chapter:
    """The chapter on the measurements themselves."""
    question = "What did profiling cost, and can it be trusted?"
    blocks: list[Block] = [cost_table(results)]
    times = results.times
    if "overhead" in times:
        blocks.append(overhead_table(times))
    for found in results.measured:
        blocks += [*repeatability(found), *drift(found)]
    text = (
        "The same kernel timed with ever more calls per synchronisation, to see its cost spread, is not measured yet."
    )
    blocks.append(Note(text, True))
    blocks += bad_measurements(results)
    return Chapter("cost", question, answer(results), tuple(blocks))


def answer(results: Results) -> str:
    """Board minutes, failures and repeatability."""
    if not results.measured:
        return "Nothing was measured."
    rows = pd.concat([found.records[["status", "seconds"]] for found in results.measured])
    precise = pd.concat([precision(found)["precision"] for found in results.measured])
    text = f"{plural(len(rows), 'measurement')} in {milliseconds(rows['seconds'].sum() / 60)} minutes of board time, "
    text += f"{int((rows['status'] == 'failed').sum())} failed, {int((rows['status'] == 'unstable').sum())} unstable"
    if len(precise):
        text += f"; half the medians are known to within ±{percent(precise.median())}"
    return text + "."


def cost_table(results: Results) -> Table:
    """What was measured by subject and status, with the board time it took."""
    rows = [
        {"board": found.board, "processor": found.processor, "subject": subject, "status": status}
        | {"measurements": len(part), "minutes": part["seconds"].sum(min_count=1) / 60}
        for found in results.measured
        for (subject, status), part in recorded(found).groupby(["subject", "status"])
    ]
    columns = (
        words("board", "board"),
        words("processor", "processor"),
        words("what", "subject"),
        words("status", "status"),
        number("measurements", "measurements", integer),
        number("minutes", "minutes", milliseconds),
    )
    names = ["board", "processor", "subject", "status", "measurements", "minutes"]
    note = "A network's layers, its layerwise and its forward passes are one measurement."
    return Table("cost", "Measurements by status", pd.DataFrame(rows, columns=names), columns, note)


def recorded(found: ProcessorResults) -> pd.DataFrame:
    """One row per record, `subject` telling networks, kernels and memory."""
    named = found.records["subject"].where(found.records["subject"].isin(["kernel", "memory"]), "network")
    return found.records.assign(subject=named)


def overhead_table(times: pd.DataFrame) -> Table:
    """What timing every layer adds to a pass."""
    shown = times.dropna(subset="overhead")
    columns = (
        words("network", "network"),
        words("board", "board"),
        words("processor", "processor"),
        number("batch", "batch", integer),
        timed("layerwise pass, ms", "layerwise"),
        timed("forward pass, ms", "forward"),
        number("overhead", "overhead", signed_percent),
        words("stack", "stack"),
    )
    names = ["network", "board", "processor", "stack", "batch", "layerwise_ms", "layerwise_spread_ms"]
    frame = shown[[*names, "forward_ms", "forward_spread_ms", "overhead"]]
    return Table("overhead", "What timing every layer adds", frame, columns)


def precision(found: ProcessorResults) -> pd.DataFrame:
    """Half of each kernel's 95 % interval of the median, relative."""
    rows = found.subject("kernel").dropna(subset=["low_ns", "high_ns", "iterations"])
    rows = rows[rows["median_ns"] > 0]
    kinds = rows["kind"].map(figures.KIND_GROUPS).fillna("other")
    columns = ["kind", "mode", "iterations"]
    relative = (rows["high_ns"] - rows["low_ns"]) / 2 / rows["median_ns"]
    return rows[columns].assign(precision=relative, ms=rows["median_ns"] / 1e6, group=kinds)


def repeatability(found: ProcessorResults) -> list[Block]:
    """How well each kernel's median is known, against how many calls a sample held."""
    rows = precision(found)
    if rows.empty:
        return [Note(f"{found.name}: no kernel's interval is known.", True)]
    within = (rows["precision"] <= 0.01).mean()
    title = f"{found.name}: {whole_percent(within)} of the kernels are known to within ±1 %"
    alt_text = "Scatter of the relative half interval of each kernel's median against calls per sample."
    note = "Half of the 95 % order-statistic interval of the median, relative to it."
    shown = rows.assign(iterations=rows["iterations"].astype(int)).round({"precision": 5, "ms": 6})
    return [Figure(f"spread-{found.slug}", title, alt_text, figures.spread_by_iterations(shown), note)]


def drift(found: ProcessorResults) -> list[Block]:
    """The sentinel before each block, relative to its median."""
    rows = found.measurements.dropna(subset=["sentinel_before_ns", "measured_at"])
    blocks = rows.drop_duplicates(["run", "sentinel_before_ns", "sentinel_after_ns"]).sort_values(["measured_at"])
    if len(blocks) < 2:
        return [Note(f"{found.name}: too few sentinels to see a drift.", True)]
    relative = blocks["sentinel_before_ns"] / blocks["sentinel_before_ns"].median() - 1
    shown = pd.DataFrame({"block": range(1, len(blocks) + 1), "relative": relative.round(5)})
    low, high = signed_percent(relative.min()), signed_percent(relative.max())
    title = f"{found.name}: the sentinel stayed within {low} to {high} of its median"
    alt_text = "Line of the sentinel's relative time, block by block of the campaign."
    note = "A fixed multiplication before every block of measurements tells whether the board became slower meanwhile."
    return [Figure(f"drift-{found.slug}", title, alt_text, figures.drift(shown), note)]


def bad_measurements(results: Results) -> list[Block]:
    """What failed or was unstable, with reasons, and records that could not be read."""
    names = ["board", "processor", "subject", "kind", "network", "status", "reason"]
    tables = [found.measurements.loc[found.measurements["status"] != "ok", names] for found in results.measured]
    bad = pd.concat(tables) if tables else pd.DataFrame(columns=names)
    blocks: list[Block] = []
    if len(bad):
        counted = bad.groupby(names, dropna=False).size().reset_index(name="measurements")
        columns = (*(words(name, name) for name in names), number("measurements", "measurements", integer))
        blocks.append(Table("bad", "Failed and unstable measurements", counted, columns))
    else:
        blocks.append(Note("Nothing failed and nothing was unstable."))
    if len(results.refused):
        columns = (words("file", "origin"), number("line", "line", integer), words("reason", "reason"))
        frame = results.refused[["origin", "line", "reason"]]
        title = f"{plural(len(frame), 'quarantined record')}"
        blocks.append(Table("refused", title, frame, columns, searchable=True))
    else:
        blocks.append(Note("No record had to be quarantined."))
    owed = [
        f"{found.board} {name}: {last['owed']} of {last['planned']} measurements are still owed"
        for found in results.processors
        for name, last in found.done.items()
        if last.get("owed")
    ]
    return [*blocks, *(Note(text, True) for text in owed)]
