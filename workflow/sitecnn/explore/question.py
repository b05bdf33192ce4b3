"""What a page asks: a network as text or file, its batch, the budgets: all that the page knows of estimates."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """A network as a page has it: `text` of a prototxt or the path of a `file` (ONNX), `name` as a person knows it."""

    name: str
    text: str = ""
    file: str = ""


Inputs = tuple[tuple[str, tuple[int, ...]], ...]
"""Shapes by blob name."""


@dataclass(frozen=True)
class Question:
    """A network at a `batch` (None: as its file says), the budgets it is held against and the intervals' `level`.

    `inputs` are shapes by blob name that its file leaves open.
    """

    source: Source
    batch: int | None = None
    level: float = 0.9
    budget_ms: float | None = None
    budget_fps: float | None = None
    budget_mb: float | None = None
    inputs: Inputs = ()


def question_from(document: dict[str, Any]) -> Question:
    """The question in a document that `dataclasses.asdict` made."""
    inputs = tuple((name, tuple(shape)) for name, shape in document.get("inputs", ()))
    return Question(**{**document, "source": Source(**document["source"]), "inputs": inputs})
