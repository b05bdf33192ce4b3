"""`sitecnn import`: times that others measured → records → dataset."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_batch, add_input, read_network
from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.dataset.imports.record import Imported


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser("import", help="import times measured elsewhere")
    kinds = parser.add_subparsers(metavar="FORMAT", required=True)
    table = _add(kinds, "table", "per-layer times as CSV or Parquet", "FILE", None)
    table.add_argument(
        "--networks", required=True, type=Path, metavar="DIR", help="definitions: DIR/{network}.prototxt or .onnx"
    )
    table.add_argument("--library", metavar="NAME", help="only rows with this name in the column `library`")
    kernels = _add(
        kinds, "kernels", "kernels with sizes and times as CSV or Parquet, without definitions", "FILE", None
    )
    kernels.add_argument("--passes", type=Path, metavar="FILE", help="whole passes: network, forward_ms")
    totals = _add(kinds, "totals", "totals of networks as papers print them, as CSV", "FILE", None)
    totals.add_argument(
        "--networks", required=True, type=Path, metavar="DIR", help="definitions: DIR/{network}.prototxt or .onnx"
    )
    for name, text, files in (
        ("caffe-time", "logs that `caffe time` printed", "+"),
        ("onnxruntime", "profiles that ONNX Runtime wrote (enable_profiling)", "+"),
        ("tensorrt", "layer profiles of `trtexec --exportProfile`", "+"),
    ):
        one = _add(kinds, name, text, "FILE", files)
        one.add_argument("--network", required=True, type=Path, metavar="FILE", help="the definition that was run")
        add_batch(one)


def _add(kinds: Any, name: str, text: str, metavar: str, files: str | None) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=text)
    parser.add_argument("file", type=Path, nargs=files, metavar=metavar)
    parser.add_argument("--board", required=True, metavar="NAME", help="the board that was measured")
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--stack", required=True, metavar="TEXT", help="what ran the network: engine, BLAS, versions")
    add_input(parser)
    parser.set_defaults(run=run, format=name)
    return parser


def run(args: argparse.Namespace) -> int:
    """Import and aggregate; 0, or 1 where rows were refused: each reason is a line on stderr."""
    from sitecnn.dataset import aggregate
    from sitecnn.dataset.imports.record import Target, write_import

    if not args.stack.strip() or not args.stack.isprintable():
        raise SiteCNNError(f"--stack {args.stack!r}: expected what ran the network, in words on one line")
    target = Target(args.board, args.processor, args.stack)
    sources = args.file if isinstance(args.file, list) else [args.file]
    for file in filter(None, (*sources, getattr(args, "passes", None))):
        file.open("rb").close()
    imported = _read(args, target)
    source = sources[0]
    record_file = write_import(args.root, target, sources, args.format, imported, getattr(args, "library", None) or "")
    for reason in imported.reasons():
        print(f"sitecnn: {source}: {reason}", file=sys.stderr)
    aggregate(args.root)
    left_out = f"{imported.left_out} left out" + (f" ({imported.left_out_as})" if imported.left_out else "")
    print(f"{source}: {imported.rows} rows: {imported.imported} imported, {left_out}, {len(imported.refused)} refused")
    print(f"records: {record_file}")
    return 1 if imported.refused else 0


def _read(args: argparse.Namespace, target: Any) -> "Imported":
    from sitecnn.cli.inputs import parse_inputs

    if args.format == "table":
        from sitecnn.dataset.imports.table import read_table

        return read_table(args.file, target, args.networks, args.library, parse_inputs(args.input))
    if args.format == "kernels":
        from sitecnn.dataset.imports.kernels import read_kernels

        return read_kernels(args.file, target, args.passes)
    if args.format == "totals":
        from sitecnn.dataset.imports.totals import read_totals

        return read_totals(args.file, target, args.networks, parse_inputs(args.input))
    network = read_network(args, args.network)
    name = args.network.stem
    if args.format == "caffe-time":
        from sitecnn.dataset.imports.caffe_time import read_logs

        return read_logs(args.file, target, network, name)
    if args.format == "onnxruntime":
        from sitecnn.dataset.imports.onnxruntime import read_profiles
    else:
        from sitecnn.dataset.imports.tensorrt import read_profiles
    return read_profiles(args.file, target, network, name)
