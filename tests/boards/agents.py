"""Real agents, started as a host or a person starts them, with constants changed where a test cannot wait."""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sitecnn.boards.archive import agent_archive, agent_name

_FOLDER = tempfile.TemporaryDirectory(prefix="sitecnn-agent-of-tests-")
AGENT = Path(_FOLDER.name) / agent_name()
AGENT.write_bytes(agent_archive())
CAFFE_PYTHON = Path(__file__).parents[2] / "envs/pycaffe/.venv/bin/python"

# The supervisor alone sees changed constants: its worker is a process of the agent's own file.
CHANGED = (
    "import sys; sys.path.insert(0, {archive!r});"
    "from sitecnn_agent import campaign, hosts, lock, main; {changes}; sys.exit(main.main())"
)


def gemm_task(m, n=16, k=16, **more):
    flags = {"trans_a": 0, "trans_b": 0, "accumulate": 0}
    kernel = {"kind": "gemm", "variant": "", "m": m, "n": n, "k": k, **flags}
    return {"task": "gemm", "kernel": kernel, "mode": "warm", **more}


def quick_task(m):
    """A few calls of a small product, where it matters only that something is measured."""
    return gemm_task(m, mode="overhead", iterations=1)


def network_task(prototxt, name="small", task="network", **more):
    when = {} if task == "memory" else {"round": 0}
    return {"task": task, "network": name, "batch": 1, "prototxt": prototxt, **when, **more}


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def lock_name(folder):
    """A lock of these tests' own, so that nobody waits for agents that measure on this machine meanwhile."""
    return "sitecnn-test-" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def is_held(lock):
    """Whether some process holds a lock, as agents and their workers do."""
    return "@" + lock in Path("/proc/net/unix").read_text().split()


def command(folder, *arguments, changes="", python=sys.executable):
    start = CHANGED.format(archive=str(AGENT), changes=changes) if changes else ""
    program = ["-c", start] if changes else [str(AGENT)]
    return [str(python), *program, "--lock", lock_name(folder), *arguments]


def start_with_files(folder, tasks, *arguments, **options):
    """An agent on plan.jsonl and records.jsonl of a folder."""
    plan, records = folder / "plan.jsonl", folder / "records.jsonl"
    plan.write_text(lines(tasks))
    environment = options.pop("env", None)
    files = ["--plan", str(plan), "--records", str(records)]
    return subprocess.Popen(
        command(folder, *files, *arguments, **options), stderr=subprocess.PIPE, text=True, env=environment
    )


def read(folder):
    """All whole records of a folder."""
    return [json.loads(line) for line in (folder / "records.jsonl").read_bytes().splitlines(keepends=True)]


def measurements(records):
    return [record for record in records if record["record"] == "measurement"]
