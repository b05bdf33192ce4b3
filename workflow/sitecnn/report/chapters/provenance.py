"""Where every number comes from: board, stack, clocks, versions, commits, protocol, and how to remake it."""

from typing import Any

import pandas as pd

from sitecnn import __version__
from sitecnn.models.board_model import StackModel
from sitecnn.models.probe_names import without_probes
from sitecnn.report.page import (
    Block,
    Chapter,
    Commands,
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
from sitecnn.report.results import Results

SOFTWARE = (
    *("board", "processor", "cpu", "machine", "os", "python", "engine", "engine_version", "blas"),
    *("protocol", "commit", "agent_sha256", "origin_sha256"),
)


def chapter(results: Results) -> Chapter:
    """The chapter on provenance."""
    question = "Where do these numbers come from?"
    tables: list[Block] = [Note("No run was recorded.", missing=True)]
    if len(results.runs):
        tables = [runs_table(results.runs), software_table(results.runs)]
    blocks = (*tables, models_table(results), Note("To make this report again:"), remake(results))
    runs = f"{plural(len(results.runs), 'run')} made the measurements"
    return Chapter("provenance", question, f"{runs}; this report was written by SiteCNN {__version__}.", blocks)


def runs_table(runs: pd.DataFrame) -> Table:
    """Each start of an agent, and each import."""
    columns = (
        words("started", "started_at"),
        words("board", "board"),
        words("processor", "processor"),
        words("stack", "stack"),
        number("threads", "threads", integer),
        words("source", "source"),
        words("file", "origin"),
        number("clock, MHz", "cpu_mhz", integer),
        words("governor", "governor"),
        number("temperature, °C", "temperature_c", significant),
        number("load", "load", significant),
        number("planned", "planned", integer),
        number("owed", "owed", integer),
        number("seconds", "seconds", milliseconds),
    )
    frame = runs.drop(columns="record_json").sort_values(["board", "processor", "started_at"], ignore_index=True)
    frame = frame.assign(started_at=frame["started_at"].dt.strftime("%Y-%m-%d %H:%M UTC"))
    note = (
        "Conditions at the start of a run; the dataset has them for every block. A dash: the board does not report it."
    )
    return Table("runs", "Runs and their conditions", frame, columns, note)


def software_table(runs: pd.DataFrame) -> Table:
    """Hardware and versions, once where runs have them in common."""
    frame = runs[list(SOFTWARE)].drop_duplicates(ignore_index=True)
    columns = tuple(words(name.replace("_", " "), name) for name in SOFTWARE)
    return Table("software", "Hardware, software and versions", frame, columns)


def _seen(stack: StackModel) -> str:
    """The networks that a model was fitted on by name, and how many probes."""
    networks = without_probes(stack.networks)
    probes = len(stack.networks) - len(networks)
    return ", ".join([*networks, *([f"{probes} probes"] if probes else [])])


def models_table(results: Results) -> Table:
    """The models and what they were fitted from."""
    rows = [
        {"model": f"results/models/{processor.slug}.json", "stack": stack.stack, "threads": stack.threads}
        | {"networks": _seen(stack), "kinds": len(stack.kinds), "forward_ratio": stack.forward_ratio}
        | {f"unexplained_{part}": value for part, value in stack.unexplained_sd.items()}
        for processor in results.processors
        for stack in (processor.model.stacks if processor.model else ())
    ]
    names = ["model", "stack", "threads", "networks", "kinds", "forward_ratio"]
    names += ["unexplained_layer", "unexplained_network"]
    columns = (
        words("model", "model"),
        words("stack", "stack"),
        words("networks it saw", "networks"),
        number("threads", "threads", integer),
        number("kinds", "kinds", integer),
        number("forward ÷ layers", "forward_ratio", significant),
        number("unexplained of layers", "unexplained_layer", percent),
        number("unexplained of networks", "unexplained_network", percent),
    )
    return Table("models", "Models", pd.DataFrame(rows, columns=names), columns)


def remake(results: Results) -> Commands:
    """The commands behind this report."""
    commits: Any = results.runs["commit"].dropna().unique() if len(results.runs) else []
    # An installed SiteCNN leaves its version where a checkout leaves its commit.
    checkouts = [f"git checkout {commit}" for commit in commits if str(commit).isalnum()]
    return Commands((*checkouts[-1:], "./run report", "sitecnn report -o results/report/report.html"))
