"""Memory by part, exactly as Caffe counts or allocates it; all in bytes, float32."""

from dataclasses import dataclass
from math import prod

from sitecnn.network.graph import Layer, Network
from sitecnn.network.settings import Convolution
from sitecnn.workload.kernels import FLOAT_BYTES, is_pointwise


@dataclass(frozen=True)
class Memory:
    """`data_bytes` is Caffe's "Memory required for data"; workspace is im2col buffers, by two definitions."""

    weights_bytes: int
    data_bytes: int
    workspace_bytes: int
    workspace_poster_bytes: int


def memory(network: Network) -> Memory:
    """The memory parts of a network at its batch."""
    layers = network.layers
    return Memory(
        weights_bytes=sum(map(weights_bytes, layers)),
        data_bytes=sum(map(data_bytes, layers)),
        workspace_bytes=sum(map(workspace_bytes, layers)),
        workspace_poster_bytes=sum(map(workspace_poster_bytes, layers)),
    )


def footprint_bytes(network: Network) -> int:
    """What one forward pass touches: weights, each buffer once, im2col columns and BatchNorm's two temporaries.

    Blobs that share a buffer (in place, Split, Flatten, Reshape) count once.
    """
    parts = memory(network)
    buffers = {
        top: prod(shape) for layer in network.layers for top, shape in zip(layer.tops, layer.outputs, strict=True)
    }
    views = {top for layer in network.layers if layer.type in ("Split", "Flatten", "Reshape") for top in layer.tops}
    elements = sum(size for top, size in buffers.items() if top not in views)
    temporaries = sum(2 * prod(layer.inputs[0]) for layer in network.layers if layer.type == "BatchNorm")
    return parts.weights_bytes + parts.workspace_bytes + FLOAT_BYTES * (elements + temporaries)


def weights_bytes(layer: Layer) -> int:
    """Learnable blobs that this layer owns: a shared blob counts once, at its owner."""
    return FLOAT_BYTES * sum(parameter.count for parameter in layer.parameters if not parameter.owner)


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
