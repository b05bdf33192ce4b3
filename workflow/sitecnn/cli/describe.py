"""`sitecnn describe`: layers, sizes and memory of networks, without any board."""

import argparse
import csv
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_network

if TYPE_CHECKING:
    from sitecnn.workload.engines import Engine

USUAL_BLOCK = 16
"""Channels in a block of ONNX Runtime's on the x86 processors of the last years, which have AVX-512."""

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
    parser.add_argument(
        "--engine",
        metavar="E",
        help="also list the kernels that this engine runs: caffe or onnxruntime; for an older release or another "
        "processor onnxruntime-1.17+nchwc-8 (default: the newest release, blocks of 16 channels)",
    )
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
    networks = [load_network(source, batch=args.batch, inputs=inputs, strict=args.strict) for source in args.networks]
    engine = described_engine(args.engine) if args.engine else None
    documents = [describe(network, engine) for network in networks]
    if args.json:
        print(json.dumps(documents[0] if len(documents) == 1 else documents))
    elif args.csv:
        _print_csv(documents)
    else:
        print("\n\n".join(map(_text, documents)))
    return 0


def described_engine(text: str) -> "Engine":
    """An engine by its name, or with options as a stack's name has them; SiteCNNError for one that there is not."""
    from sitecnn.errors import SiteCNNError
    from sitecnn.workload.engines import ENGINES, engine_of_stack

    engine = engine_of_stack(text)
    if not text.startswith(engine.name):
        raise SiteCNNError(f"--engine {text!r}: unknown engine; choose one of: {', '.join(ENGINES)}")
    return engine if "+nchwc-" in text else replace(engine, nchwc_block=USUAL_BLOCK)


def _rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            layer["name"],
            layer["type"] + (" (unmodelled)" if "unmodelled" in layer else ""),
            " ".join("×".join(map(str, shape)) for shape in layer["outputs"]),
            str(layer["macs"]) if layer.get("counted", True) else "not counted",
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


def _precision(precision: str) -> str:
    return "" if precision == "fp32" else f"; the file is {precision}, but data and workspace are for fp32"


def _text(document: dict[str, Any]) -> str:
    from sitecnn.cli.tables import mebibytes, millions, table

    totals, flops = document["totals"], document["totals"]["poster_flops"]
    lines = [
        f"{document['network']}, batch {document['batch']}{_precision(document['precision'])}",
        table((*COLUMNS[:-1], "GEMMs: count·(m×n×k)"), _rows(document), right=(3, 4)),
        "",
        *_kernel_lines(document),
        f"MACs         {millions(totals['macs'])}",
        "poster FLOPs " + ", ".join(f"{name} {millions(count)}" for name, count in flops.items()),
        f"weights      {mebibytes(totals['weights_bytes'])}",
        f"data         {mebibytes(totals['data_bytes'])}",
        f"workspace    {mebibytes(totals['workspace_bytes'])} as Caffe allocates it,"
        f" {mebibytes(totals['workspace_poster_bytes'])} by the poster's definition",
        *(f"note: {note}" for note in document["notes"]),
    ]
    return "\n".join(lines)


def _kernel_lines(document: dict[str, Any]) -> list[str]:
    """What the engine runs, a line for each kernel with the layers whose work it does."""
    from sitecnn.cli.tables import table

    if "kernels" not in document:
        return []
    rows = [
        (
            *(one["kind"], one["variant"], "×".join(map(str, one["output"])), f"{one['sizes'].get('parameters', 0)}"),
            " + ".join(one["layers"]),
        )
        for one in document["kernels"]
    ]
    head = (f"kernels of {document['engine']}", "variant", "output", "params", "layers")
    return [table(head, rows, right=(3,)), ""]
