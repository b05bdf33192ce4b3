"""`sitecnn convert`: a network of any kind as a prototxt that Caffe loads."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sitecnn.cli.arguments import add_network, read_network


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "convert",
        help="write a network as a prototxt that Caffe loads",
        description="Write an ONNX file or a prototxt of any generation as today's prototxt, so that Caffe on a "
        "board can run it. Shapes stay as they are; weights are not carried over.",
        epilog="example: sitecnn convert net.onnx -o net.prototxt --input data:1x3x224x224",
    )
    add_network(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: stdout)")
    parser.add_argument("--name", help="name the network so (default: its own)")
    parser.add_argument("--layers", type=Path, metavar="FILE", help="also write a Parquet table of its layers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the prototxt; 0, or 1 where it has layers that Caffe lacks, so that it will not load: each is named."""
    from sitecnn.files import atomic_path, write_text
    from sitecnn.network import write_prototxt

    network = read_network(args, args.network)
    network = replace(network, name=args.name or network.name)
    text = write_prototxt(network)
    lacking = [layer for layer in network.layers if not layer.modelled]
    for layer in lacking:
        print(f"{args.network}: layer {layer.name!r} ({layer.type}): {layer.note}", file=sys.stderr)
    if lacking:
        print(f"{args.network}: only a Caffe that has these layers loads what was written", file=sys.stderr)
    if args.layers:
        from sitecnn.workload.table import layer_table

        with atomic_path(args.layers) as path:
            layer_table(network).to_parquet(path, index=False)
    if args.output:
        write_text(args.output, text)
    else:
        sys.stdout.write(text)
    return 1 if lacking else 0
