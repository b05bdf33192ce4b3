"""`sitecnn plan`: what a board is to measure."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "plan",
        help="the measurements that networks ask of a board",
        epilog="example: sitecnn plan config/networks/*.prototxt --sweep -o plan.jsonl",
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument(
        "--truth-only", nargs="+", default=[], metavar="NETWORK", help="time their passes, but plan no kernel of theirs"
    )
    parser.add_argument("--batch", type=int, metavar="N")
    parser.add_argument("--sweep", action="store_true", help="and sizes beyond the networks' own (boards/sweep.py)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the plan, one JSON task per line; 0."""
    from sitecnn.boards.plan import plan, plan_lines
    from sitecnn.files import write_text
    from sitecnn.network import load_network

    networks, truth_only = (
        [load_network(source, batch=args.batch) for source in sources] for sources in (args.networks, args.truth_only)
    )
    tasks = plan(networks, sweep=args.sweep, truth_only=truth_only)
    write_text(args.output, plan_lines(tasks))
    print(f"{args.output}: {len(tasks)} measurements")
    return 0
