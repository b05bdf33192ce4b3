"""Two profiles of one board, taken at different times: how well the second repeats the first.

    .venv/bin/python -m benchmarks.repeatability FIRST.jsonl SECOND.jsonl

Record files of the same plan on the same stack. Prints, for kernels that neither profile marked unstable, how far the
second median is from the first, and where the time of both went.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from sitecnn.cli.tables import table

Record = dict[str, Any]
PURPOSES = ("timed", "warm_up", "inputs", "files", "other")


def kernels(path: str) -> dict[str, Record]:
    """Measurements of kernels by key, those of the overhead's curve left out."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    blocks = {record["block"]: record for record in records if record["record"] == "block"}
    kept = [record for record in records if record["record"] == "measurement" and "kernel" in record]
    for record in kept:
        block = blocks[record["block"]]
        sentinel_ns = (block["sentinel_before_ns"] + block["sentinel_after_ns"]) / 2
        record["in_sentinels"] = record["median_ns"] / sentinel_ns if "median_ns" in record else 0
    return {record["key"]: record for record in kept if record["mode"] != "overhead"}


def compared(first: dict[str, Record], second: dict[str, Record], mode: str, unit: str) -> tuple[str, ...]:
    """A row: kernels, how many are unstable in either, median change and shares of the others.

    `unit` is median_ns, or in_sentinels: times as multiples of the sentinel's before and after the block, which tells
    what a change of the machine's clock explains.
    """
    keys = [key for key in first if key in second and first[key]["mode"] == mode]
    pairs = [(first[key], second[key]) for key in keys]
    stable = [pair for pair in pairs if all(record["status"] == "ok" for record in pair)]
    changes = [after[unit] / before[unit] - 1 for before, after in stable]
    close = [sum(abs(change) <= limit for change in changes) / len(changes) for limit in (0.02, 0.05, 0.10)]
    typical = f"{median(map(abs, changes)):.1%}"
    shares = [f"{share:.1%}" for share in close]
    return (mode, unit, str(len(pairs)), str(len(pairs) - len(stable)), f"{median(changes):+.1%}", typical, *shares)


def account(path: str) -> tuple[str, ...]:
    """A row: when a profile began, how long it took, and the shares of where that went."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    done = [record for record in records if record["record"] == "done"]
    seconds = sum(record["seconds"] for record in done)
    spent = [sum(record["cost_s"][purpose] for record in done) for purpose in PURPOSES]
    began = next(record for record in records if record["record"] == "run")["conditions"]["time"]
    return (began, f"{seconds:.0f}", *(f"{part / seconds:.0%}" for part in spent))


if __name__ == "__main__":
    files = sys.argv[1:3]
    once, again = map(kernels, files)
    head = ("mode", "unit", "kernels", "unstable", "change", "|change|", "within 2 %", "within 5 %", "within 10 %")
    cases = [(mode, unit) for mode in ("warm", "cold") for unit in ("median_ns", "in_sentinels")]
    print(table(head, [compared(once, again, *case) for case in cases], right=range(2, 9)))
    print()
    print(table(("began", "seconds", *PURPOSES), [account(path) for path in files], right=range(1, 7)))
