"""What became slower: the same things in two datasets or under two stacks, sample against sample."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy  # loads its statistics, half a second, when they are asked for

from sitecnn.dataset.reading import read_measurements
from sitecnn.dataset.store import existing
from sitecnn.errors import DatasetError
from sitecnn.workload.kernels import SIZE_NAMES

IDENTITY = ["subject", "network", "batch", "layer", "layer_index", "layer_type", "kind", "variant", *SIZE_NAMES, "mode"]

SMALLEST_SHIFT = 0.02
"""Two campaigns on one board differ by this much of themselves."""


def compare(before: pd.DataFrame, after: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Things measured in both: medians in ms, ratio after ÷ before, p of a two-sided Mann–Whitney U test, and
    `verdict` (slower, faster, same) where p holds at a false discovery rate of `level` (Benjamini & Hochberg 1995).
    """
    pairs = _samples(before).merge(_samples(after), on=IDENTITY, suffixes=("_before", "_after"))
    sides = list(zip(pairs["samples_ns_before"], pairs["samples_ns_after"], strict=True))
    pairs["before_ms"] = [float(np.median(before_ns)) / 1e6 for before_ns, _ in sides]
    pairs["after_ms"] = [float(np.median(after_ns)) / 1e6 for _, after_ns in sides]
    pairs["p"] = [float(scipy.stats.mannwhitneyu(*both, alternative="two-sided").pvalue) for both in sides]
    pairs["ratio"] = pairs["after_ms"] / pairs["before_ms"].where(pairs["before_ms"] > 0)
    sure = _discoveries(pairs["p"], level)
    pairs["verdict"] = _verdicts(sure, pairs["ratio"])
    names = ["subject", "network", "batch", "layer", "layer_type", "kind", "mode"]
    figures = ["before_ms", "after_ms", "ratio", "p", "verdict"]
    return pairs.sort_values("ratio", ascending=False, ignore_index=True)[[*names, *figures]]


def _samples(rows: pd.DataFrame) -> pd.DataFrame:
    """All samples of each thing, joined over its measurements; stacks are told apart by the caller."""
    timed = rows[(rows["status"] == "ok") & rows["samples_ns"].notna()]
    groups = timed.groupby(IDENTITY, dropna=False, sort=False)["samples_ns"]
    joined = [(*key, np.concatenate(list(lists))) for key, lists in groups if isinstance(key, tuple)]
    # A column that is empty on one side only must not be of another type there.
    return pd.DataFrame(joined, columns=[*IDENTITY, "samples_ns"]).astype(object)


def shifts(differences: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """What few samples of each thing cannot tell, many things of one type can: for each subject and type of what
    `compare` returns, their `count`, median `ratio`, p of Wilcoxon's signed-rank test that log ratios centre on 0, and
    `verdict` at a false discovery rate of `level`, `same` if the ratio is within SMALLEST_SHIFT of 1.
    """
    ratio = differences["ratio"].astype(float)
    possible = differences[np.isfinite(ratio) & (ratio > 0)]
    types = possible["layer_type"].astype(object).fillna(possible["kind"].astype(object)).fillna("")
    groups = possible["ratio"].astype(float).groupby([possible["subject"], types])
    rows = [(*key, len(ratios), *_shift(ratios)) for key, ratios in groups if isinstance(key, tuple)]
    table = pd.DataFrame(rows, columns=["subject", "type", "count", "ratio", "p"])
    sure = _discoveries(table["p"], level) & (abs(table["ratio"] - 1) > SMALLEST_SHIFT)
    table["verdict"] = _verdicts(sure, table["ratio"])
    return table.sort_values("ratio", ascending=False, ignore_index=True)


def _shift(ratios: "pd.Series[float]") -> tuple[float, float]:
    """(median, p that log ratios centre on 0)."""
    p = float(scipy.stats.wilcoxon(np.log(ratios)).pvalue) if (ratios != 1).any() else 1.0
    return (float(ratios.median()) if len(ratios) else 1.0), p


def _verdicts(sure: Any, ratios: "pd.Series[float]") -> "np.ndarray[Any, np.dtype[np.str_]]":
    return np.where(sure, np.where(ratios > 1, "slower", "faster"), "same")


def _discoveries(p: "pd.Series[float]", level: float) -> Any:
    """Which tests hold at this false discovery rate."""
    return scipy.stats.false_discovery_control(p.to_numpy(dtype=float)) <= level


def of_stack(root: Path, board: str, processor: str, part: str | None) -> pd.DataFrame:
    """The measurements of the one stack whose name holds `part`; DatasetError where that is none or several."""
    existing(root)
    rows = read_measurements(root, board, processor)
    stacks = sorted(rows["stack"].dropna().unique())
    named = [stack for stack in stacks if part == stack] or [stack for stack in stacks if part is None or part in stack]
    if not stacks:
        raise DatasetError(f"{root}: no measurements of {board} {processor}; see `sitecnn dataset summary`")
    if len(named) != 1:
        said = f"{len(named) or 'no'} stacks have {part!r} in their name" if part else f"it has {len(stacks)} stacks"
        raise DatasetError(f"{board} {processor}: {said}; name one with --stack or --against: {', '.join(stacks)}")
    chosen: pd.DataFrame = rows[rows["stack"] == named[0]]
    return chosen
