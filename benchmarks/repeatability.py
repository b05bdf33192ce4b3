"""Two profiles of one board, taken at different times: how well the second repeats the first.

    .venv/bin/python -m benchmarks.repeatability FIRST.jsonl SECOND.jsonl

Record files of the same plan on the same stack. Prints how far the second's least of the rounds is from the first's,
for whole passes and for layers, and where the time of both went: `timed` is all passes and loops, `counted` the same
without the first pass of each task, which allocates workspace and is never the lower quartile.
"""

import json
import sys
from pathlib import Path
from statistics import median

from sitecnn.cli.tables import table
from sitecnn.models.rounds import lower_quartile

Times = dict[tuple[str, ...], float]
PURPOSES = ("timed", "warm_up", "inputs", "files", "other")


def times(path: str) -> tuple[Times, Times]:
    """(ns of whole passes by network, ns of layers by network and place): the statistic that models are fitted on."""
    passes: Times = {}
    layers: Times = {}
    for record in map(json.loads, Path(path).read_text().splitlines()):
        if record["record"] == "measurement" and "round" in record and record["status"] == "ok":
            name = record["network"]
            keep(passes, (name,), record["forward_ns"])
            for place, one in enumerate(record.get("layers") or record["kernels"]):
                keep(layers, (name, str(place)), one["samples_ns"])
    return passes, layers


def keep(found: Times, key: tuple[str, ...], samples: list[float]) -> None:
    """The least of the rounds so far."""
    found[key] = min(lower_quartile(samples), found.get(key, float("inf")))


def compared(what: str, first: Times, second: Times) -> tuple[str, ...]:
    """A row: how many, their median change, and the shares of those within a limit."""
    changes = [second[key] / first[key] - 1 for key in first if key in second and first[key] > 0]
    close = [sum(abs(change) <= limit for change in changes) / len(changes) for limit in (0.02, 0.05, 0.10)]
    shares = [f"{share:.1%}" for share in close]
    return (what, str(len(changes)), f"{median(changes):+.1%}", f"{median(map(abs, changes)):.1%}", *shares)


def account(path: str) -> tuple[str, ...]:
    """A row: when a profile began, how long it took, and the shares of where that went."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    done = [record for record in records if record["record"] == "done"]
    seconds = sum(record["seconds"] for record in done)
    spent = [sum(record["cost_s"][purpose] for record in done) for purpose in PURPOSES]
    first_ns = sum(record["layerwise_ns"][0] for record in records if record.get("layerwise_ns"))
    counted = spent[PURPOSES.index("timed")] - first_ns / 1e9
    began = next(record for record in records if record["record"] == "run")["conditions"]["time"]
    return (began, f"{seconds:.0f}", *(f"{part / seconds:.0%}" for part in (*spent, counted)))


if __name__ == "__main__":
    files = sys.argv[1:3]
    once, again = map(times, files)
    head = ("what", "number", "change", "|change|", "within 2 %", "within 5 %", "within 10 %")
    rows = [
        compared(what, *pair) for what, pair in zip(("passes", "layers"), zip(once, again, strict=True), strict=True)
    ]
    print(table(head, rows, right=range(1, 7)))
    print()
    print(table(("began", "seconds", *PURPOSES, "counted"), [account(path) for path in files], right=range(1, 8)))
