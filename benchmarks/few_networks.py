"""Error of a network against how many others its board's model was fitted on: what priors are worth.

    python benchmarks/few_networks.py --board tx1 --processor gpu

Every network of every stack is estimated from each choice of one and of two others.
"""

import argparse
import warnings
from itertools import combinations
from pathlib import Path

import pandas as pd

from sitecnn.models.calibrate import held_out_cases
from sitecnn.models.measurements import load_measurements, without_networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--board", required=True)
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = load_measurements(args.root, args.board, args.processor)
    found = [case for stack, part in rows.groupby("stack") for case in cases(part, str(stack))]
    table = pd.DataFrame(found, columns=["stack", "fitted on", "error"])
    errors = table.assign(error=table["error"].abs()).groupby(["stack", "fitted on"])["error"]
    shown = errors.agg(["mean", "max", "size"]).rename(columns={"max": "worst", "size": "cases"})
    print(shown.to_string(formatters={"mean": "{:.1%}".format, "worst": "{:.1%}".format}))


def cases(rows, stack):
    """(stack, how many networks it was fitted on, signed error) of each network at each batch."""
    networks = sorted(rows.loc[rows["subject"] == "layer", "network"].unique())
    for count in (1, 2):
        for chosen in combinations(networks, count + 1):
            others = [network for network in networks if network not in chosen]
            for case in held_out_cases(without_networks(rows, others), stack):
                yield stack, count, case.estimate.forward_ns / case.measured_forward_ns - 1


if __name__ == "__main__":
    main()
