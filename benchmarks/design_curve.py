"""Error of networks against minutes of board time: which probes to measure first, and a similar board's model scaled.

    python benchmarks/design_curve.py --board local --processor cpu --like tx1
    python benchmarks/design_curve.py --board tx1 --processor cpu --like rk3399      (imported: layers of networks)

Growing parts of the probes are measured in an order: that of `sitecnn plan --select`, as they are drawn (`sitecnn
plan`), or at random. From each part a model is fitted anew (`fit`), and the model of a similar board is scaled to it
(`like`); both estimate the networks, of which no layer was fitted. On an imported board, where there are no probes,
each network is left out in turn and single layers of the others stand for probes, at the smallest batch. Minutes are
what the agent would take for so many probes.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from sitecnn.boards.plan import ROUNDS
from sitecnn.errors import SiteCNNError
from sitecnn.models.board_model import estimate_pass
from sitecnn.models.design import Work, design_order, expected, expected_cost_s, together
from sitecnn.models.fit import fit_stack
from sitecnn.models.lookup import load_board
from sitecnn.models.measurements import load_measurements, sizes_of, without_networks
from sitecnn.models.probe_names import is_probe
from sitecnn.models.transfer import transfer

COUNTS = (3, 5, 10, 15, 20, 30, 45, 100, 200, 400)
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
        timed = pd.DataFrame(list(points(part, model)))
        errors = timed.assign(size=timed["error"].abs()).groupby(["probes", "order", "model", "seed"])
        table = errors.agg(median=("size", "median"), worst=("size", "max"), minutes=("minutes", "mean"))
        # Of random orders, what one of them does: the median over seeds, not the worst of all.
        table = table.groupby(["probes", "order", "model"]).median()
        print(
            f"\n{args.board} {args.processor}, {stack}; scaled: {args.like}, {model.stack}\nmedian |error| of networks"
        )
        print(table["median"].unstack(["model", "order"]).map("{:.0%}".format).to_string())
        print("worst |error|")
        print(table["worst"].unstack(["model", "order"]).map("{:.0%}".format).to_string())
        print("minutes")
        print(table["minutes"].unstack(["model", "order"])["fit"].map("{:.2f}".format).to_string())


def networks_of(rows):
    """Names of real networks, and whether there are probes as well."""
    names = sorted(rows.loc[rows["subject"] == "layer", "network"].unique())
    real = [name for name in names if not is_probe(name)]
    return real, len(real) < len(names)


def points(rows, similar):
    """All points of a stack: with probes its networks are all left out at once, else one after the other."""
    real, has_probes = networks_of(rows)
    for left_out in [real] if has_probes else [[name] for name in real]:
        yield from curve(rows, left_out, similar, has_probes)


def curve(rows, left_out, similar, has_probes):
    """A point per order, number of probes, model and network: minutes spent and error of the network."""
    others = rows[~rows["network"].isin(left_out)] if has_probes else without_networks(rows, left_out)
    pool = candidates(others, has_probes)
    found = [expected(similar, part["kind"].to_numpy(dtype=str), sizes_of(part)) for part in pool]
    spent_s = expected_cost_s(np.array([part["median_ns"].sum() for part in pool]), ROUNDS["caffe"])
    expected_s = expected_cost_s(np.array([work.ns.sum() for work in found]), ROUNDS["caffe"])
    wanted = left_out if has_probes else networks_of(others)[0]
    orders = {"chosen": [design_order(found, together([target(rows, name, similar) for name in wanted]), expected_s)]}
    orders["as drawn"] = [list(range(len(pool)))]
    orders["random"] = [np.random.default_rng(seed).permutation(len(pool)) for seed in range(RANDOM_ORDERS)]
    for name, several in orders.items():
        for seed, order in enumerate(several):
            for count in (count for count in COUNTS if count <= len(pool)):
                chosen = np.asarray(order)[:count]
                part = pd.concat([pool[index] for index in chosen]).assign(network=None)
                for how, model in models(part, similar):
                    for network in left_out:
                        yield {"order": name, "seed": seed, "probes": count, "model": how, "network": network} | {
                            "minutes": spent_s[chosen].sum() / 60,
                            "error": error(rows, network, model),
                        }


def error(rows, network, model):
    """A model's sum of a network's layers against what was measured."""
    layers = smallest_batch(rows[(rows["subject"] == "layer") & (rows["network"] == network)])
    estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    return estimate.layers.ns.sum() / layers["median_ns"].sum() - 1


def models(part, similar):
    yield "fit", fit_stack(part, "new")
    try:
        yield "like", transfer(similar, part, "new")
    except SiteCNNError:
        return  # nothing of what was measured is known of the similar board


def candidates(rows, has_probes):
    """The layers of each probe; where there are none, those of networks one by one, each size once."""
    layers = smallest_batch(rows[rows["subject"] == "layer"])
    if has_probes:
        return [part for _, part in layers.groupby("network", sort=True)]
    single = layers.drop_duplicates(["kind", "variant", "in_elements", "out_elements", "parameters", "kernel_h"])
    return [single.iloc[[row]] for row in range(len(single))]


def smallest_batch(layers):
    return layers[layers["batch"] == layers["batch"].min()]


def target(rows, network, similar) -> Work:
    layers = smallest_batch(rows[(rows["subject"] == "layer") & (rows["network"] == network)])
    return expected(similar, layers["kind"].to_numpy(dtype=str), sizes_of(layers))


if __name__ == "__main__":
    main()
