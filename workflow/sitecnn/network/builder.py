"""Networks that are built in memory, layer by layer, as a search over architectures makes them by the thousand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sitecnn.errors import NetworkError, did_you_mean
from sitecnn.network.caffe.build import check_blob, check_counts
from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import LayerType, RefusedError
from sitecnn.network.graph import Layer, Network, Parameter, Shape
from sitecnn.network.settings import Settings

IN_PLACE = frozenset(
    {*("AbsVal", "BatchNorm", "BNLL", "Dropout", "ELU", "PReLU", "ReLU", "ReLU6", "Scale", "Sigmoid", "TanH")}
)
"""Types that write over their input where nothing else reads it, as people's definitions have it."""

SETTINGS_OF = {"Deconvolution": "convolution_param", "Im2col": "convolution_param"}
"""The message of caffe.proto that has a type's settings, where it is not named after the type."""

CACHE_SIZE = 1 << 16
"""The size of the caches of layers: the networks of a search share most of theirs."""


class Value(NamedTuple):
    """A layer's output: its number among all values of the builder, and its shape."""

    number: int
    shape: Shape


class _Rule:
    """The shapes that follow from a type, its settings and its inputs' shapes. A key, so compared by identity."""

    def __init__(self, kind: LayerType, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> None:
        self.kind, self.inputs, self.outputs = kind, inputs, outputs
        self.parameters: tuple[Parameter, ...] = ()
        self.settings = Settings()
        self.writes_over = kind.name in IN_PLACE


class _Planned(NamedTuple):
    """A layer that was added: the values that it reads, and the first that it makes."""

    name: str
    rule: _Rule
    inputs: tuple[int, ...]
    first: int


class NetworkBuilder:
    """Builds a Network without a file.

        net = NetworkBuilder("tiny")
        x = net.input(1, 3, 32, 32)
        x = net.add("Convolution", x, num_output=16, kernel_size=3, pad=1)
        x = net.add("ReLU", x)
        network = net.build()

    Types are Caffe's, and so are their settings: the fields that caffe.proto has for them. Layers that several others
    read get Caffe's Split, and elementwise layers work in place where nothing else reads their input.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._layers: list[_Planned] = []
        self._values: list[Value] = []
        self._counts: Counter[str] = Counter()

    def input(self, *shape: int, name: str = "data") -> Value:
        """An input of this shape, images first: 1, 3, 224, 224."""
        return self._add(name, "Input", (), 1, {"shape": _Fields([("dim", shape)])})[0]

    def add(self, type: str, *inputs: Value, name: str | None = None, **settings: Any) -> Value:
        """Add a layer that has one output; without a `name` it is called after its type and number.

        Raises NetworkError for a type, a setting or shapes that Caffe would refuse.
        """
        return self._add(name, type, inputs, 1, settings)[0]

    def add_several(
        self, outputs: int, type: str, *inputs: Value, name: str | None = None, **settings: Any
    ) -> list[Value]:
        """Add a layer that has so many outputs, such as a Slice; errors as `add`'s."""
        return self._add(name, type, inputs, outputs, settings)

    def _add(
        self, name: str | None, type_name: str, inputs: tuple[Value, ...], outputs: int, settings: Mapping[str, Any]
    ) -> list[Value]:
        if name is None:
            self._counts[type_name] += 1
            name = f"{type_name.lower()}{self._counts[type_name]}"
        shapes = tuple([shape for _, shape in inputs])
        try:
            try:
                rule = _rule(type_name, tuple(settings.items()), shapes, outputs)
            except TypeError:  # a list or a dict among the settings, which is no key
                rule = _rule(type_name, _hashable(settings), shapes, outputs)
        except (RefusedError, ValueError, TypeError) as error:
            raise NetworkError(f"{self.name}: layer {name!r} ({type_name}): {error}") from None
        first = len(self._values)
        values = [Value(number, shape) for number, shape in enumerate(rule.outputs, first)]
        self._values += values
        self._layers.append(_Planned(name, rule, tuple([number for number, _ in inputs]), first))
        return values

    def build(self) -> Network:
        """The network of the layers so far."""
        if not self._layers:
            raise NetworkError(f"{self.name}: no layer was added")
        readers = [0] * len(self._values)
        for planned in self._layers:
            for number in planned.inputs:
                readers[number] += 1
        blobs = [""] * len(self._values)
        taken = [0] * len(self._values)
        is_input = {planned.first for planned in self._layers if not planned.inputs}
        layers: list[Layer] = []
        for name, rule, inputs, first in self._layers:
            bottoms = []
            for number in inputs:
                if readers[number] > 1:
                    bottoms.append(f"{blobs[number]}_{taken[number]}")
                    taken[number] += 1
                else:
                    bottoms.append(blobs[number])
            alone = rule.writes_over and readers[inputs[0]] == 1 and inputs[0] not in is_input
            tops = (bottoms[0],) if alone else _tops(name, len(rule.outputs))
            layers.append(_layer(name, tuple(bottoms), tops, rule))
            for number, top in enumerate(tops, first):
                blobs[number] = top
                if readers[number] > 1:
                    blobs[number] = f"{top}_{name}_{number - first}_split"
                    layers.append(_split(blobs[number], top, self._values[number].shape, readers[number]))
        sources = [self._values[number].shape for number in sorted(is_input)]
        return Network(self.name, next((shape[0] for shape in sources if shape), 1), tuple(layers))


def _tops(name: str, outputs: int) -> tuple[str, ...]:
    return (name,) if outputs == 1 else tuple([f"{name}_{output}" for output in range(outputs)])


class _Fields(tuple[tuple[str, Any], ...]):
    """A message's fields as a key."""


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Fields((key, _hashable(inner)) for key, inner in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


@lru_cache(maxsize=CACHE_SIZE)
def _rule(type_name: str, settings: tuple[tuple[str, Any], ...], inputs: tuple[Shape, ...], outputs: int) -> _Rule:
    """What Caffe would make of such a layer; RefusedError, ValueError or TypeError where it would not."""
    kind = _kind(type_name)
    check_counts(kind, len(inputs), outputs)
    definition = _definition(type_name, settings, len(inputs), outputs)
    inferred = kind.infer(definition, inputs)
    for shape in inferred.outputs + inferred.parameters:
        check_blob(shape)
    rule = _Rule(kind, inputs, inferred.outputs)
    rule.parameters = tuple(Parameter(shape) for shape in inferred.parameters)
    rule.settings = inferred.settings
    return rule


def _kind(type_name: str) -> LayerType:
    if type_name not in LAYER_TYPES:
        raise RefusedError("; ".join(filter(None, ("unknown layer type", did_you_mean(type_name, LAYER_TYPES)))))
    return LAYER_TYPES[type_name]


def _definition(type_name: str, settings: Sequence[tuple[str, Any]], inputs: int, outputs: int) -> LayerParameter:
    """The definition with blobs of any name: their number alone counts here."""
    definition = LayerParameter(type=type_name, bottom=["_"] * inputs, top=["_"] * outputs)
    if settings:
        field = _settings_field(type_name)
        if field is None:
            raise RefusedError("it has no settings")
        message = getattr(definition, field)
        for name, value in settings:
            if name not in message.DESCRIPTOR.fields_by_name:
                hint = did_you_mean(name, message.DESCRIPTOR.fields_by_name)
                raise RefusedError("; ".join(filter(None, (f"it has no setting {name!r}", hint))))
            repeated = message.DESCRIPTOR.fields_by_name[name].is_repeated
            message.MergeFrom(type(message)(**{name: _given(value, repeated)}))
    return definition


def _given(value: Any, repeated: bool) -> Any:
    """A value as protobuf takes it: a dict for a message, a list where the field repeats."""
    if isinstance(value, _Fields):
        fields = {key: _given(inner, False) for key, inner in value}
        return [fields] if repeated else fields
    if isinstance(value, tuple):
        return [_given(one, False) for one in value]
    return [value] if repeated else value


@lru_cache
def _settings_field(type_name: str) -> str | None:
    """The field of a layer's definition that has its type's settings."""
    if "epthwise" in type_name or type_name in SETTINGS_OF:
        return SETTINGS_OF.get(type_name, "convolution_param")
    wanted = f"{type_name.lower()}param"
    return next((name for name in LayerParameter.DESCRIPTOR.fields_by_name if name.replace("_", "") == wanted), None)


@lru_cache(maxsize=CACHE_SIZE)
def _layer(name: str, bottoms: tuple[str, ...], tops: tuple[str, ...], rule: _Rule) -> Layer:
    return Layer(
        name=name,
        type=rule.kind.name,
        bottoms=bottoms,
        tops=tops,
        inputs=rule.inputs,
        outputs=rule.outputs,
        parameters=rule.parameters,
        settings=rule.settings,
        modelled=not rule.kind.fork,
        note=f"a layer of {rule.kind.fork}, not of Caffe" if rule.kind.fork else "",
    )


@lru_cache(maxsize=CACHE_SIZE)
def _split(name: str, blob: str, shape: Shape, copies: int) -> Layer:
    tops = tuple([f"{name}_{copy}" for copy in range(copies)])
    return _layer(name, (blob,), tops, _rule("Split", (), (shape,), copies))
