"""Network + board model → Estimate: time per layer and in total, memory by part, what is sure and what is not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf, log
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from sitecnn.estimation.aggregate_variance import aggregate_kinds
from sitecnn.estimation.work import Work, work_of
from sitecnn.models.board_model import (
    ONNXRUNTIME_FACTORS,
    BoardModel,
    KernelEstimates,
    StackModel,
    estimate_pass,
    interval,
)
from sitecnn.models.feature import Array
from sitecnn.models.lookup import choose_stack
from sitecnn.network.graph import Network
from sitecnn.workload.engines import ONNXRUNTIME, TFLITE_GPU, VALUE_BYTES, Engine, engine_of_stack
from sitecnn.workload.kernels import FLOAT_BYTES, KINDS_ON_VALUES, macs
from sitecnn.workload.lowering import EngineMemory, lower_whole
from sitecnn.workload.memory import memory

if TYPE_CHECKING:
    import pandas as pd

LEAST_COVERAGE = 0.95
"""A network has a total only if at least this share of its MACs belongs to layers that the model knows."""


# Of these two an estimate makes hundreds, and freezing them would double what that takes.
@dataclass(slots=True)
class Milliseconds:
    """A time with the interval that holds it at the estimate's level."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4g} ms ({self.low:.4g} to {self.high:.4g})"

    def chance_below(self, limit_ms: float, level: float) -> float:
        """The probability that the truth is at most `limit_ms`; `level` is the interval's."""
        if self.low <= 0 or limit_ms <= 0 or self.low == self.high:
            return float(self.estimate <= limit_ms)
        sd = log(self.high / self.low) / 2 / NormalDist().inv_cdf(0.5 + level / 2)
        return NormalDist().cdf(log(limit_ms / self.estimate) / sd)


@dataclass(slots=True)
class LayerEstimate:
    """One layer: `modelled` is false for a guess, `extrapolated` beyond what the model has seen.

    `fused_into` names the layer in whose kernel this one's work is done, and at which the time stands; else None.

    A guess is of a kind of which too little was measured; `unknown` ones are of kinds of which nothing is known.
    """

    name: str
    type: str
    ms: Milliseconds
    modelled: bool
    extrapolated: bool
    unknown: bool
    macs: int
    fused_into: str | None = None


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
        """The peak while a .caffemodel file is loaded: Caffe holds its weights twice."""
        return self.base + 2 * self.weights


@dataclass(frozen=True, repr=False)
class Estimate:
    """The time and memory that a board model predicts for a network.

    `forward_ms` is a whole pass of `batch` images; `layers` are single layers timed by themselves, whose sum differs
    from it as a layerwise pass does. `modelled_fraction` and `extrapolated_fraction` are shares of the layers' time,
    `modelled_macs_fraction` that of the MACs; `known_macs_fraction` counts guesses, too, but no layers of which nothing
    is known. `on_zeros` are layers that take less time than on images: the stack was measured by `caffe time`,
    and the definition has no fillers. `doubts` are the network's own: shapes that are guessed, work not counted.
    `network_precision` is the file's; the estimate is for the stack's. `forward_ms` is of an undisturbed pass; on the
    board as it was measured a pass mostly took `usual_ratio` times as long. `uncounted` are layers of an ONNX file with
    products within, of which the estimate knows nothing.
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
    doubts: tuple[str, ...] = ()
    network_precision: str = "fp32"
    usual_ratio: float = 1.0
    uncounted: tuple[str, ...] = ()

    @property
    def engine(self) -> Engine:
        """The engine, read from the stack's name."""
        return engine_of_stack(self.stack)

    @property
    def precision(self) -> str:
        """The precision that the figures are for, and the file's where the stack does not run that."""
        mine = self.engine.precision
        return f"{mine} though the file is {self.network_precision}" if self.is_of_another_precision else mine

    @property
    def is_of_another_precision(self) -> bool:
        """Whether the file is of a precision that the stack does not run; every engine runs fp32 in its own."""
        return not _runs_precision(self.engine, self.network_precision)

    @property
    def images_per_second(self) -> float:
        """Throughput of passes one after another."""
        return self.batch / self.forward_ms.estimate * 1e3 if self.forward_ms.estimate else inf

    @property
    def is_whole(self) -> bool:
        """Whether the model knows enough of the layers (95 % of the MACs) for a total."""
        return self.known_macs_fraction >= LEAST_COVERAGE and not self.uncounted

    def __repr__(self) -> str:
        where = f"{self.network} on {self.board} {self.processor}"
        return f"<Estimate of {where}: {self.forward_ms}, {self.memory_bytes.total / 2**20:.4g} MiB>"

    def to_dict(self) -> dict[str, Any]:
        """The part of the `estimate --json` document that no budget and no other stack has to do with."""
        layers = [asdict(layer) for layer in self.layers]
        for layer in layers:
            del layer["macs"], layer["unknown"]
            if layer["fused_into"] is None:
                del layer["fused_into"]
        return {
            "network": self.network,
            "board": self.board,
            "processor": self.processor,
            "stack": self.stack,
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "network_precision": self.network_precision,
            "batch": self.batch,
            "level": self.level,
            "forward_ms": asdict(self.forward_ms),
            "usual_ratio": self.usual_ratio,
            "images_per_second": self.images_per_second,
            "types": [asdict(one) for one in self.types],
            "layers": layers,
            "memory_bytes": asdict(self.memory_bytes),
            "coverage": {
                "modelled_fraction": self.modelled_fraction,
                "modelled_macs_fraction": self.modelled_macs_fraction,
                "extrapolated_fraction": self.extrapolated_fraction,
                "unmodelled": list(self.unmodelled),
                "doubts": list(self.doubts),
            },
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row per layer: layer, type, macs, ms, low_ms, high_ms, modelled, extrapolated, fused_into. Needs pandas."""
        import pandas as pd

        return pd.DataFrame.from_records(
            [
                {"layer": layer.name, "type": layer.type, "macs": layer.macs}
                | {"ms": layer.ms.estimate, "low_ms": layer.ms.low, "high_ms": layer.ms.high}
                | {"modelled": layer.modelled, "extrapolated": layer.extrapolated, "fused_into": layer.fused_into}
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
    engine: str | None = None,
) -> Estimate:
    """The time of a network's forward pass and its memory on a board.

    `stack` is a part of a stack's name, `threads` its number of threads, `engine` its engine; of those that fit it is
    the first of ONNX Runtime for a network from an ONNX file, and of Caffe for others, where the board has one.
    `level` is the probability that an interval contains the true value, between 0 and 1. Nothing is run and nothing is
    fetched. Raises ModelError for a stack that the board's model does not have, SiteCNNError for another level.
    """
    model = choose_stack(board, stack, threads, engine=engine, network=network)
    work = work_of(network, model)
    whole = estimate_pass(model, work.kinds, work.sizes)
    layers = _layers(network, work, whole.layers, level)
    times, products = [layer.ms.estimate for layer in layers], [layer.macs for layer in layers]
    return Estimate(
        network=network.name,
        board=board.board,
        processor=board.processor,
        stack=model.stack,
        batch=network.batch,
        level=level,
        forward_ms=milliseconds(whole.forward_ns, whole.forward_sd_ns, level),
        layers=tuple(layers),
        types=_types(layers, model, work, whole.layers, level),
        memory_bytes=estimate_memory(network, model, board.processor, work),
        modelled_fraction=_share(times, [layer.modelled for layer in layers]),
        modelled_macs_fraction=_share(products, [layer.modelled for layer in layers]),
        known_macs_fraction=_share(products, [not layer.unknown for layer in layers]),
        extrapolated_fraction=1 - _share(times, [not layer.extrapolated for layer in layers]),
        unmodelled=tuple(layer.name for layer in layers if not layer.modelled),
        network_precision=network.precision,
        usual_ratio=model.usual_ratio,
        uncounted=tuple(layer.name for layer in network.layers if layer.node and not layer.counted),
        on_zeros=tuple(
            network.layers[index].name
            for index, kind in zip(work.layer.tolist(), work.kinds.tolist(), strict=True)
            if kind in KINDS_ON_VALUES and kind in model.kinds
        ),
        doubts=(*network.doubts, *_of_another_precision(network, engine_of_stack(model.stack))),
    )


def _of_another_precision(network: Network, engine: Engine) -> tuple[str, ...]:
    """A doubt where a file's weights and arithmetic are not the stack's."""
    if _runs_precision(engine, network.precision):
        return ()
    return (
        f"the file is {network.precision}: all figures are for {engine.precision}, "
        f"because no stack of that precision was measured",
    )


def _runs_precision(engine: Engine, precision: str) -> bool:
    return precision in ("fp32", engine.precision)


def _layers(network: Network, work: Work, kernels: KernelEstimates, level: float) -> list[LayerEstimate]:
    """The kernels' times at the layers at which they stand."""
    times = several_milliseconds(work.by_layer(kernels.ns), np.sqrt(work.by_layer(kernels.sd_ns**2)), level)
    flags = [work.every_layer(values) for values in (kernels.modelled, ~kernels.extrapolated, ~kernels.unknown)]
    fused = [None if index is None else network.layers[index].name for index in work.fused_into]
    return [
        LayerEstimate(layer.name, layer.type, ms, modelled, not inside, not known, macs(layer), into)
        for layer, ms, modelled, inside, known, into in zip(network.layers, times, *flags, fused, strict=True)
    ]


def forward_ms(network: Network, model: StackModel, level: float = 0.9) -> Milliseconds:
    """A network's forward pass on a stack."""
    work = work_of(network, model)
    whole = estimate_pass(model, work.kinds, work.sizes)
    return milliseconds(whole.forward_ns, whole.forward_sd_ns, level)


def estimate_memory(network: Network, model: StackModel, processor: str, work: Work | None = None) -> MemoryEstimate:
    """Memory by part. On a GPU the host keeps a copy of the weights, which zero-copy saves (the poster's Table 2).

    Of TFLite there are weights and live activations alone.
    Of ONNX Runtime `data` is what its arena holds of values in the graph that it runs, and the total is made of the
    parts with the stack's factors. `work` is what the stack runs of the network, where that is known already.
    """
    if (engine := engine_of_stack(model.stack)).name in (ONNXRUNTIME, TFLITE_GPU):
        shared = work.memory if work else lower_whole(network, engine)[1]
        if shared is not None:
            return _shared_memory(shared, model) if engine.name == ONNXRUNTIME else _buffers(shared, engine)
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


def _buffers(parts: EngineMemory, engine: Engine) -> MemoryEstimate:
    """Weights and what is alive at once, in the engine's precision: what its process takes was never measured."""
    weights, activations = (
        round(size * VALUE_BYTES[engine.precision] / FLOAT_BYTES)
        for size in (parts.weights_bytes, parts.activations_bytes)
    )
    return MemoryEstimate(weights, activations, 0, 0, weights + activations, zero_copy_saving=0)


def _shared_memory(parts: EngineMemory, model: StackModel) -> MemoryEstimate:
    """Resident after some passes: base + a·weights + b·activations + c·kernels."""
    factors = {**ONNXRUNTIME_FACTORS, **model.memory_factors}
    amounts = {"weights": parts.weights_bytes, "activations": parts.activations_bytes, "kernels": parts.kernels}
    total = model.base_bytes + round(sum(factors[name] * amount for name, amount in amounts.items()))
    return MemoryEstimate(parts.weights_bytes, parts.activations_bytes, 0, model.base_bytes, total, zero_copy_saving=0)


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
    layers: Sequence[LayerEstimate], model: StackModel, work: Work, kernels: KernelEstimates, level: float
) -> tuple[TypeEstimate, ...]:
    counts = Counter(layer.type for layer in layers)
    names = {name: number for number, name in enumerate(counts)}
    group = np.array([names[layer.type] for layer in layers], dtype=np.int_)[work.layer]
    ns, sd_ns = aggregate_kinds(model, kernels.by_kind, group, len(names))
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
