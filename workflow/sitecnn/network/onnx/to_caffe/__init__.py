"""ONNX operators → Caffe layers that do the same work on the same shapes; a module per family of operators."""

from collections.abc import Sequence

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.onnx.to_caffe import arithmetic, arrangement, products
from sitecnn.network.onnx.to_caffe.task import Mapper, Task, fits

__all__ = ["Task", "to_layers"]

MAPPERS: dict[str, Mapper] = {**products.MAPPERS, **arithmetic.MAPPERS, **arrangement.MAPPERS}
"""What each operator is in Caffe; operators that are not here keep their place as unmodelled layers."""


def to_layers(task: Task) -> Sequence[LayerParameter] | None:
    """The Caffe layers for an operator, if Caffe's own rules give them the shapes that ONNX's give."""
    mapper = MAPPERS.get(task.operator.layer_type)
    if mapper is None:
        return None
    try:
        layers = mapper(task)
        return layers if layers and fits(layers, task) else None
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # The checker does not see to it that attributes have the lengths and kinds that they should have.
        return None
