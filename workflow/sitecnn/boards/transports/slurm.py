"""Boards that are nodes of a Slurm cluster: the agent is started there by srun, Snakemake stays here."""

import getpass
import socket
import subprocess

from sitecnn.boards.config import Slurm


def command(settings: Slurm, name: str) -> list[str]:
    """srun for one task that has the node to itself; it waits in Slurm's queue until the board is free.

    Its exit status proves nothing (a node that dies gives 0): only the agent's `done` record does.
    """
    options = settings.model_dump(exclude_none=True)
    minutes = options.pop("time_minutes", None)
    words = [f"--{option}={value}" for option, value in options.items()]
    words += [f"--time={minutes}"] if minutes else []
    words += ["--nodes=1", "--ntasks=1", "--exclusive", "--unbuffered", "--kill-on-bad-exit=1"]
    return ["srun", f"--job-name={job_name(name)}", "--quiet", *words]


def job_name(board: str) -> str:
    """What this host's jobs on a board are called."""
    return f"sitecnn-{board}-{socket.gethostname()}"


def release(board: str) -> tuple[int, str]:
    """Cancel this host's own jobs on a board: (scancel's exit status, what it said).

    An srun that was killed leaves its node allocated for ever, and so does a controller that was killed before it had
    written down that a job ended: one that is queued behind such a job never starts. Whoever calls this holds the board
    on this host, so such a job belongs to a workflow that is gone. Raises ConnectionError if nothing answers.
    """
    command = ["scancel", "--quiet", f"--name={job_name(board)}", f"--user={getpass.getuser()}"]
    try:
        finished = subprocess.run(command, check=False, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"board {board}: scancel has had no answer from Slurm's controller for 60 s") from error
    return finished.returncode, finished.stderr.decode(errors="replace")


FIXES = {
    "Requested node configuration is not available": "no node has what `slurm:` asks for, see `sinfo -o '%N %f %G'`",
    "Invalid feature specification": "no node has what `slurm:` asks for as constraint, see `sinfo -o '%N %f'`",
    "nvalid partition": "see `sinfo` for the partitions there are",
    "Invalid generic resource": "see `sinfo -o '%N %G'` for the resources there are",
    "Invalid node name": "see `sinfo -N` for the nodes there are",
    "nvalid account": "see `sacctmgr show associations` for your accounts",
    "Could not establish a configuration source": "Slurm is not configured here: /etc/slurm/slurm.conf or SLURM_CONF",
}


def fix(said: str) -> str:
    """What a person can do about srun's complaint; empty if trying again may help."""
    return next((fix for complaint, fix in FIXES.items() if complaint in said), "")
