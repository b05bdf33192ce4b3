"""`sitecnn advise`: what to change, ranked by what it gains."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_board, add_copy, add_level, add_link, add_network, copy_of, read_network
from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.estimation.advice import Advice, Situation

EXAMPLES = """\
examples:
  sitecnn advise net.prototxt --board tx1 --processor gpu
  sitecnn advise net.prototxt --board tx1 --server gtx1080 --megabits-per-s 50 --round-trip-ms 5
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "advise",
        help="what to change, ranked by what it gains",
        description="Processor, placement, stack, batch, layers to shrink, offload, memory: what each would gain.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    add_board(parser)
    add_level(parser)
    add_copy(parser)
    add_link(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the advice; 0."""
    from sitecnn.estimation.advice import advise

    now, notes = _situation(args)
    found = advise(now)
    if now.server and not any(one.change.startswith("offload") for one in found):
        notes.append("offload: over this link nothing is gained")
    print(json.dumps(document(now, found, notes)) if args.json else _text(now, found, notes))
    return 0


def document(now: "Situation", found: "list[Advice]", notes: list[str]) -> dict[str, Any]:
    """The `advise --json` document; `gain_ms` is per image."""
    from dataclasses import asdict

    from sitecnn.estimation.advice import time_per_image

    return {
        "network": now.network.name,
        "board": now.board.board,
        "processor": now.board.processor,
        "stack": now.model.stack,
        "batch": now.network.batch,
        "level": now.level,
        "ms_per_image": time_per_image(now.network, now.model)[0] / 1e6,
        "advice": [{**asdict(one), "sure": one.is_sure} for one in found],
        "notes": notes,
    }


def _situation(args: argparse.Namespace) -> "tuple[Situation, list[str]]":
    """What is run now, and what cannot be advised on for want of a model or a link."""
    from sitecnn.estimation.advice import Situation
    from sitecnn.estimation.boards import choose_stack, load_board, other_processor
    from sitecnn.estimation.offload import Link
    from sitecnn.estimation.placement import ZERO_COPY

    if (args.server is None) != (args.megabits_per_s is None):
        raise SiteCNNError("offload needs both --server and --megabits-per-s")
    board = load_board(args.board, args.processor, root=args.root)
    model = choose_stack(board, args.stack, args.threads)
    other = other_processor(board, args.root)
    gpu = model if board.processor == "gpu" else choose_stack(other) if other else None
    copy, origin = copy_of(args, gpu) if gpu else (None, "")
    server = load_board(args.server, args.server_processor, root=args.root) if args.server else None
    notes = []
    if other is None:
        notes.append(f"other processor and placement: only the {board.processor} of {board.board} has a model")
    elif copy is None:
        notes.append(f"copies between the processors: {origin}")
    if server is None:
        notes.append("offload: no --server and --megabits-per-s given")
    situation = Situation(
        network=read_network(args, args.network),
        board=board,
        model=model,
        level=args.level,
        other=other,
        copy=copy or ZERO_COPY,
        server=choose_stack(server) if server else None,
        link=Link(args.megabits_per_s, args.round_trip_ms) if server else None,
        at_batch=None if args.network == "-" else lambda images: read_network(args, args.network, images),
    )
    return situation, notes


def _text(now: "Situation", found: "list[Advice]", notes: list[str]) -> str:
    from sitecnn.cli.colour import paint
    from sitecnn.cli.tables import mebibytes, table
    from sitecnn.estimation.advice import time_per_image

    here = time_per_image(now.network, now.model)[0] / 1e6
    origin = f"{now.network.name}, batch {now.network.batch}, on {now.board.board} {now.board.processor}"
    rows = []
    for one in found:
        if one.gain_ms:
            gain = f"{one.gain_ms.estimate:,.2f} ms"
            interval = f"{one.gain_ms.low:,.2f} to {one.gain_ms.high:,.2f}{'' if one.is_sure else ', perhaps none'}"
            rows.append((gain, f"{one.gain_ms.estimate / here:.0%}", interval, one.change, one.note))
        else:
            rows.append((mebibytes(one.saves_bytes or 0), "", "", one.change, one.note))
    lines = [
        paint(f"{origin} ({now.model.stack}): {here:,.2f} ms an image", "bold"),
        "",
        table(("gain", "of it", f"{now.level:.0%} interval", "change", ""), rows, right=(0, 1)),
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines)
