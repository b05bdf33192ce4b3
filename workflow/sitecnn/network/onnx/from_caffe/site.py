"""Where a layer of Caffe becomes nodes of ONNX: the names of its tensors, and the nodes made so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import onnx

from sitecnn.network.graph import Layer, OnnxNode, Shape
from sitecnn.network.settings import Constant, OnnxOperator

OPSET = 17
"""The operator set that is written: the newest that ONNX Runtime 1.12 and all after it know."""


FLOAT, INT64 = 1, 7
"""Numbers of ONNX's types (TensorProto.DataType)."""


class NoOperatorError(ValueError):
    """A layer, or a setting of it, that no operators of ONNX are equal to; the text says which."""


@dataclass(frozen=True)
class Weight:
    """A constant with the name that it has in the file."""

    name: str
    constant: Constant


@dataclass
class Site:
    """A layer, the name it has here, the names of the tensors that it reads and makes, and the nodes of its work."""

    layer: Layer
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[OnnxNode] = field(default_factory=list)

    def weight(self, index: int, shape: Shape | None = None) -> Weight:
        """The layer's learnable blob at `index`, called `LAYER.INDEX` after its owner, in a shape of the same count."""
        parameter = self.layer.parameters[index]
        name = f"{parameter.owner or self.label}.{index}"
        return Weight(name, Constant(parameter.shape if shape is None else shape))

    def named(self, name: str, shape: Shape) -> Weight:
        """A weight that is no blob of Caffe's as it stands, called `LAYER.NAME`."""
        return Weight(f"{self.label}.{name}", Constant(shape))

    def add(
        self, kind: str, *given: str | Weight | Constant, shape: Shape | None = None, top: int = 0, **attributes: Any
    ) -> str:
        """A node behind the others: of `shape` if it is an inner one, else it makes the layer's output `top`.

        Gives back the name of the tensor that it makes.
        """
        name = self.outputs[top] if shape is None else f"{self.label}.t{len(self.nodes)}"
        shape = self.layer.outputs[top] if shape is None else shape
        self.nodes.append(self._node(kind, given, (name,), (shape,), attributes))
        return name

    def add_pair(self, kind: str, *given: str | Weight | Constant, shape: Shape, **attributes: Any) -> tuple[str, str]:
        """An inner node of two outputs of one shape; gives back their names."""
        name = f"{self.label}.t{len(self.nodes)}"
        names = (name, f"{name}.1")
        self.nodes.append(self._node(kind, given, names, (shape, shape), attributes))
        return names

    def add_all(self, kind: str, *given: str | Weight | Constant, **attributes: Any) -> None:
        """A node that makes all of the layer's outputs."""
        self.nodes.append(self._node(kind, given, self.outputs, self.layer.outputs, attributes))

    def _node(
        self,
        kind: str,
        given: tuple[str | Weight | Constant, ...],
        outputs: tuple[str, ...],
        shapes: tuple[Shape, ...],
        attributes: dict[str, Any],
    ) -> OnnxNode:
        names, constants = [], []
        for position, argument in enumerate(given):
            if isinstance(argument, Constant):
                argument = Weight(f"{self.label}.c{len(self.nodes)}.{position}", argument)
            if isinstance(argument, Weight):
                constants.append((position, argument.constant))
            names.append(argument.name if isinstance(argument, Weight) else argument)
        operator = OnnxOperator(
            kind, tuple(sorted(attributes.items())), tuple(constants), version=since_version(kind, OPSET)
        )
        return OnnxNode(operator, tuple(names), outputs, shapes)


Rule = Callable[[Site, Any], object]
"""Adds a layer's nodes to its site; the second argument is the layer's settings."""


@cache
def since_version(kind: str, opset: int, domain: str = "") -> int:
    """The operator set in which an operator last changed; of those that onnx does not know, their domain's or 1."""
    try:
        return onnx.defs.get_schema(kind, opset, domain).since_version
    except onnx.defs.SchemaError:
        return opset if domain else 1


def integers(*values: int) -> Constant:
    """A vector of int64, as ONNX takes axes and sizes."""
    return Constant((len(values),), "int64", values)


def scalar(value: float) -> Constant:
    """A float without axes."""
    return Constant((), "float32", (value,))
