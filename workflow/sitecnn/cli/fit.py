"""`sitecnn fit`: dataset → board model."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_input

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sitecnn.models.board_model import BoardModel
    from sitecnn.network import Network


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "fit",
        help="fit a board's model from its measurements",
        epilog="example: sitecnn fit --board tx1 --processor gpu --exclude-network alexnet",
    )
    parser.add_argument("--board", required=True, metavar="NAME", help="the board that was measured")
    parser.add_argument("--processor", required=True, choices=("cpu", "gpu"))
    parser.add_argument(
        "--exclude-network", nargs="+", default=[], metavar="NAME", help="networks that it must not use"
    )
    parser.add_argument(
        "--held-out", nargs="+", default=[], metavar="NAME",
        help="networks to estimate: their passes are not used; kernels that other networks have as well are",
    )  # fmt: skip
    parser.add_argument("--like", metavar="BOARD", help="scale the model of this similar board to the measurements")
    parser.add_argument(
        "--networks", type=Path, metavar="DIR", help="definitions of networks whose times are known only by layer type"
    )
    add_input(parser)
    parser.add_argument(
        "--source", default="", metavar="TEXT", help="where the times come from, and their limits; estimates show it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write results/models/{board}-{processor}.json and print what was fitted; 0."""
    from sitecnn.cli.inputs import parse_inputs
    from sitecnn.dataset.imports.joining import definition
    from sitecnn.models.board_model import model_file, save
    from sitecnn.models.calibrate import fit_board
    from sitecnn.models.measurements import load_measurements, without_networks
    from sitecnn.models.probe_names import without_probes

    rows = load_measurements(args.root, args.board, args.processor)
    rows = without_networks(rows[~rows["network"].isin(args.held_out)], args.exclude_network)
    left_out = sorted({*args.exclude_network, *args.held_out})
    provenance = {"source": args.source, "excluded_networks": left_out, "measurements": len(rows)}
    known = partial(definition, args.networks, inputs=parse_inputs(args.input)) if args.networks else None
    if args.like:
        model = _transferred(args, rows, provenance, known)
    else:
        model = fit_board(rows, args.board, args.processor, provenance, known)
    path = model_file(args.root, args.board, args.processor)
    save(model, path)
    for stack in model.stacks:
        networks = len(without_probes(stack.networks))
        sources = (
            f"measurements: {int((rows['stack'] == stack.stack).sum())}, "
            f"networks: {networks}, probes: {len(stack.networks) - networks}"
        )
        print(f"{path}: {stack.stack}: {len(stack.kinds)} kinds; {sources}")
    return 0


def _transferred(
    args: argparse.Namespace,
    rows: "pd.DataFrame",
    provenance: dict[str, Any],
    definition: "Callable[[str, int], Network] | None",
) -> "BoardModel":
    """The first stack of another board's model, scaled to each stack that was measured."""
    from sitecnn import __version__
    from sitecnn.models.board_model import BoardModel
    from sitecnn.models.lookup import load_board
    from sitecnn.models.transfer import transfer

    like = load_board(args.like, args.processor, root=args.root)
    parts = rows.groupby("stack", sort=True)
    stacks = tuple(transfer(like.stacks[0], part, str(stack), definition) for stack, part in parts)
    known = {"sitecnn": __version__, "like": f"{like.board}, {like.stacks[0].stack}", **provenance}
    return BoardModel(args.board, args.processor, stacks, known)
