"""Caffe runs what the file says: a kernel for each layer, none fused and none of its own."""

from sitecnn.network.graph import Network
from sitecnn.workload.engines import Engine
from sitecnn.workload.kernels import layer_kernel
from sitecnn.workload.lowering.lowered import LoweredKernel


def lower(network: Network, engine: Engine) -> tuple[LoweredKernel, ...]:
    """One kernel for each layer, those that move no data too, in the file's order."""
    return tuple(
        LoweredKernel(layer_kernel(layer), (index,), layer.type, layer.inputs, layer.outputs)
        for index, layer in enumerate(network.layers)
    )
