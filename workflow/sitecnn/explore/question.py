"""What a page asks: a network as text or file, its batch, the budgets."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sitecnn.errors import SiteCNNError
from sitecnn.estimation.answer import Budget
from sitecnn.explore.prototxt import layer_blocks
from sitecnn.network import load_network
from sitecnn.network.caffe.reader import parse_prototxt
from sitecnn.network.graph import Network
from sitecnn.network.load import MOST_TEXT_BYTES

PLACE = re.compile(r"line (\d+)(?:, column (\d+))?")
LAYER = re.compile(r"layer '((?:[^'\\]|\\.)*)'")


@dataclass(frozen=True)
class Source:
    """A network as a page has it: `text` of a prototxt or the path of a `file` (ONNX), `name` as a person knows it."""

    name: str
    text: str = ""
    file: str = ""


@dataclass(frozen=True)
class Question:
    """A network at a `batch` (None: as its file says), the budgets it is held against and the intervals' `level`."""

    source: Source
    batch: int | None = None
    level: float = 0.9
    budget_ms: float | None = None
    budget_fps: float | None = None
    budget_mb: float | None = None

    @property
    def budget(self) -> Budget:
        """The budgets as the estimation has them; MB are 10⁶ bytes."""
        memory_bytes = None if self.budget_mb is None else int(self.budget_mb * 1e6)
        return Budget(self.budget_ms, self.budget_fps, memory_bytes)

    @property
    def network(self) -> Network:
        """The network; SiteCNNError for a file that is wrong."""
        return network_of(self.source, self.batch)

    def at_batch(self, images: int) -> Network:
        """The same network with another number of images."""
        return network_of(self.source, images)


def question_from(document: dict[str, Any]) -> Question:
    """The question in a document that `dataclasses.asdict` made."""
    return Question(**{**document, "source": Source(**document["source"])})


@lru_cache(maxsize=16)
def network_of(source: Source, batch: int | None) -> Network:
    """The network of a source; SiteCNNError, without a path of this machine, for a file that is wrong."""
    if not source.file:
        if len(source.text.encode()) > MOST_TEXT_BYTES:
            raise SiteCNNError(f"{source.name}: larger than {MOST_TEXT_BYTES >> 20} MiB, which no definition is")
        return parse_prototxt(source.text, source.name, batch=batch)
    try:
        return load_network(source.file, batch=batch)
    except SiteCNNError as error:
        raise SiteCNNError(str(error).replace(source.file, source.name).replace(str(Path(source.file)), "")) from None


def line_of(message: str, text: str) -> int | None:
    """The line (from 1) that an error is about: as it says, or that of the layer it names; None where it names none."""
    if place := PLACE.search(message):
        return int(place[1])
    if not (layer := LAYER.search(message)):
        return None
    start = next((block.start for block in layer_blocks(text) if block.name == layer[1]), None)
    return None if start is None else text.count("\n", 0, start) + 1
