"""Shapes that a definition does not give: which are guessed, what depends on each guess, and how to give them."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import Inputs, RefusedError, text
from sitecnn.network.caffe.splits import Node
from sitecnn.network.graph import Shape

PYTHON_REGIONS = {"ProposalLayer": 300, "ProposalTargetLayer": 128}
"""Regions that py-faster-rcnn's layers give an image unless configured otherwise (config.py: TEST.RPN_POST_NMS_TOP_N,
TRAIN.BATCH_SIZE)."""

MOST_NAMED = 3
"""Blobs of one type that a line names; it counts the others."""


@dataclass
class _Guess:
    """A blob's guessed shape: the layer that makes it, and the layers whose shapes depend on it."""

    layer: LayerParameter
    shape: Shape
    dependents: list[str] = field(default_factory=list)


class Guesses:
    """Which blobs' shapes are guessed or depend on a guess, in the order in which layers are set up."""

    def __init__(self, inputs: Collection[str]) -> None:
        self._inputs = inputs
        self._guesses: dict[str, _Guess] = {}
        self._roots: dict[str, frozenset[str]] = {}
        self._misfits: list[str] = []

    def behind(self, blobs: Iterable[str]) -> frozenset[str]:
        """The guessed blobs on which the shapes of these depend."""
        if not self._roots:
            return frozenset()
        return frozenset().union(*(self._roots.get(blob, frozenset()) for blob in blobs))

    def record(
        self, node: Node, outputs: tuple[Shape, ...], reason: str, is_guess: bool, given: Mapping[str, Shape]
    ) -> bool:
        """Record which guesses a layer's tops depend on; whether there are any.

        With a `reason`, or of a type that `is_guess`, they are guesses themselves, except in place: no layer changes
        the shape of the blob that it writes to.
        """
        above = self.behind(node.bottoms)
        if reason and above:
            self._misfits.append(f"{node.definition.name!r} ({node.definition.type}): {reason}")
        for top, shape in zip(node.tops, outputs, strict=True):
            roots = above
            if top in given:
                roots = frozenset()
            elif top in self._inputs or ((reason or is_guess) and top not in node.bottoms):
                roots = above | {top}
                self._guesses[top] = _Guess(node.definition, shape)
            if roots or top in self._roots:
                self._roots[top] = roots
        if not node.definition.name.endswith("_split"):
            for root in above:
                self._guesses[root].dependents.append(node.definition.name)
        return bool(self.behind(node.tops) | above)

    def texts(self) -> list[str]:
        """A line for each type of layer whose blobs are guessed, and one for layers that do not fit the guesses."""
        types = dict.fromkeys(guess.layer.type for guess in self._guesses.values())
        lines = [
            _text({blob: guess for blob, guess in self._guesses.items() if guess.layer.type == kind}) for kind in types
        ]
        if self._misfits:
            lines.append(f"also guessed, because they do not fit those guesses: what {_listed(self._misfits)} give")
        return lines


def _text(guesses: Mapping[str, _Guess]) -> str:
    """What is guessed of the layers of one type, what depends on it, and how to give it."""
    blobs = list(guesses)
    first = guesses[blobs[0]].layer
    shapes = _listed([f"{blob!r} ({text(guesses[blob].shape)})" for blob in blobs])
    makers = f"layer {first.name!r} ({first.type})" if len(blobs) == 1 else f"layers of type {first.type}"
    dependents = list(dict.fromkeys(repr(name) for guess in guesses.values() for name in guess.dependents))
    what = f"layers that depend on it: {_listed(dependents)}" if dependents else "no other layer depends on it"
    options = " ".join(
        input_option(blob, "x".join(map(str, guesses[blob].shape)) or "1") for blob in blobs[:MOST_NAMED]
    )
    return f"guessed: the shape of {shapes}, from {makers}; {what}; give it: {options}"


def _listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def input_option(blob: str, shape: str) -> str:
    """The option that gives a blob's shape, as a shell takes it."""
    return f"--input {shlex.quote(f'{blob}:{shape}') if blob.isprintable() else f'{blob!r}:{shape}'}"


def guessed_outputs(layer: LayerParameter, inputs: Inputs, given: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Shapes for the tops of a layer that is not understood: regions of a proposal layer, else as its first input.

    Raises RefusedError that asks for the shapes where there is no input to go by.
    """
    missing = [top for top in layer.top if top not in given]
    if missing and not inputs:
        options = " ".join(input_option(top, "1x3x224x224") for top in missing)
        raise RefusedError(f"not a layer type of Caffe, so its output's shape is not known; give it: {options}")
    if layer.python_param.layer in PYTHON_REGIONS:
        regions = PYTHON_REGIONS[layer.python_param.layer]
        return tuple((regions, 5) if position == 0 else (regions,) for position, _ in enumerate(layer.top))
    return tuple(inputs[0] if inputs else given[top] for top in layer.top)
