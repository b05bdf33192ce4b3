"""Arguments that several commands share, and how they are completed in a shell."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.workload.engines import ENGINES

if TYPE_CHECKING:
    from sitecnn.estimation.placement import Copy
    from sitecnn.models.board_model import StackModel
    from sitecnn.network import Network
    from sitecnn.network.graph import Shape


def add_board_name(parser: argparse.ArgumentParser, *, several: bool = False, required: bool = True) -> None:
    """--board: which board is asked about."""
    many = "; several with commas" if several else ""
    board: Any = parser.add_argument(
        "--board", required=required, metavar="NAME", help=f"a board that has a model, or a model's .json file{many}"
    )
    board.completer = complete_board


def add_board(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--board, --processor, --stack, --engine and --threads: whose model answers."""
    add_board_name(parser, several=several)
    parser.add_argument(
        "--processor", choices=("cpu", "gpu"), help="(default: every one with a model, the fastest first)"
    )
    parser.add_argument("--stack", metavar="TEXT", help="a part of the stack's name (default: the model's first)")
    add_engine(parser, "use a stack of this engine (default: the engine that the network's file format suggests)")
    parser.add_argument("--threads", type=whole, metavar="T", help="use the stack with T threads")


MOST = 1e15
"""No amount is larger, whatever its unit, nor smaller than its reciprocal: it bounds what is computed of them."""

NETWORK_HELP = "a .prototxt or .onnx file, or - for stdin"


def add_network(parser: argparse.ArgumentParser, *, several: bool = False, batches: bool = False) -> None:
    """NETWORK, one or several, with what every command takes that reads one: --batch and --input."""
    if several:
        parser.add_argument("networks", nargs="+", metavar="NETWORK", help=NETWORK_HELP)
    else:
        parser.add_argument("network", metavar="NETWORK", help=NETWORK_HELP)
    add_batch(parser, several=batches)
    add_input(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """--input: shapes that a network's file leaves open."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME:1x3x224x224",
        help="shape of an input, or of a blob whose shape the file does not give; repeat for each",
    )


def read_network(
    args: argparse.Namespace,
    source: "str | Path",
    batch: int | None = None,
    shapes: "Mapping[str, Shape] | None" = None,
) -> "Network":
    """A network as the command's --batch and --input say.

    `batch` stands for --batch where that has several, `shapes` come before those of --input.
    """
    from sitecnn.cli.inputs import parse_inputs
    from sitecnn.network import load_network

    images = batch if batch is not None or isinstance(args.batch, list) else args.batch
    return load_network(source, batch=images, inputs={**parse_inputs(args.input), **(shapes or {})})


def add_engine(parser: argparse.ArgumentParser, text: str) -> None:
    """--engine: the software that executes the network."""
    parser.add_argument("--engine", choices=ENGINES, help=text)


def add_batch(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--batch: images per pass, one number or several with commas."""
    shape, kind = ("N[,N…]", batch_list) if several else ("N", single_batch)
    parser.add_argument("--batch", type=kind, metavar=shape, help="images per pass (default: from the file)")


def add_copy(parser: argparse.ArgumentParser) -> None:
    """What moving a value between CPU and GPU costs."""
    parser.add_argument("--zero-copy", action="store_true", help="CPU and GPU share memory: copies cost nothing")
    parser.add_argument("--copy-gb-per-s", type=positive, metavar="X", help="copy speed in 10⁹ bytes/s")
    parser.add_argument("--copy-us", type=not_negative, metavar="X", help="extra µs for each copy (default: 0)")


def copy_of(args: argparse.Namespace, gpu: "StackModel") -> "tuple[Copy | None, str]":
    """(what a copy costs, where that is from); None where it is neither given nor measured."""
    from sitecnn.estimation.placement import ZERO_COPY, Copy, measured_copy

    if args.zero_copy:
        return ZERO_COPY, "zero-copy, as given"
    if args.copy_gb_per_s or args.copy_us:
        return Copy((args.copy_us or 0) * 1e3, 1 / args.copy_gb_per_s if args.copy_gb_per_s else 0.0), "as given"
    if measured := measured_copy(gpu):
        return measured, "as measured on the board"
    return None, "assumed to cost nothing: no copy was measured on this board; give --copy-gb-per-s and --copy-us"


def add_link(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The server to offload to and the link to it."""
    server: Any = parser.add_argument(
        "--server", required=required, metavar="NAME", help="the server: a board that has a model"
    )
    server.completer = complete_board
    parser.add_argument("--server-processor", choices=("cpu", "gpu"), default="gpu", help="(default: gpu)")
    parser.add_argument(
        "--megabits-per-s", type=positive, required=required, metavar="X", help="the link's bandwidth in each direction"
    )
    parser.add_argument(
        "--round-trip-ms", type=not_negative, default=0.0, metavar="X", help="the link's round trip (default: 0)"
    )


def add_time_budget(parser: argparse.ArgumentParser, consequence: str) -> None:
    """--budget-ms and --budget-fps; `consequence` says what happens if a budget is exceeded."""
    text = f"budget for a pass in ms; {consequence}"
    parser.add_argument("--budget-ms", type=positive, metavar="X", help=text)
    text = f"budget in images per second; {consequence}"
    parser.add_argument("--budget-fps", type=positive, metavar="X", help=text)


def add_level(parser: argparse.ArgumentParser) -> None:
    """--level of the intervals."""
    parser.add_argument(
        "--level", type=level, default=0.9, help="probability that an interval contains the true value (default: 0.9)"
    )


def level(text: str) -> float:
    """A probability strictly between 0 and 1."""
    value = _number(text)
    if not 0.5 < 0.5 + value / 2 < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a probability between 0 and 1, such as 0.9")
    return value


def positive(text: str) -> float:
    """A number above 0, of an amount that can be."""
    value = _number(text)
    if not 1 / MOST <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0, and at most {MOST:g}")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0, of an amount that can be."""
    value = _number(text)
    if not 0 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to {MOST:g}")
    return value


def whole(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def _number(text: str) -> float:
    """NaN, which is in no range, for a text that is no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def batch_list(text: str) -> list[int]:
    """`4` or `1,2,4,8`."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: expected images per pass, such as 4 or 1,2,4,8")
    return [int(part) for part in parts]


def single_batch(text: str) -> int:
    """One number of images."""
    (images, *more) = batch_list(text)
    if more:
        raise argparse.ArgumentTypeError(f"{text}: expected one number of images")
    return images


def complete_board(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names of boards for the shell."""
    from sitecnn.models.model_files import known_models

    root = getattr(parsed_args, "root", None) or Path()
    return sorted({board for board, _ in known_models(root) if board.startswith(prefix)})
