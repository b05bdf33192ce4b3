"""The kernels that a stack runs of a network, as columns for its model, with the layers at which their times stand."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sitecnn.errors import NetworkError
from sitecnn.estimation.aggregate_variance import Groups
from sitecnn.models.board_model import StackModel
from sitecnn.models.feature import Array
from sitecnn.network.graph import Network
from sitecnn.workload.columns import Kinds, Sizes, columns, layer_columns
from sitecnn.workload.engines import CAFFE, JOINT, ONNXRUNTIME, WINOGRAD, engine_of_stack
from sitecnn.workload.lowering import EngineMemory, lower_whole

ONNXRUNTIME_KINDS = "ort_"
"""How the kinds of ONNX Runtime's own kernels begin."""


@dataclass(frozen=True)
class Work:
    """A network's kernels: `kinds`, `sizes` and, for each, the index of the `layer` at which its time stands.

    `fused_into` is, for each of the network's layers, that at which the time of its kernel stands, None where it is
    the layer itself. `memory` is what decides the memory of an engine that shares its buffers, None for Caffe.
    """

    kinds: Kinds
    sizes: Sizes
    layer: Groups
    fused_into: tuple[int | None, ...]
    memory: EngineMemory | None = None

    def by_layer(self, values: Array) -> Array:
        """The sum over the kernels of each layer."""
        return np.bincount(self.layer, values, len(self.fused_into)).astype(np.float64)

    def every_layer(self, values: np.ndarray[Any, np.dtype[np.bool_]]) -> list[bool]:
        """Whether it holds of all kernels of each layer; it does where a layer has none."""
        return [bool(count == 0) for count in np.bincount(self.layer, ~values, len(self.fused_into))]


def work_of(network: Network, model: StackModel) -> Work:
    """What a stack runs of a network, as its engine lowers it.

    Of a stack that was imported layer by layer, the layers at which the times of an engine's kernels stand.
    Raises NetworkError where the engine cannot run a layer, or its lowering is not known.
    """
    engine, count = engine_of_stack(model.stack), len(network.layers)
    if engine.name == CAFFE:
        kinds, sizes = layer_columns(network)
        return Work(kinds, sizes, np.arange(count), (None,) * count)
    variants = frozenset(name for name in (WINOGRAD, JOINT) if f"tflite_{name}" in model.kinds)
    lowered, memory = lower_whole(network, replace(engine, variants=variants))
    leaders = {one.layers[0] for one in lowered}
    fused: list[int | None] = [None] * count
    for one in lowered:
        for index in one.layers:
            fused[index] = None if index in leaders else one.layers[0]
    if engine.name == ONNXRUNTIME and not any(kind.startswith(ONNXRUNTIME_KINDS) for kind in model.kinds):
        kinds, sizes = layer_columns(network)
        layer = np.array([index for index, into in enumerate(fused) if into is None], dtype=np.int_)
        return Work(kinds[layer], {name: column[layer] for name, column in sizes.items()}, layer, tuple(fused), memory)
    kinds, sizes = columns([one.kernel for one in lowered])
    layer = np.array([one.layers[0] for one in lowered], dtype=np.int_)
    return Work(kinds, sizes, layer, tuple(fused), memory)


def can_run(network: Network, model: StackModel) -> bool:
    """Whether SiteCNN knows of nothing that keeps the stack's engine from running the network."""
    try:
        work_of(network, model)
    except NetworkError:
        return False
    return True
