"""`sitecnn describe`: layers, sizes and memory of networks, without any board."""

import argparse
import csv
import json
import sys
from typing import Any

from sitecnn.cli.arguments import add_network

COLUMNS = ("layer", "type", "output", "macs", "params", "gemms")


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "describe",
        help="layers, shapes, MACs and memory of a network",
        description="Layers, shapes, MACs, matrix multiplications and memory of networks.",
        epilog="example: sitecnn describe config/networks/vgg16.prototxt --batch 4",
    )
    add_network(parser, several=True)
    parser.add_argument("--strict", action="store_true", help="layers that are not Caffe's own are errors")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document (a list for several networks)")
    form.add_argument("--csv", action="store_true", help="one row per layer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each network's description; 0."""
    from sitecnn.cli.inputs import parse_inputs
    from sitecnn.network import load_network
    from sitecnn.workload.describe import describe

    inputs = parse_inputs(args.input)
    documents = [
        describe(load_network(source, batch=args.batch, inputs=inputs, strict=args.strict)) for source in args.networks
    ]
    if args.json:
        print(json.dumps(documents[0] if len(documents) == 1 else documents))
    elif args.csv:
        _print_csv(documents)
    else:
        print("\n\n".join(map(_text, documents)))
    return 0


def _rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            layer["name"],
            layer["type"] + (" (unmodelled)" if "unmodelled" in layer else ""),
            " ".join("×".join(map(str, shape)) for shape in layer["outputs"]),
            str(layer["macs"]),
            str(layer["params"]),
            " ".join(f"{gemm['count']}·({gemm['m']}×{gemm['n']}×{gemm['k']})" for gemm in layer["gemms"]),
        )
        for layer in document["layers"]
    ]


def _print_csv(documents: list[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("network", "batch", *COLUMNS))
    for document in documents:
        writer.writerows((document["network"], document["batch"], *row) for row in _rows(document))


def _text(document: dict[str, Any]) -> str:
    from sitecnn.cli.tables import mebibytes, table

    totals, flops = document["totals"], document["totals"]["poster_flops"]
    lines = [
        f"{document['network']}, batch {document['batch']}",
        table((*COLUMNS[:-1], "GEMMs: count·(m×n×k)"), _rows(document), right=(3, 4)),
        "",
        f"MACs         {totals['macs'] / 1e6:,.0f} M",
        "poster FLOPs " + ", ".join(f"{name} {count / 1e6:,.0f} M" for name, count in flops.items()),
        f"weights      {mebibytes(totals['weights_bytes'])}",
        f"data         {mebibytes(totals['data_bytes'])}",
        f"workspace    {mebibytes(totals['workspace_bytes'])} as Caffe allocates it,"
        f" {mebibytes(totals['workspace_poster_bytes'])} by the poster's definition",
        *(f"note: {note}" for note in document["notes"]),
    ]
    return "\n".join(lines)
