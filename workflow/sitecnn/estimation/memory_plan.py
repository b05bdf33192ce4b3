"""Where memory goes that a network would not have to take: shared buffers, activations freed in time, batches."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sitecnn.estimation.peak_memory import least_peak, schedule
from sitecnn.network.graph import Network
from sitecnn.workload.memory import memory, workspace_bytes

if TYPE_CHECKING:
    import pandas as pd

LARGEST_BATCH = 1 << 16


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that values and im2col buffers take as Caffe keeps them, and that they would need at least.

    `data` is Caffe's own count, `workspace` an im2col buffer for every convolution. `shared_workspace` is one
    buffer for all, as large as the largest; `least_data` what is alive at the worst moment of the best order of
    the layers if every buffer is freed after its last reader; `least` the same together with the running layer's
    im2col buffer. `exact` is false where the search was cut short: then an order is known that needs no more.
    """

    data: int
    workspace: int
    shared_workspace: int
    least_data: int
    least: int
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Its fields: bytes by part, and whether they are exact."""
        return asdict(self)

    def to_frame(self) -> "pd.DataFrame":
        """A row per part: part, bytes. Needs pandas."""
        import pandas as pd

        parts = [(name, count) for name, count in self.to_dict().items() if name != "exact"]
        return pd.DataFrame(parts, columns=["part", "bytes"])

    @property
    def sharing_saving(self) -> int:
        """What one im2col buffer for all convolutions saves."""
        return self.workspace - self.shared_workspace

    @property
    def freeing_saving(self) -> int:
        """What freeing values and im2col buffers as soon as they have been read saves."""
        return self.data + self.workspace - self.least


def memory_plan(network: Network) -> MemoryPlan:
    """What sharing and freeing buffers would leave of a network's values and im2col buffers."""
    parts = memory(network)
    data, both = least_peak(schedule(network)), least_peak(schedule(network, workspace_bytes))
    return MemoryPlan(
        data=parts.data_bytes,
        workspace=parts.workspace_bytes,
        shared_workspace=max(map(workspace_bytes, network.layers), default=0),
        least_data=data.bytes,
        least=both.bytes,
        exact=data.exact and both.exact,
    )


def largest_batch(total_bytes: Callable[[int], int], free: int) -> int:
    """The most images a pass can have within `free` bytes, 0 if not even one, at most 65,536.

    `total_bytes(batch)` must grow with the batch. It is near enough to a straight line that two points of it find
    the answer but for a step or two.
    """
    one, two = total_bytes(1), total_bytes(2)
    if one > free:
        return 0
    batch = min(1 + (free - one) // max(two - one, 1), LARGEST_BATCH)
    while batch > 1 and total_bytes(batch) > free:
        batch -= 1
    while batch < LARGEST_BATCH and total_bytes(batch + 1) <= free:
        batch += 1
    return batch
