"""`sitecnn board`: the boards there are, what one of them has, a new one, and whether one is fit to measure."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sitecnn.errors import SiteCNNError

if TYPE_CHECKING:
    from sitecnn.estimation.inventory import Entry

NAME_HELP = "a board with a file in config/boards"


def add_parser(subparsers: Any) -> None:
    """Register the command and its actions."""
    parser = subparsers.add_parser(
        "board",
        help="list boards, add one, check one",
        epilog="example: sitecnn board add tx1 --ssh nvidia@tx1",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="your boards and those that ship, and what is known about each")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=run_list)
    probing = actions.add_parser("probe", help="CPU, GPU, memory, libraries and versions of a board, as JSON")
    probing.add_argument("board", metavar="NAME", help=NAME_HELP)
    probing.set_defaults(run=run_probe)
    doctor = actions.add_parser(
        "doctor", help="check whether a board is ready to be measured, and how to fix what is not"
    )
    doctor.add_argument("board", metavar="NAME", help=NAME_HELP)
    doctor.set_defaults(run=run_doctor)
    schema = actions.add_parser("schema", help="every key of a board's file, as a JSON schema")
    schema.set_defaults(run=run_schema)
    adding = actions.add_parser("add", help="probe a board and write its file in config/boards")
    adding.add_argument("board", metavar="NAME", help="the new board's name")
    way = adding.add_mutually_exclusive_group()
    way.add_argument("--ssh", metavar="[USER@]HOST", help="reach the board by ssh")
    way.add_argument("--slurm", metavar="CONSTRAINT", help="reach the board as a Slurm node with this feature")
    adding.add_argument("--port", type=int, help="port of the board's sshd")
    adding.add_argument("--ssh-config", metavar="FILE", help="an ssh configuration instead of ~/.ssh/config")
    adding.add_argument("--python", default="python3", help="the Python on the board (default: python3)")
    adding.add_argument(
        "--python-path",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of pycaffe, for PYTHONPATH; repeat for each",
    )
    adding.add_argument(
        "--library-path",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of libraries, for LD_LIBRARY_PATH; repeat for each",
    )
    adding.add_argument("--description", default="", metavar="TEXT", help="one line for the report")
    adding.add_argument("--force", action="store_true", help="replace an existing file")
    adding.set_defaults(run=run_add)


def _measured(entry: "Entry") -> str:
    counts = {"kinds": entry.kinds, "networks": entry.networks, "probes": entry.probes} if entry.stack else {}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def run_list(args: argparse.Namespace) -> int:
    """Print a row per stack of each board's models, and one per processor without a model; 0."""
    from sitecnn.cli.tables import table
    from sitecnn.estimation.inventory import inventory
    from sitecnn.workload.stack_names import stack_label

    entries = inventory(args.root)
    if args.json:
        print(json.dumps([asdict(entry) for entry in entries]))
        return 0
    rows = [
        (
            *(entry.board, entry.processor, entry.transport or "–", entry.model, entry.fitted),
            *(_measured(entry), entry.error(), stack_label(entry.stack)),
        )
        for entry in entries
    ]
    head = ("board", "processor", "reached by", "model", "from", "measured", "± networks", "stack")
    print(table(head, rows) if rows else "no boards: `sitecnn board add NAME` describes one")
    return 0


def run_probe(args: argparse.Namespace) -> int:
    """Print what the agent finds on the board; 0."""
    from sitecnn.boards.campaign import probe
    from sitecnn.boards.config import load_board_config

    print(json.dumps(probe(args.root, load_board_config(args.root, args.board)), indent=2))
    return 0


def run_schema(args: argparse.Namespace) -> int:
    """Print the JSON schema of board files; 0."""
    from sitecnn.boards.config import Board

    print(json.dumps(Board.model_json_schema(), indent=2))
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    """Print a line per check; 0 if all is well, 1 if something is to be fixed."""
    from sitecnn.boards.config import load_board_config
    from sitecnn.boards.doctor import examine

    def say(doing: str) -> None:
        print(f"{args.board}: {doing}…", file=sys.stderr, flush=True)

    healthy = True
    for check in examine(args.root, load_board_config(args.root, args.board), say):
        healthy &= check.well
        print(f"{'ok  ' if check.well else 'FIX '}  {check.what}: {check.answer}", flush=True)
    return 0 if healthy else 1


def run_add(args: argparse.Namespace) -> int:
    """Probe the board, write its file, and say what was found; 0."""
    from sitecnn.boards.add import add

    settings = {"name": args.board, "description": args.description, "python": args.python}
    settings |= {"python_path": args.python_path, "library_path": args.library_path}
    if args.ssh is not None:
        ssh = {"host": args.ssh, "port": args.port, "config_file": args.ssh_config}
        settings |= {"transport": "ssh", "ssh": {name: value for name, value in ssh.items() if value is not None}}
    elif args.port is not None or args.ssh_config is not None:
        raise SiteCNNError("--port and --ssh-config need --ssh")
    elif args.slurm is not None:
        settings |= {"transport": "slurm", "slurm": {"constraint": args.slurm}}
    path, probed = add(args.root, settings, force=args.force)
    print(f"{path}: written; `sitecnn board doctor {args.board}` examines it further", file=sys.stderr)
    print(json.dumps(probed, indent=2))
    return 0
