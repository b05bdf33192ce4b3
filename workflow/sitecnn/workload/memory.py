"""Memory by part, exactly as Caffe counts or allocates it; all in bytes, float32."""

from functools import lru_cache
from math import prod
from typing import NamedTuple

from sitecnn.network.graph import Layer, Network
from sitecnn.network.settings import LRN, Convolution, OnnxOperator, Pooling
from sitecnn.workload.kernels import FLOAT_BYTES, MOST_LAYERS, is_pointwise


class Memory(NamedTuple):
    """Bytes of a layer or of a network.

    `data_bytes` is Caffe's "Memory required for data"; workspace is im2col buffers, by two definitions;
    `touched_bytes` what one forward pass touches.
    """

    weights_bytes: int
    data_bytes: int
    workspace_bytes: int
    workspace_poster_bytes: int
    touched_bytes: int


def memory(network: Network) -> Memory:
    """The memory parts of a network at its batch."""
    return Memory(*map(sum, zip(*map(layer_memory, network.layers), strict=True)))


@lru_cache(maxsize=MOST_LAYERS)
def layer_memory(layer: Layer) -> Memory:
    """The memory parts of a layer."""
    parts = weights_bytes(layer), data_bytes(layer), workspace_bytes(layer), workspace_poster_bytes(layer)
    return Memory(*parts, touched_bytes(layer))


def footprint_bytes(network: Network) -> int:
    """What one forward pass touches, and so what a process holds for its network after one."""
    return memory(network).touched_bytes


def touched_bytes(layer: Layer) -> int:
    """A layer's part of it: weights, im2col columns, buffers of its own, and tops that are no view of another blob."""
    is_view = layer.type in ("Split", "Flatten", "Reshape") and not isinstance(layer.settings, OnnxOperator)
    own = zip(layer.tops, layer.outputs, strict=True)
    elements = 0 if is_view else sum(prod(shape) for top, shape in own if top not in layer.bottoms)
    return weights_bytes(layer) + workspace_bytes(layer) + FLOAT_BYTES * (elements + _own_elements(layer))


def _own_elements(layer: Layer) -> int:
    """Elements of the buffers that a layer's forward code keeps besides columns, whatever it would need them for.

    batch_norm_layer.cpp: temp_, x_norm_; scale_layer.cpp: temp_, in place; prelu_layer.cpp: bottom_memory_, in place;
    lrn_layer.cpp: scale_, or the square, its mean and their power; pooling_layer.cpp: max_idx_.
    """
    in_place = layer.bottoms[:1] == layer.tops[:1]
    match layer.type, layer.settings:
        case "BatchNorm", _:
            buffers = 2
        case "Scale" | "PReLU", _ if in_place:
            buffers = 1
        case _, LRN() as lrn:
            buffers = 1 if lrn.region == "ACROSS_CHANNELS" else 3
        case _, Pooling() as pool if pool.method == "MAX":
            return prod(layer.outputs[0])
        case _:
            return 0
    return buffers * prod(layer.inputs[0])


def weights_bytes(layer: Layer) -> int:
    """Learnable blobs that this layer owns: a shared blob counts once, at its owner."""
    return sum(parameter.value_bytes * parameter.count for parameter in layer.parameters if not parameter.owner)


def data_bytes(layer: Layer) -> int:
    """The layer's tops; in-place tops count again (net.cpp, `memory_used_`)."""
    return FLOAT_BYTES * sum(map(prod, layer.outputs))


def workspace_bytes(layer: Layer) -> int:
    """What Caffe allocates on first use: all groups' columns of one image, none where im2col is skipped."""
    if not isinstance(layer.settings, Convolution) or is_pointwise(layer.settings):
        return 0
    return _columns_bytes(layer, layer.settings)


def workspace_poster_bytes(layer: Layer) -> int:
    """The poster's definition: the im2col matrix of one group of one image, of every convolution, 1×1 too."""
    if not isinstance(layer.settings, Convolution):
        return 0
    return _columns_bytes(layer, layer.settings) // layer.settings.group


def _columns_bytes(layer: Layer, conv: Convolution) -> int:
    """channels·kh·kw × positions; a deconvolution's columns stand on its input's positions."""
    if layer.type == "Deconvolution":
        channels, positions = conv.num_output, prod(layer.inputs[0][2:])
    else:
        channels, positions = layer.inputs[0][1], prod(layer.outputs[0][2:])
    return FLOAT_BYTES * channels * prod(conv.kernel) * positions
