"""Layer definitions → Network: every layer set up in order, with the shapes and checks of Caffe's net.cpp."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from sitecnn.errors import SiteCNNError
from sitecnn.network.caffe.caffe_pb2 import LayerParameter, ParamSpec
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
from sitecnn.network.caffe.splits import Node, insert_splits
from sitecnn.network.caffe.zeros import makes_zeros
from sitecnn.network.graph import Layer, Network, Parameter, Shape

MOST_AXES = 32
MOST_VALUES = 2**31 - 1
"""Caffe's limits of a blob (blob.hpp, `kMaxBlobAxes`; blob.cpp, `Reshape`)."""

SOURCES = ("Input", "DummyData")
"""Types whose tops are the network's inputs: their shapes can be given, and take the batch size asked for."""


@dataclass(frozen=True)
class Wishes:
    """What the caller asks for: a batch size, shapes of blobs, no layers but Caffe's; `maker` is whose others are.

    `has_weights`: the weights come with the definition, so that nothing is known to be zero.
    """

    batch: int | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    strict: bool = False
    maker: str = "a fork"
    has_weights: bool = False


class _Blobs:
    """What has been made so far: the shape of every blob, which are zero, and the owner of every named parameter."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.zeros: set[str] = set()
        self.owners: dict[str, tuple[str, Shape]] = {}


def build(
    name: str, definitions: Sequence[LayerParameter], wishes: Wishes, origin: str, notes: Sequence[str]
) -> Network:
    """The network of these layers; raises SiteCNNError that names the first layer Caffe would refuse."""
    blobs = _Blobs()
    layers = []
    for node in insert_splits(definitions):
        try:
            layers.append(_set_up(node, blobs, wishes))
        except RefusedError as refused:
            what = node.definition
            hint = _hint(node, definitions, blobs)
            raise SiteCNNError(f"{origin}: layer {what.name!r} ({what.type}): {refused}{hint}") from None
    if not layers:
        raise SiteCNNError(f"{origin}: it defines no layers; a Caffe network is a list of layer {{ … }}")
    _check_wishes(layers, wishes, origin)
    sources = (layer.outputs[0] for layer in layers if layer.outputs and not layer.inputs)
    batch = next((shape[0] for shape in sources if shape), 1)
    return Network(name, batch, tuple(layers), (*notes, *_repeated_names(definitions)))


def _repeated_names(definitions: Sequence[LayerParameter]) -> list[str]:
    """Caffe lets layers share a name, but finds weights and blobs of the last one only."""
    counts = Counter(definition.name for definition in definitions)
    return [f"{count} layers are called {name!r}" for name, count in counts.items() if count > 1]


def _hint(node: Node, definitions: Sequence[LayerParameter], blobs: _Blobs) -> str:
    """Who makes the bottom that is missing, if any layer does."""
    missing = next((blob for blob in node.bottoms if blob not in blobs.shapes), None)
    maker = next((layer.name for layer in definitions if missing is not None and missing in layer.top), None)
    return "" if maker is None else f"; layer {maker!r} makes it, which must stand before"


def _check_wishes(layers: Sequence[Layer], wishes: Wishes, origin: str) -> None:
    """Every shape that was given must have had a use."""
    open_blobs = {top for layer in layers if _takes_shape(layer.type) for top in layer.tops}
    for name in wishes.shapes:
        if name not in open_blobs:
            known = ", ".join(sorted(open_blobs)) or "none"
            raise SiteCNNError(f"{origin}: no input is called {name!r}; its inputs are: {known}")


def _takes_shape(type_name: str) -> bool:
    return type_name in SOURCES or type_name not in LAYER_TYPES


def _set_up(node: Node, blobs: _Blobs, wishes: Wishes) -> Layer:
    """One layer: its bottoms exist, its counts fit, its shapes follow, its tops are new or in place."""
    definition = node.definition
    inputs = tuple([_input_shape(bottom, blobs) for bottom in node.bottoms])
    kind = LAYER_TYPES.get(definition.type)
    if kind is None or wishes.strict:
        kind = _own_type(definition, kind, wishes)
    _check_counts(kind, node)
    inferred = _infer(kind, node, inputs, wishes)
    for shape in inferred.outputs + inferred.parameters:
        _check_blob(shape)
    _make_tops(kind, node, inferred.outputs, blobs)
    on_zeros = not wishes.has_weights and blobs.zeros.issuperset(node.bottoms)
    _mark_zeros(node, blobs, of_zeros=on_zeros)
    return Layer(
        name=definition.name,
        type=definition.type,
        bottoms=node.bottoms,
        tops=node.tops,
        inputs=inputs,
        outputs=inferred.outputs,
        parameters=_parameters(definition, inferred.parameters, blobs),
        settings=inferred.settings,
        modelled=not kind.fork,
        note=f"a layer of {kind.fork}, not of Caffe" if kind.fork else "",
        on_zeros=on_zeros,
    )


def _mark_zeros(node: Node, blobs: _Blobs, *, of_zeros: bool) -> None:
    if makes_zeros(node.definition, of_zeros=of_zeros):
        blobs.zeros.update(node.tops)
    else:
        blobs.zeros.difference_update(node.tops)


def _input_shape(bottom: str, blobs: _Blobs) -> Shape:
    if bottom not in blobs.shapes:
        raise RefusedError(f"its bottom {bottom!r} is made by no layer before it")
    return blobs.shapes[bottom]


def _own_type(definition: LayerParameter, kind: LayerType | None, wishes: Wishes) -> LayerType:
    """The type as it stands, or a place holder for one that only a fork knows; strict takes neither's forks."""
    name = definition.type
    if kind is not None and not kind.fork:
        return kind
    meant = next((known for known in LAYER_TYPES if known.lower() == name.lower()), "")
    require(bool(name), "it has no type")
    require(kind is not None or not meant, f"not a layer type of Caffe; did you mean {meant!r}?")
    require(not wishes.strict, "not a layer type of Caffe; leave --strict out to keep it as unmodelled")
    return kind or LayerType(name, _as_first_input, bottoms=(0, NO_LIMIT), tops=(0, NO_LIMIT), fork=wishes.maker)


def _as_first_input(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """The guess for a layer that is not known: nothing changes its shape."""
    if not inputs and layer.top:
        wish = f"--input {layer.top[0]}:1x3x224x224"
        raise RefusedError(f"not a layer type of Caffe, so its output's shape is not known; give it: {wish}")
    return Inferred((inputs[0],) * len(layer.top) if inputs else ())


def _infer(kind: LayerType, node: Node, inputs: Inputs, wishes: Wishes) -> Inferred:
    """What the type's rule says, except where the caller knows better."""
    if not _takes_shape(kind.name):
        return kind.infer(node.definition, inputs)
    if wishes.shapes and all(top in wishes.shapes for top in node.tops):
        inferred = Inferred(tuple(wishes.shapes[top] for top in node.tops))
    else:
        inferred = kind.infer(node.definition, inputs)
    outputs = [wishes.shapes.get(top, shape) for top, shape in zip(node.tops, inferred.outputs, strict=True)]
    if wishes.batch is not None and kind.name in SOURCES:
        outputs = [(wishes.batch, *shape[1:]) for shape in outputs]
    return Inferred(tuple(outputs), inferred.parameters, inferred.settings)


def _check_counts(kind: LayerType, node: Node) -> None:
    """layer.hpp, `CheckBlobCounts`."""
    bottoms, tops = len(node.bottoms), len(node.tops)
    if not (kind.bottoms[0] <= bottoms <= kind.bottoms[1]):
        raise RefusedError(f"it takes {_range(*kind.bottoms)} bottoms, has {bottoms}")
    if not (kind.tops[0] <= tops <= kind.tops[1]):
        raise RefusedError(f"it gives {_range(*kind.tops)} tops, has {tops}")
    if kind.as_many_tops and bottoms != tops:
        raise RefusedError(f"it needs as many tops as bottoms, has {bottoms} bottoms and {tops} tops")


def _range(least: int, most: int) -> str:
    if least == most:
        return f"exactly {least}"
    return f"at least {least}" if most == NO_LIMIT else f"{least} to {most}"


def _check_blob(shape: Shape) -> None:
    """blob.cpp, `Reshape`; a blob without values is refused too, there is nothing to run on it."""
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
            require(in_place, f"its top {top!r} is made by a layer before it already")
            require(kind.in_place, f"its top {top!r} is its bottom; this type does not work in place")
        blobs.shapes[top] = shape


def _parameters(definition: LayerParameter, shapes: tuple[Shape, ...], blobs: _Blobs) -> tuple[Parameter, ...]:
    """net.cpp, `AppendParam`: a blob belongs to its layer, or to the first layer that gave it its name."""
    specs = definition.param
    if not specs:
        return tuple([Parameter(shape) for shape in shapes])
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
