"""Boards that are nodes of a Slurm cluster: the agent is started there by srun, Snakemake stays here."""

from sitecnn.boards.config import Slurm


def command(settings: Slurm, name: str) -> list[str]:
    """srun for one task that has the node to itself; it waits in Slurm's queue until the board is free.

    Its exit status proves nothing (a node that dies gives 0): only the agent's `done` record does.
    """
    asked = settings.model_dump(exclude_none=True)
    minutes = asked.pop("time_minutes", None)
    words = [f"--{option}={value}" for option, value in asked.items()]
    words += [f"--time={minutes}"] if minutes else []
    words += ["--nodes=1", "--ntasks=1", "--exclusive", "--unbuffered", "--kill-on-bad-exit=1"]
    return ["srun", f"--job-name=sitecnn-{name}", "--quiet", *words]
