"""Layer definitions → Network: every layer set up in order, with the shapes and checks of Caffe's net.cpp."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from sitecnn.errors import NetworkError, did_you_mean
from sitecnn.network.caffe.caffe_pb2 import LayerParameter, ParamSpec
from sitecnn.network.caffe.guesses import Guesses, guessed_outputs, input_option
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import (
    NO_LIMIT,
    Inferred,
    Inputs,
    LayerType,
    RefusedError,
    require,
    text,
)
from sitecnn.network.caffe.sources import suggested
from sitecnn.network.caffe.splits import Node, insert_splits
from sitecnn.network.caffe.zero_propagation import makes_zeros
from sitecnn.network.graph import Layer, Network, Parameter, Shape
from sitecnn.network.settings import DenseBlock

MOST_AXES = 32
MOST_VALUES = 2**31 - 1
"""Caffe's limits of a blob (blob.hpp, `kMaxBlobAxes`; blob.cpp, `Reshape`)."""

SOURCES = ("Input", "DummyData")
"""Types whose tops are the network's inputs: their shapes can be given, and take the batch size asked for."""

DATA_DEPENDENT = ("Filter",)
"""Types of Caffe whose output size depends on the data."""

SETTLED_FORKS = ("the SSD fork",)
"""Forks whose types have the same rule in every copy, so that a misfit is an error as with Caffe's own types."""

LIKE_A_SLIP = 0.85
"""Of two names, as difflib measures it: of twelve letters two may stand in each other's place."""

MOST_NAMED = 6
"""Layers that a line names; it counts the others."""


@dataclass(frozen=True)
class LoadOptions:
    """What the caller asks for: a batch size, shapes of blobs, no layers but Caffe's.

    `guessed` are inputs whose shape the file does not tell: what depends on them is uncertain.
    """

    batch: int | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    strict: bool = False
    guessed: Collection[str] = ()


class _Blobs:
    """What has been made so far: the shape of every blob, which are zero, and the owner of every named parameter."""

    def __init__(self, guessed: Collection[str]) -> None:
        self.shapes: dict[str, Shape] = {}
        self.zeros: set[str] = set()
        self.owners: dict[str, tuple[str, Shape]] = {}
        self.guesses = Guesses(guessed)
        self.first_images: int | None = None


def build(
    name: str, definitions: Sequence[LayerParameter], options: LoadOptions, origin: str, notes: Sequence[str]
) -> Network:
    """The network of these layers; raises NetworkError that names the first layer Caffe would refuse."""
    blobs = _Blobs(options.guessed)
    layers = []
    for node in insert_splits(definitions):
        try:
            layers.append(_set_up(node, blobs, options))
        except RefusedError as refused:
            what = node.definition
            hint = _hint(node, definitions, blobs)
            raise NetworkError(f"{origin}: layer {what.name!r} ({what.type}): {refused}{hint}") from None
    if not layers:
        raise NetworkError(f"{origin}: it defines no layers; a Caffe network is a list of layer {{ … }}")
    _check_given_shapes(layers, options, origin)
    sources = (layer.outputs[0] for layer in layers if layer.outputs and not layer.inputs)
    batch = next((shape[0] for shape in sources if shape), 1)
    doubts = (*blobs.guesses.texts(), *_not_counted(layers))
    return Network(name, batch, tuple(layers), (*notes, *_repeated_names(definitions)), doubts=doubts)


def _repeated_names(definitions: Sequence[LayerParameter]) -> list[str]:
    """Caffe lets layers share a name, but finds weights and blobs of the last one only."""
    counts = Counter(definition.name for definition in definitions)
    return [f"{count} layers are called {name!r}" for name, count in counts.items() if count > 1]


def _not_counted(layers: Sequence[Layer]) -> list[str]:
    """A line that names the layers whose work is not counted."""
    unknown = [layer for layer in layers if not layer.counted]
    names = [f"{layer.name!r} ({layer.type}{_meant_type(layer.type)})" for layer in unknown]
    blocks = [repr(layer.name) for layer in layers if isinstance(layer.settings, DenseBlock)]
    inner = (
        [f"not counted: all but the convolutions in {', '.join(blocks[:MOST_NAMED])} (DenseBlock)"] if blocks else []
    )
    if not names:
        return inner
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [f"not counted: the work of {', '.join(names[:MOST_NAMED])}{more}, which SiteCNN does not know", *inner]


def _meant_type(name: str) -> str:
    """A question after Caffe's type that a fork's is likely a slip of; a longer name of it (Pooling3D) is none."""
    if name in LAYER_TYPES:
        return ""
    own = [known for known, kind in LAYER_TYPES.items() if not kind.fork and known not in name and name not in known]
    meant = did_you_mean(name, own, LIKE_A_SLIP)
    return meant and f": {meant}"


def _hint(node: Node, definitions: Sequence[LayerParameter], blobs: _Blobs) -> str:
    """Who makes the bottom that is missing, if any layer does, or how to give it."""
    missing = next((blob for blob in node.bottoms if blob not in blobs.shapes), None)
    if missing is None:
        return ""
    maker = next((layer.name for layer in definitions if missing in layer.top), None)
    if maker is not None:
        return f"; layer {maker!r} produces it, but comes after it"
    meant = did_you_mean(missing, blobs.shapes)
    option = input_option(missing, suggested(missing, definitions))
    return f"; {meant + ' ' if meant else ''}{'I' if meant else 'i'}f it is an input, give its shape: {option}"


def _check_given_shapes(layers: Sequence[Layer], options: LoadOptions, origin: str) -> None:
    """Every shape that was given must have had a use."""
    blobs = {top for layer in layers for top in layer.tops}
    for name in options.shapes:
        if name not in blobs:
            inputs = {top for layer in layers if layer.type in SOURCES for top in layer.tops}
            known = ", ".join(sorted(inputs)) or "none"
            said = (f"no blob is called {name!r}", f"its inputs are: {known}", did_you_mean(name, blobs))
            raise NetworkError(f"{origin}: {'; '.join(filter(None, said))}")


def _set_up(node: Node, blobs: _Blobs, options: LoadOptions) -> Layer:
    """One layer: its bottoms exist, its counts fit, its shapes follow, its tops are new or in place."""
    definition = node.definition
    inputs = tuple([_input_shape(bottom, blobs) for bottom in node.bottoms])
    kind = _kind(definition, options)
    inferred, reason = _inferred(kind, node, inputs, blobs, options)
    outputs = _with_given_shapes(kind, node, inferred.outputs, blobs, options, sure=not reason)
    for shape in outputs + inferred.parameters:
        check_blob(shape)
    _make_tops(kind, node, outputs, blobs)
    doubtful = blobs.guesses.record(node, outputs, reason, kind.is_guess, options.shapes)
    on_zeros = blobs.zeros.issuperset(node.bottoms)
    _mark_zeros(node, blobs, of_zeros=on_zeros)
    return Layer(
        name=definition.name,
        type=definition.type,
        bottoms=node.bottoms,
        tops=node.tops,
        inputs=inputs,
        outputs=outputs,
        parameters=_parameters(definition, inferred.parameters, blobs, lenient=bool(kind.fork or reason)),
        settings=inferred.settings,
        modelled=not (kind.fork or reason),
        note=f"a layer of {kind.fork}, not of Caffe" if kind.fork else reason,
        on_zeros=on_zeros,
        guessed=doubtful,
        counted=not reason,
    )


def _mark_zeros(node: Node, blobs: _Blobs, *, of_zeros: bool) -> None:
    if makes_zeros(node.definition, of_zeros=of_zeros):
        blobs.zeros.update(node.tops)
    else:
        blobs.zeros.difference_update(node.tops)


def _input_shape(bottom: str, blobs: _Blobs) -> Shape:
    if bottom not in blobs.shapes:
        raise RefusedError(f"its bottom {bottom!r} is produced by no layer before it")
    return blobs.shapes[bottom]


def _kind(definition: LayerParameter, options: LoadOptions) -> LayerType:
    """The type as it stands, or a place holder for one that only a fork knows; strict takes neither's forks."""
    name, kind = definition.type, LAYER_TYPES.get(definition.type)
    if kind is not None and not (kind.fork and options.strict):
        return kind
    require(bool(name), "it has no type")
    meant = next((known for known in LAYER_TYPES if known.lower() == name.lower()), "")
    if kind is None and meant and not LAYER_TYPES[meant].fork:
        require(False, f"not a layer type of Caffe; did you mean {meant!r}?")
    require(not options.strict, f"not a layer type of Caffe{_meant_type(name) or '; leave --strict out to keep it'}")
    return LayerType(name, _unknown, bottoms=(0, NO_LIMIT), tops=(0, NO_LIMIT), fork="a fork")


def _unknown(layer: LayerParameter, inputs: Inputs) -> Inferred:
    raise RefusedError(f"nothing is known of layers of type {layer.type}")


def _inferred(kind: LayerType, node: Node, inputs: Inputs, blobs: _Blobs, options: LoadOptions) -> tuple[Inferred, str]:
    """What the type's rule says, and nothing; or a guess, and why the rule does not apply.

    A layer of a fork may follow another fork's rule than the one that is known, one behind a guess need not fit it;
    one of Caffe's name with settings that Caffe's has not is another framework's.
    """
    definition = node.definition
    try:
        check_counts(kind, len(node.bottoms), len(node.tops))
        return kind.infer(definition, inputs), ""
    except RefusedError as refused:
        of_unsure_fork = kind.fork and kind.fork not in SETTLED_FORKS
        excused = of_unsure_fork or definition.fork_field or blobs.guesses.behind(node.bottoms)
        if options.strict or not excused:
            raise
        return Inferred(guessed_outputs(definition, inputs, options.shapes)), str(refused)


def _with_given_shapes(
    kind: LayerType, node: Node, outputs: tuple[Shape, ...], blobs: _Blobs, options: LoadOptions, *, sure: bool
) -> tuple[Shape, ...]:
    """The outputs as the caller gives them, where it is not the layer that settles them."""
    shapes = []
    for top, shape in zip(node.tops, outputs, strict=True):
        given = options.shapes.get(top, shape)
        may_be_given = kind.name in (*SOURCES, *DATA_DEPENDENT) or kind.fork or not sure
        if given != shape and not may_be_given:
            raise RefusedError(f"its top {top!r} is {text(shape)}, which --input cannot change to {text(given)}")
        shapes.append(given)
    return tuple(_with_batch(kind, shape, blobs, options) for shape in shapes)


def _with_batch(kind: LayerType, shape: Shape, blobs: _Blobs, options: LoadOptions) -> Shape:
    """An input with the batch size asked for; one that has other than the first input's (regions) keeps its own."""
    if options.batch is None or kind.name not in SOURCES or not shape:
        return shape
    if blobs.first_images is None:
        blobs.first_images = shape[0]
    return (options.batch, *shape[1:]) if shape[0] == blobs.first_images else shape


def check_counts(kind: LayerType, bottoms: int, tops: int) -> None:
    """layer.hpp, `CheckBlobCounts`; RefusedError for another number of bottoms or tops than the type has."""
    if not (kind.bottoms[0] <= bottoms <= kind.bottoms[1]):
        raise RefusedError(f"it takes {_range(*kind.bottoms, 'bottom')}, has {bottoms}")
    if not (kind.tops[0] <= tops <= kind.tops[1]):
        raise RefusedError(f"it gives {_range(*kind.tops, 'top')}, has {tops}")
    if kind.as_many_tops and bottoms != tops:
        raise RefusedError(f"it needs as many tops as bottoms, has {bottoms} bottoms and {tops} tops")


def _range(least: int, most: int, noun: str) -> str:
    if least == most:
        return f"exactly {least} {noun}{'' if least == 1 else 's'}"
    if most == NO_LIMIT:
        return f"at least {least} {noun}{'' if least == 1 else 's'}"
    return f"{least} to {most} {noun}s"


def check_blob(shape: Shape) -> None:
    """blob.cpp, `Reshape`; RefusedError for its limits, and for a blob without values: nothing runs on it."""
    count = prod(shape)
    if 0 < count <= MOST_VALUES and len(shape) <= MOST_AXES and min(shape, default=1) > 0:
        return
    require(len(shape) <= MOST_AXES, f"a blob of {len(shape)} axes; Caffe's limit is {MOST_AXES}")
    require(min(shape, default=1) > 0, f"a blob of {text(shape)}; every dimension must be at least 1")
    require(False, f"a blob of {text(shape)}; Caffe's limit is {MOST_VALUES} values")


def _make_tops(kind: LayerType, node: Node, outputs: tuple[Shape, ...], blobs: _Blobs) -> None:
    """net.cpp, `AppendTop`: a top is new, or in place of the bottom at its own position."""
    for position, (top, shape) in enumerate(zip(node.tops, outputs, strict=True)):
        if top in blobs.shapes:
            in_place = position < len(node.bottoms) and node.bottoms[position] == top
            require(in_place, f"its top {top!r} is already produced by a layer before it")
            require(kind.in_place, f"its top {top!r} is its bottom; this type does not work in place")
        blobs.shapes[top] = shape


def _parameters(
    definition: LayerParameter, shapes: tuple[Shape, ...], blobs: _Blobs, *, lenient: bool
) -> tuple[Parameter, ...]:
    """net.cpp, `AppendParam`: a blob belongs to its layer, or to the first layer that gave it its name.

    Of a fork's layer it is not known how many blobs it learns (`lenient`).
    """
    specs: Sequence[ParamSpec] = definition.param
    if not specs:
        return tuple([Parameter(shape) for shape in shapes])
    if lenient:
        specs = specs[: len(shapes)]
    require(len(specs) <= len(shapes), f"it has {len(specs)} param blocks for {len(shapes)} learnable blobs")
    named = [specs[index] if index < len(specs) else ParamSpec() for index in range(len(shapes))]
    return tuple(_parameter(definition.name, shape, spec, blobs) for shape, spec in zip(shapes, named, strict=True))


def _parameter(layer: str, shape: Shape, spec: ParamSpec, blobs: _Blobs) -> Parameter:
    if not spec.name:
        return Parameter(shape)
    if spec.name not in blobs.owners:
        blobs.owners[spec.name] = (layer, shape)
        return Parameter(shape)
    owner, owned = blobs.owners[spec.name]
    permissive = spec.share_mode == ParamSpec.PERMISSIVE
    fits = prod(shape) == prod(owned) if permissive else shape == owned
    require(fits, f"its parameter {spec.name!r} of {text(shape)} is {text(owned)} in layer {owner!r}, its owner")
    return Parameter(shape, owner)
