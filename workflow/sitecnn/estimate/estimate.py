"""Network + board model → Estimate: time per layer and in total, memory by part, what is sure and what is not."""

from dataclasses import dataclass

import numpy as np

from sitecnn.models.board_model import StackModel, estimate_pass, interval
from sitecnn.models.features import Sizes
from sitecnn.network.graph import Network
from sitecnn.workload.kernels import SIZE_NAMES, Kernel, layer_kernel, macs
from sitecnn.workload.memory import memory


@dataclass(frozen=True)
class Milliseconds:
    """A time with the interval that holds it at the estimate's level."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerEstimate:
    """One layer: `modelled` is false for a guess by size alone, `extrapolated` beyond what the model has seen."""

    name: str
    type: str
    ms: Milliseconds
    modelled: bool
    extrapolated: bool
    macs: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of the process by part; `zero_copy_saving` is what unified memory without host copies would save."""

    weights: int
    data: int
    workspace: int
    base: int
    total: int
    zero_copy_saving: int


@dataclass(frozen=True)
class Estimate:
    """What a board model says of a network."""

    network: str
    board: str
    processor: str
    stack: str
    batch: int
    level: float
    forward_ms: Milliseconds
    layers: tuple[LayerEstimate, ...]
    memory_bytes: MemoryEstimate
    modelled_fraction: float
    unmodelled: tuple[str, ...]


def estimate(network: Network, model: StackModel, board: str, processor: str, level: float = 0.9) -> Estimate:
    """Estimate a network's forward pass and memory on a stack; `level` is that of the intervals."""
    kinds, sizes = layer_columns(network)
    found = estimate_pass(model, kinds, sizes)
    layers = []
    for index, layer in enumerate(network.layers):
        ms = _milliseconds(float(found.layers.ns[index]), float(found.layers.sd_ns[index]), level)
        modelled = bool(found.layers.modelled[index]) and layer.modelled
        extrapolated = bool(found.layers.extrapolated[index]) or not layer.modelled
        layers.append(LayerEstimate(layer.name, layer.type, ms, modelled, extrapolated, macs(layer)))
    all_macs = sum(layer.macs for layer in layers)
    modelled_macs = sum(layer.macs for layer in layers if layer.modelled)
    return Estimate(
        network=network.name,
        board=board,
        processor=processor,
        stack=model.stack,
        batch=network.batch,
        level=level,
        forward_ms=_milliseconds(found.forward_ns, found.forward_sd_ns, level),
        layers=tuple(layers),
        memory_bytes=estimate_memory(network, model, processor),
        modelled_fraction=modelled_macs / all_macs if all_macs else 1.0,
        unmodelled=tuple(layer.name for layer in layers if not layer.modelled),
    )


def estimate_memory(network: Network, model: StackModel, processor: str) -> MemoryEstimate:
    """Memory by part; on a GPU weights stand once more in host memory, which zero-copy saves (the poster's Table 2)."""
    parts = memory(network)
    copy = parts.weights_bytes if processor == "gpu" else 0
    counted = parts.weights_bytes + parts.data_bytes + parts.workspace_bytes
    total = model.base_bytes + counted + copy
    return MemoryEstimate(
        parts.weights_bytes,
        parts.data_bytes,
        parts.workspace_bytes,
        model.base_bytes,
        total,
        zero_copy_saving=copy,
    )


def layer_columns(network: Network) -> tuple[np.ndarray, Sizes]:
    """(kinds, sizes) of the network's layers as columns, for the models."""
    pieces: list[Kernel] = [layer_kernel(layer) for layer in network.layers]
    rows = np.array([[dict(piece.sizes).get(name, np.nan) for name in SIZE_NAMES] for piece in pieces])
    return np.array([piece.kind for piece in pieces]), dict(zip(SIZE_NAMES, rows.T, strict=True))


def _milliseconds(ns: float, sd_ns: float, level: float) -> Milliseconds:
    low, high = interval(ns, sd_ns, level)
    return Milliseconds(ns / 1e6, low / 1e6, high / 1e6)
