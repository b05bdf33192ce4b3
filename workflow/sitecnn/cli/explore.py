"""`sitecnn explore`: a page on this machine where a network is edited and its time and memory are seen at once."""

import argparse
from pathlib import Path
from typing import Any

from sitecnn.cli.arguments import add_batch, add_board_name, add_input
from sitecnn.cli.inputs import parse_inputs
from sitecnn.errors import ModelError, NetworkError, SiteCNNError

DEFAULT_PORT = 8123

EXAMPLES = """\
examples:
  sitecnn explore                              the networks of config/networks, on every board that has a model
  sitecnn explore net.prototxt --board tx1,rk3399
  sitecnn explore net.onnx --no-browser        print the page's address only
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "explore",
        help="open a page to edit a network and see its time and memory on every board",
        description="Serve a page to this machine only, until Ctrl+C. Needs the extra sitecnn[explore].",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", nargs="?", metavar="NETWORK", help="the .prototxt or .onnx file to open first")
    add_batch(parser)
    add_input(parser)
    add_board_name(parser, several=True, required=False)
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"(default: {DEFAULT_PORT}, or any free one if that is taken)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is told to end; 0."""
    from sitecnn.models.model_files import known_models

    boards = args.board.split(",") if args.board else []
    first = _network(args.network) if args.network else None
    _check_boards(boards, {board for board, _ in known_models(args.root)})
    # Its modules load while the page's do.
    service = _service(args, boards, first)
    try:
        from sitecnn.explore.server import bind, serve
    except ModuleNotFoundError as error:
        service.close()
        raise SiteCNNError(f"explore needs the package {error.name}: pip install 'sitecnn[explore]'") from None
    try:
        listener = bind(args.port if args.port is not None else DEFAULT_PORT, other=args.port is None)
        serve(service, listener, browser=not args.no_browser)
    finally:
        service.close()
    return 0


def _service(args: argparse.Namespace, boards: list[str], first: Path | None) -> Any:
    from sitecnn.explore.service import Service
    from sitecnn.explore.workers import Worker

    inputs = tuple(parse_inputs(args.input).items())
    spare = Worker(args.root, boards)
    spare.start()
    return Service(args.root, boards, first, args.batch, inputs, spare)


def _network(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise NetworkError(f"{name}: not a file; give a .prototxt or .onnx file")
    return path


def _check_boards(boards: list[str], known: set[str]) -> None:
    if not known:
        raise ModelError(
            "no board has a model yet; make one of this machine with `./run report`, "
            "of another with `sitecnn import` and `sitecnn fit`"
        )
    if missing := [board for board in boards if board not in known]:
        raise ModelError(f"board {missing[0]!r} has no model; boards with one: {', '.join(sorted(known))}")
