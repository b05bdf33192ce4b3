"""A board as its file in config/boards describes it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sitecnn.config import EACH_ONCE, Name, Strict, read_yaml, spelled, stems
from sitecnn.errors import ConfigError, nearest

Word = Annotated[
    str,
    Field(max_length=200),
    *spelled("A-Za-z0-9_", ".,:/@+=&|*()-", "letters, digits, and after the first of them any of `.,:/@+=&|*()-`"),
]
"""A constraint, resource or node of Slurm: no spaces, no quotes, nothing that begins like an option."""


Host = Annotated[
    str,
    Field(max_length=200),
    *spelled("A-Za-z0-9_", ".:@-", "a host or user@host: letters, digits, and after the first of them any of `.:@-`"),
]
"""As ssh takes it; a ProxyCommand of the user's may hand it to a shell."""


class Processor(Strict):
    """One processor of a board and the ways it is measured."""

    threads: Annotated[list[Annotated[int, Field(ge=1)]], EACH_ONCE] = Field(
        [1], min_length=1, description="numbers of BLAS threads, a stack each"
    )


class Ssh(Strict):
    """How a board is reached by OpenSSH. The user's own ssh configuration fills in what is missing here."""

    host: Host = Field(description="a host, user@host, or a Host of ssh's configuration")
    port: int | None = Field(None, ge=1, le=65535, description="if it is not ssh's own or the configuration's")
    config_file: Path | None = Field(None, description="an ssh configuration instead of ~/.ssh/config")


class Slurm(Strict):
    """How a board that is a node of a Slurm cluster is asked for, as srun names it."""

    partition: Word | None = Field(None, description="srun --partition")
    constraint: Word | None = Field(None, description="srun --constraint: a feature that the board's node has")
    nodelist: Word | None = Field(None, description="srun --nodelist: the node itself")
    gres: Word | None = Field(None, description="srun --gres, for instance board:1")
    licenses: Word | None = Field(None, description="srun --licenses")
    account: Word | None = Field(None, description="srun --account")
    time_minutes: int | None = Field(None, ge=1, description="srun --time; without it the partition's limit")


class Board(Strict):
    """A device under measurement and how its agent is reached."""

    name: Name = Field(description="as its file is called")
    description: str = Field("", description="one line for the report")
    transport: Literal["local", "ssh", "slurm"] = Field("local", description="how the agent is started")
    ssh: Ssh | None = Field(None, description="where the board is, for transport ssh")
    slurm: Slurm | None = Field(None, description="what to ask Slurm for, for transport slurm")
    python: Annotated[str, Field(min_length=1)] = Field(
        "python3", description="the Python on the board; local: a path with a slash is relative to the project"
    )
    python_path: list[str] = Field([], description="folders for PYTHONPATH: where pycaffe is")
    library_path: list[str] = Field([], description="folders for LD_LIBRARY_PATH: where Caffe, BLAS or CUDA are")
    program_path: list[str] = Field([], description="folders put before PATH: where the caffe tool is")
    engines: Annotated[list[Literal["caffe", "onnxruntime"]], EACH_ONCE] = Field(
        ["caffe"], min_length=1, description="what is measured of what the board has"
    )
    processors: dict[Literal["cpu", "gpu"], Processor] = Field(min_length=1, description="what is measured")
    clocks: Literal["as_found", "pinned"] = Field(
        "as_found", description="pinned: held at the highest while measuring, then restored; needs root on the board"
    )
    budget_minutes: float = Field(15, gt=0, description="board time after which no round is begun")

    @model_validator(mode="after")
    def _transport_has_its_section(self) -> "Board":
        for section in ("ssh", "slurm"):
            if (getattr(self, section) is not None) != (self.transport == section):
                what = "needs" if self.transport == section else f"is {self.transport}: leave out"
                raise ValueError(f"transport {what} the section `{section}:`")
        return self


def board_file(root: Path, name: str) -> Path:
    """`root`/config/boards/`name`.yaml; ConfigError that names the boards there are if it is missing."""
    path = root / "config" / "boards" / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(
            f"{path}: no such file; {nearest(name, stems(path.parent))}; "
            f"`sitecnn board add {name}` describes a new board"
        )
    return path


def load_board_config(root: Path, name: str) -> Board:
    """`root`/config/boards/`name`.yaml; ConfigError if it is missing, malformed or about another board."""
    if not name or "/" in name or name.startswith("."):
        raise ConfigError(f"board {name!r}: a board's name is the name of its file in config/boards, without a folder")
    path = board_file(root, name)
    board = read_yaml(path, Board)
    if board.name != name:
        raise ConfigError(f"{path}: name: {board.name!r} does not match the file's own name {name!r}; rename either")
    return board
