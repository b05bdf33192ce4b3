"""What an engine makes of a network before it runs it: its layers as kernels, a module per engine."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Network, OnnxNode, OpenForm
from sitecnn.workload.engines import CAFFE, ONNXRUNTIME, TFLITE_GPU, Engine
from sitecnn.workload.lowering import caffe
from sitecnn.workload.lowering.lowered import EngineMemory, LoweredKernel

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["LOWERINGS", "EngineMemory", "LoweredKernel", "lower", "lower_whole"]


def _onnxruntime() -> "ModuleType":
    """Only who asks for it needs the onnx package."""
    try:
        from sitecnn.workload.lowering import onnxruntime
    except ImportError:
        raise NetworkError("the kernels of ONNX Runtime need the onnx package: pip install 'sitecnn[onnx]'") from None
    return onnxruntime


def _tflite_gpu() -> "ModuleType":
    _onnxruntime()
    from sitecnn.workload.lowering import tflite_gpu

    return tflite_gpu


LOWERINGS: Mapping[str, Callable[[Network, Engine], tuple[LoweredKernel, ...]]] = {
    CAFFE: caffe.lower,
    ONNXRUNTIME: lambda network, engine: _onnxruntime().lower(network, engine),
    TFLITE_GPU: lambda network, engine: _tflite_gpu().lower(network, engine),
}
"""The lowering of each engine; a new engine is a module of this package, an entry here and a name in `engines`."""


def lower(network: Network, engine: Engine) -> tuple[LoweredKernel, ...]:
    """The kernels that an engine runs for one forward pass, in an order in which it can run them.

    Every layer that does any work is in the `layers` of some kernel. Raises NetworkError for an engine whose
    lowering is not known.
    """
    if engine.name not in LOWERINGS:
        known = ", ".join(LOWERINGS)
        raise NetworkError(f"engine {engine.name!r}: SiteCNN does not know which kernels it runs; it does for {known}")
    return LOWERINGS[engine.name](network, engine)


def lower_whole(network: Network, engine: Engine) -> tuple[tuple[LoweredKernel, ...], EngineMemory | None]:
    """`lower`, and what decides the memory of an engine that shares its buffers, None for one that does not.

    Stacks of one engine are asked for one network after the other, so the last few answers are kept.
    """
    return _lower_whole(network, tuple(layer.node for layer in network.layers), network.open_form, engine)


@lru_cache(maxsize=8)
def _lower_whole(
    network: Network, nodes: tuple[OnnxNode | None, ...], open_form: OpenForm | None, engine: Engine
) -> tuple[tuple[LoweredKernel, ...], EngineMemory | None]:
    """`lower_whole`; networks are equal whose nodes differ, and these decide what ONNX Runtime makes of them."""
    if engine.name not in (ONNXRUNTIME, TFLITE_GPU):
        return lower(network, engine), None
    module = _onnxruntime() if engine.name == ONNXRUNTIME else _tflite_gpu()
    whole: tuple[tuple[LoweredKernel, ...], EngineMemory] = module.lower_whole(network, engine)
    return whole
