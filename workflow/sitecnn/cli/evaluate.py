"""`sitecnn evaluate`: held-out errors of a board's model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_level

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

TABLES = ("networks", "layers", "baselines", "summary", "memory", "coverage", "board_time")


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="estimate each network with a model that has not seen it, and print the errors",
        epilog="example: sitecnn evaluate --board local --processor cpu",
    )
    parser.add_argument("--board", required=True, metavar="NAME", help="the board that was measured")
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    add_level(parser)
    parser.add_argument("--held-out", nargs="+", default=[], metavar="NAME", help="networks to estimate and never fit")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help=f"folder for {', '.join(f'{name}.parquet' for name in TABLES)}"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was held out and how far the estimates were off; 0."""
    from sitecnn.files import atomic_path
    from sitecnn.models.board_time import errors_by_rounds
    from sitecnn.models.evaluate import OURS, STRICT, evaluate
    from sitecnn.models.measurements import load_rounds
    from sitecnn.models.rounds import over_rounds

    rounds = load_rounds(args.root, args.board, args.processor)
    evaluation = evaluate(over_rounds(rounds), args.level, args.held_out)
    board_time = errors_by_rounds(rounds)
    if args.output:
        for name in TABLES:
            with atomic_path(args.output / f"{name}.parquet") as path:
                (board_time if name == "board_time" else getattr(evaluation, name)).to_parquet(path, index=False)
    if evaluation.networks.empty:
        print("there are no two networks with layers, so none can be left out")
    for stack, summary in evaluation.summary.groupby("stack", sort=False) if len(evaluation.summary) else ():
        print(f"{args.board} {args.processor}, {stack}")
        if stack in set(evaluation.networks.get("stack", ())):
            print(_networks(evaluation.networks[evaluation.networks["stack"] == stack]), end="\n\n")
        if _is_alike(summary, "network", "family"):
            print("every network is its own family, so leaving out families gives the same figures")
            summary = summary[summary["split"] != "family"]
        print(_methods(summary), end="\n\n")
        for row in summary[summary["method"].isin([OURS, STRICT])].itertuples():
            print(_intervals(row, args.level))
        print()
    for stack, cases in evaluation.memory.dropna(subset="error").groupby("stack", sort=False):
        print(f"{args.board} {args.processor}, {stack}: memory of a process, estimated from the other networks")
        print(_memory(cases), end="\n\n")
    for stack, kinds in evaluation.coverage.groupby("stack", sort=False):
        print(f"{args.board} {args.processor}, {stack}: {_covered(kinds)}")
        print(_coverage(kinds), end="\n\n")
    for stack, counts in board_time.groupby("stack", sort=False):
        print(f"{args.board} {args.processor}, {stack}: errors of networks by the rounds of probes that are fitted")
        print(_board_time(counts), end="\n\n")
    return 0


def _board_time(counts: "pd.DataFrame") -> str:
    from sitecnn.cli.tables import table

    rows = [
        [f"{row.rounds}", f"{row.seconds:.0f}", f"{row.median_error:.1%}", f"{row.worst_error:.1%}", f"{row.bias:+.1%}"]
        for row in counts.itertuples()
    ]  # fmt: skip
    return table(["rounds", "seconds", "median", "worst", "bias"], rows, right=range(5))


def _covered(kinds: "pd.DataFrame") -> str:
    inside, time = (
        kinds[name].sum() / max(kinds[of].sum(), 1e-9) for name, of in (("inside", "kernels"), ("inside_ms", "ms"))
    )
    return f"{inside:.0%} of the networks' kernels, with {time:.0%} of their time, lie inside what the probes saw"


def _coverage(kinds: "pd.DataFrame") -> str:
    """A row per kind, those that matter most first."""
    from sitecnn.cli.tables import table

    ordered = kinds.sort_values("ms", ascending=False, kind="stable")
    rows = [_coverage_row(row) for row in ordered.to_dict("records")]
    return table(["kind", "in probes", "in networks", "inside", "ms", "farthest outside"], rows, right=range(1, 5))


def _coverage_row(row: "Mapping[Hashable, Any]") -> list[str]:
    share = f"{row['inside'] / row['kernels']:.0%}"
    outside = f"{row['farthest']} ×{row['farthest_factor']:.1f}" if row["farthest"] else ""
    outside = outside if row["probe_kernels"] else "no probe has it"
    return [str(row["kind"]), str(row["probe_kernels"]), str(row["kernels"]), share, f"{row['ms']:,.2f}", outside]


def _memory(cases: "pd.DataFrame") -> str:
    from sitecnn.cli.tables import table

    rows = [
        [str(name), str(batch), f"{total / 2**20:,.1f}", f"{estimate / 2**20:,.1f}", f"{error:+.1%}"]
        for name, batch, total, estimate, error in zip(
            *(cases[name] for name in ("network", "batch", "total_bytes", "estimate_bytes", "error")), strict=True
        )
    ]
    return table(["network", "batch", "measured MiB", "estimate MiB", "error"], rows, right=range(1, 5))


def _is_alike(summary: "pd.DataFrame", split: str, other: str) -> bool:
    """Whether two splits have the same figures."""
    by_split = summary.set_index("split")
    return other in by_split.index and by_split.loc[[split]].reset_index(drop=True).equals(
        by_split.loc[[other]].reset_index(drop=True)
    )


def _networks(networks: "pd.DataFrame") -> str:
    """A row per network, all its batches together."""
    from sitecnn.cli.tables import table

    rows = []
    for (split, network), part in networks.groupby(["split", "network"], sort=False):
        batches, errors = sorted(part["batch"]), part["error"]
        at = part.iloc[0]
        first = [f"{at.batch}", f"{at.measured_ms:.2f}", f"{at.estimate_ms:.2f}", f"{at.low_ms:.2f}–{at.high_ms:.2f}"]
        spread = [f"{errors.median():+.1%}", f"{errors.abs().max():.1%}", f"{part['covered'].mean():.0%}"]
        rows.append([str(network), *first, *spread, ",".join(map(str, batches)), str(split)])
    head = ["network", "batch", "measured ms", "estimate ms", "interval", "error", "worst", "covered", "of batches", ""]
    return table(head, rows, right=range(1, 8))


def _methods(summary: "pd.DataFrame") -> str:
    """A row per split and method."""
    from sitecnn.cli.tables import table

    head = ["split", "method", "cases", "median", "worst", "bias", "±5 %", "±10 %", "rank", "layers", "90 % of layers"]
    rows: list[list[str]] = [
        [str(row.split), str(row.method), f"{row.cases}", f"{row.median_error:.1%}", f"{row.worst_error:.1%}",
         f"{row.bias:+.1%}", f"{row.within_5:.0%}", f"{row.within_10:.0%}", f"{row.rank_correlation:.2f}",
         f"{row.layer_median_error:.1%}", f"{row.layer_90_error:.1%}"]
        for row in summary.sort_values("split", kind="stable").itertuples()
    ]  # fmt: skip
    return table(head, rows, right=range(2, len(head)))


def _intervals(row: Any, level: float) -> str:
    return (
        f"{row.split}, {row.method}: {level:.0%} intervals hold {row.networks_covered:.0%} of networks (median width"
        f" {row.networks_width:.0%}) and {row.layers_covered:.0%} of layers ({row.layers_width:.0%});"
        f" modelled: {row.layers_modelled:.0%} of layers, {row.modelled_time_fraction:.0%} of time"
    )
