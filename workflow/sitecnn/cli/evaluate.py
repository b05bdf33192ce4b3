"""`sitecnn evaluate`: held-out errors of a board's model."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="estimate each network from a model that never saw it, beside what was measured",
        epilog="example: sitecnn evaluate --board local --processor cpu",
    )
    parser.add_argument("--board", required=True, metavar="NAME")
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--level", type=float, default=0.9, help="of the intervals (default: 0.9)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for networks.parquet, layers.parquet")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the error of each held-out network; 0."""
    from sitecnn.cli.tables import table
    from sitecnn.files import atomic_path
    from sitecnn.models.evaluate import evaluate
    from sitecnn.models.fit import load_measurements

    networks, layers = evaluate(load_measurements(args.root, args.board, args.processor), args.level)
    if args.output:
        for name, frame in (("networks", networks), ("layers", layers)):
            with atomic_path(args.output / f"{name}.parquet") as path:
                frame.to_parquet(path, index=False)
    if networks.empty:
        print("one network only: none can be held out")
        return 0
    rows = [
        (f"{row.network}", f"{row.batch}", f"{row.measured_ms:.2f}", f"{row.estimate_ms:.2f}",
         f"{row.low_ms:.2f}–{row.high_ms:.2f}", f"{row.error:+.1%}", f"{row.stack}")
        for row in networks.itertuples()
    ]  # fmt: skip
    head = ("held out", "batch", "measured ms", "estimate ms", f"{args.level:.0%} interval", "error", "stack")
    print(table(head, rows, right=(1, 2, 3, 4, 5)))
    print(f"median |error| {networks['error'].abs().median():.1%}, worst {networks['error'].abs().max():.1%}")
    return 0
