"""The poster's "FLOPs": multiply-accumulates plus bias additions, by the poster's four layer groups."""

from math import prod

from sitecnn.network.caffe.layers.convolution import DEPTHWISE_TYPES
from sitecnn.network.graph import Layer, Network
from sitecnn.network.settings import Pooling
from sitecnn.workload.kernels import kernels, multiply_accumulates

GROUPS = {
    "Convolution": "conv",
    **dict.fromkeys(DEPTHWISE_TYPES, "conv"),
    "Deconvolution": "conv",
    "Pooling": "pool",
    "ReLU": "relu",
    "InnerProduct": "fc",
}
"""Caffe's types under the column of the poster's Table 1; types that are not here have no FLOPs there."""


def poster_flops(layer: Layer) -> int:
    """Convolution and FC: MACs + bias additions; pooling: outputs × window; ReLU: elements; others none."""
    group = GROUPS.get(layer.type)
    if group in ("conv", "fc"):
        # A bias addition is a gemm with k = 1: one operation per output.
        return multiply_accumulates(use for use in kernels(layer) if use.kernel.kind == "gemm")
    if group == "pool" and isinstance(layer.settings, Pooling):
        return prod(layer.outputs[0]) * prod(layer.settings.kernel)
    return prod(layer.outputs[0]) if group == "relu" else 0


def poster_flops_by_group(network: Network) -> dict[str, int]:
    """`conv`, `pool`, `relu`, `fc` and their `total`."""
    sums = dict.fromkeys(("conv", "pool", "relu", "fc"), 0)
    for layer in network.layers:
        if group := GROUPS.get(layer.type):
            sums[group] += poster_flops(layer)
    return {**sums, "total": sum(sums.values())}
