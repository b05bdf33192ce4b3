"""`sitecnn plan`: what a board is to measure."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecnn.cli.arguments import add_network, positive, read_network, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sitecnn.boards.plan import Amount
    from sitecnn.network import Network
    from sitecnn.workload.engines import Engine


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "plan",
        help="list the measurements that networks need from a board",
        epilog="example: sitecnn plan config/networks/*.prototxt --sweep -o plan.jsonl",
    )
    add_network(parser, several=True)
    parser.add_argument(
        "--sweep", action="store_true", help="also measure probe networks and matrix products of many sizes"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--board",
        metavar="NAME",
        help="plan for the engines in this board's file; the board is asked for their versions",
    )
    which.add_argument(
        "--engine",
        metavar="STACK",
        help="plan for this engine: caffe, or onnxruntime-1.27.0+nchwc-16 with the block size (0, 8 or 16 channels)",
    )
    probes = parser.add_argument_group("probe networks", "measured in rounds, each in a process of its own")
    probes.add_argument(
        "--probes", type=whole, metavar="N", help="how many (default: 45 for Caffe, 60 for ONNX Runtime)"
    )
    probes.add_argument(
        "--rounds", type=whole, metavar="N", help="how many rounds (default: 4 for Caffe, 7 for ONNX Runtime)"
    )
    probes.add_argument("--seed", type=int, default=1, metavar="N", help="random seed (default: 1)")
    probes.add_argument(
        "--memory-mb",
        type=positive,
        metavar="MB",
        help="leave out networks that need more memory, 10⁶ bytes (default with --board: 80 %% of what is free there)",
    )
    chosen = parser.add_argument_group(
        "fewer probes", "those Caffe probes that say most about the networks' times for each second of measuring"
    )
    chosen.add_argument("--select", type=whole, metavar="N", help="choose N probes")
    chosen.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="choose probes for M minutes, not counting the networks' own passes",
    )
    chosen.add_argument(
        "--like",
        default="tx1",
        metavar="BOARD",
        help="a board whose CPU model gives the expected times (default: tx1)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the plan, one JSON task per line; 0."""
    from sitecnn.boards.plan import MEMORY_SHARE, Amount, plan, plan_lines
    from sitecnn.files import write_text

    networks = [read_network(args, source) for source in args.networks]
    engines, free = _engines(args, networks)
    choice = args.select or args.minutes
    limit = args.memory_mb * 1e6 if args.memory_mb else free and MEMORY_SHARE * free
    amount = Amount(args.probes, args.rounds, args.seed, memory_bytes=int(limit) if limit else None)
    if choice:
        amount = replace(amount, chosen=_chosen(args, networks, amount))
    tasks = plan(engines, amount, sweep=bool(args.sweep or args.engine or choice))
    write_text(args.output, plan_lines(tasks))
    print(f"{args.output}: {len(tasks)} measurements")
    return 0


def _engines(
    args: argparse.Namespace, networks: "list[Network]"
) -> "tuple[Mapping[Engine, Sequence[Network]], int | None]":
    """(what is measured of which networks: a board's engines, the one that was named, else Caffe; its free bytes)."""
    from sitecnn.boards.config import load_board_config
    from sitecnn.boards.engines import board_engines
    from sitecnn.errors import SiteCNNError
    from sitecnn.workload.engines import TFLITE_GPU, Engine, engine_of_stack

    if args.board:
        named = [replace(one, name=Path(source).stem) for one, source in zip(networks, args.networks, strict=True)]
        return board_engines(args.root, load_board_config(args.root, args.board), named)
    engine = engine_of_stack(args.engine) if args.engine else Engine()
    if engine.name == TFLITE_GPU:
        raise SiteCNNError(f"--engine {args.engine}: only caffe and onnxruntime are measured by probes")
    return {engine: networks}, None


def _chosen(args: argparse.Namespace, networks: "list[Network]", amount: "Amount") -> set[str]:
    """Names of the probes that tell most, as many as asked for."""
    import numpy as np

    from sitecnn.boards.plan import PROBES, ROUNDS
    from sitecnn.boards.probes import caffe_probes
    from sitecnn.models.design import design_order, expected, expected_cost_s, together
    from sitecnn.models.lookup import load_board
    from sitecnn.network import parse_prototxt
    from sitecnn.workload.columns import layer_columns

    model = load_board(args.like, "cpu", root=args.root).stacks[0]
    texts = caffe_probes(amount.seed, amount.probes or PROBES["caffe"])
    probes = [expected(model, *layer_columns(parse_prototxt(text, name))) for name, text in texts.items()]
    cost_s = expected_cost_s(np.array([probe.ns.sum() for probe in probes]), amount.rounds or ROUNDS["caffe"])
    targets = together([expected(model, *layer_columns(network)) for network in networks])
    order = np.array(design_order(probes, targets, cost_s))
    within = np.cumsum(cost_s[order]) <= 60 * (args.minutes or np.inf)
    names = list(texts)
    return {names[index] for index in order[within][: args.select]}
