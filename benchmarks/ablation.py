"""What each feature and each prior is worth: networks estimated without it, and without any of a list.

    python -m benchmarks.ablation --root DIR [--without NAME …] [--priors]

Every (board, processor) of the datasets under DIR whose networks were measured layer by layer; every network of every
stack is left out in turn. A row per feature (or prior): by how many points the mean error of a stack's networks rises
without it (positive: it helps), over stacks, and by how many the worst of any. A feature stays only if it helps boards
that it was not invented for: `boards` counts those on which it helps by more than TELLS, and those that it hurts so.
`--without` leaves several out together and prints each stack before and after.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from sitecnn.errors import SiteCNNError
from sitecnn.models import features, fit
from sitecnn.models.board_model import estimate_pass
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import load_measurements, measured_passes, sizes_of, without_networks

TELLS = 0.1
"""Points of mean error below which nothing is told."""

Stacks = dict[tuple[str, str, str], pd.DataFrame]


def stacks_of(root: Path) -> Stacks:
    """Measurements by (board, processor, stack) of stacks with two networks or more."""
    found: Stacks = {}
    for folder in sorted((root / "results" / "dataset" / "measurements").glob("board=*/processor=*")):
        board, processor = (part.partition("=")[2] for part in folder.parts[-2:])
        try:
            rows = load_measurements(root, board, processor)
        except SiteCNNError:
            continue
        for stack, part in rows.groupby("stack", sort=True):
            if part.loc[part["subject"] == "layer", "network"].nunique() > 1:
                found[board, processor, str(stack)] = part
    return found


def errors(rows: pd.DataFrame, stack: str) -> np.ndarray:
    """Signed errors of all passes of a stack's networks, each left out in turn."""
    found = []
    for network in sorted(rows.loc[rows["subject"] == "layer", "network"].unique()):
        model = fit_stack(without_networks(rows, [network]), stack)
        for layers, ns in measured_passes(rows[rows["network"] == network]):
            estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
            found.append(estimate.forward_ns / ns - 1)
    return np.array(found)


@contextmanager
def without(names: set[str], priors: set[tuple[str, str]] = frozenset()) -> Iterator[None]:
    """Fits know none of these features, and none of these priors (kind, feature)."""
    features_of, coefficient_priors = fit.features_of, fit.coefficient_priors

    def fewer(kind: str, processor: str = "cpu") -> tuple[features.Feature, ...]:
        return tuple(feature for feature in features_of(kind, processor) if feature.name not in names)

    def less(kind: str, processor: str, speeds: object) -> dict[str, object]:
        return {n: one for n, one in coefficient_priors(kind, processor, speeds).items() if (kind, n) not in priors}

    with mock.patch.object(fit, "features_of", fewer), mock.patch.object(fit, "coefficient_priors", less):
        yield


def names_of(stacks: Stacks) -> list[str]:
    """Features that any kind of the stacks has, none that every kind needs."""
    kinds = {(kind, processor) for (_, processor, _), rows in stacks.items() for kind in rows["kind"].dropna().unique()}
    found = {feature.name for kind, processor in kinds for feature in features.features_of(kind, processor)}
    return sorted(found - {"calls", "macs", "out_elements", "window_elements", "in_elements"})


def priors_of(stacks: Stacks) -> list[tuple[str, str]]:
    """(kind, feature) of all priors."""
    speeds = fit.Speeds(copy=1.0, mac=1.0, call=1.0)
    kinds = ("convolution", "inner_product", "lrn", "pooling", "average_pooling")
    processors = {processor for _, processor, _ in stacks}
    return [
        (kind, name)
        for kind in kinds
        for name in dict.fromkeys(name for one in processors for name in fit.coefficient_priors(kind, one, speeds))
    ]


def row(
    name: str, before: dict[tuple[str, str, str], np.ndarray], after: dict[tuple[str, str, str], np.ndarray]
) -> str:
    """A feature's row: change of the mean error over stacks, of the worst of any, boards that it helps and hurts."""
    mean = {key: 100 * (np.abs(after[key]).mean() - np.abs(before[key]).mean()) for key in before}
    worst = {key: 100 * (np.abs(after[key]).max() - np.abs(before[key]).max()) for key in before}
    helped = {board for (board, _, _), change in mean.items() if change > TELLS}
    hurt = {board for (board, _, _), change in mean.items() if change < -TELLS}
    key = max(worst, key=lambda one: worst[one])
    most = f"{worst[key]:+6.1f} {key[0]} {key[1]} {key[2][-12:]}" if worst[key] > TELLS else "     ·"
    average, best = np.mean(list(mean.values())), min(worst.values())
    return f"{name:44} {average:+7.2f} {best:+7.1f} {len(helped):3} {len(hurt):3}  {most}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--priors", action="store_true", help="priors instead of features")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    stacks = stacks_of(args.root)
    before = {key: errors(rows, key[2]) for key, rows in stacks.items()}
    if args.without:
        with without(set(args.without)):
            for key, rows in stacks.items():
                one, other = np.abs(before[key]), np.abs(errors(rows, key[2]))
                print(
                    f"{' '.join(key):60} median {np.median(one):6.1%} → {np.median(other):6.1%}"
                    f"  worst {one.max():6.1%} → {other.max():6.1%}"
                )
        return
    print(f"{'without':44} {'mean':>7} {'best':>7} {'helps/hurts boards':>8}  worst rises most")
    chosen = [(f"{kind}: {name}", set(), {(kind, name)}) for kind, name in priors_of(stacks)]
    for name, features_out, priors_out in chosen if args.priors else [(n, {n}, set()) for n in names_of(stacks)]:
        with without(features_out, priors_out):
            print(row(name, before, {key: errors(rows, key[2]) for key, rows in stacks.items()}), flush=True)


if __name__ == "__main__":
    main()
