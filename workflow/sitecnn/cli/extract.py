"""`sitecnn extract`: a network's kernels as a table."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from sitecnn.cli.arguments import add_network, read_network


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "extract",
        help="a network's kernels with their counts, as Parquet",
        epilog="example: sitecnn extract config/networks/vgg16.prototxt -o kernels.parquet",
    )
    add_network(parser)
    parser.add_argument("--name", help="name of the network (default: the file's own)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write one row per kernel of each layer; 0."""
    from sitecnn.files import atomic_path
    from sitecnn.workload.table import kernel_table

    network = read_network(args, args.network)
    table = kernel_table(replace(network, name=args.name or network.name))
    with atomic_path(args.output) as path:
        table.to_parquet(path, index=False)
    return 0
