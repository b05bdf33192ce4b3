"""A real sshd on a loopback port, with keys, configuration and home of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@dataclass
class Sshd:
    """A server and the client's configuration that reaches it as host `board`."""

    folder: Path
    port: int
    root: Path = Path("/")
    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def config_file(self) -> Path:
        return self.folder / "ssh_config"

    def start(self) -> None:
        """Start listening; the same keys and port each time."""
        inside = ["chroot", str(self.root), "/usr/sbin/sshd"] if self.root != Path("/") else [str(SSHD)]
        command = [*self.prefix, *inside, "-D", "-e", "-f", f"/{self.folder.relative_to(self.root)}/sshd_config"]
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        for _ in range(100):
            with suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "sshd.log").read_text())

    def kill(self) -> int:
        """The server and every session of it at once, as a board that loses power; how many processes ended."""
        ended = kill_all(descendants(self.process.pid)) if self.process else 0
        if self.process:
            self.process.wait()
        return ended

    def new_host_key(self) -> None:
        """What a board that was set up anew, or another machine in its place, shows."""
        make_key(self.folder / "host_key")


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    family = [pid]
    for parent in family:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                family += [int(child) for child in (task / "children").read_text().split()]
    return family


def kill_all(pids: list[int]) -> int:
    """SIGKILL to all that still run; how many did. One that ended and was not waited for does not."""
    running = [pid for pid in pids if _runs(pid)]
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(running)


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def make_key(path: Path) -> None:
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def make_sshd(folder: Path, root: Path = Path("/"), address: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> Sshd:
    """Keys and configuration of a server for this very user; not started yet.

    `root` is the system that it runs in, `address` its own, `prefix` what starts it in a network namespace.
    """
    folder.chmod(0o700)
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{address}]:{port} {key}")
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        (root / "run/sshd").mkdir(parents=True, exist_ok=True)
    (folder / "home").mkdir()
    there = f"/{folder.relative_to(root)}"
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {there}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {there}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        f"PermitRootLogin yes\nSetEnv HOME={there}/home XDG_CACHE_HOME={there}/home/cache TMPDIR={there}/home"
        f" SITECNN_AGENT_LOCK=sitecnn-test-{port}\n"
    )
    (folder / "ssh_config").write_text(
        f"Host board\n  HostName {address}\n  Port {port}\n  User {user}\n  IdentityFile {folder}/user_key\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
    )
    return Sshd(folder, port, root, address, prefix)
