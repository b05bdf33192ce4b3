"""An operator of ONNX as its file has it."""

from dataclasses import dataclass, field
from typing import Any

from sitecnn.network.settings.base import Settings

FEW_VALUES = 64
"""Constants of at most so many values are settings (axes, sizes, bounds); of larger ones only the shape counts."""


@dataclass(frozen=True)
class Constant:
    """A constant tensor: shape, numpy's name of its type, values in row-major order (None: too many to be kept).

    `worked_out`: the file does not have the values, but operators that compute them.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: tuple[float, ...] | None = None
    worked_out: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class OnnxOperator(Settings):
    """An operator of ONNX, told by ONNX's rules and never by those of Caffe's layer type of the same name.

    `version` is the operator set in which it last changed (`since_version`), of its `domain` (empty: ONNX's own).
    `attributes` are those that the file gives, by name: int, float, str, Constant, or a tuple of one of them; graphs
    are left out. `constants` are the constant inputs with their positions; all other inputs are the layer's bottoms.
    """

    type: str
    attributes: tuple[tuple[str, Any], ...] = ()
    constants: tuple[tuple[int, Constant], ...] = ()
    domain: str = ""
    version: int = 1

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default where the file does not give it."""
        return dict(self.attributes).get(name, default)

    def constant(self, position: int) -> Constant | None:
        """The constant input at a position, None where that input is data or left out."""
        return dict(self.constants).get(position)
