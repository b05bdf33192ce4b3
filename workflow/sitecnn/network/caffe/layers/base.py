"""What a layer type is made of: a shape rule, a way back to prototxt, how many blobs it takes and gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, TypeVar

from google.protobuf.message import Message

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.graph import Shape
from sitecnn.network.settings import Settings

SettingsType = TypeVar("SettingsType", bound=Settings)

Inputs = tuple[Shape, ...]
Names = Mapping[str, str]
"""Caffe's field name for a setting, where it is another."""

NO_SETTINGS = Settings()
NO_LIMIT = 2**31


class RefusedError(ValueError):
    """A layer that Caffe would refuse; the text says what was found, and the reader adds file and layer."""


@dataclass(frozen=True)
class Inferred:
    """What a definition and its input shapes come to; `parameters` are the shapes of its learnable blobs."""

    outputs: tuple[Shape, ...]
    parameters: tuple[Shape, ...] = ()
    settings: Settings = NO_SETTINGS


@dataclass(frozen=True)
class LayerType:
    """One layer type. `bottoms` and `tops` are (least, most) counts of its blobs.

    `infer` gets the definition and the input shapes, and raises RefusedError where Caffe would abort. `write`
    gives the fields of a definition from which `infer` reads the same settings back. `fork` names whose layer it
    is where it is not Caffe's own. `is_guess`: its shapes or its work are those of one fork among several.
    """

    name: str
    infer: Callable[[LayerParameter, Inputs], Inferred]
    write: Callable[[Any], dict[str, Any]] = lambda settings: {}
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    as_many_tops: bool = False
    in_place: bool = True
    fork: str = ""
    is_guess: bool = False


def require(fits: bool, reason: str) -> None:
    """Raise RefusedError with `reason` unless it fits."""
    if not fits:
        raise RefusedError(reason)


def text(shape: Sequence[int]) -> str:
    """A shape as people write it: 1×3×224×224; a blob without axes is a scalar."""
    return "×".join(map(str, shape)) or "scalar"


def canonical_axis(axis: int, shape: Shape) -> int:
    """The axis counted from the front; negative ones count from the back (blob.hpp, `CanonicalAxisIndex`)."""
    if not -len(shape) <= axis < len(shape):
        raise RefusedError(f"axis {axis} is not an axis of its {text(shape)} input")
    return axis % len(shape)


def image_size(shape: Shape) -> tuple[int, int]:
    """Height and width of a blob that must have the four axes image, channel, height, width."""
    if len(shape) != 4:
        raise RefusedError(f"its input must have 4 axes, has {len(shape)} ({text(shape)})")
    return shape[2], shape[3]


def same_shape(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """Every output is shaped as the first input (neuron_layer.cpp)."""
    return Inferred((inputs[0],) * len(layer.top))


def read(kind: type[SettingsType], param: Message, names: Names | None = None) -> SettingsType:
    """Settings from the fields of their names in a definition; repeated fields as tuples, enums by name."""
    values = []
    for name, repeated, enum in _plan(kind, type(param), tuple((names or {}).items())):  # type: ignore[arg-type]
        value = _decimal(getattr(param, name))
        values.append(tuple(value) if repeated else enum.values_by_number[value].name if enum else value)
    return kind(*values)


def _decimal(value: Any) -> Any:
    """A float as it stands in the file: 32 bits make 1e-9 to 9.999999717180685e-10."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


@cache
def _plan(
    kind: type[Settings], param: type[Message], names: tuple[tuple[str, str], ...]
) -> list[tuple[str, bool, Any]]:
    """For each setting in order: its field in the definition, whether that repeats, and its enum if it is one."""
    known = [dict(names).get(field.name, field.name) for field in fields(kind)]
    descriptors = [param.DESCRIPTOR.fields_by_name[name] for name in known]
    return [(descriptor.name, descriptor.is_repeated, descriptor.enum_type) for descriptor in descriptors]


def changed(settings: Settings, names: Names | None = None) -> dict[str, Any]:
    """The fields of a definition for the settings that are not at their default: the other way of `read`."""
    return {
        (names or {}).get(field.name, field.name): getattr(settings, field.name)
        for field in fields(settings)
        if field.default is MISSING or getattr(settings, field.name) != field.default
    }
