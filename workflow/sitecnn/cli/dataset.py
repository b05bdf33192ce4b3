"""`sitecnn dataset`: what is there, parts of it as files, whether it is sound, what became slower."""

import argparse
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

FILTERS = ("board", "processor", "stack", "network", "subject", "kind", "source", "status")


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser("dataset", help="look at, export, check and compare measurements")
    kinds = parser.add_subparsers(metavar="ACTION", required=True)
    summary = kinds.add_parser("summary", help="boards, stacks, networks, counts and dates")
    summary.add_argument("--json", action="store_true", help="one JSON document")
    summary.set_defaults(run=run_summary)
    export = kinds.add_parser("export", help="measurements as a CSV or Parquet file")
    for name in FILTERS:
        export.add_argument(f"--{name}", nargs="+", metavar="NAME", help=f"only rows whose {name} is one of these")
    export.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="ends in .csv or .parquet")
    export.set_defaults(run=run_export)
    verify = kinds.add_parser(
        "verify", help="schema, keys, checksums and impossible values; exits with 1 if something is wrong"
    )
    verify.set_defaults(run=run_verify)
    query = kinds.add_parser(
        "query",
        help="the rows of one SELECT over measurements, runs and networks",
        epilog="example: sitecnn dataset query 'SELECT board, count(*) FROM measurements GROUP BY ALL'",
    )
    query.add_argument("sql", metavar="SQL", help="a DuckDB SELECT; it can read only the dataset")
    query.add_argument("--json", action="store_true", help="one JSON document: a list of rows")
    query.set_defaults(run=run_query)
    _add_diff(kinds)


def _add_diff(kinds: Any) -> None:
    diff = kinds.add_parser(
        "diff",
        help="what became slower between two stacks or two datasets (rank tests); exits with 1 if something did",
        epilog="example: sitecnn dataset diff --board tx1 --processor gpu --stack cuda --against cudnn",
    )
    diff.add_argument("--board", required=True, metavar="NAME", help="the board that was measured")
    diff.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    diff.add_argument("--stack", metavar="TEXT", help="before: a part of the stack's name (default: the only one)")
    diff.add_argument("--against", metavar="TEXT", help="after: a part of the stack's name (default: that of before)")
    diff.add_argument("--other", type=Path, metavar="DIR", help="after: another folder with results/ (default: --root)")
    diff.add_argument("--json", action="store_true", help="one JSON document, all things compared")
    diff.set_defaults(run=run_diff)


def run_summary(args: argparse.Namespace) -> int:
    """Print what is there; 0."""
    from sitecnn.cli.tables import table
    from sitecnn.dataset.aggregation import summary
    from sitecnn.dataset.summary import what_is_there

    stacks, counts = what_is_there(args.root), summary(args.root)
    if args.json:
        print(json.dumps({**counts, "stacks": stacks}, indent=2))
        return 0
    head = ("board", "processor", "source", "rows", "not ok", "last", "networks", "stack")
    rows = [
        (entry["board"], entry["processor"], entry["source"], f"{entry['rows']:,}",
         f"{entry['rows'] - entry['statuses'].get('ok', 0):,}", (entry["last"] or "–")[:10],
         ", ".join(entry["networks"]), entry["stack"])
        for entry in stacks
    ]  # fmt: skip
    print(table(head, rows, right={3, 4}))
    print(f"{counts['refused']:,} records refused (results/dataset/refused.jsonl), {counts['superseded']:,} superseded")
    return 0


def run_query(args: argparse.Namespace) -> int:
    """Print the rows of a query; 0."""
    from sitecnn.cli.tables import table
    from sitecnn.dataset.query import query

    selected = query(args.root, args.sql)
    rows = selected.to_pylist()
    if args.json:
        print(json.dumps(rows, indent=2, default=_json_value))
        return 0
    head = selected.column_names
    cells = [["–" if row[name] is None else str(row[name]) for name in head] for row in rows]
    print(table(head, cells))
    return 0


def _json_value(value: Any) -> Any:
    """Decimals (sums of whole numbers) as numbers, times in ISO 8601, what else JSON does not know as its text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def run_export(args: argparse.Namespace) -> int:
    """Write the chosen rows; 0, or 1 where there are none."""
    from sitecnn.dataset.summary import export

    chosen = {name: getattr(args, name) for name in FILTERS if getattr(args, name)}
    rows = export(args.root, args.output, chosen)
    print(f"{args.output}: {rows:,} rows", file=sys.stderr)
    return 0 if rows else 1


def run_verify(args: argparse.Namespace) -> int:
    """Print what is wrong; 0 if nothing is."""
    from sitecnn.dataset.aggregation import summary
    from sitecnn.dataset.store import folder
    from sitecnn.dataset.verify import problems

    faults = list(problems(args.root))
    for line in faults:
        print(line)
    rows = sum(summary(args.root)["measurements"].values())
    print(f"{rows:,} measurements: {len(faults) or 'no'} problem{'s' if len(faults) != 1 else ''}")
    if faults:
        print(f"to make it anew from the records: remove {folder(args.root)} and aggregate")
    return 1 if faults else 0


def run_diff(args: argparse.Namespace) -> int:
    """Print what changed, by type and one by one, slowest first; 1 where something became slower."""
    from sitecnn.cli.tables import table
    from sitecnn.dataset.compare import compare, of_stack, shifts

    before = of_stack(args.root, args.board, args.processor, args.stack)
    after = of_stack(args.other or args.root, args.board, args.processor, args.against or args.stack)
    differences = compare(before, after)
    types = shifts(differences)
    slower, faster = (int((differences["verdict"] == verdict).sum()) for verdict in ("slower", "faster"))
    status = 1 if slower or (types["verdict"] == "slower").any() else 0
    if args.json:
        named = {"types": types, "compared": differences}
        lists = {name: json.loads(table.to_json(orient="records")) for name, table in named.items()}
        print(json.dumps({"slower": slower, "faster": faster, **lists}, indent=2))
        return status
    by_type = [
        (row["subject"], row["type"], str(row["count"]), f"{row['ratio']:.3f}", f"{row['p']:.2g}", row["verdict"])
        for row in types.to_dict("records")
    ]
    print(table(("subject", "type", "count", "median ratio", "p", "verdict"), by_type, right={2, 3, 4}))
    head = ("subject", "network", "batch", "layer or kind", "before ms", "after ms", "ratio", "p", "verdict")
    rows = [_diff_row(row) for row in differences[differences["verdict"] != "same"].to_dict("records")]
    if rows:
        print("\n" + table(head, rows, right={2, 4, 5, 6, 7}))
    print(f"{len(differences)} compared one by one: {slower} slower, {faster} faster")
    return status


def _diff_row(row: dict[Any, Any]) -> tuple[str, ...]:
    from pandas import isna

    named = next((str(row[name]) for name in ("layer", "kind") if not isna(row[name])), "")
    place = [str(row[name]) if not isna(row[name]) else "" for name in ("subject", "network", "batch")]
    figures = [f"{row[name]:.3g}" for name in ("before_ms", "after_ms")]
    return (*place, named, *figures, f"{row['ratio']:.2f}", f"{row['p']:.2g}", row["verdict"])
