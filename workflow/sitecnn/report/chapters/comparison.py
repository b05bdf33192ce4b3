"""Boards side by side, and the same board before and after a change."""

from itertools import pairwise

import pandas as pd

from sitecnn.dataset.difference import compare, overall
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
    significant,
    words,
)
from sitecnn.report.results import ProcessorResults, Results


def chapter(results: Results) -> Chapter:
    """The chapter on comparisons."""
    question = "How do boards and runs compare?"
    times = results.times
    times = times[times["forward_ms"].notna()] if "forward_ms" in times else pd.DataFrame()
    blocks: list[Block] = []
    if len(times):
        blocks += [boards_figure(times), boards_table(times)]
    changes = all_changes(results)
    blocks += [change_table(name, table) for name, table in changes.items()]
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
    return f"{plural(ways(times).nunique(), 'way')} of running {networks} side by side."


def boards_figure(times: pd.DataFrame) -> Figure:
    """Forward passes of each network on each processor."""
    label = ways(times)
    names = times["network"] + (", batch " + times["batch"].astype(str) if times["batch"].nunique() > 1 else "")
    rows = pd.DataFrame({"network": names, "processor": label, "ms": times["forward_ms"]})
    title = fastest(rows)
    alt_text = "Forward pass in milliseconds of each network, a mark for each processor, logarithmic."
    return Figure("boards", title, alt_text, figures.processors_side_by_side(rows))


def ways(times: pd.DataFrame) -> "pd.Series[str]":
    """`board processor`, with the stack where a processor was measured with several."""
    names = times["board"] + " " + times["processor"]
    return names.where(times.groupby(names)["stack"].transform("nunique") == 1, names + ", " + times["stack"])


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
    columns += [number(f"{way}, ms", way, milliseconds) for way in frame.columns[2:]]
    return Table("boards", "Forward passes side by side", frame, tuple(columns))


def all_changes(results: Results) -> dict[str, pd.DataFrame]:
    """What changed, by name: from the older folder to this one, and from each stack to the next measured."""
    older = {found.name: found for found in results.before}
    changes = {}
    for found in results.measured:
        if found.name in older and len(older[found.name].measurements):
            before = older[found.name].measurements
            changes[f"{found.name}, the older folder to this one"] = compare(before, found.measurements)
        for one, other in pairwise(stacks_by_date(found)):
            rows = found.measurements
            table = compare(rows[rows["stack"] == one], rows[rows["stack"] == other])
            changes[f"{found.name}, {one} to {other}"] = table
    return {name: table for name, table in changes.items() if len(table)}


def stacks_by_date(found: ProcessorResults) -> list[str]:
    """A processor's stacks in the order in which they were first measured; imported ones carry no date."""
    dated = found.measurements.dropna(subset="measured_at")
    return [str(stack) for stack in dated.groupby("stack")["measured_at"].min().sort_values().index]


def change_sentence(name: str, table: pd.DataFrame) -> str:
    """The verdict on one change."""
    ratio, p = overall(table)
    counts = table["verdict"].value_counts()
    if p > 0.05:
        whole = "no change overall"
    else:
        whole = f"{percent(abs(ratio - 1))} {'slower' if ratio > 1 else 'faster'} in the median (p = {p:.2g})"
    return (
        f"{name}: {whole}; {counts.get('slower', 0)} things slower, {counts.get('faster', 0)} faster, of {len(table)}."
    )


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
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)[:80]
    return Table(f"change-{slug}", f"Changes: {name}", table, columns, note, searchable=True)
