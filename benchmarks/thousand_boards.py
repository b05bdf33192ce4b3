"""How the workflow grows with boards: the DAG of 10, 100, 1,000 boards × 20 networks, and jobs that it schedules.

    .venv/bin/python -m benchmarks.thousand_boards [BOARDS...]

The agent is replaced by a replay that answers a plan with recorded results, so that only dispatch is measured: a dry
run of everything up to the report builds the DAG; then the campaigns of ten boards run for real. Prints seconds and
memory of both.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sitecnn.cli.tables import table

PROJECT = Path(__file__).parents[1]
NETWORKS = 20
RUN_FOR_REAL = 10

NETWORK = """name: "n{0}"
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 3 dim: 32 dim: 32 }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: {1} kernel_size: 3 }} }}
"""

# Stands where a board's Python stands: it is given the agent's file and arguments, and answers as the agent would.
REPLAY = """#!{python}
import json, sys
sys.path.insert(0, sys.argv[1])
from sitecnn_agent import keys, samples
sys.stdin.readline()
tasks = []
for line in sys.stdin:
    if not line.strip():
        break
    tasks.append(json.loads(line))
say = lambda **record: print(json.dumps(record, separators=(",", ":")), flush=True)
who = dict(stack="replay", processor="cpu", threads=1, protocol=keys.PROTOCOL)
say(record="run", run="r", conditions={{}}, board={{}}, **who)
for task in tasks:
    result = samples.measured([1000.0] * 9, "noise")
    say(**dict(task, record="measurement", run="r", key=keys.task_key(task, "replay"), **result))
say(record="done", run="r", planned=len(tasks), owed=0, seconds=0.0, conditions={{}})
"""


def lay_out(root: Path, boards: int) -> None:
    """An experiment of so many boards."""
    for folder in ("boards", "networks"):
        (root / "config" / folder).mkdir(parents=True)
    names = [f"board{number:04}" for number in range(boards)]
    networks = [f"n{number}" for number in range(NETWORKS)]
    for number, name in enumerate(networks):
        (root / "config/networks" / f"{name}.prototxt").write_text(NETWORK.format(number, 8 + number))
    replay = root / "replay"
    replay.write_text(REPLAY.format(python=sys.executable))
    replay.chmod(0o755)
    for name in names:
        board = {"name": name, "python": "./replay", "processors": {"cpu": {}}}
        (root / "config/boards" / f"{name}.yaml").write_text(json.dumps(board))
    config = {"networks": networks, "boards": names, "sweep": False}
    (root / "config/config.yaml").write_text(json.dumps(config))


def snakemake(root: Path, *words: str) -> tuple[float, float]:
    """(seconds, MiB at most) of a run of Snakemake."""
    command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(PROJECT / "Snakefile")]
    command += ["--directory", str(root), "--cores", "2", "--quiet", "all", *words]
    begin = time.perf_counter()
    child = subprocess.Popen(command, env=dict(os.environ, XDG_CACHE_HOME=str(root / "cache")))
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"snakemake failed: {' '.join(command)}")
    return time.perf_counter() - begin, resource_mib(usage)


def resource_mib(usage: resource.struct_rusage) -> float:
    """The process's largest resident size."""
    return usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    rows = []
    for boards in [int(word) for word in sys.argv[1:]] or [10, 100, 1000]:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            lay_out(root, boards)
            dag_s, dag_mib = snakemake(root, "--dry-run", "--", "report")
            few = [f"results/campaigns/board{number:04}/done.json" for number in range(min(boards, RUN_FOR_REAL))]
            run_s, run_mib = snakemake(root, "--", *few)
        jobs = NETWORKS * 2 + boards * 4 + 3
        cells = (f"{dag_s:.1f}", f"{1000 * dag_s / jobs:.1f}", f"{dag_mib:.0f}", f"{run_s:.1f}", f"{run_mib:.0f}")
        rows.append((str(boards), str(jobs), *cells))
    head = ("boards", "jobs", "DAG s", "ms a job", "MiB", f"{RUN_FOR_REAL} campaigns s", "MiB")
    print(table(head, rows, right=range(7)))


if __name__ == "__main__":
    main()
