"""Axes that a file leaves open: its graph as an engine is given it, which works out sizes while it runs."""

from collections.abc import Mapping, Set
from copy import deepcopy
from typing import Any

import onnx.inliner
from onnx import ModelProto, ValueInfoProto

from sitecnn.network.graph import OnnxNode, OpenForm
from sitecnn.network.onnx.folding import fold, tensor_of

Dims = tuple[int | str, ...]


def with_open_axes(model: ModelProto) -> ModelProto | None:
    """A copy of a model that does not tell the length of some axis of an input, None of any other."""
    tensors = [given.type.tensor_type for given in model.graph.input]
    if all(isinstance(size, int) for tensor in tensors for size in _dims(tensor)):
        return None
    copy = deepcopy(model)
    for given in copy.graph.input:
        for dim in given.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 1:
                dim.Clear()
    return copy


def folded_open(model: ModelProto, weights: set[str]) -> ModelProto | None:
    """The model with what is constant whatever its open axes are; names of large tensors join `weights`.

    Its shapes are those that ONNX Runtime knows when it loads the file: what the file states and what follows, but
    nothing that follows from the values of computed sizes.
    """
    stated = (*model.graph.value_info, *(one for one in model.graph.output if one.type.tensor_type.HasField("shape")))
    try:
        folded = fold(onnx.inliner.inline_local_functions(model), weights, through_values=False)
        left = {name for node in folded.graph.node for name in node.output}
        del folded.graph.value_info[:]
        folded.graph.value_info.extend(one for one in stated if one.name in left)
        return onnx.shape_inference.infer_shapes(folded)
    except Exception:  # of the onnx package's own, of any kind: what it says of the fixed model is what counts
        return None


def dims_of(model: ModelProto, names: Set[str]) -> dict[str, Dims]:
    """The sizes of each tensor that has axes: numbers, those of these names that they have, else empty."""
    dims: dict[str, Dims] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for given in _tensors(model):
        if tensor_of(given).HasField("shape"):
            sizes = _dims(tensor_of(given))
            # The onnx package makes names up for what it does not know.
            dims[given.name] = tuple(size if isinstance(size, int) or size in names else "" for size in sizes)
    return dims


def names_of_sizes(model: ModelProto) -> set[str]:
    """What the file calls sizes that it leaves open."""
    return {size for given in _tensors(model) for size in _dims(tensor_of(given)) if isinstance(size, str)}


def _tensors(model: ModelProto) -> tuple[ValueInfoProto, ...]:
    return (*model.graph.input, *model.graph.value_info, *model.graph.output)


def _dims(tensor: Any) -> Dims:
    dims = tensor.shape.dim
    return tuple(one.dim_value if one.HasField("dim_value") and one.dim_value > 0 else one.dim_param for one in dims)


def open_form(
    inputs: list[tuple[int, OnnxNode]], inner: list[OnnxNode], placed: Mapping[str, int], dims: Mapping[str, Dims]
) -> OpenForm:
    """`placed` has the index of the layer that makes a tensor; other nodes serve the first layer that needs them."""
    serves = dict(placed)
    for node in reversed(inner):
        index = min((serves[name] for name in node.outputs if name in serves), default=max(placed.values()))
        for name in {*node.inputs, *node.outputs} - placed.keys():
            serves[name] = min(serves.get(name, index), index)
    return OpenForm((*inputs, *((serves[node.outputs[0]], node) for node in inner)), dims)
