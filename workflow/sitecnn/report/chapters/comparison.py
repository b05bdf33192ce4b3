"""Boards side by side, and the same board before and after a change."""

import hashlib
from itertools import pairwise

import numpy as np
import pandas as pd

from sitecnn.dataset.compare import SMALLEST_SHIFT, compare, shifts
from sitecnn.report import figures
from sitecnn.report.page import (
    Block,
    Chapter,
    Figure,
    Note,
    Row,
    Table,
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
    blocks: list[Block] = []
    if len(times):
        blocks += [boards_figure(times)] if ways(times).nunique() > 1 else []
        blocks.append(boards_table(times))
    changes = all_changes(results)
    for name, table in changes.items():
        blocks += [shift_table(name, shifts(table)), change_table(name, table)]
    if not changes:
        text = (
            "Nothing to compare in time: no processor was measured with two stacks. After an upgrade measure again, "
            "or give the older folder: `sitecnn report --before FOLDER`."
        )
        blocks.append(Note(text, True))
    answer = " ".join(change_sentence(name, table) for name, table in changes.items()) or boards_sentence(times)
    return Chapter("comparison", question, answer, tuple(blocks))


def boards_sentence(times: pd.DataFrame) -> str:
    """How many ways of running a network are set side by side."""
    if times.empty:
        return "No forward pass was measured."
    networks = plural(times["network"].nunique(), "network")
    if ways(times).nunique() == 1:
        return f"Only {ways(times).iloc[0]} was measured; the first chapter sets estimates of other boards beside it."
    return f"{plural(ways(times).nunique(), 'way')} of running {networks} side by side."


def boards_figure(times: pd.DataFrame) -> Figure:
    """Forward passes of each network on each processor."""
    label = ways(times)
    names = times["network"] + (", batch " + times["batch"].astype(str) if times["batch"].nunique() > 1 else "")
    rows = pd.DataFrame({"network": names, "processor": label, "ms": times["forward_ms"]})
    title = fastest(rows)
    alt_text = "Forward pass in milliseconds of each network, a mark for each processor, logarithmic."
    return Figure("boards", title, alt_text, figures.processors_side_by_side(rows))


def fastest(rows: pd.DataFrame) -> str:
    """Who wins most of the passes that were measured in several ways."""
    shared = rows[rows.groupby("network")["processor"].transform("nunique") > 1]
    if shared.empty:
        return "No pass was measured in more than one way"
    winners = shared.loc[shared.groupby("network")["ms"].idxmin(), "processor"].value_counts()
    return f"{winners.index[0]} is the fastest in {winners.iloc[0]} of {shared['network'].nunique()} passes"


def boards_table(times: pd.DataFrame) -> Table:
    """A row for each network and batch, a column for each processor and stack."""
    frame = times.assign(way=ways(times)).pivot_table(
        index=["network", "batch"], columns="way", values="forward_ms", sort=False
    )
    frame = frame.reset_index()
    columns = [words("network", "network"), number("batch", "batch", integer)]
    sides = list(frame.columns[2:])
    columns += [number(f"{way}, ms", way, milliseconds) for way in sides]
    if len(sides) == 2:
        frame = frame.assign(ratio=frame[sides[1]] / frame[sides[0]])
        columns.append(number(f"{sides[1]} ÷ {sides[0]}", "ratio", significant))
    return Table("boards", "Forward passes side by side", frame, tuple(columns))


def all_changes(results: Results) -> dict[str, pd.DataFrame]:
    """What changed, by name: from the older folder to this one, and from each stack of an engine to the next."""
    older = {found.name: found for found in results.before}
    changes = {}
    for found in results.measured:
        if found.name in older and len(older[found.name].measurements):
            before = older[found.name].measurements
            changes[f"{found.name}, the older folder to this one"] = compare(before, found.measurements)
        rows = found.measurements
        for engine in ENGINES:
            stacks = [stack for stack in stacks_by_date(found) if engine_of_stack(stack).name == engine]
            for one, other in pairwise(stacks):
                table = compare(rows[rows["stack"] == one], rows[rows["stack"] == other])
                changes[f"{found.name}, {one} to {other}"] = table
    return {name: table for name, table in changes.items() if len(table)}


def stacks_by_date(found: ProcessorResults) -> list[str]:
    """A processor's stacks in the order in which they were first measured; imported ones carry no date."""
    dated = found.measurements.dropna(subset="measured_at")
    return [str(stack) for stack in dated.groupby("stack")["measured_at"].min().sort_values().index]


def change_sentence(name: str, table: pd.DataFrame) -> str:
    """The verdict on one change: types of work that shifted, the most first, and how many things did by themselves."""
    counts = table["verdict"].value_counts()
    things = f"of {plural(len(table), 'thing')} measured in both, {counts.get('slower', 0)} became slower and "
    things += f"{counts.get('faster', 0)} faster"
    found = shifts(table)
    sure = found[found["verdict"] != "same"].sort_values("ratio", key=lambda ratios: -abs(np.log(ratios)))
    if sure.empty:
        return f"{name}: no type of work changed for certain; {things}."
    named: list[Row] = sure.head(MOST_NAMED).to_dict("records")  # type: ignore[assignment]
    parts = [f"{what(row)} {percent(abs(row['ratio'] - 1))} {row['verdict']}" for row in named]
    more = f" and {len(sure) - MOST_NAMED} more" if len(sure) > MOST_NAMED else ""
    return f"{name}: {', '.join(parts)}{more} of {plural(len(found), 'type')} of work; {things}."


def what(row: Row) -> str:
    """A type of work as people say it: `Convolution layers`, `gemm kernels`, `forward passes`."""
    kind = str(row["type"]).replace("_", " ")
    return f"{kind} {row['subject']}s" if kind else f"{row['subject']} passes"


def shift_table(name: str, found: pd.DataFrame) -> Table:
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
    return Table(f"shift-{slug(name)}", f"Types of work: {name}", found, columns, note)


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
        words("kind", "kind"),
        words("mode", "mode"),
        number("before, ms", "before_ms", milliseconds),
        number("after, ms", "after_ms", milliseconds),
        number("after ÷ before", "ratio", significant),
        number("p", "p", significant),
        words("verdict", "verdict"),
    )
    note = "Two-sided Mann–Whitney U tests at a false discovery rate of 5 % (Benjamini & Hochberg 1995)."
    return Table(f"change-{slug(name)}", f"Thing by thing: {name}", table, columns, note, searchable=True)
