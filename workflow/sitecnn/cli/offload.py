"""`sitecnn offload`: where to split a network between a board and a server."""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_board, add_level, add_link, add_network, read_network
from sitecnn.workload.stack_names import stack_label

if TYPE_CHECKING:
    from sitecnn.estimation.offload import Offload, Split

EXAMPLES = """\
example:
  sitecnn offload net.prototxt --board tx1 --server gtx1080 --megabits-per-s 50 --round-trip-ms 5
"""

BANDWIDTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

SHOWN = 8
"""So many depths are shown, the fastest ones; --csv has all."""

BAR = 40


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "offload",
        help="where to split a network between a board and a server",
        description="The best split between board and server: by layer, and over the link's bandwidth.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    add_board(parser)
    add_link(parser, required=True)
    add_level(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document")
    form.add_argument("--csv", action="store_true", help="a row for a split after each layer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the best split; 0."""
    from sitecnn.estimation.offload import Link, by_bandwidth, offload
    from sitecnn.models.lookup import choose_stack, load_board, load_processors, with_stack

    boards = load_processors(args.board, args.processor, root=args.root)
    processors = with_stack(boards, args.stack, args.threads, args.engine)
    server = load_board(args.server, args.server_processor, root=args.root)
    link = Link(args.megabits_per_s, args.round_trip_ms)
    network = read_network(args, args.network)
    there = server.only(choose_stack(server, network=network))
    ways = []
    for board in processors:
        here = board.only(choose_stack(board, args.stack, args.threads, engine=args.engine, network=network))
        curve = list(zip(BANDWIDTHS, by_bandwidth(network, here, there, link, BANDWIDTHS), strict=True))
        ways.append(Way(offload(network, here, there, link, level=args.level), curve))
    ways.sort(key=lambda way: way.offload.total_ms.estimate)
    best, *others = ways
    if args.csv:
        _print_csv(best.offload)
    elif args.json:
        documents = [document(way) for way in ways]
        print(json.dumps({**documents[0], "others": documents[1:]}))
    else:
        chosen = best.offload
        title = (
            f"{network.name}, batch {network.batch}: {chosen.board} {chosen.processor} ({stack_label(chosen.stack)}), "
            f"server {server.board} {server.processor} ({stack_label(there.stacks[0].stack)}), "
            f"{link.megabits_per_s:g} Mbit/s, round trip {link.round_trip_ms:g} ms"
        )
        print(_text(title, best, others, args.level))
    return 0


@dataclass(frozen=True)
class Way:
    """The best split with one of the board's processors, and how it changes with the bandwidth."""

    offload: "Offload"
    curve: "list[tuple[int, Split]]"


def document(way: Way) -> dict[str, Any]:
    """The `offload --json` document of one of the board's processors."""
    curve = [{"megabits_per_s": rate, **split.to_dict()} for rate, split in way.curve]
    return {**way.offload.to_dict(), "by_bandwidth": curve}


def _print_csv(offload: "Offload") -> None:
    rows = offload.to_dict()["by_depth"]
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _text(title: str, way: Way, others: list[Way], level: float) -> str:
    from sitecnn.cli.colour import paint
    from sitecnn.cli.estimate_text import amount, span

    offload = way.offload
    best, gain = offload.best, offload.gain_ms
    if not best.leaves_board:
        verdict, gained = (
            paint("keep everything on the board", "yellow"),
            "none: no split is faster than the board alone",
        )
    else:
        interval = f"({level:.0%}: {gain.low:,.1f} to {gain.high:,.1f} ms)"
        gained = f"{amount(gain.estimate)} ms {interval} over the board alone"
        where = f"after {offload.last_on_board(best)}" if any(best.on_board) else "before the first layer"
        verdict = paint(f"split {where}: {sum(best.on_board)} of {len(best.on_board)} layers on the board", "green")
    lines = [
        paint(title, "bold"),
        f"verdict     {verdict}",
        f"time        {amount(offload.total_ms.estimate)} ms ({level:.0%}: {span(offload.total_ms)} ms),"
        + (" if the link is exactly as given" if best.leaves_board else " on the board alone"),
        f"gain        {gained}",
    ]
    if best.leaves_board:
        lines.append(f"link        {best.sent_bytes / 1e6:,.2f} MB up, {best.returned_bytes / 1e6:,.2f} MB back")
    for other in others:
        slower = other.offload
        time = (
            f"{amount(slower.total_ms.estimate)} ms at best with the {slower.processor} ({stack_label(slower.stack)})"
        )
        lines.append(f"processors  this is with the {offload.processor}, the fastest; {time}")
    return "\n".join([*lines, "", _depths(offload), "", _curve(way.curve)])


def _depths(offload: "Offload") -> str:
    from sitecnn.cli.tables import table

    ranked = sorted(range(len(offload.by_depth)), key=lambda index: offload.by_depth[index].total_ms)
    shown = sorted({0, len(offload.by_depth) - 1, *ranked[:SHOWN]})
    rows = []
    for split in (offload.by_depth[index] for index in shown):
        after = offload.last_on_board(split) if split.leaves_board else "all on the board"
        times = (split.board_ns / 1e6, split.link_ns / 1e6, split.server_ns / 1e6, split.total_ms)
        rows.append((after or "nothing", f"{split.sent_bytes / 1e6:,.2f}", *(f"{ms:,.2f}" for ms in times)))
    return table(("board runs up to", "MB up", "board ms", "link ms", "server ms", "total ms"), rows, right=range(1, 6))


def _curve(curve: "list[tuple[int, Split]]") -> str:
    from sitecnn.cli.tables import table

    slowest = max(split.total_ms for _, split in curve) or 1.0
    rows = [
        (f"{rate:,}", str(sum(split.on_board)), f"{split.total_ms:,.2f}", "█" * round(BAR * split.total_ms / slowest))
        for rate, split in curve
    ]
    return table(("Mbit/s", "layers on board", "best total ms", ""), rows, right=(0, 1, 2))
