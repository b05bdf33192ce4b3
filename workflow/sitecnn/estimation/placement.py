"""Each layer on the CPU or the GPU, whichever is better for the whole: an exact minimum cut, not a heuristic.

A layer costs its time where it runs; a value that the other processor reads costs one copy, however many layers
read it there. Two places and costs between pairs make a minimum s-t cut (Stone 1977, "Multiprocessor scheduling
with the aid of network flow algorithms"), which is exact for every graph, branches included, in polynomial time.
On a chain it is the shortest path.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sitecnn.estimation.aggregate_variance import aggregate
from sitecnn.estimation.dataflow import HOST, Dataflow, dataflow
from sitecnn.estimation.estimate import Milliseconds, difference, milliseconds
from sitecnn.estimation.minimum_cut import Edge, minimum_cut
from sitecnn.estimation.work import Work, work_of
from sitecnn.models.board_model import BoardModel, StackModel, estimate_kernels, shares_of_pass_ns
from sitecnn.models.feature import Array
from sitecnn.models.lookup import choose_stack
from sitecnn.network.graph import Network

if TYPE_CHECKING:
    import pandas as pd

WORTHWHILE = 0.02
"""A gain of less than 2 % is within what clocks and neighbours do to a measurement."""


@dataclass(frozen=True)
class Copy:
    """What moving a value between the memories of CPU and GPU costs; zero-copy is `Copy(0, 0)`."""

    call_ns: float
    ns_per_byte: float

    def ns(self, count: int) -> float:
        """Nanoseconds for `count` bytes."""
        return self.call_ns + self.ns_per_byte * count


ZERO_COPY = Copy(0.0, 0.0)


@dataclass(frozen=True, repr=False)
class Placement:
    """The best place of each layer (`on_gpu`, in the network's order) and what it gains over one processor alone.

    `layers` are the layers' names and types, `stacks` those of (CPU, GPU), `copy` the price of a crossing.

    Times include the copies of image and result. A gain is negative where one processor alone was estimated to be
    faster, which only rounding brings about; `worthwhile` says whether the gain over the better processor is
    surely positive and at least 2 %.
    """

    network: str
    board: str
    batch: int
    level: float
    stacks: tuple[str, str]
    copy: Copy
    layers: tuple[tuple[str, str], ...]
    on_gpu: tuple[bool, ...]
    placed_ms: Milliseconds
    all_cpu_ms: float
    all_gpu_ms: float
    copies: int
    copies_ms: float
    gain_over_cpu_ms: Milliseconds
    gain_over_gpu_ms: Milliseconds
    worthwhile: bool

    def __repr__(self) -> str:
        where = f"{sum(self.on_gpu)} of {len(self.on_gpu)} layers on the gpu"
        return f"<Placement of {self.network} on {self.board}: {where}, {self.placed_ms}>"

    def to_dict(self) -> dict[str, Any]:
        """The `placement --json` document."""
        content = asdict(self)
        places, layers = content.pop("on_gpu"), content.pop("layers")
        return {
            **content,
            "stacks": dict(zip(("cpu", "gpu"), self.stacks, strict=True)),
            "layers": [
                {"name": name, "type": kind, "processor": "gpu" if there else "cpu"}
                for (name, kind), there in zip(layers, places, strict=True)
            ],
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row per layer: name, type, processor. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.to_dict()["layers"], columns=["name", "type", "processor"])


def best_placement(
    flow: Dataflow, cpu_ns: Sequence[float], gpu_ns: Sequence[float], copy_ns: Callable[[int], float]
) -> tuple[bool, ...]:
    """Whether each layer runs on the GPU in a placement of least time; `copy_ns` is the price of so many bytes.

    Of equally fast placements it is the one with the fewest layers on the CPU.
    """
    count = len(flow.stays_with)
    cpu, gpu, nodes = count, count + 1, count + 2
    edges: list[Edge] = []
    for index, leader in enumerate(flow.stays_with):
        edges += ((cpu, leader, gpu_ns[index]), (leader, gpu, cpu_ns[index]))
    for value in flow.values:
        price = copy_ns(value.bytes)
        if price <= 0:
            continue
        maker = cpu if value.producer == HOST else value.producer
        readers = [cpu if reader == HOST else reader for reader in value.readers]
        # One copy serves all readers over there: a node of its own stands for "somebody there reads it".
        to_gpu, to_cpu, nodes = nodes, nodes + 1, nodes + 2
        edges += ((maker, to_gpu, price), (to_cpu, maker, price))
        edges += ((to_gpu, reader, inf) for reader in readers)
        edges += ((reader, to_cpu, inf) for reader in readers)
    on_cpu = minimum_cut(edges, nodes, cpu, gpu)
    return tuple(leader not in on_cpu for leader in flow.stays_with)


def copied_values(flow: Dataflow, on_gpu: Sequence[bool]) -> list[int]:
    """The bytes of each value that a placement copies."""

    def place(index: int) -> bool:
        return index != HOST and on_gpu[index]

    return [
        value.bytes for value in flow.values if any(place(reader) != place(value.producer) for reader in value.readers)
    ]


def placed_ns(
    flow: Dataflow,
    cpu_ns: Sequence[float],
    gpu_ns: Sequence[float],
    copy_ns: Callable[[int], float],
    on_gpu: Sequence[bool],
    once_ns: tuple[float, float] = (0.0, 0.0),
) -> float:
    """What a placement takes, its copies included; `once_ns` is what CPU and GPU take where they are used at all."""
    layers = sum(gpu if there else cpu for cpu, gpu, there in zip(cpu_ns, gpu_ns, on_gpu, strict=True))
    once = once_ns[0] * (not all(on_gpu)) + once_ns[1] * any(on_gpu)
    return layers + once + sum(map(copy_ns, copied_values(flow, on_gpu)))


def place(
    network: Network,
    cpu: BoardModel,
    gpu: BoardModel,
    copy: Copy | None = None,
    *,
    cpu_stack: str | None = None,
    gpu_stack: str | None = None,
    level: float = 0.9,
) -> Placement:
    """The best placement of a network on the models of a board's two processors, with intervals at `level`.

    Stacks are chosen as `estimate` chooses them. Without a `copy` it is the one that was measured on the board, else
    none is needed (zero-copy). Raises ModelError for a stack that a model does not have, NetworkError where its engine
    cannot run the network.

    The intervals know that layers of a kind share their model's error; they do not know that the best of many
    placements was picked by these very estimates, which flatters it a little.
    """
    flow = dataflow(network)
    host = choose_stack(cpu, cpu_stack, network=network)
    device = choose_stack(gpu, gpu_stack, network=network)
    copy = copy or measured_copy(device) or ZERO_COPY
    cpu_work, gpu_work = (work_of(network, model) for model in (host, device))
    (cpu_ns, cpu_once), (gpu_ns, gpu_once) = layers_ns(host, cpu_work), layers_ns(device, gpu_work)
    count = len(network.layers)
    placements = {"cpu": (False,) * count, "gpu": (True,) * count}
    placements["placed"] = best_placement(flow, cpu_ns, gpu_ns, copy.ns)
    totals = {
        name: placed_ns(flow, cpu_ns, gpu_ns, copy.ns, labels, (cpu_once, gpu_once))
        for name, labels in placements.items()
    }
    # The minimum cut does not know what a processor takes once.
    least_total = min(("placed", "cpu", "gpu"), key=lambda name: totals[name])
    on_gpu, totals["placed"] = placements[least_total], totals[least_total]
    there = np.array(on_gpu)
    # By model: the standard errors of what runs on the CPU in this placement and of what does not.
    cpu_sd, gpu_sd = standard_errors(host, cpu_work, there), standard_errors(device, gpu_work, there)
    copied = copied_values(flow, on_gpu)
    over_cpu = difference(totals["cpu"] - totals["placed"], float(np.hypot(cpu_sd[1], gpu_sd[1])), level)
    over_gpu = difference(totals["gpu"] - totals["placed"], float(np.hypot(cpu_sd[0], gpu_sd[0])), level)
    least = over_cpu if totals["cpu"] <= totals["gpu"] else over_gpu
    return Placement(
        network=network.name,
        board=cpu.board,
        batch=network.batch,
        level=level,
        stacks=(host.stack, device.stack),
        copy=copy,
        layers=tuple((layer.name, layer.type) for layer in network.layers),
        on_gpu=on_gpu,
        placed_ms=milliseconds(totals["placed"], float(np.hypot(cpu_sd[0], gpu_sd[1])), level),
        all_cpu_ms=totals["cpu"] / 1e6,
        all_gpu_ms=totals["gpu"] / 1e6,
        copies=len(copied),
        copies_ms=sum(map(copy.ns, copied)) / 1e6,
        gain_over_cpu_ms=over_cpu,
        gain_over_gpu_ms=over_gpu,
        worthwhile=least.low > 0 and least.estimate >= WORTHWHILE * min(totals["cpu"], totals["gpu"]) / 1e6,
    )


def measured_copy(gpu: StackModel) -> Copy | None:
    """The copy between host and device memory as the GPU's model has it (kind `copy`), or None if not measured."""
    fitted = gpu.kinds.get("copy")
    if fitted is None:
        return None
    per = dict(zip(fitted.features, fitted.coefficients_ns, strict=True))
    return Copy(per.get("calls", 0.0), (per.get("in_elements", 0.0) + per.get("out_elements", 0.0)) / 4)


def layers_ns(model: StackModel, work: Work) -> tuple[list[float], float]:
    """(each layer's share of a whole forward pass, what the pass takes besides), in ns.

    What is fused into another layer's kernel takes nothing.
    """
    shares, once_ns = shares_of_pass_ns(model, estimate_kernels(model, work.kinds, work.sizes).ns, work.sizes)
    return work.by_layer(shares).tolist(), once_ns


def standard_errors(model: StackModel, work: Work, chosen: "np.ndarray[Any, np.dtype[np.bool_]]") -> Array:
    """Of the sum of the layers that are not `chosen`, and of the sum of those that are, in ns."""
    return aggregate(model, work.kinds, work.sizes, chosen.astype(np.int_)[work.layer], 2)[1]
