"""What an engine makes of a network before it runs it: its layers as kernels, a module per engine."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Network
from sitecnn.workload.engines import CAFFE, ONNXRUNTIME, Engine
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
        raise NetworkError("what ONNX Runtime runs needs the onnx package: pip install 'sitecnn[onnx]'") from None
    return onnxruntime


LOWERINGS: Mapping[str, Callable[[Network, Engine], tuple[LoweredKernel, ...]]] = {
    CAFFE: caffe.lower,
    ONNXRUNTIME: lambda network, engine: _onnxruntime().lower(network, engine),
}
"""The lowering of each engine; a new engine is a module of this package, an entry here and a name in `engines`."""


def lower(network: Network, engine: Engine) -> tuple[LoweredKernel, ...]:
    """The kernels that an engine runs for one forward pass, in an order in which it can run them.

    Every layer that does any work is in the `layers` of some kernel. Raises NetworkError for an engine whose
    lowering is not known.
    """
    if engine.name not in LOWERINGS:
        known = ", ".join(LOWERINGS)
        raise NetworkError(f"engine {engine.name!r}: what it makes of a network is not known here, only of {known}")
    return LOWERINGS[engine.name](network, engine)


def lower_whole(network: Network, engine: Engine) -> tuple[tuple[LoweredKernel, ...], EngineMemory | None]:
    """`lower`, and what decides the memory of an engine that shares its buffers, None for one that does not."""
    if engine.name != ONNXRUNTIME:
        return lower(network, engine), None
    whole: tuple[tuple[LoweredKernel, ...], EngineMemory] = _onnxruntime().lower_whole(network, engine)
    return whole
