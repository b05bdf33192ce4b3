"""Boards by the system's OpenSSH: the user's own keys, jump hosts and configuration; host keys are always checked."""

import os
import tempfile
from functools import cache
from pathlib import Path

from sitecnn.boards.config import Ssh

# A cut link is noticed after 3 × 5 s of silence, before the agent's lease of 20 s is over on the other side.
OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlMaster": "auto",
    "ControlPersist": "60",
    "LogLevel": "ERROR",
}

LONGEST_FOLDER = 107 - 58
"""Bytes: a socket's path on Linux less what ssh adds, a slash, 40 of %C, a dot and 16 at random."""

FIXES = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "the board was set up anew, or this is another machine:"
    " if you know which, remove the old key with `ssh-keygen -R HOST` and connect once by hand",
    "Host key verification failed": "connect once by hand with ssh and compare the key before you accept it",
    "Permission denied": "give it a key that needs no password: ssh-copy-id, and ssh-agent for a passphrase",
    "Could not resolve hostname": "check `ssh: host:` or give it an entry in ssh's configuration",
    "Bad configuration option": "check the ssh configuration file that is named",
    "Can't open user config file": "check `ssh: config_file:`",
}


def command(settings: Ssh) -> list[str]:
    """ssh with its options and the host; the board's command follows as one quoted word."""
    options = {**OPTIONS, "ControlPath": f"{control_folder()}/%C"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words += ["-p", str(settings.port)] if settings.port else []
    words += ["-F", str(settings.config_file)] if settings.config_file else []
    return ["ssh", "-T", *words, "--", settings.host]


@cache
def control_folder() -> Path:
    """A private folder, its path short enough for a socket: a deep XDG_RUNTIME_DIR or TMPDIR is passed over."""
    bases = [os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), "/tmp"]  # noqa: S108  # 0700, and checked
    folders = [Path(base) / f"sitecnn-ssh-{os.getuid()}" for base in bases]
    folder = next((short for short in folders if len(os.fsencode(short)) <= LONGEST_FOLDER), folders[-1])
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        folder = Path(tempfile.mkdtemp(prefix="sitecnn-ssh-", dir=folder.parent))
    return folder


def fix(said: str) -> str:
    """What a person can do about ssh's complaint; empty if trying again may help."""
    return next((fix for complaint, fix in FIXES.items() if complaint in said), "")
