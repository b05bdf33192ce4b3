"""A layer with the producers of its inputs: what its agent runs so that it meets the data and caches of its network.

A layer alone in a loop meets its own leftovers in the caches and made-up numbers. Behind its real producers it meets
what its network would give it, at the price of running them too, untimed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.graph import Layer, Network, Shape

PASSING = frozenset({"BatchNorm", "Bias", "Concat", "Dropout", "ELU", "PReLU", "ReLU", "Scale", "Sigmoid", "TanH"})
"""Types that hand on what they are given, so that the data is made by what stands before them."""


@dataclass(frozen=True)
class Context:
    """A network that ends in one layer of another, and where its inputs' values come from.

    `fills` tells which of its inputs hold activations, not images; `blobs` which blob of the other network each is.
    """

    network: Network
    fills: dict[str, str]
    blobs: dict[str, str]


def in_context(network: Network, layer: Layer, timed: Layer | None = None) -> Context:
    """The layer behind the layers that make its inputs, back to the nearest that are no `PASSING` ones.

    `timed` stands in its place if given (a piece of it with the same first bottom). Names are neutral, so that equal
    surroundings in two networks are equal texts, hence one measurement. The network's own inputs hold data, the
    others what a ReLU leaves.
    """
    layers, copies = _without_splits(network)
    index = _index(network, layer)
    wanted = sorted(_producers(layers, index, PASSING.__contains__))
    chain = [layers[i] for i in wanted] + [_resolved(timed or layer, copies)]
    data = {top for candidate in layers if not candidate.bottoms for top in candidate.tops}
    return _neutral(chain, data)


def up_to(network: Network, layer: Layer) -> Network:
    """All that a layer's inputs depend on: run once, it leaves in its blobs what the layer meets in the network."""
    layers, _ = _without_splits(network)
    wanted = _producers(layers, _index(network, layer), lambda _: True)
    inputs = [candidate for candidate in layers if not candidate.bottoms]
    return replace(network, layers=(*inputs, *(layers[i] for i in sorted(wanted))))


def _index(network: Network, layer: Layer) -> int:
    """Where a layer stands without the Splits; by all of it, because two layers may have one name."""
    return [candidate for candidate in network.layers if not is_automatic_split(candidate)].index(layer)


def _without_splits(network: Network) -> tuple[list[Layer], dict[str, str]]:
    """The layers a person wrote, reading the blobs that automatic Splits copied, and {copy: its blob}."""
    copies = _copies(network)
    return [_resolved(layer, copies) for layer in network.layers if not is_automatic_split(layer)], copies


def _copies(network: Network) -> dict[str, str]:
    """{top of an automatic Split: the blob it copies}."""
    return {top: layer.bottoms[0] for layer in network.layers if is_automatic_split(layer) for top in layer.tops}


def _resolved(layer: Layer, copies: dict[str, str]) -> Layer:
    return replace(layer, bottoms=tuple(copies.get(bottom, bottom) for bottom in layer.bottoms))


def _producers(layers: Sequence[Layer], index: int, passes: Callable[[str], bool]) -> set[int]:
    """Indices of the layers that made what layer `index` reads: every writer of a blob up to then, and so on back."""
    found: set[int] = set()
    waiting = [(blob, index) for blob in layers[index].bottoms]
    while waiting:
        blob, before = waiting.pop()
        for writer in _writers(layers, blob, before):
            if writer not in found and layers[writer].bottoms:
                found.add(writer)
                if passes(layers[writer].type):
                    waiting += [(bottom, writer) for bottom in layers[writer].bottoms]
    return found


def _writers(layers: Sequence[Layer], blob: str, before: int) -> Iterator[int]:
    """The layers before `before` that made a blob as it is: those that worked in place since, and its maker."""
    for index in range(before - 1, -1, -1):
        if blob in layers[index].tops:
            yield index
            if blob not in layers[index].bottoms:
                return


def _neutral(chain: Sequence[Layer], data: set[str]) -> Context:
    names: dict[str, str] = {}
    inputs: dict[str, Layer] = {}
    renamed = []
    for number, layer in enumerate(chain):
        for blob, shape in zip(layer.bottoms, layer.inputs, strict=True):
            if blob not in names:
                names[blob] = f"in{len(inputs)}"
                inputs[blob] = _input(names[blob], shape)
        for blob in layer.tops:
            names.setdefault(blob, f"blob{len(names)}")
        renamed.append(_renamed(layer, f"layer{number}", names))
    fills = {names[blob]: "activations" for blob in inputs if blob not in data}
    name = chain[-1].type
    layers = (*inputs.values(), *renamed)
    made = Network(name=name, batch=chain[-1].inputs[0][0], layers=layers)
    return Context(made, fills, {names[blob]: blob for blob in inputs})


def _input(name: str, shape: Shape) -> Layer:
    return Layer(name=name, type="Input", bottoms=(), tops=(name,), inputs=(), outputs=(shape,))


def _renamed(layer: Layer, name: str, names: dict[str, str]) -> Layer:
    parameters = tuple(replace(parameter, owner="") for parameter in layer.parameters)
    bottoms, tops = (tuple(names[blob] for blob in blobs) for blobs in (layer.bottoms, layer.tops))
    return replace(layer, name=name, parameters=parameters, bottoms=bottoms, tops=tops)
