"""Engines fuse layers: which of a network's layers a profile's entry stands for."""

from collections.abc import Collection

from sitecnn.network import Network
from sitecnn.workload.kernels import is_free, macs

ABSORBED = frozenset(
    {"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BatchNorm", "Scale", "Bias", "Dropout", "Eltwise", "Split"}
)
"""What engines compute within the layer before: activations, normalisations, sums."""


def heaviest(network: Network, indices: Collection[int]) -> int:
    """The layer with the most multiply-accumulates, the first of equals: fused time is written down as its."""
    return min(indices, key=lambda index: (-macs(network.layers[index]), index))


def absorb(network: Network, timed: Collection[int]) -> dict[int, list[int]]:
    """For each timed layer, the untimed ones right after it that an engine computes within it.

    A layer is absorbed if its type is in ABSORBED, nothing in the profile stands for it, and one of its bottoms
    comes from the timed layer or from one absorbed by it.
    """
    producer: dict[str, int] = {}
    owner = {index: index for index in timed}
    absorbed: dict[int, list[int]] = {}
    for index, layer in enumerate(network.layers):
        if index not in owner and layer.type in ABSORBED:
            sources = [owner[producer[blob]] for blob in layer.bottoms if producer.get(blob) in owner]
            if sources:
                owner[index] = sources[-1]
                if not is_free(layer):
                    absorbed.setdefault(sources[-1], []).append(index)
        producer |= dict.fromkeys(layer.tops, index)
    return absorbed
