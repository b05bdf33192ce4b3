"""`sitecnn convert`: a network of any kind as a prototxt that Caffe loads."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "convert",
        help="write a network as a prototxt that Caffe loads",
        description="Write an ONNX file or a prototxt of any generation as today's prototxt, so that Caffe on a "
        "board can run it. Shapes stay as they are; weights are not carried over.",
        epilog="example: sitecnn convert net.onnx -o net.prototxt --input data:1x3x224x224",
    )
    parser.add_argument("network", metavar="NETWORK", help="a .prototxt or .onnx file, or - for stdin")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: stdout)")
    parser.add_argument("--batch", type=int, metavar="N", help="images per pass (default: as the file says)")
    parser.add_argument("--input", action="append", default=[], metavar="NAME:1x3x224x224", help="shape of an input")
    parser.add_argument("--name", help="name the network so (default: its own)")
    parser.add_argument("--layers", type=Path, metavar="FILE", help="also write a Parquet table of its layers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the prototxt; 0. Layers that are not Caffe's own are named on stderr."""
    from sitecnn.cli.inputs import parse_inputs
    from sitecnn.files import atomic_path, write_text
    from sitecnn.network import load_network, write_prototxt

    network = load_network(args.network, batch=args.batch, inputs=parse_inputs(args.input))
    network = replace(network, name=args.name or network.name)
    text = write_prototxt(network)
    for layer in network.layers:
        if not layer.modelled:
            print(f"{args.network}: layer {layer.name!r} ({layer.type}): {layer.note}", file=sys.stderr)
    if args.layers:
        from sitecnn.workload.table import layer_table

        with atomic_path(args.layers) as path:
            layer_table(network).to_parquet(path, index=False)
    if args.output:
        write_text(args.output, text)
    else:
        sys.stdout.write(text)
    return 0
