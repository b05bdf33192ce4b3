"""Network + board model → Estimate: time per layer and in total, memory by part, what is sure and what is not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from sitecnn.errors import SiteCNNError
from sitecnn.estimation.boards import choose_stack
from sitecnn.estimation.sums import Kinds, sums_of
from sitecnn.models.board_model import BoardModel, KernelEstimates, StackModel, estimate_pass, interval
from sitecnn.models.features import Array, Sizes
from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import MOST_LAYERS, OF_ZEROS, ON_VALUES, SIZE_NAMES, Kernel, layer_kernel, macs
from sitecnn.workload.memory import memory

if TYPE_CHECKING:
    import pandas as pd

PLACE = {name: row for row, name in enumerate(SIZE_NAMES)}

LEAST_COVERAGE = 0.95
"""A network of whose MACs more than the rest are of layers of which nothing is known gets no bare total."""


# Of these two an estimate makes hundreds, and freezing them would double what that takes.
@dataclass(slots=True)
class Milliseconds:
    """A time with the interval that holds it at the estimate's level."""

    estimate: float
    low: float
    high: float

    def chance_below(self, limit_ms: float, level: float) -> float:
        """The probability that the truth is at most `limit_ms`; `level` is the interval's."""
        if self.low <= 0 or limit_ms <= 0 or self.low == self.high:
            return float(self.estimate <= limit_ms)
        sd = log(self.high / self.low) / 2 / NormalDist().inv_cdf(0.5 + level / 2)
        return NormalDist().cdf(log(limit_ms / self.estimate) / sd)


@dataclass(slots=True)
class LayerEstimate:
    """One layer: `modelled` is false for a guess, `extrapolated` beyond what the model has seen.

    A guess is of a kind of which too little was measured; `unknown` ones are of kinds of which nothing is known.
    """

    name: str
    type: str
    ms: Milliseconds
    modelled: bool
    extrapolated: bool
    unknown: bool
    macs: int


@dataclass(frozen=True)
class TypeEstimate:
    """All layers of a type together, as a column of the poster's Table 1; their time is that within a whole pass."""

    type: str
    layers: int
    ms: Milliseconds
    macs: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of the process by part.

    `data` is Caffe's own count, which has layers in place twice and knows nothing of what layers keep for themselves;
    `total` counts what a pass touches, once. `zero_copy_saving` is what unified memory without host copies would save.
    """

    weights: int
    data: int
    workspace: int
    base: int
    total: int
    zero_copy_saving: int

    @property
    def load_peak(self) -> int:
        """The most there is while a .caffemodel file is loaded: its weights as read and as kept."""
        return self.base + 2 * self.weights


@dataclass(frozen=True)
class Estimate:
    """What a board model says of a network.

    `forward_ms` is a whole pass of `batch` images; `layers` are single layers timed by themselves, whose sum differs
    from it as a layerwise pass does. `modelled_fraction` and `extrapolated_fraction` are shares of the layers' time,
    `modelled_macs_fraction` that of the MACs; `known_macs_fraction` counts guesses, too, but no layers of which nothing
    is known. `on_zeros` are layers that take less time than on images: the stack was measured by `caffe time`,
    and the definition has no fillers.
    """

    network: str
    board: str
    processor: str
    stack: str
    batch: int
    level: float
    forward_ms: Milliseconds
    layers: tuple[LayerEstimate, ...]
    types: tuple[TypeEstimate, ...]
    memory_bytes: MemoryEstimate
    modelled_fraction: float
    modelled_macs_fraction: float
    known_macs_fraction: float
    extrapolated_fraction: float
    unmodelled: tuple[str, ...]
    on_zeros: tuple[str, ...]

    @property
    def images_per_second(self) -> float:
        """Throughput of passes one after another."""
        return self.batch / self.forward_ms.estimate * 1e3 if self.forward_ms.estimate else inf

    @property
    def is_whole(self) -> bool:
        """Whether enough is known of the network's layers (of 95 % of its MACs) for it to have a total."""
        return self.known_macs_fraction >= LEAST_COVERAGE

    def to_frame(self) -> "pd.DataFrame":
        """A row per layer: layer, type, macs, ms, low_ms, high_ms, modelled, extrapolated. Needs pandas."""
        import pandas as pd

        return pd.DataFrame.from_records(
            [
                {"layer": layer.name, "type": layer.type, "macs": layer.macs}
                | {"ms": layer.ms.estimate, "low_ms": layer.ms.low, "high_ms": layer.ms.high}
                | {"modelled": layer.modelled, "extrapolated": layer.extrapolated}
                for layer in self.layers
            ]
        )


def estimate(
    network: Network,
    board: BoardModel,
    *,
    stack: str | None = None,
    threads: int | None = None,
    level: float = 0.9,
) -> Estimate:
    """The time of a network's forward pass and its memory on a board.

    `stack` is a part of a stack's name, `threads` its number of threads; without them it is the board's first.
    `level` is the probability that an interval holds the truth, between 0 and 1. Nothing is run and nothing is
    fetched. Raises SiteCNNError for a stack that the board's model does not have or another level.
    """
    if not 0 < level < 1:
        raise SiteCNNError(f"level {level}: expected a probability between 0 and 1, such as 0.9")
    model = choose_stack(board, stack, threads)
    kinds, sizes = layer_columns(network)
    found = estimate_pass(model, kinds, sizes)
    each = found.layers
    layers = []
    for layer, ms, modelled, extrapolated, unknown in zip(
        network.layers,
        several_milliseconds(each.ns, each.sd_ns, level),
        each.modelled.tolist(),
        each.extrapolated.tolist(),
        each.unknown.tolist(),
        strict=True,
    ):
        layers.append(LayerEstimate(layer.name, layer.type, ms, modelled, extrapolated, unknown, macs(layer)))
    times, work = [layer.ms.estimate for layer in layers], [layer.macs for layer in layers]
    return Estimate(
        network=network.name,
        board=board.board,
        processor=board.processor,
        stack=model.stack,
        batch=network.batch,
        level=level,
        forward_ms=milliseconds(found.forward_ns, found.forward_sd_ns, level),
        layers=tuple(layers),
        types=_types(layers, model, each, level),
        memory_bytes=estimate_memory(network, model, board.processor),
        modelled_fraction=_share(times, [layer.modelled for layer in layers]),
        modelled_macs_fraction=_share(work, [layer.modelled for layer in layers]),
        known_macs_fraction=_share(work, [not layer.unknown for layer in layers]),
        extrapolated_fraction=1 - _share(times, [not layer.extrapolated for layer in layers]),
        unmodelled=tuple(layer.name for layer in layers if not layer.modelled),
        on_zeros=tuple(
            layer.name
            for layer, kind in zip(network.layers, kinds.tolist(), strict=True)
            if kind in ON_VALUES and kind in model.kinds
        ),
    )


def forward_ms(network: Network, model: StackModel, level: float = 0.9) -> Milliseconds:
    """A network's forward pass on a stack."""
    found = estimate_pass(model, *layer_columns(network))
    return milliseconds(found.forward_ns, found.forward_sd_ns, level)


def estimate_memory(network: Network, model: StackModel, processor: str) -> MemoryEstimate:
    """Memory by part; on a GPU weights stand once more in host memory, which zero-copy saves (the poster's Table 2)."""
    parts = memory(network)
    copy = parts.weights_bytes if processor == "gpu" else 0
    total = model.base_bytes + parts.touched_bytes + copy
    return MemoryEstimate(
        parts.weights_bytes,
        parts.data_bytes,
        parts.workspace_bytes,
        model.base_bytes,
        total=total,
        zero_copy_saving=copy,
    )


def layer_columns(network: Network) -> tuple[Kinds, Sizes]:
    """(kinds, sizes) of the network's layers as columns, for the models."""
    rows = [_layer_row(layer) for layer in network.layers]
    sizes = np.array([row for _, row in rows]).reshape(len(rows), len(SIZE_NAMES)).T
    kinds = np.array([kind for kind, _ in rows], dtype=np.str_)
    return with_zeros(kinds, network.layers), dict(zip(SIZE_NAMES, sizes, strict=True))


def with_zeros(kinds: Kinds, layers: Sequence[Layer]) -> Kinds:
    """The kinds of the layers' kernels where layers without weights and images run on zeros."""
    on_zeros = np.array([layer.on_zeros for layer in layers], dtype=np.bool_)
    for kind, of_zeros in OF_ZEROS.items():
        kinds = np.where(on_zeros & (kinds == kind), of_zeros, kinds)
    return kinds


@lru_cache(maxsize=MOST_LAYERS)
def _layer_row(layer: Layer) -> tuple[str, "np.ndarray[Any, np.dtype[np.float64]]"]:
    """A layer's kind and its sizes as a column."""
    kinds, sizes = columns([layer_kernel(layer)])
    return str(kinds[0]), np.concatenate([*sizes.values()])


def columns(pieces: Sequence[Kernel]) -> tuple[Kinds, Sizes]:
    """(kinds, sizes) of kernels as columns, NaN where a kernel has no such size."""
    # Of many networks most pieces are one object that came from a cache: it is taken apart once.
    distinct = {id(piece): piece for piece in pieces}
    number = dict(zip(distinct, range(len(distinct)), strict=True))
    index = np.array([number[id(piece)] for piece in pieces], dtype=np.int_)
    rows = np.full((len(SIZE_NAMES), len(distinct)), np.nan)
    for column, piece in enumerate(distinct.values()):
        for name, size in piece.sizes:
            rows[PLACE[name], column] = size
    kinds = np.array([piece.kind for piece in distinct.values()], dtype=np.str_)
    return kinds[index], dict(zip(SIZE_NAMES, rows[:, index], strict=True))


def milliseconds(ns: float, sd_ns: float, level: float) -> Milliseconds:
    """A time that cannot be negative, with a log-normal interval."""
    return several_milliseconds(np.array([ns]), np.array([sd_ns]), level)[0]


def several_milliseconds(ns: Array, sd_ns: Array, level: float) -> list[Milliseconds]:
    """Such times by the array."""
    bounds = [(column / 1e6).tolist() for column in (ns, *interval(ns, sd_ns, level))]
    return list(map(Milliseconds, *bounds))


def difference(ns: float, sd_ns: float, level: float) -> Milliseconds:
    """A gain or a loss, with a normal interval."""
    width = NormalDist().inv_cdf(0.5 + level / 2) * sd_ns
    return Milliseconds(ns / 1e6, (ns - width) / 1e6, (ns + width) / 1e6)


def _types(
    layers: Sequence[LayerEstimate], model: StackModel, found: KernelEstimates, level: float
) -> tuple[TypeEstimate, ...]:
    counts = Counter(layer.type for layer in layers)
    names = {name: number for number, name in enumerate(counts)}
    group = np.array([names[layer.type] for layer in layers], dtype=np.int_)
    ns, sd_ns = sums_of(model, found.by_kind, group, len(names))
    macs_of = dict.fromkeys(names, 0)
    for layer in layers:
        macs_of[layer.type] += layer.macs
    types = [
        TypeEstimate(name, layers=counts[name], ms=ms, macs=macs_of[name])
        for name, ms in zip(names, several_milliseconds(ns, sd_ns, level), strict=True)
    ]
    return tuple(sorted(types, key=lambda one: -one.ms.estimate))


def _share(amounts: Sequence[float], counted: Sequence[bool]) -> float:
    whole = sum(amounts)
    return sum(amount for amount, counts in zip(amounts, counted, strict=True) if counts) / whole if whole else 1.0
