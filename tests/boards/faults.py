"""Campaigns with faults at random moments, on all transports: what was injected, and what became of the plan.

    .venv/bin/python -m tests.boards.faults [FAULTS] [MEASUREMENTS]      20 faults, 400 measurements a transport

Kills the agent, the sshd or slurmd with all below it, the host's process, and fills the disk that keeps the records;
after each the same command runs again, as a person or Snakemake's retries would. Prints a row per transport: none may
be lost, none there twice. Needs root (a small file system to fill, Slurm's daemons) and the packages of CI.
"""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sitecnn.cli.tables import table
from tests.boards.agents import gemm_task, lines
from tests.boards.slurm import MISSING, Slurm, make_slurm
from tests.boards.sshd import SSHD, Sshd, descendants, make_sshd

DISK_BYTES = 8 << 20
TRANSPORTS = os.environ.get("SITECNN_TRANSPORTS", "local ssh slurm").split()


def main() -> int:
    """Run all transports, print the table; 0 if every plan is whole."""
    faults, measurements = (int(word) for word in (*sys.argv[1:], *("20", "400")[len(sys.argv) - 1 :]))
    rows, whole = [], True
    for transport in TRANSPORTS:
        with tempfile.TemporaryDirectory() as folder:
            row, complete = campaign(transport, Path(folder), faults, measurements)
        rows.append(row)
        whole &= complete
        print(f"{transport}: {', '.join(row[1:])}", file=sys.stderr)
    head = ("transport", "injected", "starts", "planned", "measured", "lost", "twice", "seconds")
    print(table(head, rows, right=range(2, 8)))
    return 0 if whole else 1


def campaign(transport: str, folder: Path, faults: int, measurements: int) -> tuple[tuple[str, ...], bool]:
    """One transport's campaign under fire: its row, and whether the plan is whole."""
    dice, begin = random.Random(f"{transport} 2017"), time.monotonic()
    with disk(folder / "root") as root, server(transport, folder) as far:
        board = {"name": "far", "transport": transport, "python": sys.executable, "processors": {"cpu": {}}}
        board |= {"ssh": {"host": "board", "config_file": str(far.config_file)}} if isinstance(far, Sshd) else {}
        board |= {"slurm": {"constraint": "tk1"}} if isinstance(far, Slurm) else {}
        (root / "config" / "boards").mkdir(parents=True)
        (root / "config" / "boards" / "far.yaml").write_text(json.dumps(board))
        (root / "plan.jsonl").write_text(lines(gemm_task(m, 48, 48) for m in range(1, measurements + 1)))
        injected, starts = collections.Counter[str](), 0
        while not (root / "done.json").exists():
            host = start(root, folder, far)
            starts += 1
            while sum(injected.values()) < faults and progressed(root, host, dice.uniform(0.05, 0.5)):
                name, inject = dice.choice(list(faults_of(transport, root, far, host).items()))
                inject()
                injected[name] += 1
            host.wait()
        written = (root / "results/records/far/cpu-1-threads.jsonl").read_text().splitlines()
    keys = [json.loads(line)["key"] for line in written if '"record":"measurement"' in line]
    lost, twice = measurements - len(set(keys)), len(keys) - len(set(keys))
    said = ", ".join(f"{count} {name}" for name, count in injected.items())
    numbers = (starts, measurements, len(keys), lost, twice, round(time.monotonic() - begin))
    return (transport, said, *map(str, numbers)), not lost and not twice


def start(root: Path, folder: Path, far: Sshd | Slurm | None) -> subprocess.Popen[bytes]:
    """The command that a person types; its waits are the real ones."""
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
    environment |= far.environment if isinstance(far, Slurm) else {}
    command = [sys.executable, "-m", "sitecnn", "--root", str(root), "profile", "--board", "far"]
    command += ["--plan", str(root / "plan.jsonl"), "-o", str(root / "done.json")]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def progressed(root: Path, host: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until this start has kept something new, and a random moment more; False if it ended meanwhile."""
    before = measured(root)
    while host.poll() is None and measured(root) == before:
        time.sleep(0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        host.wait(timeout=seconds)
    return host.poll() is None


def measured(root: Path) -> int:
    """How many measurements are kept."""
    records = root / "results/records/far/cpu-1-threads.jsonl"
    return records.read_bytes().count(b'"record":"measurement"') if records.exists() else 0


def faults_of(
    transport: str, root: Path, far: Sshd | Slurm | None, host: subprocess.Popen[bytes]
) -> dict[str, Callable[[], None]]:
    """What can go wrong with a transport."""

    def kill_agent() -> None:
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                words, home = (path / "cmdline").read_bytes().split(b"\0"), (path / "environ").read_bytes()
                # Only this experiment's: its environment names its folder.
                if b"agent" in words[1] and b"--records" in words and str(root.parent).encode() in home:
                    os.kill(int(path.name), signal.SIGKILL)

    def kill_host() -> None:
        for pid in descendants(host.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def fill_disk() -> None:
        filler = root / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as out:
            out.write(bytes(2 * DISK_BYTES))
        host.wait()
        filler.unlink()

    def kill_sshd() -> None:
        assert isinstance(far, Sshd)
        far.kill()
        far.start()

    def kill_node() -> None:
        assert isinstance(far, Slurm)
        far.kill("board1")
        far.start_node("board1")

    faults = {"agent killed": kill_agent, "host killed": kill_host, "disk full": fill_disk}
    faults |= {"sshd killed": kill_sshd} if transport == "ssh" else {}
    return faults | ({"node killed": kill_node} if transport == "slurm" else {})


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, small enough to fill."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def server(transport: str, folder: Path) -> Iterator[Sshd | Slurm | None]:
    """What the transport needs, started."""
    place = folder / transport
    place.mkdir()
    if transport == "local":
        yield None
        return
    if {"ssh": SSHD is None, "slurm": bool(MISSING)}[transport]:
        raise SystemExit(f"{transport}: not installed here: {MISSING or 'sshd'}")
    far: Sshd | Slurm = make_sshd(place) if transport == "ssh" else make_slurm(place)
    far.start()
    try:
        yield far
    finally:
        far.kill() if isinstance(far, Sshd) else far.stop()


if __name__ == "__main__":
    sys.exit(main())
