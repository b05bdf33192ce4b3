"""A board as its file in config/boards describes it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sitecnn.config import Name, Strict, read_yaml
from sitecnn.errors import SiteCNNError


class Processor(Strict):
    """One processor of a board and the ways it is measured."""

    threads: list[int] = Field([1], min_length=1, description="numbers of BLAS threads, a stack each")


class Board(Strict):
    """A device under measurement and how its agent is reached."""

    name: Name = Field(description="as its file is called")
    description: str = Field("", description="one line for the report")
    transport: Literal["local"] = Field("local", description="how the agent is started")
    python: str = Field("python3", description="the Python on the board that imports caffe; relative to the project")
    processors: dict[Literal["cpu", "gpu"], Processor] = Field(min_length=1)
    budget_minutes: float = Field(15, gt=0, description="board time after which no block of kernels is begun")


def load_board(root: Path, name: str) -> Board:
    """`root`/config/boards/`name`.yaml; SiteCNNError if it is missing, malformed or about another board."""
    path = root / "config" / "boards" / f"{name}.yaml"
    board = read_yaml(path, Board)
    if board.name != name:
        raise SiteCNNError(f"{path}: name: {board.name!r} does not match the file's own name {name!r}; rename either")
    return board
