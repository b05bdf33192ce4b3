"""What each feature and each prior is worth, and how good estimates are where both are chosen without whom they judge.

    python -m benchmarks.ablation --root DIR [--nested] [--without NAME …]

Every (board, processor) of the datasets under DIR of which two networks or more were measured layer by layer, in a few
networks (imports) or in probes. Every network of every stack is left out in turn. A row per feature, and per prior: by
how many points the mean error of a stack's networks rises without it (positive: it helps), over stacks; by how many
the worst of any stack does; on how many boards and networks it helps or hurts by more than TELLS. A feature stays only
if it helps boards or networks that it was not invented for.

`--nested` then chooses: for each network those features that helped the other networks, and for each board those that
helped the other boards, with priors of the other boards alone; intervals are calibrated in each fold anew. `--without`
leaves several out together and prints each stack before and after.
"""

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import StackModel, estimate_pass, interval
from sitecnn.models.calibrate import calibrated
from sitecnn.models.features import features_of
from sitecnn.models.fit import CHOICES, Choices, fit_stack
from sitecnn.models.measurements import load_measurements, measured_passes, sizes_of, without_networks
from sitecnn.models.priors import Priors

TELLS, LEVEL, RELEVANT_SHARE = 0.1, 0.9, 0.01
"""Points of mean error below which nothing is told; of intervals; layers that matter."""

NEEDED = {"calls", "macs", "out_elements", "window_elements", "in_elements", "written"}
"""Features that every kind has to have."""

MANY = 20
"""Of more networks than these a stack has models of its own kind (benchmarks/phones.py)."""

Key = tuple[str, str, str]
Stacks = dict[Key, pd.DataFrame]
CASE = ["board", "processor", "stack", "network"]


def stacks_of(root: Path) -> Stacks:
    """Measurements by (board, processor, stack)."""
    stacks: Stacks = {}
    for folder in sorted((root / "results" / "dataset" / "measurements").glob("board=*/processor=*")):
        board, processor = (part.partition("=")[2] for part in folder.parts[-2:])
        try:
            rows = load_measurements(root, board, processor)
        except SiteCNNError:
            continue
        for stack, part in rows.groupby("stack", sort=True):
            if 1 < part.loc[part["subject"] == "layer", "network"].nunique() <= MANY:
                stacks[board, processor, str(stack)] = part
    return stacks


def networks_of(rows: pd.DataFrame) -> list[str]:
    """Networks that can be left out."""
    return sorted(rows.loc[rows["subject"] == "layer", "network"].unique())


def errors(key: Key, rows: pd.DataFrame, choices: Choices) -> Iterator[dict[str, object]]:
    """Each pass of a stack's networks, its network left out: the case and the absolute error in points."""
    for network in networks_of(rows):
        model = fit_stack(without_networks(rows, [network]), key[2], choices)
        for layers, ns in measured_passes(rows[rows["network"] == network]):
            estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
            yield dict(zip(CASE, (*key, network), strict=True)) | {"error": 100 * abs(estimate.forward_ns / ns - 1)}


def candidates(stacks: Stacks) -> dict[str, tuple[Choices, list[Key]]]:
    """What is left out: the choices without it, and the stacks that have it."""
    kinds = {key: set(rows["kind"].dropna()) for key, rows in stacks.items()}
    left_out: dict[str, tuple[Choices, list[Key]]] = {}
    for key, own in kinds.items():
        for name in sorted({one.name for kind in own for one in features_of(kind, key[1])} - NEEDED):
            left_out.setdefault(name, (Choices(left_out=frozenset({name})), []))[1].append(key)
    numbers = CHOICES.priors.numbers
    for kind, name in dict.fromkeys((one.kind, one.feature) for one in numbers if one.per not in ("ratio",)):
        left = Priors(tuple(one for one in numbers if (one.kind, one.feature) != (kind, name)))
        having = [key for key, own in kinds.items() if kind in own and (kind, name) in told(key[1])]
        if having:
            left_out[f"prior of {kind}: {name}"] = (Choices(left), having)
    return left_out


def told(processor: str) -> set[tuple[str, str]]:
    """(kind, feature) of all priors of a processor."""
    return {(one.kind, one.feature) for one in CHOICES.priors.numbers if one.processor in (processor, "both")}


def ablation(stacks: Stacks) -> pd.DataFrame:
    """A row for each case and candidate: the error with all (`before`) and without it (`after`), in points."""
    before = {key: pd.DataFrame(errors(key, rows, CHOICES)) for key, rows in stacks.items()}
    parts = []
    left_out = candidates(stacks)
    for number, (name, (choices, having)) in enumerate(left_out.items(), 1):
        print(f"{number} of {len(left_out)}: {name}", file=sys.stderr, flush=True)
        for key, table in before.items():
            after = pd.DataFrame(errors(key, stacks[key], choices))["error"] if key in having else table["error"]
            parts.append(table.rename(columns={"error": "before"}).assign(candidate=name, after=after))
    return pd.concat(parts, ignore_index=True)


def row(name: str, cases: pd.DataFrame) -> str:
    """A candidate's row."""
    change = cases["after"] - cases["before"]
    means, worst = (
        cases.groupby(CASE[:3])[["before", "after"]].agg(how).diff(axis=1)["after"] for how in ("mean", "max")
    )
    counts = [
        f"{(change.groupby(cases[of]).mean() > TELLS).sum()}/{(change.groupby(cases[of]).mean() < -TELLS).sum()}"
        for of in ("board", "network")
    ]
    most = f"{worst.max():+6.1f} {' '.join(map(str, worst.idxmax()))[:34]}" if worst.max() > TELLS else ""
    return f"| {name} | {means.mean():+.2f} | {counts[0]} | {counts[1]} | {most} |"


def helpful(table: pd.DataFrame, without: str, of: str) -> frozenset[str]:
    """Features that did not help cases other than those of one board or network (`of`): left out for it."""
    others = table[table[of] != without]
    gain = (others["after"] - others["before"]).groupby(others["candidate"]).mean()
    return frozenset(str(name) for name in gain[gain <= 0].index if not str(name).startswith("prior"))


def judged(key: Key, rows: pd.DataFrame, table: pd.DataFrame, of: str) -> Iterator[dict[str, float]]:
    """Each pass as estimated where all is chosen without its network, or its board: errors and what intervals hold."""
    for network in networks_of(rows):
        choices = replace(CHOICES, left_out=helpful(table, network if of == "network" else key[0], of))
        if of == "board":
            choices = replace(choices, priors=CHOICES.priors.without({key[0]}))
        model = calibrated(without_networks(rows, [network]), key[2], choices)
        for layers, ns in measured_passes(rows[rows["network"] == network]):
            yield judge(model, layers, ns)


def judge(model: StackModel, layers: pd.DataFrame, ns: float) -> dict[str, float]:
    """Error of a pass, whether its interval and what share of its layers' intervals hold, and their widths."""
    estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    low, high = interval(estimate.forward_ns, estimate.forward_sd_ns, LEVEL)
    lows, highs = interval(estimate.layers.ns, estimate.layers.sd_ns, LEVEL)
    truth = layers["median_ns"].to_numpy(dtype=float)
    relevant = truth > RELEVANT_SHARE * truth.sum()
    return {
        "error": abs(estimate.forward_ns / ns - 1),
        "held": float(low <= ns <= high),
        "width": float(high / low - 1),
        "layers": float(((lows <= truth) & (truth <= highs))[relevant].mean()),
        "layers_width": float(np.median((highs / np.maximum(lows, 1e-9) - 1)[relevant])),
    }


def print_nested(stacks: Stacks, table: pd.DataFrame) -> None:
    """A row per stack and table."""
    print("\n| chosen without | stack | median | worst | passes held (width) | layers held (width) |")
    print("|---|---|---|---|---|---|")
    for of in ("network", "board"):
        every = []
        for key, rows in stacks.items():
            one = pd.DataFrame(judged(key, rows, table, of))
            every.append(one)
            print(nested_row(of, " ".join(key), one), flush=True)
        print(nested_row(of, "all", pd.concat(every)), flush=True)


def nested_row(of: str, name: str, cases: pd.DataFrame) -> str:
    """Figures of some cases."""
    return (
        f"| {of} | {name} | {cases['error'].median():.1%} | {cases['error'].max():.1%} | {cases['held'].mean():.0%}"
        f" ({cases['width'].median():.0%}) | {cases['layers'].mean():.0%} ({cases['layers_width'].median():.0%}) |"
    )


def print_without(stacks: Stacks, names: Iterable[str]) -> None:
    """Each stack with all features and without some."""
    for key, rows in stacks.items():
        one, other = (
            pd.DataFrame(errors(key, rows, Choices(left_out=frozenset(some))))["error"] for some in ((), names)
        )
        print(
            f"{' '.join(key):60} median {one.median():5.1f} → {other.median():5.1f} %"
            f"  worst {one.max():5.1f} → {other.max():5.1f} %",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--nested", action="store_true", help="choose features and priors without whom they judge")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    stacks = stacks_of(args.root)
    if args.without:
        print_without(stacks, args.without)
        return
    table = ablation(stacks)
    print("| without | points | boards: helps/hurts | networks | worst rises most |\n|---|---|---|---|---|")
    for name, cases in table.groupby("candidate", sort=False):
        print(row(str(name), cases), flush=True)
    if args.nested:
        print_nested(stacks, table)


if __name__ == "__main__":
    main()
