"""Error of networks against minutes of board time: which kernels to measure first, and a similar board's model scaled.

    python benchmarks/design_curve.py --board local --processor cpu --like tx1
    python benchmarks/design_curve.py --board tx1 --processor cpu --like rk3399      (imported: layers of networks)

Each network is left out in turn with all kernels that it has; of the rest, growing parts are measured in an order:
that of `sitecnn plan --select`, the heaviest first (`sitecnn plan`), or at random. From each part a model is fitted
anew (`fit`), and the model of a similar board is scaled to it (`like`). On an imported board the rows of the other
networks' layers stand for kernels, at the smallest batch; what they would cost is what the agent would take.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from sitecnn.errors import SiteCNNError
from sitecnn.estimation.boards import load_board
from sitecnn.models.board_model import estimate_pass
from sitecnn.models.design import Work, design_order, expected, expected_cost_s, together, transfer
from sitecnn.models.evaluate import PIECES
from sitecnn.models.fit import fit_stack, load_measurements, sizes_of, without_networks

COUNTS = (5, 10, 15, 20, 30, 50, 100, 200, 400)
RANDOM_ORDERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--board", required=True)
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--like", required=True, help="the similar board")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    model = load_board(args.like, args.processor, root=args.root).stacks[0]
    rows = load_measurements(args.root, args.board, args.processor)
    for stack, part in rows.groupby("stack"):
        timed = pd.DataFrame([point for network in networks_of(part) for point in curve(part, network, model)])
        errors = timed.assign(size=timed["error"].abs()).groupby(["kernels", "order", "model", "seed"])
        table = errors.agg(median=("size", "median"), worst=("size", "max"), minutes=("minutes", "mean"))
        # Of random orders, what one of them does: the median over seeds, not the worst of all.
        table = table.groupby(["kernels", "order", "model"]).median()
        print(
            f"\n{args.board} {args.processor}, {stack}; scaled: {args.like}, {model.stack}\nmedian |error| of networks"
        )
        print(table["median"].unstack(["model", "order"]).map("{:.0%}".format).to_string())
        print("worst |error|")
        print(table["worst"].unstack(["model", "order"]).map("{:.0%}".format).to_string())
        print("minutes")
        print(table["minutes"].unstack(["model", "order"])["fit"].map("{:.2f}".format).to_string())


def networks_of(rows):
    return sorted(rows.loc[rows["subject"] == "layer", "network"].unique())


def curve(rows, network, similar):
    """A point per order, number of kernels and model: minutes spent and error of the network left out."""
    others = without_networks(rows, [network])
    pool = candidates(others)
    kinds, sizes = pool["kind"].to_numpy(dtype=str), sizes_of(pool)
    found = expected(similar, kinds, sizes)
    measured = pool["seconds"].to_numpy(dtype=float, na_value=np.nan)
    spent_s = np.where(np.isnan(measured), expected_cost_s(pool["median_ns"].to_numpy(dtype=float)), measured)
    targets = together([target(others, name, similar) for name in networks_of(others)])
    orders = {"chosen": [design_order(found, targets, expected_cost_s(found.ns))]}
    orders["heaviest"] = [np.argsort(-weight(pool), kind="stable")]
    orders["random"] = [np.random.default_rng(seed).permutation(len(pool)) for seed in range(RANDOM_ORDERS)]
    truth = target(rows, network, similar)
    layers = smallest_batch(rows[(rows["subject"] == "layer") & (rows["network"] == network)])
    for name, several in orders.items():
        for seed, order in enumerate(several):
            for count in (count for count in COUNTS if count <= len(pool)):
                part = pool.iloc[np.asarray(order)[:count]].assign(network=None)
                for how, model in models(part, similar):
                    ns = estimate_pass(model, truth.kinds, truth.sizes).layers.ns.sum()
                    yield {"order": name, "seed": seed, "kernels": count, "model": how, "network": network} | {
                        "minutes": spent_s[np.asarray(order)[:count]].sum() / 60,
                        "error": ns / layers["median_ns"].sum() - 1,
                    }


def models(part, similar):
    yield "fit", fit_stack(part, "new")
    try:
        yield "like", transfer(similar, part, "new")
    except SiteCNNError:
        return  # nothing of what was measured is known of the similar board


def candidates(rows):
    """Kernels timed alone; where there are none, the layers of networks, each size once."""
    alone = rows[(rows["subject"] == "kernel") & (rows["mode"] == "cold") & ~rows["kind"].isin(PIECES)]
    if len(alone):
        return alone
    layers = smallest_batch(rows[rows["subject"] == "layer"])
    return layers.drop_duplicates(["kind", "variant", "in_elements", "out_elements", "parameters", "kernel_h"])


def smallest_batch(layers):
    return layers[layers["batch"] == layers["batch"].min()]


def target(rows, network, similar) -> Work:
    layers = smallest_batch(rows[(rows["subject"] == "layer") & (rows["network"] == network)])
    return expected(similar, layers["kind"].to_numpy(dtype=str), sizes_of(layers))


def weight(rows):
    """Values read, as `sitecnn plan` orders kernels."""
    return rows["in_elements"].to_numpy(dtype=float, na_value=0)


if __name__ == "__main__":
    main()
