"""`sitecnn report`: everything that was found, as one HTML file."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report", help="write the report", epilog="example: sitecnn report -o results/report/report.html"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report; 0."""
    from sitecnn.report.build import write_report

    print(write_report(args.root, args.output or args.root / "results" / "report" / "report.html"))
    return 0
