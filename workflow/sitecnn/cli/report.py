"""`sitecnn report`: all results as one HTML file."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  sitecnn report
  sitecnn report --before ../last-year -o report.html     with what changed since then
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="write the report",
        description="One HTML file; beside it tables/*.csv and figures/*.{svg,png,pdf}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: results/report/report.html")
    parser.add_argument("--before", type=Path, metavar="DIR", help="an older folder like --root, to compare with")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report; 0."""
    from sitecnn.report.build import write_report

    output = args.output or args.root / "results" / "report" / "report.html"
    print(write_report(args.root, output, args.before))
    return 0
