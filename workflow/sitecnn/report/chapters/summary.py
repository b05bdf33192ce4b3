"""What was looked at, how far to trust the estimates, and what to do next."""

import pandas as pd

from sitecnn.report import figures, passes
from sitecnn.report.page import (
    Block,
    Chapter,
    Column,
    Commands,
    Figure,
    Note,
    Table,
    flag,
    integer,
    listed,
    milliseconds,
    number,
    percent,
    plural,
    signed_percent,
    stacks,
    whole_percent,
    words,
)
from sitecnn.report.results import Results

MOST_BARS = 40


def chapter(results: Results) -> Chapter:
    """The summary."""
    networks = results.held_out("networks")
    blocks: list[Block] = [overview(results)]
    if len(networks):
        blocks += [estimates_figure(networks, results.config.level), estimates_table(networks, results.config.level)]
    blocks += [Note(text) for text in next_steps(results, networks)]
    blocks.append(Commands(("sitecnn estimate NETWORK.prototxt --board BOARD --processor cpu",)))
    return Chapter("summary", "How far can these estimates be trusted?", verdict(networks), tuple(blocks))


def verdict(networks: pd.DataFrame) -> str:
    """One sentence on how far to trust the estimates."""
    if networks.empty:
        return "Nothing was held out yet, so there is no telling how far to trust an estimate."
    errors = networks["error"].abs()
    held = int(networks["covered"].sum())
    return (
        f"Networks that a model had never seen were estimated with a median error of {percent(errors.median())}, "
        f"{percent(errors.max())} at worst; {held} of {len(networks)} intervals held."
    )


def overview(results: Results) -> Table:
    """Each processor with what was measured on it."""
    rows = []
    for found in results.processors:
        measured = found.measurements
        ok = measured["status"] != "failed"
        count = {subject: int(((measured["subject"] == subject) & ok).sum()) for subject in ("kernel", "layer")}
        rows.append(
            {
                "board": found.board,
                "processor": found.processor,
                "description": found.description,
                "stack": ", ".join(sorted(measured["stack"].dropna().unique())),
                "networks": measured["network"].nunique(),
                "layers": count["layer"],
                "kernels": count["kernel"],
                "failed": int((measured["status"] == "failed").sum()),
                "unstable": int((measured["status"] == "unstable").sum()),
                "board_minutes": results.board_minutes(found),
            }
        )
    counts = [number(name, name, integer) for name in ("networks", "layers", "kernels", "failed", "unstable")]
    columns: tuple[Column, ...] = (
        words("board", "board"),
        words("processor", "processor"),
        words("what it is", "description"),
        *counts,
        number("board minutes", "board_minutes", milliseconds),
        words("stack", "stack"),
    )
    return Table("overview", "What was measured", pd.DataFrame(rows), columns)


def estimates_table(networks: pd.DataFrame, level: float) -> Table:
    """Measured against estimated, every held-out network of every board."""
    columns = (
        words("network", "network"),
        words("board", "board"),
        words("processor", "processor"),
        number("batch", "batch", integer),
        number("measured, ms", "measured_ms", milliseconds),
        number("estimated, ms", "estimate_ms", milliseconds),
        number(f"{whole_percent(level)} interval from, ms", "low_ms", milliseconds),
        number("to, ms", "high_ms", milliseconds),
        number("error", "error", signed_percent),
        flag("inside", "covered"),
        *stacks(networks),
    )
    note = "Each network was estimated by a model fitted without any of its own timings."
    return Table("networks", "Forward passes, measured and estimated", networks, columns, note)


def estimates_figure(networks: pd.DataFrame, level: float) -> Figure:
    """The same as a chart."""
    shown = networks.assign(
        label=passes.labels(networks),
        ratio=networks["estimate_ms"] / networks["measured_ms"],
        low_ratio=networks["low_ms"] / networks["measured_ms"],
        high_ratio=networks["high_ms"] / networks["measured_ms"],
        holds=networks["covered"].map({True: "interval holds", False: "interval misses"}),
    )
    worst = networks.sort_values("error", key=abs).iloc[-1]
    title = f"{int(networks['covered'].sum())} of {len(networks)} intervals hold what was measured"
    if len(shown) > MOST_BARS:
        shown = shown.reindex(shown["error"].abs().sort_values(ascending=False).index[:MOST_BARS])
        title += f"; the {MOST_BARS} largest errors"
    columns = ["label", "ratio", "low_ratio", "high_ratio", "holds", "measured_ms", "estimate_ms"]
    alt_text = f"Estimate divided by measurement for each held-out network; the worst is {worst['network']}."
    return Figure("estimates", title, alt_text, figures.intervals(shown[columns], level))


def next_steps(results: Results, networks: pd.DataFrame) -> list[str]:
    """What to do about what is missing or weak here."""
    steps = []
    unmeasured = [found.name for found in results.processors if found.measurements.empty]
    if unmeasured:
        steps.append(
            f"Nothing was measured on {listed(unmeasured)}: run `snakemake --cores 4 profile`, or import times."
        )
    if not any(found.processor == "gpu" for found in results.measured):
        steps.append("No GPU was measured: add one to a board's file, or import times that were measured elsewhere.")
    if len(networks) > 0 and networks["covered"].mean() < results.config.level - 0.1:
        steps.append(
            f"Intervals hold less often than the {whole_percent(results.config.level)} they claim: "
            f"add networks like the ones that miss, {listed(missing_names(networks))}, and fit again."
        )
    useless = [found.name for found in results.measured if (found.measurements["status"] == "failed").all()]
    if useless:
        steps.append(
            f"All measurements on {listed(useless)} failed: mend what the chapter on cost says and profile again."
        )
    thin = [found.name for found in results.measured if found.measurements["network"].nunique() < 2]
    if thin:
        steps.append(f"With one network nothing can be held out on {listed(thin)}: add a second to config/config.yaml.")
    stopped = dict.fromkeys(found.board for found in results.processors if found.interrupted)
    if stopped:
        steps.append(
            f"The campaign on {listed(list(stopped))} was interrupted: run `snakemake --cores 4 profile` again."
        )
    failed = {found.name: int((found.measurements["status"] == "failed").sum()) for found in results.measured}
    bad = [f"{plural(count, 'measurement')} on {name}" for name, count in failed.items() if count]
    if bad:
        steps.append(f"Failed: {listed(bad)}; the reasons are in the chapter on cost.")
    return [f"Next: {step}" for step in steps] or ["Next: estimate a network of your own."]


def missing_names(networks: pd.DataFrame) -> list[str]:
    """Networks whose interval missed."""
    return sorted(set(networks.loc[~networks["covered"].astype(bool), "network"]))
