"""`sitecnn convert`: a network of any kind as a prototxt that Caffe loads, or as ONNX."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sitecnn.cli.arguments import add_network, read_network
from sitecnn.network.graph import Network


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "convert",
        help="write a network as a prototxt that Caffe loads, or as ONNX",
        description="Convert an ONNX file or an old prototxt to a current prototxt that Caffe can run, "
        "or, if FILE ends in .onnx, to ONNX with random weights. Shapes stay the same. Weights are not converted.",
        epilog="example: sitecnn convert net.onnx -o net.prototxt --input data:1x3x224x224",
    )
    add_network(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: stdout)")
    parser.add_argument("--name", help="name of the network (default: the file's own)")
    parser.add_argument(
        "--layers", type=Path, metavar="FILE", help="also write its layers as a Parquet table; without -o, only that"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the prototxt; 0, or 1 where it has layers that Caffe lacks, so that it will not load: each is named."""
    from sitecnn.files import write_text
    from sitecnn.network import write_prototxt

    network = read_network(args, args.network)
    network = replace(network, name=args.name or network.name)
    if args.layers:
        _write_layers(network, args.layers)
        if not args.output:
            return 0
    if args.output and args.output.suffix == ".onnx":
        return _write_onnx(network, args.output)
    text = write_prototxt(network)
    lacking = _lacking(network)
    for line in lacking:
        print(f"{args.network}: {line}", file=sys.stderr)
    if lacking:
        print(f"{args.network}: only a Caffe with these layers can load the written file", file=sys.stderr)
    if args.output:
        write_text(args.output, text)
    else:
        sys.stdout.write(text)
    return 1 if lacking else 0


def _lacking(network: Network) -> list[str]:
    """A line for each type of layer that Caffe lacks, and why it does."""
    names: dict[tuple[str, str], list[str]] = {}
    for layer in network.layers:
        if not layer.modelled:
            names.setdefault((layer.type, layer.note), []).append(layer.name)
    return [
        f"layer {named[0]!r} ({kind}): {note}"
        if len(named) == 1
        else f"{len(named)} layers of type {kind}, such as {named[0]!r}: {note}"
        for (kind, note), named in names.items()
    ]


def _write_layers(network: Network, output: Path) -> None:
    from sitecnn.files import atomic_path
    from sitecnn.workload.table import layer_table

    with atomic_path(output) as path:
        layer_table(network).to_parquet(path, index=False)


def _write_onnx(network: Network, output: Path) -> int:
    from sitecnn.files import atomic_path
    from sitecnn.network.onnx import to_onnx

    data = to_onnx(network)
    with atomic_path(output) as path:
        path.write_bytes(data)
    return 0
