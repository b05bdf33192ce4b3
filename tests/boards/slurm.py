"""A real Slurm cluster on one machine: munged, slurmctld and a slurmd per node, all of its own folder and ports."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.boards.sshd import descendants, kill_all

DAEMONS = {name: shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("munged", "slurmctld", "slurmd", "srun")}
MISSING = ", ".join(name for name, path in DAEMONS.items() if not path)

AWAY_SECONDS = float(os.environ.get("SITECNN_CONTROLLER_AWAY_S", "20"))
"""How long tests keep the controller away; 60 by hand."""

NODES = {"board1": "tk1", "board2": "tx1", "board3": "tx1"}

CONFIGURATION = """
ClusterName=sitecnn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n.spool
SlurmdLogFile={folder}/%n.log
SlurmctldLogFile={folder}/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=board
MpiDefault=none
ReturnToService=2
SlurmdTimeout=20
KillWait=2
SlurmdParameters=config_overrides
PartitionName=boards Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE
"""


@dataclass
class Slurm:
    """A cluster; `environment` makes Slurm's commands find it, `prefix` is what starts its nodes."""

    folder: Path
    prefix: tuple[str, ...] = ()
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Everything, and wait until all nodes are idle."""
        self.start_munge()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_idle(len(NODES))

    def start_munge(self) -> None:
        paths = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{name}={self.folder / path}" for name, path in paths.items()]
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._start("munged", ["--foreground", "--force", f"--key-file={key}", *options])
        while not (self.folder / "munge.socket").exists():
            time.sleep(0.05)

    def start_controller(self) -> None:
        # -i forgives the state that is not there yet; later it would number jobs from 1 again, which nodes refuse.
        fresh = [] if list((self.folder / "state").iterdir()) else ["-i"]
        self._start("slurmctld", ["-D", *fresh, "-f", str(self.folder / "slurm.conf")])

    def start_node(self, name: str) -> None:
        options = ["-D", "-N", name, "-f", str(self.folder / "slurm.conf")]
        self._start(name, options, daemon="slurmd", prefix=self.prefix)

    def _start(self, name: str, options: list[str], daemon: str = "", prefix: tuple[str, ...] = ()) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            command = [*prefix, str(DAEMONS[daemon or name]), *options]
            self.processes[name] = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def kill(self, name: str) -> int:
        """A daemon and all it started, at once: a node that loses power; how many processes ended."""
        pids = descendants(self.processes[name].pid)
        # slurmstepd leaves slurmd's tree; it names the node in its arguments, or its job's step on this machine.
        pids += [int(path.name) for path in Path("/proc").glob("[0-9]*") if name in NODES and self._is_step(path)]
        ended = kill_all([below for pid in pids for below in descendants(pid)])
        self.processes[name].wait()
        return ended

    def _is_step(self, path: Path) -> bool:
        """Whether a process is a step of this very cluster: it holds files of its folder open."""
        with suppress(OSError):
            if b"slurmstepd" in (path / "cmdline").read_bytes():
                return any(str(self.folder) in str(link.readlink()) for link in (path / "fd").iterdir())
        return False

    def wait_idle(self, count: int, seconds: float = 180) -> None:
        """Until so many nodes take jobs; a controller that was away may try only a minute later to end a job."""
        end = time.time() + seconds
        while self._idle() < count:
            if time.time() > end:
                raise RuntimeError((self.folder / "slurmctld.log").read_text()[-3000:])
            time.sleep(0.2)

    def _idle(self) -> int:
        command = ["sinfo", "-h", "-N", "-o", "%N %T"]
        nodes = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=False
        ).stdout
        return sum(line.split()[1] == "idle" for line in nodes.splitlines())

    def stop(self) -> None:
        for name in reversed(list(self.processes)):
            self.kill(name)


def seen_at_etc(folder: Path) -> tuple[str, ...]:
    """What starts a command that finds `folder` at /etc/slurm, as on a machine that belongs to one cluster only."""
    mount = 'mount --bind "$0" /etc/slurm && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(folder))


FORGETFUL = "MinJobAge=10\n"
"""Of a cluster whose ended jobs nobody asks for: it looks every 10 s, not every 60, for jobs that were never ended."""


def make_slurm(folder: Path, prefix: tuple[str, ...] = (), settings: str = "") -> Slurm:
    """A cluster's configuration, with `settings` of its own; not started yet."""
    folder.chmod(0o755)
    ports = free_ports(len(NODES) + 1)
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, controller_port=ports[0]) + settings
    for (node, feature), port in zip(NODES.items(), ports[1:], strict=True):
        text += (
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
            f" Features={feature} Gres=board:1 State=UNKNOWN\n"
        )
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("".join(f"NodeName={node} Name=board Count=1\n" for node in NODES))
    (folder / "state").mkdir()
    return Slurm(folder, prefix)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
