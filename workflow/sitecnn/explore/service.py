"""What all tabs of the page share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sitecnn.explore.question import Inputs
from sitecnn.explore.workers import Worker

MOST_TABS = 12
"""Each has two processes of about 100 MB."""

SAMPLE = Path(__file__).parent / "template" / "sample.prototxt"


@dataclass
class Service:
    """Where models and networks are, the first network as it is to be read, and a worker that was started early."""

    root: Path
    boards: Sequence[str] = ()
    first: Path | None = None
    batch: int | None = None
    inputs: Inputs = ()
    spare: Worker | None = None
    tabs: set[int] = field(default_factory=set)

    @property
    def samples(self) -> dict[str, Path]:
        """The networks of `root`/config/networks by file name, or the one that ships with SiteCNN."""
        folder = self.root / "config" / "networks"
        networks = {file.name: file for file in sorted(folder.glob("*")) if file.suffix in (".prototxt", ".onnx")}
        return networks or {SAMPLE.name: SAMPLE}

    @property
    def start(self) -> Path:
        """The network that a new tab shows."""
        return self.first or next(iter(self.samples.values()))

    def worker(self) -> Worker:
        """The worker that waits, or a new one."""
        worker, self.spare = self.spare or Worker(self.root, self.boards), None
        return worker

    @property
    def is_full(self) -> bool:
        """Whether no further tab can be opened."""
        return len(self.tabs) >= MOST_TABS

    def close(self) -> None:
        """End the worker that waits."""
        if self.spare:
            self.spare.stop()
            self.spare = None
