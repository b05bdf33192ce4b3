"""Many networks at once, as a search over architectures wants them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sitecnn.estimation.boards import choose_stack
from sitecnn.estimation.sums import sums
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import BoardModel, interval
from sitecnn.models.features import Array
from sitecnn.network.graph import Network
from sitecnn.workload.kernels import SIZE_NAMES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ForwardTimes:
    """Forward passes of many networks: `names`, and arrays of shape (networks,) in ms."""

    names: tuple[str, ...]
    estimate_ms: Array
    low_ms: Array
    high_ms: Array

    def to_frame(self) -> "pd.DataFrame":
        """A row per network: network, estimate_ms, low_ms, high_ms. Needs pandas."""
        import pandas as pd

        times = {"estimate_ms": self.estimate_ms, "low_ms": self.low_ms, "high_ms": self.high_ms}
        return pd.DataFrame({"network": list(self.names), **times})


def estimate_many(
    networks: Sequence[Network],
    board: BoardModel,
    *,
    stack: str | None = None,
    threads: int | None = None,
    level: float = 0.9,
    engine: str | None = None,
) -> ForwardTimes:
    """The forward passes of many networks in one vectorised step; the same figures as `estimate` one by one.

    All are on one stack, which is chosen as for the first.

    Raises ModelError for a stack that the board's model does not have.
    """
    model = choose_stack(board, stack, threads, engine=engine, network=networks[0] if networks else None)
    works = [work_of(network, model) for network in networks]
    group = np.repeat(np.arange(len(works)), [len(work.kinds) for work in works])
    kinds = np.concatenate([np.array([], dtype=np.str_), *(work.kinds for work in works)])
    sizes = {name: np.concatenate([np.array([]), *(work.sizes[name] for work in works)]) for name in SIZE_NAMES}
    ns, sd_ns = sums(model, kinds, sizes, group, len(networks))
    low, high = interval(ns, sd_ns, level)
    return ForwardTimes(tuple(network.name for network in networks), ns / 1e6, low / 1e6, high / 1e6)
