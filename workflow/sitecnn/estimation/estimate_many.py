"""Many networks at once, as a search over architectures wants them."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sitecnn.estimation.aggregate_variance import aggregate_passes
from sitecnn.estimation.estimate import Milliseconds, estimate_memory
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import BoardModel, interval
from sitecnn.models.feature import Array
from sitecnn.models.lookup import choose_stack
from sitecnn.network.graph import Network
from sitecnn.workload.kernels import SIZE_NAMES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BriefEstimate:
    """Of one of many networks: its forward pass, and the memory of its process in bytes."""

    forward_ms: Milliseconds
    memory_bytes: int


@dataclass(frozen=True, repr=False)
class ManyEstimates:
    """Forward passes and memory of many networks, by the `keys` under which they were given.

    Arrays are of shape (networks,), in ms and in bytes. `many[key]` is one network's.
    """

    keys: tuple[Hashable, ...]
    names: tuple[str, ...]
    board: str
    processor: str
    stack: str
    level: float
    estimate_ms: Array
    low_ms: Array
    high_ms: Array
    memory_bytes: np.ndarray[Any, np.dtype[np.int_]]

    def __repr__(self) -> str:
        return f"<ManyEstimates of {len(self.keys)} networks on {self.board} {self.processor}>"

    @cached_property
    def _rows(self) -> Mapping[Hashable, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.keys)

    def __getitem__(self, key: Hashable) -> BriefEstimate:
        row = self._rows[key]
        ms = Milliseconds(float(self.estimate_ms[row]), float(self.low_ms[row]), float(self.high_ms[row]))
        return BriefEstimate(ms, int(self.memory_bytes[row]))

    def to_dict(self) -> dict[str, Any]:
        """{"board", "processor", "stack", "level", "networks": [{"key", "network", "forward_ms", "memory_bytes"}]}."""
        networks = [
            {"key": key, "network": name, **asdict(self[key])} for key, name in zip(self.keys, self.names, strict=True)
        ]
        origin = {"board": self.board, "processor": self.processor, "stack": self.stack, "level": self.level}
        return {**origin, "networks": networks}

    def to_frame(self) -> "pd.DataFrame":
        """A row per network, by its key: network, estimate_ms, low_ms, high_ms, memory_bytes. Needs pandas."""
        import pandas as pd

        columns = {"estimate_ms": self.estimate_ms, "low_ms": self.low_ms, "high_ms": self.high_ms}
        rows = {"network": list(self.names), **columns, "memory_bytes": self.memory_bytes}
        return pd.DataFrame(rows, index=pd.Index(list(self.keys), name="key", tupleize_cols=False))


def estimate_many(
    networks: Mapping[Any, Network] | Sequence[Network],
    board: BoardModel,
    *,
    stack: str | None = None,
    threads: int | None = None,
    level: float = 0.9,
    engine: str | None = None,
) -> ManyEstimates:
    """The forward passes and memory of many networks in one vectorised step; the figures of `estimate` one by one.

    `networks` are given under keys of the caller's, or in a sequence, whose keys are 0, 1, 2, … All are on one stack,
    which is chosen as for the first. Raises ModelError for a stack that the board's model does not have, NetworkError
    for a network that its engine cannot run.
    """
    keyed = networks if isinstance(networks, Mapping) else dict(enumerate(networks))
    given = tuple(keyed.values())
    model = choose_stack(board, stack, threads, engine=engine, network=given[0] if given else None)
    works = [work_of(network, model) for network in given]
    group = np.repeat(np.arange(len(works)), [len(work.kinds) for work in works])
    kinds = np.concatenate([np.array([], dtype=np.str_), *(work.kinds for work in works)])
    sizes = {name: np.concatenate([np.array([]), *(work.sizes[name] for work in works)]) for name in SIZE_NAMES}
    ns, sd_ns = aggregate_passes(model, kinds, sizes, group, len(given))
    low, high = interval(ns, sd_ns, level)
    return ManyEstimates(
        keys=tuple(keyed),
        names=tuple(network.name for network in given),
        board=board.board,
        processor=board.processor,
        stack=model.stack,
        level=level,
        estimate_ms=ns / 1e6,
        low_ms=low / 1e6,
        high_ms=high / 1e6,
        memory_bytes=np.array(
            [
                estimate_memory(network, model, board.processor, work).total
                for network, work in zip(given, works, strict=True)
            ],
            np.int_,
        ),
    )
