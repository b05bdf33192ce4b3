"""`sitecnn advise`: what to change, ranked by what it gains."""

import argparse
import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import (
    add_board,
    add_copy,
    add_level,
    add_link,
    add_network,
    add_time_budget,
    copy_of,
    read_network,
)
from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.estimation.advice import Advice, AdviceContext
    from sitecnn.estimation.budget_check import Budget
    from sitecnn.network import Network

EXAMPLES = """\
examples:
  sitecnn advise net.prototxt --board tx1 --processor gpu
  sitecnn advise net.prototxt --board tx1 --budget-fps 30      what reaches 30 images/s, the smallest change first
  sitecnn advise net.prototxt --board tx1 --server gtx1080 --megabits-per-s 50 --round-trip-ms 5
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "advise",
        help="what to change, ranked by what it gains",
        description="List what could change (processor, placement, stack, batch, image size, width,\n"
        "single layers, offload, memory), with the gain of each. With a budget, start with the\n"
        "changes that reach it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    add_board(parser)
    add_level(parser)
    add_time_budget(parser, "exit 1 if no change reaches it")
    add_copy(parser)
    add_link(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the advice; 0, or 1 where nothing reaches the goal."""
    from sitecnn.estimation.advice import advise
    from sitecnn.estimation.budget_check import Budget

    now, notes = _advice_context(args)
    goal = Goal(now, Budget(args.budget_ms, args.budget_fps))
    # A larger batch saves time per image and makes each wait: with a goal it counts only where it reaches that.
    all_advice = [one for one in advise(now) if goal.limit_ms is None or one.kind != "batch"]
    if now.server and not any(one.kind == "offload" for one in all_advice):
        notes.append("offload: nothing is gained over this link")
    if args.json:
        print(json.dumps({**document(now, all_advice, notes), **goal.document()}))
    else:
        print("\n".join([_title(now), *goal.lines(), "", _gains(now, all_advice, notes)]))
    return 0 if goal.is_reached else 1


class Goal:
    """A goal, whether it is reached as things are, and what else would; all of it empty where none was given."""

    def __init__(self, now: "AdviceContext", budget: "Budget") -> None:
        from sitecnn.estimation.estimate import forward_ms
        from sitecnn.estimation.goal import keeps, reaching

        self.limit_ms, self.budget = budget.limit_ms(now.network.batch), budget
        self.forward_ms = forward_ms(now.network, now.model, now.level)
        self.is_kept, self.chance = keeps(budget, self.forward_ms, now.network.batch, now.level)
        self.changes, self.nearest = ([], None) if self.limit_ms is None or self.is_kept else reaching(now, budget)
        self.level = now.level

    @property
    def is_reached(self) -> bool:
        """Whether it is, as things are or by a change."""
        return self.is_kept or bool(self.changes)

    def document(self) -> dict[str, Any]:
        """`goal`, as JSON has it; nothing where none was given."""
        if self.limit_ms is None:
            return {}
        changes = [{**asdict(one), "effort": one.effort.label} for one in self.changes]
        budget = {"budget_ms": self.budget.ms, "budget_fps": self.budget.images_per_second}
        return {
            "goal": {
                **budget,
                "limit_ms": self.limit_ms,
                "kept": self.is_kept,
                "chance": self.chance,
                "reached_by": changes,
            }
        }

    def lines(self) -> list[str]:
        """What reaches it, for a person."""
        from sitecnn.cli.colour import paint
        from sitecnn.cli.estimate_text import amount, chance, span
        from sitecnn.cli.tables import table

        if self.limit_ms is None:
            return []
        rate = f" ({self.budget.images_per_second:g} images/s)" if self.budget.images_per_second else ""
        wanted = f"a pass in {amount(self.limit_ms)} ms{rate}; now {amount(self.forward_ms.estimate)} ms"
        if self.is_kept:
            return [f"goal  {wanted}: {paint('met without a change', 'green')} (chance {chance(self.chance)})"]
        if not self.changes:
            verdict = paint("no change that was tried reaches it", "red")
            near = self.nearest
            said = f"; nearest: {near.change}, {amount(near.forward_ms.estimate)} ms" if near else ""
            return [f"goal  {wanted}: {verdict}{said}"]
        rows = [
            (one.change, one.effort.label, f"{amount(one.forward_ms.estimate)}", span(one.forward_ms),
             f"{one.images / one.forward_ms.estimate * 1e3:,.1f}", chance(one.chance), one.note)
            for one in self.changes
        ]  # fmt: skip
        head = ("reached by", "which is", "pass, ms", f"{self.level:.0%} interval", "images/s", "chance", "")
        return [f"goal  {wanted}; the smallest change first", "", table(head, rows, right=(2, 3, 4, 5))]


def document(now: "AdviceContext", all_advice: "list[Advice]", notes: list[str]) -> dict[str, Any]:
    """The `advise --json` document; `gain_ms` is per image."""
    from sitecnn.estimation.advice import time_per_image

    return {
        "network": now.network.name,
        "board": now.board.board,
        "processor": now.board.processor,
        "stack": now.model.stack,
        "batch": now.network.batch,
        "level": now.level,
        "ms_per_image": time_per_image(now.network, now.model)[0] / 1e6,
        "advice": [{**asdict(one), "sure": one.is_sure} for one in all_advice],
        "notes": notes,
    }


def _advice_context(args: argparse.Namespace) -> "tuple[AdviceContext, list[str]]":
    """What is run now, and what cannot be advised on for want of a model or a link."""
    from sitecnn.estimation.advice import AdviceContext
    from sitecnn.estimation.estimate import forward_ms
    from sitecnn.estimation.offload import Link
    from sitecnn.estimation.placement import ZERO_COPY
    from sitecnn.estimation.variants import why_no_smaller_images
    from sitecnn.models.lookup import choose_stack, load_board, load_processors, other_processor, with_stack

    if (args.server is None) != (args.megabits_per_s is None):
        raise SiteCNNError("offload needs both --server and --megabits-per-s")
    network = read_network(args, args.network)
    processors = load_processors(args.board, args.processor, root=args.root)
    candidates = [
        (one, choose_stack(one, args.stack, args.threads, engine=args.engine, network=network))
        for one in with_stack(processors, args.stack, args.threads, args.engine)
    ]
    board, model = min(candidates, key=lambda one: forward_ms(network, one[1]).estimate)
    other = other_processor(board, args.root)
    gpu = model if board.processor == "gpu" else choose_stack(other, network=network) if other else None
    copy, origin = copy_of(args, gpu) if gpu else (None, "")
    server = load_board(args.server, args.server_processor, root=args.root) if args.server else None
    now = AdviceContext(
        network=network,
        board=board,
        model=model,
        level=args.level,
        other=other,
        copy=copy or ZERO_COPY,
        server=server,
        link=Link(args.megabits_per_s, args.round_trip_ms) if server else None,
        **_changed(args, network),
    )
    notes = []
    if len(candidates) > 1:
        notes.append(
            f"for the {board.processor}, the fastest processor of {board.board}; choose another with --processor"
        )
    if reason := why_no_smaller_images(now.network, now.at_inputs):
        notes.append(f"smaller images: {reason}")
    if other is None:
        notes.append(f"other processor and placement: only the {board.processor} of {board.board} has a model")
    elif copy is None:
        notes.append(f"copies between the processors: {origin}")
    if server is None:
        notes.append("offload: to include it, give --server and --megabits-per-s")
    return now, notes


def _changed(args: argparse.Namespace, network: "Network") -> dict[str, Any]:
    """How the network is had at another batch or for other inputs: in memory, else its file is read again."""
    from sitecnn.estimation.variants import is_read_as_changed, with_batch, with_inputs

    if is_read_as_changed(network):
        return {"at_batch": partial(with_batch, network), "at_inputs": partial(with_inputs, network)}
    if args.network == "-":
        return {}
    return {
        "at_batch": lambda images: read_network(args, args.network, images),
        "at_inputs": lambda shapes: read_network(args, args.network, shapes=shapes),
    }


def _title(now: "AdviceContext") -> str:
    from sitecnn.cli.colour import paint
    from sitecnn.estimation.advice import time_per_image
    from sitecnn.workload.stack_names import stack_label

    here = time_per_image(now.network, now.model)[0] / 1e6
    origin = f"{now.network.name}, batch {now.network.batch}, on {now.board.board} {now.board.processor}"
    return paint(f"{origin} ({stack_label(now.model.stack)}): {here:,.2f} ms an image", "bold")


def _gains(now: "AdviceContext", all_advice: "list[Advice]", notes: list[str]) -> str:
    from sitecnn.cli.tables import mebibytes, table
    from sitecnn.estimation.advice import time_per_image

    here = time_per_image(now.network, now.model)[0] / 1e6
    rows = []
    for one in all_advice:
        if one.gain_ms:
            gain = f"{one.gain_ms.estimate:,.2f} ms"
            interval = f"{one.gain_ms.low:,.2f} to {one.gain_ms.high:,.2f}{'' if one.is_sure else ', may be none'}"
            rows.append((gain, f"{one.gain_ms.estimate / here:.0%}", interval, one.change, one.note))
        else:
            rows.append((mebibytes(one.saves_bytes or 0), "", "", one.change, one.note))
    lines = [
        table(("gain", "of total", f"{now.level:.0%} interval", "change", ""), rows, right=(0, 1)),
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines)
