"""Measured boards side by side, and the same board before and after a change."""

import hashlib
from itertools import pairwise

import numpy as np
import pandas as pd

from sitecnn.dataset.compare import SMALLEST_SHIFT, compare, shifts
from sitecnn.report.kind_names import kind_label
from sitecnn.report.page import (
    Block,
    Chapter,
    Note,
    Row,
    Table,
    batches,
    integer,
    milliseconds,
    number,
    percent,
    plural,
    significant,
    whole_percent,
    words,
)
from sitecnn.report.passes import ways
from sitecnn.report.results import ProcessorResults, Results
from sitecnn.workload.engines import ENGINES, engine_of_stack

MOST_NAMED = 3


def chapter(results: Results) -> Chapter:
    """The chapter on comparisons."""
    question = "How do measured boards and runs compare?"
    times = results.times
    times = times[times["forward_ms"].notna()] if "forward_ms" in times else pd.DataFrame()
    several = len(times) > 0 and ways(times).nunique() > 1
    blocks: list[Block] = [boards_table(times)] if several else []
    changes = all_changes(results)
    for name, table in changes.items():
        blocks += [shift_table(name, shifts(table)), change_table(name, table)]
    if not changes:
        text = (
            "No processor was measured before and after a change. Measure again after an upgrade, or name the older "
            "folder: `sitecnn report --before FOLDER`."
        )
        blocks.append(Note(text, True))
    answer = " ".join(change_sentence(name, table) for name, table in changes.items()) or boards_sentence(times)
    return Chapter("comparison", question, answer, tuple(blocks))


def boards_sentence(times: pd.DataFrame) -> str:
    """Which way of running networks is the fastest in most of the passes that were measured in several."""
    if times.empty:
        return "No forward pass was measured."
    if ways(times).nunique() == 1:
        return f"Only {ways(times).iloc[0]} was measured; the first chapter sets estimates of other boards beside it."
    rows = times.assign(way=ways(times))
    passes = rows.groupby(["network", "batch"])
    shared = passes.filter(lambda part: part["way"].nunique() > 1).groupby(["network", "batch"])
    if shared.ngroups == 0:
        return "No pass was measured in more than one way."
    winners = rows.loc[shared["forward_ms"].idxmin(), "way"].value_counts()
    return f"{winners.index[0]} is the fastest in {winners.iloc[0]} of {shared.ngroups} passes."


def boards_table(times: pd.DataFrame) -> Table:
    """A row for each network and batch, a column for each processor and stack."""
    frame = times.assign(way=ways(times)).pivot_table(
        index=["network", "batch"], columns="way", values="forward_ms", sort=False
    )
    frame = frame.reset_index()
    columns = [words("network", "network"), batches()]
    sides = list(frame.columns[2:])
    columns += [number(f"{way}, ms", way, milliseconds) for way in sides]
    if len(sides) == 2:
        frame = frame.assign(ratio=frame[sides[1]] / frame[sides[0]])
        columns.append(number(f"{sides[1]} ÷ {sides[0]}", "ratio", significant))
    return Table("boards", "Forward passes side by side", frame, tuple(columns))


def all_changes(results: Results) -> dict[str, pd.DataFrame]:
    """What changed, by name: from the older folder to this one, and from each stack of an engine to the next."""
    older = {processor.name: processor for processor in results.before}
    changes = {}
    for processor in results.measured:
        if processor.name in older and len(older[processor.name].measurements):
            before = older[processor.name].measurements
            changes[f"{processor.name}, the older folder to this one"] = compare(before, processor.measurements)
        rows = processor.measurements
        for engine in ENGINES:
            stacks = [stack for stack in stacks_by_date(processor) if engine_of_stack(stack).name == engine]
            for one, other in pairwise(stacks):
                table = compare(rows[rows["stack"] == one], rows[rows["stack"] == other])
                changes[f"{processor.name}, {one} to {other}"] = table
    return {name: table for name, table in changes.items() if len(table)}


def stacks_by_date(processor: ProcessorResults) -> list[str]:
    """A processor's stacks in the order in which they were first measured; imported ones carry no date."""
    dated = processor.measurements.dropna(subset="measured_at")
    return [str(stack) for stack in dated.groupby("stack")["measured_at"].min().sort_values().index]


def change_sentence(name: str, table: pd.DataFrame) -> str:
    """The verdict on one change: types of work that shifted, the most first, and how many things did by themselves."""
    counts = table["verdict"].value_counts()
    things = f"of {plural(len(table), 'thing')} measured in both, {counts.get('slower', 0)} became slower and "
    things += f"{counts.get('faster', 0)} faster"
    shifted = shifts(table)
    sure = shifted[shifted["verdict"] != "same"].sort_values("ratio", key=lambda ratios: -abs(np.log(ratios)))
    if sure.empty:
        return f"{name}: no type of work changed for certain; {things}."
    named: list[Row] = sure.head(MOST_NAMED).to_dict("records")  # type: ignore[assignment]
    parts = [f"{what(row)} {percent(abs(row['ratio'] - 1))} {row['verdict']}" for row in named]
    more = f" and {len(sure) - MOST_NAMED} more" if len(sure) > MOST_NAMED else ""
    return f"{name}: {', '.join(parts)}{more} of {plural(len(shifted), 'type')} of work; {things}."


def what(row: Row) -> str:
    """A type of work as people say it: `Convolution layers`, `gemm kernels`, `forward passes`."""
    return f"{kind_label(str(row['type']))} {row['subject']}s" if row["type"] else f"{row['subject']} passes"


def shift_table(name: str, shifted: pd.DataFrame) -> Table:
    """Types of work with how far each shifted."""
    columns = (
        words("what", "subject"),
        words("type", "type"),
        number("things", "count", integer),
        number("after ÷ before, median", "ratio", significant),
        number("p", "p", significant),
        words("verdict", "verdict"),
    )
    note = (
        "Wilcoxon's signed-rank test over all things of a type, at a false discovery rate of 5 %; less than "
        f"{whole_percent(SMALLEST_SHIFT)} is called the same, for two runs of one board differ by as much."
    )
    return Table(f"shift-{slug(name)}", f"Types of work: {name}", shifted, columns, note)


def slug(name: str) -> str:
    """A comparison's name as part of a file's; names that begin alike stay apart."""
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
    return f"{plain[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def change_table(name: str, table: pd.DataFrame) -> Table:
    """Everything measured in both, with its significance."""
    columns = (
        words("what", "subject"),
        words("network", "network"),
        words("layer", "layer"),
        words("kind", "kind", kind_label),
        words("mode", "mode"),
        number("before, ms", "before_ms", milliseconds),
        number("after, ms", "after_ms", milliseconds),
        number("after ÷ before", "ratio", significant),
        number("p", "p", significant),
        words("verdict", "verdict"),
    )
    note = "Two-sided Mann–Whitney U tests at a false discovery rate of 5 % (Benjamini & Hochberg 1995)."
    return Table(f"change-{slug(name)}", f"Thing by thing: {name}", table, columns, note, searchable=True)
