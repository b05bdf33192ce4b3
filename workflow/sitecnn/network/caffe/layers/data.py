"""Where blobs begin."""

from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import NO_LIMIT, Inferred, Inputs, LayerType, RefusedError, require
from sitecnn.network.graph import Shape


def _for_each_top(shapes: list[Shape], layer: LayerParameter) -> Inferred:
    """A shape for each top, or one for all."""
    tops = len(layer.top)
    if len(shapes) not in (1, tops):
        raise RefusedError(f"its {tops} tops need one shape, or one each; {len(shapes)} are given")
    return Inferred(tuple(shapes) if len(shapes) == tops else tuple(shapes) * tops)


def _input(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """input_layer.cpp."""
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    require(bool(shapes), f"it has no shape; give one: --input {layer.top[0]}:1x3x224x224")
    return _for_each_top(shapes, layer)


def _dummy_data(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """dummy_data_layer.cpp: shapes as BlobShapes, or as num, channels, height and width."""
    param = layer.dummy_data_param
    require(len(param.data_filler) in (0, 1, len(layer.top)), "it needs no data_filler, one, or one for each top")
    old = (param.num, param.channels, param.height, param.width)
    require(not (param.shape and any(old)), "both shape and num, channels, height, width are given")
    if param.shape:
        return _for_each_top([tuple(shape.dim) for shape in param.shape], layer)
    lengths = {len(values) for values in old}
    require(lengths <= {1, len(layer.top)}, "it needs num, channels, height and width once, or once for each top")
    tops = range(len(layer.top))
    return Inferred(tuple(tuple(values[top if len(values) > 1 else 0] for values in old) for top in tops))


def _parameter(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """parameter_layer.hpp: one learned blob, passed on as it is."""
    shape = tuple(layer.parameter_param.shape.dim)
    return Inferred((shape,), (shape,))


def with_shapes(type_name: str, shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """The fields of a definition that gives its tops these shapes: a layer's way back where it has no input."""
    dims = [{"dim": shape} for shape in shapes]
    match type_name:
        case "DummyData":
            return {"dummy_data_param": {"shape": dims}}
        case "Parameter":
            return {"parameter_param": {"shape": dims[0]}}
    return {"input_param": {"shape": dims}}


TYPES = (
    LayerType("Input", _input, bottoms=(0, 0), tops=(1, NO_LIMIT)),
    LayerType("DummyData", _dummy_data, bottoms=(0, 0), tops=(1, NO_LIMIT)),
    LayerType("Parameter", _parameter, bottoms=(0, 0)),
)
