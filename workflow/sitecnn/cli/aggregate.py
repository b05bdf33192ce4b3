"""`sitecnn aggregate`: records → dataset."""

import argparse
import json
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "aggregate", help="collect every board's records into one Parquet dataset", epilog="example: sitecnn aggregate"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write results/dataset and its summary.json, and print that; 0."""
    from sitecnn.dataset import aggregate
    from sitecnn.files import write_text

    summary = json.dumps(aggregate(args.root), indent=2)
    write_text(args.root / "results" / "dataset" / "summary.json", summary + "\n")
    print(summary)
    return 0
