"""Kernels as the agent measures them alone, against their networks' own forward passes, in turn.

    .venv/bin/python -m benchmarks.kernels_in_context --threads 1 config/networks/*.prototxt

Of each network: its passes, its kernels, its passes again, so that a machine whose speed changes does not pass for an
error. Prints the kernels' sum over the mean of both passes, and the error of the layers that take over 1 % of the
time. Layers that move no data (Split, Dropout in place) count with their time in the network.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from sitecnn.boards.agent.keys import canonical
from sitecnn.boards.config import load_board
from sitecnn.boards.plan import plan, plan_lines
from sitecnn.boards.transports import AGENT, board_python
from sitecnn.cli.tables import table
from sitecnn.network import load_network
from sitecnn.network.graph import Network
from sitecnn.workload.kernels import is_free, layer_kernel

Record = dict[str, Any]


def measured(network: Network, python: str, threads: int) -> list[Record]:
    """The agent's measurements of a network's passes, its kernels but the warm ones, and its passes again."""
    tasks = [task for task in plan([network], sweep=False) if task.get("mode") != "warm" and task["task"] != "memory"]
    tasks = [*({**tasks[0], "turn": turn} for turn in (1,)), *tasks[1:], {**tasks[0], "turn": 2}]
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("plan", "records", "lock")]
        Path(files[0]).write_text(plan_lines(tasks))
        command = [python, str(AGENT), "--plan", files[0], "--records", files[1], "--lock", files[2]]
        subprocess.run([*command, "--threads", str(threads)], check=True)
        records = [json.loads(line) for line in Path(files[1]).read_text().splitlines()]
    return [record for record in records if record["record"] == "measurement"]


def compared(network: Network, records: list[Record]) -> tuple[float, float, list[float]]:
    """(forward ns, kernels' sum ns, relative errors of the layers over 1 %)."""
    passes = [record for record in records if record["task"] == "network"]
    alone = {canonical(record["kernel"]): record["median_ns"] for record in records if record["task"] == "layer"}
    times = [layer_times(record) for record in passes]
    total, errors = 0.0, []
    for layer in network.layers:
        inside = sum(one[layer.name] for one in times) / len(times)
        apart = inside if is_free(layer) else alone[canonical(layer_kernel(layer).as_dict())]
        total += apart
        if inside > 0.01 * sum(times[0].values()):
            errors.append(apart / inside - 1)
    forward = sum(median(record["forward_ns"]) for record in passes) / len(passes)
    return forward, total, errors


def layer_times(record: Record) -> dict[str, float]:
    """{layer: median ns} of a layerwise pass; layers with one name add up."""
    found: dict[str, float] = {}
    for layer in record["layers"]:
        found[layer["name"]] = found.get(layer["name"], 0.0) + median(layer["samples_ns"])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    python, rows = board_python(Path(), load_board(Path(), "local")), []
    for path in arguments.networks:
        network = load_network(path)
        forward, total, errors = compared(network, measured(network, python, arguments.threads))
        sizes = sorted(map(abs, errors))
        close = sum(size <= 0.1 for size in sizes)
        cells = (f"{forward / 1e6:.2f}", f"{total / 1e6:.2f}", f"{total / forward - 1:+.1%}")
        rows.append((network.name, *cells, f"{close}/{len(sizes)}", f"{median(sizes):.1%}", f"{sizes[-1]:.1%}"))
    head = ("network", "forward ms", "alone ms", "error", "layers over 1 % within 10 %", "median", "worst")
    print(table(head, rows, right=range(1, 7)))


if __name__ == "__main__":
    main()
