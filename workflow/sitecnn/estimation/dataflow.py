"""Who writes and who reads each value of a network: what placement and offloading have to move."""

from dataclasses import dataclass
from math import prod

from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import FLOAT_BYTES, is_free

HOST = -1
"""The program around the network: it gives the image and takes the result, from ordinary memory."""


@dataclass(frozen=True)
class Value:
    """What one layer computes and others read: `bytes` of it, indices of layers, HOST for the program."""

    bytes: int
    producer: int
    readers: tuple[int, ...]


@dataclass(frozen=True)
class Dataflow:
    """The values of a network, and which layer each layer stays with.

    A layer that moves no data (Split, Flatten, Input, …) produces and reads nothing here: it stays with the layer
    that made its data or, for an input, with the first that reads it. Every other layer stays with itself.
    """

    values: tuple[Value, ...]
    stays_with: tuple[int, ...]

    @property
    def movers(self) -> tuple[int, ...]:
        """The layers that can be moved by themselves, in order."""
        return tuple(index for index, leader in enumerate(self.stays_with) if index == leader)


def dataflow(network: Network) -> Dataflow:
    """The values of a network; a layer in place makes a new value, a blob that no layer reads goes to the HOST."""
    holds: dict[str, int] = {}
    unread: dict[str, None] = {}
    makers: list[int] = []
    sizes: list[int] = []
    readers: list[list[int]] = []
    stays_with = list(range(len(network.layers)))
    for index, layer in enumerate(network.layers):
        given = list(dict.fromkeys(holds[name] for name in layer.bottoms))
        for name in layer.bottoms:
            unread.pop(name, None)
        unread |= dict.fromkeys(layer.tops)
        if given and is_free(layer):
            holds.update(dict.fromkeys(layer.tops, given[0]))
            stays_with[index] = makers[given[0]]
            continue
        for value in given:
            readers[value].append(index)
        for name, shape in zip(layer.tops, layer.outputs, strict=True):
            holds[name] = len(makers)
            makers.append(index)
            sizes.append(FLOAT_BYTES * prod(shape))
            readers.append([])
    for name in unread:
        readers[holds[name]].append(HOST)
    values = tuple(map(_value, sizes, makers, readers, (network.layers[maker] for maker in makers)))
    for held, maker in zip(values, makers, strict=True):
        first = held.readers[0] if held.readers else HOST
        if held.producer == HOST and first != HOST and stays_with[maker] == maker:
            stays_with[maker] = first
    return Dataflow(values, tuple(stays_with[leader] for leader in stays_with))


def _value(size: int, maker: int, readers: list[int], layer: Layer) -> Value:
    return Value(size, maker if layer.bottoms else HOST, tuple(readers))
