"""Phones' GPUs: how well kernels and whole passes of networks are estimated that no model saw.

    python -m benchmarks.phones KERNELS PASSES [--board NAME …] [--boosting] [--transfer] [--split network|family|fold]

The tables are those that `sitecnn import kernels` reads in the published columns. `network`: every network is left out
in turn, with all its kernels; `family`: relatives together; `fold`: one network in sixteen, for intervals that are
calibrated without it. `--boosting` has boosted trees per kind of kernel beside it on the same splits (minutes); they
are granted the same model of what lies between kernels and passes.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from sitecnn.dataset.aggregation import aggregate
from sitecnn.dataset.imports.kernels import read_kernels
from sitecnn.dataset.imports.record import Target, write_import
from sitecnn.models.baselines import gradient_boosting
from sitecnn.models.board_model import StackModel, estimate_pass, interval, whole_pass_ns
from sitecnn.models.calibrate import calibrated
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import load_measurements, measured_passes, sizes_of, without_networks
from sitecnn.models.network_families import family
from sitecnn.models.transfer import transfer
from sitecnn.workload.kernels import SIZE_NAMES

STACK, LEVEL, FOLDS, DRAWS = "tflite-gpu+fp16", 0.9, 16, 5


def measurements(kernels: Path, passes: Path, boards: list[str]) -> dict[str, pd.DataFrame]:
    """What was measured, a table per board."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for board in boards:
            target = Target(board, "gpu", STACK)
            write_import(root, target, [kernels, passes], "kernels", read_kernels(kernels, target, passes))
        aggregate(root)
        return {board: load_measurements(root, board, "gpu") for board in boards}


def folds(networks: list[str], split: str) -> list[list[str]]:
    """Networks that are left out together."""
    if split == "network":
        return [[network] for network in networks]
    if split == "fold":
        return [networks[first::FOLDS] for first in range(min(FOLDS, len(networks)))]
    families: dict[str, list[str]] = {}
    for network in networks:
        families.setdefault(family(network), []).append(network)
    return list(families.values())


def cases(rows: pd.DataFrame, split: str, boosting: bool) -> Iterator[tuple[str, pd.DataFrame, dict[str, object]]]:
    """(method, kernels, pass) of each network as estimated without it."""
    rows = rows.assign(**{name: rows[name].astype("Float64") for name in SIZE_NAMES})
    networks = sorted(rows.loc[rows["subject"] == "layer", "network"].unique())
    for fold in folds(networks, split):
        others = without_networks(rows, fold)
        model = calibrated(others, STACK) if split == "fold" else fit_stack(others, STACK)
        timed = others[(others["subject"] == "layer") & (others["median_ns"] > 0)]
        boosted = gradient_boosting(timed) if boosting else None
        for kernels, ns in measured_passes(rows[rows["network"].isin(fold)]):
            yield "sitecnn", *_ours(model, kernels, ns)
            if boosted:
                yield "boosting", *_boosted(model, kernels, ns, np.asarray(boosted(kernels)))


def _ours(model: StackModel, kernels: pd.DataFrame, ns: float) -> tuple[pd.DataFrame, dict[str, object]]:
    estimate = estimate_pass(model, kernels["kind"].to_numpy(dtype=str), sizes_of(kernels))
    low, high = interval(estimate.layers.ns, estimate.layers.sd_ns, LEVEL)
    truth = kernels["median_ns"].to_numpy(dtype=float)
    table = pd.DataFrame(
        {"kind": kernels["kind"], "ns": truth, "error": estimate.layers.ns / np.where(truth > 0, truth, 1) - 1}
    )
    table = table.assign(covered=(low <= truth) & (truth <= high))[truth > 0]
    low, high = interval(estimate.forward_ns, estimate.forward_sd_ns, LEVEL)
    one = {
        "network": kernels["network"].iloc[0],
        "error": estimate.forward_ns / ns - 1,
        "covered": bool(low <= ns <= high),
    }
    return table, one | {"width": float(high / low - 1)}


def _boosted(
    model: StackModel, kernels: pd.DataFrame, ns: float, single: "np.ndarray"
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Boosted times of the kernels that are timed, and what the others and the pass take by the model."""
    kinds, sizes = kernels["kind"].to_numpy(dtype=str), sizes_of(kernels)
    truth = kernels["median_ns"].to_numpy(dtype=float)
    single = np.where(truth > 0, single, estimate_pass(model, kinds, sizes).layers.ns)
    forward = whole_pass_ns(model, single, sizes)
    table = pd.DataFrame({"kind": kernels["kind"], "ns": truth, "error": single / np.where(truth > 0, truth, 1) - 1})
    return table[truth > 0], {"network": kernels["network"].iloc[0], "error": forward / ns - 1}


def transfer_errors(
    tables: dict[str, pd.DataFrame], models: dict[str, StackModel], board: str, count: int, seed: int
) -> tuple[str, np.ndarray]:
    """(the other board, errors of all passes) of a board of which `count` kernels and three passes were measured.

    Of the other boards the one whose kernels' ratios to these differ least is scaled; a pass's constant is the median
    of what the three take beyond it. Those three networks are not judged.
    """
    rows, random = tables[board], np.random.default_rng(seed)
    passes = list(measured_passes(rows))
    known = set(random.choice([str(kernels["network"].iloc[0]) for kernels, _ in passes], 3, replace=False))
    timed = rows[(rows["subject"] == "layer") & (rows["median_ns"] > 0)]
    few = timed.sample(count, random_state=seed)
    tried = []
    for other, model in models.items():
        if other != board:
            scaled = transfer(model, few, STACK)
            ns = [
                estimate_pass(scaled, np.array([kind]), sizes_of(part)).layers.ns
                / part["median_ns"].to_numpy(dtype=float)
                for kind, one in few.groupby("kind")
                for _, part in one.groupby(one.index)
            ]
            tried.append((float(np.abs(np.log(np.concatenate(ns))).mean()), other, scaled))
    _, other, scaled = min(tried, key=lambda one: one[0])
    estimates = {str(kernels["network"].iloc[0]): (_forward(scaled, kernels), ns) for kernels, ns in passes}
    more = float(np.median([ns - estimate for name, (estimate, ns) in estimates.items() if name in known]))
    judged = [
        (max(estimate + more, estimate / 2), ns) for name, (estimate, ns) in estimates.items() if name not in known
    ]
    return other, np.array([estimate / ns - 1 for estimate, ns in judged])


def _forward(model: StackModel, kernels: pd.DataFrame) -> float:
    return estimate_pass(model, kernels["kind"].to_numpy(dtype=str), sizes_of(kernels)).forward_ns


def print_transfer(tables: dict[str, pd.DataFrame]) -> None:
    """A line per board and number of kernels: median and worst of passes, over draws."""
    models = {board: fit_stack(rows, STACK) for board, rows in tables.items()}
    for board in tables:
        for count in (10, 20, 50):
            draws = [transfer_errors(tables, models, board, count, seed) for seed in range(DRAWS)]
            error = np.median([np.median(np.abs(errors)) for _, errors in draws])
            worst = np.median([np.abs(errors).max() for _, errors in draws])
            others = ", ".join(sorted({other for other, _ in draws}))
            print(
                f"{board:9} from {count} kernels, 3 passes and {others}: {error:5.1%} (worst {worst:5.1%})", flush=True
            )


def report(board: str, kernels: pd.DataFrame, passes: pd.DataFrame, calibrated_too: bool) -> str:
    """One line: errors of kernels and passes, and how often intervals held."""
    error, single = passes["error"].abs(), kernels["error"].abs()
    worst = passes.loc[error.idxmax(), "network"]
    held = (
        f"  90 % intervals hold {passes['covered'].mean():.0%} of passes (width {passes['width'].median():.0%}),"
        f" {kernels['covered'].mean():.0%} of kernels"
        if calibrated_too
        else ""
    )
    return (
        f"{board:9} kernels {single.median():5.1%} (90 % {single.quantile(0.9):4.0%})  passes {error.median():5.1%}"
        f" (90 % {error.quantile(0.9):5.1%}, worst {error.max():5.1%} {worst}){held}"
    )


def main() -> None:
    """Print a line per board and method, then all boards together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", type=Path)
    parser.add_argument("passes", type=Path)
    parser.add_argument("--board", nargs="+")
    parser.add_argument("--split", choices=("network", "family", "fold"), default="network")
    parser.add_argument("--boosting", action="store_true")
    parser.add_argument("--transfer", action="store_true", help="a board from 10 to 50 of its kernels and the others")
    args = parser.parse_args()
    boards = args.board or sorted(pd.read_parquet(args.kernels, columns=["board"])["board"].unique())
    tables_of_methods: dict[str, list[tuple[str, pd.DataFrame, pd.DataFrame]]] = {}
    tables = measurements(args.kernels, args.passes, boards)
    if args.transfer:
        print_transfer(tables)
        return
    for board, rows in tables.items():
        gathered = list(cases(rows, args.split, args.boosting))
        for method in dict.fromkeys(name for name, _, _ in gathered):
            kernels = pd.concat([table for name, table, _ in gathered if name == method], ignore_index=True)
            passes = pd.DataFrame([one for name, _, one in gathered if name == method])
            tables_of_methods.setdefault(method, []).append((board, kernels, passes))
            print(
                f"{method:9}", report(board, kernels, passes, args.split == "fold" and method == "sitecnn"), flush=True
            )
    for method, tables in tables_of_methods.items():
        kernels, passes = (pd.concat([row[part] for row in tables], ignore_index=True) for part in (1, 2))
        print(f"{method:9}", report("all", kernels, passes, args.split == "fold" and method == "sitecnn"))


if __name__ == "__main__":
    main()
