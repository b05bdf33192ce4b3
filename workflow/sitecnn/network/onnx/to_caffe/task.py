"""What an operator is made into layers of: its place in the graph, and whether layers do the same as it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import RefusedError
from sitecnn.network.graph import Shape
from sitecnn.network.onnx.graph import Graph, Operator


@dataclass(frozen=True)
class Task:
    """An operator with what it works on: its data inputs, the weights beside them, and its first output's shape."""

    operator: Operator
    graph: Graph

    @property
    def data(self) -> list[str]:
        """Tensors that depend on the network's input."""
        return [name for name in self.operator.inputs if name and name not in self.graph.constants]

    @property
    def output(self) -> Shape:
        """Shape of the first output."""
        return self.graph.shapes[self.operator.outputs[0]]

    def shape(self, index: int) -> Shape:
        """Shape of an input."""
        return self.graph.shapes[self.operator.inputs[index]]

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.operator.inputs) and bool(self.operator.inputs[index])

    def is_weight(self, index: int) -> bool:
        """Whether an input is given and a constant."""
        return self.has(index) and self.operator.inputs[index] in self.graph.constants

    def value(self, index: int, attribute: str, default: Any) -> Any:
        """What newer operators take as a small constant input and older ones as an attribute."""
        if self.has(index) and self.operator.inputs[index] in self.graph.values:
            return self.graph.values[self.operator.inputs[index]].tolist()
        return self.operator.attributes.get(attribute, default)

    def layer(self, type_name: str, bottoms: Sequence[str] | None = None, **fields: Any) -> LayerParameter:
        """A layer of the operator's name that makes its first output."""
        bottoms = self.data[:1] if bottoms is None else bottoms
        top = self.operator.outputs[:1]
        return LayerParameter(name=self.operator.name, type=type_name, bottom=bottoms, top=top, **fields)


Mapper = Callable[[Task], Sequence[LayerParameter] | None]
"""The layers for an operator, or None where there are none that do the same."""


def fits(layers: Sequence[LayerParameter], task: Task) -> bool:
    """Whether Caffe's own rules give the layers the shapes that ONNX's give."""
    shapes = dict(task.graph.shapes)
    inferred: dict[str, Shape] = {}
    for layer in layers:
        try:
            outputs = (
                LAYER_TYPES[layer.type]
                .infer(layer, tuple(inferred.get(b, shapes.get(b, ())) for b in layer.bottom))
                .outputs
            )
        except RefusedError:
            return False
        inferred.update(zip(layer.top, outputs, strict=True))
    return all(inferred[name] == shapes.get(name) for name in task.operator.outputs if name in inferred)


def always(type_name: str, **fields: Any) -> Mapper:
    """A layer without settings, or always with the same."""
    return lambda task: [task.layer(type_name, **fields)]
