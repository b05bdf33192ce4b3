"""Boards by the system's OpenSSH: the user's own keys, jump hosts and configuration; host keys are always checked."""

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from sitecnn.boards.agent.errors import Refused
from sitecnn.boards.agent.private import private_folder, user_cache
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
    """A folder of this user alone for ssh's sockets, its path short enough for them.

    Below $XDG_RUNTIME_DIR or the user's cache its name is the same each time, so that later commands share a
    connection. Where both are missing, too deep, or could have been prepared by another user, a new one in /tmp serves
    this process.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(runtime) / "sitecnn-ssh"] if runtime else []
    folders.append(Path(user_cache()) / "sitecnn" / "ssh")  # type: ignore[no-untyped-call]  # Python 2's
    for folder in (one for one in folders if len(os.fsencode(one)) <= LONGEST_FOLDER):
        with suppress(Refused, OSError):
            return Path(private_folder(str(folder)))  # type: ignore[no-untyped-call]  # Python 2's
    return Path(tempfile.mkdtemp(prefix="sitecnn-ssh-", dir="/tmp"))  # short; made anew, mode 0700


def fix(said: str) -> str:
    """What a person can do about ssh's complaint; empty if trying again may help."""
    return next((fix for complaint, fix in FIXES.items() if complaint in said), "")
