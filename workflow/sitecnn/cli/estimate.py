"""`sitecnn estimate`: time and memory of a network on a board where it was never run."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.estimate.estimate import Estimate
    from sitecnn.models.board_model import BoardModel, StackModel


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "estimate",
        help="time and memory of a network on a board",
        description="Time per layer and in total, and memory by part, from the board's model; nothing is run there.",
        epilog="example: sitecnn estimate net.prototxt --board local --budget-ms 100",
    )
    parser.add_argument("network", metavar="NETWORK", help="a .prototxt or .onnx file, or - for stdin")
    parser.add_argument("--board", required=True, metavar="NAME")
    parser.add_argument("--processor", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--batch", type=int, metavar="N", help="images per pass (default: as the file says)")
    parser.add_argument("--threads", type=int, metavar="T", help="which stack of the board (default: its first)")
    parser.add_argument("--level", type=_level, default=0.9, help="probability of the intervals (default: 0.9)")
    parser.add_argument("--budget-ms", type=float, metavar="X", help="exit 1 if a pass takes longer")
    parser.add_argument("--budget-mb", type=float, metavar="Y", help="exit 1 if it needs more memory, in 10⁶ bytes")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def _level(text: str) -> float:
    level = float(text)
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a probability between 0 and 1, such as 0.9")
    return level


def run(args: argparse.Namespace) -> int:
    """Print the estimate; 1 if it exceeds a budget, else 0."""
    from sitecnn.estimate.estimate import estimate
    from sitecnn.models.board_model import load
    from sitecnn.network import load_network

    board = load(_model_path(args))
    network = load_network(args.network, batch=args.batch)
    found = estimate(network, _stack(board, args.threads), board.board, board.processor, args.level)
    fits = {
        "time": None if args.budget_ms is None else found.forward_ms.estimate <= args.budget_ms,
        "memory": None if args.budget_mb is None else found.memory_bytes.total <= args.budget_mb * 1e6,
    }
    print(json.dumps(document(found, fits)) if args.json else _text(found, fits))
    return 1 if False in fits.values() else 0


def document(found: "Estimate", fits: dict[str, bool | None]) -> dict[str, Any]:
    """The `estimate --json` document."""
    from dataclasses import asdict

    content = asdict(found)
    layers = [{name: value for name, value in layer.items() if name != "macs"} for layer in content.pop("layers")]
    coverage = {
        "modelled_fraction": content.pop("modelled_fraction"),
        "unmodelled": content.pop("unmodelled"),
    }
    return {**content, "layers": layers, "coverage": coverage, "fits": fits}


def _model_path(args: argparse.Namespace) -> Any:
    from difflib import get_close_matches

    from sitecnn.models.board_model import model_file

    path = model_file(args.root, args.board, args.processor)
    if path.is_file():
        return path
    known = sorted(file.stem for file in path.parent.glob("*.json"))
    near = get_close_matches(f"{args.board}-{args.processor}", known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none; ./run report makes one'}"
    raise SiteCNNError(f"{path}: no model of board {args.board!r}, processor {args.processor}; {hint}")


def _stack(board: "BoardModel", threads: int | None) -> "StackModel":
    for stack in board.stacks:
        if threads in (None, stack.threads):
            return stack
    known = ", ".join(str(stack.threads) for stack in board.stacks)
    raise SiteCNNError(f"--threads {threads}: board {board.board!r} was measured with {known} threads only")


def _text(found: "Estimate", fits: dict[str, bool | None]) -> str:
    from sitecnn.cli.tables import mebibytes, table

    time, parts = found.forward_ms, found.memory_bytes
    slowest = max(found.layers, key=lambda layer: layer.ms.estimate)
    total_ms = sum(layer.ms.estimate for layer in found.layers) or 1.0
    lines = [
        f"{found.network}, batch {found.batch}, on {found.board} {found.processor} ({found.stack})",
        f"forward pass {time.estimate:,.1f} ms ({found.level:.0%}: {time.low:,.1f} to {time.high:,.1f} ms)"
        + _verdict(fits["time"]),
        f"memory       {mebibytes(parts.total)}" + _verdict(fits["memory"]),
        f"             weights {mebibytes(parts.weights)}, data {mebibytes(parts.data)},"
        f" workspace {mebibytes(parts.workspace)}, base {mebibytes(parts.base)}",
        f"bottleneck   {slowest.name} ({slowest.type}), {slowest.ms.estimate / total_ms:.0%} of the layers' time",
    ]
    if found.modelled_fraction < 1 or found.unmodelled:
        lines.append(
            f"not modelled {len(found.unmodelled)} layers, {1 - found.modelled_fraction:.0%} of the MACs:"
            f" {', '.join(found.unmodelled[:5])}{', …' if len(found.unmodelled) > 5 else ''}"
        )
    rows = [
        (layer.name, layer.type, f"{layer.ms.estimate:.3f}", f"{layer.ms.low:.3f}–{layer.ms.high:.3f}",
         f"{layer.ms.estimate / total_ms:.1%}", _remark(layer.modelled, layer.extrapolated))
        for layer in found.layers
    ]  # fmt: skip
    head = ("layer", "type", "ms", f"{found.level:.0%} interval", "share", "")
    return "\n".join([*lines, "", table(head, rows, right=(2, 3, 4))])


def _verdict(fits: bool | None) -> str:
    return {None: "", True: ": fits the budget", False: ": exceeds the budget"}[fits]


def _remark(modelled: bool, extrapolated: bool) -> str:
    return "not modelled" if not modelled else "extrapolated" if extrapolated else ""
