"""A probe network as Caffe's prototxt: the operators that probes are built of, each as the layers that Caffe has."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from sitecnn.boards.probes.graph import INPUT, Graph
from sitecnn.network.graph import Shape

IN_PLACE = {"Relu": 'type: "ReLU"', "LeakyRelu": 'type: "ReLU" relu_param { negative_slope: 0.1 }'}
"""What networks let work on the blob that it is given, where that is read nowhere else."""

PLAIN = {
    "Flatten": 'type: "Flatten"',
    "Softmax": 'type: "Softmax"',
    "Sigmoid": 'type: "Sigmoid"',
    "LRN": 'type: "LRN" lrn_param { local_size: 5 }',
    "Concat": 'type: "Concat"',
    "Add": 'type: "Eltwise"',
    "GlobalAveragePool": 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
}
"""Operators without settings of their own."""


MOST_LAYERS, MOST_ELEMENTS = 90, 12e6
"""A chain with more layers, or more elements in its blobs, goes on to its head."""


class CaffeGraph(Graph):
    """As Graph, of Caffe's layers; of a tensor of weights only the shape matters.

    With `normalised`, convolutions have no bias but a BatchNorm and a Scale behind them, as in ResNets. With
    `in_place`, these and activations work on the blob that they are given, as in networks written for Caffe; those
    converted from ONNX have a blob for each layer.
    """

    def __init__(self, name: str, size: int) -> None:
        """A network of this name on an image of 3 × `size` × `size`."""
        super().__init__(name, size)
        self.normalised, self.in_place = False, True
        self.read: set[str] = set()
        self.rectified: set[str] = set()
        self.lines = [f'name: "{name}"']
        self.weight_shapes: dict[str, Shape] = {}
        self.layer('type: "Input"', [], [INPUT], f"input_param {{ shape {{ {_dims((1, 3, size, size))} }} }}")

    @property
    def length(self) -> int:
        """How many layers it has, the image not counted."""
        return len(self.lines) - 2

    @property
    def is_full(self) -> bool:
        """Whether it has layers or elements enough: one large probe would take the time of ten."""
        elements = sum(prod(shape) for shape in self.shapes.values())
        return self.length > MOST_LAYERS or elements > MOST_ELEMENTS

    def text(self) -> str:
        """The prototxt."""
        return "\n".join(self.lines) + "\n"

    def weights(self, *shape: int) -> str:
        """A name for weights of this shape."""
        name = f"weights{len(self.weight_shapes)}"
        self.weight_shapes[name] = shape
        return name

    def layer(self, kind: str, bottoms: Sequence[str], tops: Sequence[str], settings: str = "") -> None:
        """One layer; `kind` is its type and what else it is said to be."""
        self.read |= set(bottoms) - set(tops)
        wires = [f'bottom: "{name}"' for name in bottoms] + [f'top: "{name}"' for name in tops]
        self.lines.append(" ".join(["layer {", f'name: "layer{len(self.lines)}"', kind, *wires, settings, "}"]))

    def added(self, kind: str, bottoms: Sequence[str], shape: Shape, settings: str = "") -> str:
        """A layer with one top of this shape; the top's name."""
        top = f"blob{len(self.lines)}"
        self.layer(kind, bottoms, [top], settings)
        self.shapes[top] = shape
        return top

    def node(self, operator: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """Caffe's layers for an ONNX operator; the last top's name."""
        given = inputs[0]
        if operator == "Relu" and given in self.rectified:
            return given
        if operator in IN_PLACE:
            top = self.mapped(IN_PLACE[operator], given, shape)
            self.rectified |= {top} if operator == "Relu" else set()
            return top
        if operator in PLAIN:
            data = inputs if operator in ("Concat", "Add") else [given]
            return self.added(PLAIN[operator], data, shape)
        write = _WRITERS[operator]
        return write(self, inputs, shape, attributes)

    def mapped(self, kind: str, given: str, shape: Shape, settings: str = "") -> str:
        """A layer that works element by element, in place where it may; its top's name."""
        if not self.in_place or given in self.read:
            return self.added(kind, [given], shape, settings)
        self.layer(kind, [given], [given], settings)
        return given

    def scaled(self, given: str, shape: Shape) -> str:
        """A Scale with a bias."""
        return self.mapped('type: "Scale"', given, shape, "scale_param { bias_term: true }")


def _convolution(graph: CaffeGraph, inputs: Sequence[str], shape: Shape, attributes: Mapping[str, Any]) -> str:
    (kernel_h, kernel_w), (pad_h, pad_w, *_) = attributes["kernel_shape"], attributes["pads"]
    stride, dilation = attributes["strides"][0], attributes.get("dilations", [1])[0]
    settings = f"num_output: {shape[1]} kernel_h: {kernel_h} kernel_w: {kernel_w} pad_h: {pad_h} pad_w: {pad_w}"
    settings += f" stride: {stride} group: {attributes.get('group', 1)}"
    settings += f" dilation: {dilation}" if dilation > 1 else ""
    settings += "" if len(inputs) > 2 and not graph.normalised else " bias_term: false"
    top = graph.added('type: "Convolution"', inputs[:1], shape, f"convolution_param {{ {settings} }}")
    if graph.normalised:
        top = graph.scaled(graph.mapped('type: "BatchNorm"', top, shape), shape)
    return top


def _transposed(graph: CaffeGraph, inputs: Sequence[str], shape: Shape, attributes: Mapping[str, Any]) -> str:
    settings = f"num_output: {shape[1]} kernel_size: {attributes['kernel_shape'][0]} stride: 2"
    settings += f" pad: {attributes['pads'][0]} group: {attributes.get('group', 1)}"
    return graph.added('type: "Deconvolution"', inputs[:1], shape, f"convolution_param {{ {settings} }}")


def _product(graph: CaffeGraph, inputs: Sequence[str], shape: Shape, _: Mapping[str, Any]) -> str:
    return graph.added('type: "InnerProduct"', inputs[:1], shape, f"inner_product_param {{ num_output: {shape[1]} }}")


def _normalisation(graph: CaffeGraph, inputs: Sequence[str], shape: Shape, _: Mapping[str, Any]) -> str:
    """A blob of its own, as others may still read what was given."""
    return graph.scaled(graph.added('type: "BatchNorm"', inputs[:1], shape), shape)


def _multiplication(graph: CaffeGraph, inputs: Sequence[str], shape: Shape, _: Mapping[str, Any]) -> str:
    """Of two blobs of one shape, or of each channel with its factor."""
    values, factors = inputs
    if graph.shapes[factors] == shape:
        return graph.added('type: "Eltwise"', inputs, shape, "eltwise_param { operation: PROD }")
    flat = graph.added('type: "Flatten"', [factors], shape[:2])
    return graph.added('type: "Scale"', [values, flat], shape, "scale_param { axis: 0 }")


def _pooling(method: str) -> Callable[[CaffeGraph, Sequence[str], Shape, Mapping[str, Any]], str]:
    def write(graph: CaffeGraph, inputs: Sequence[str], _: Shape, attributes: Mapping[str, Any]) -> str:
        kernel, stride, pad = attributes["kernel_shape"][0], attributes["strides"][0], attributes["pads"][0]
        batch, channels, *image = graph.shapes[inputs[0]]
        shape = (batch, channels, *(pooled(size, kernel, stride, pad) for size in image))
        settings = f"pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad}"
        return graph.added('type: "Pooling"', inputs[:1], shape, f"pooling_param {{ {settings} }}")

    return write


_WRITERS = {
    **{"Conv": _convolution, "ConvTranspose": _transposed, "Gemm": _product, "BatchNormalization": _normalisation},
    "Mul": _multiplication,
    **{"MaxPool": _pooling("MAX"), "AveragePool": _pooling("AVE")},
}


def pooled(size: int, kernel: int, stride: int, pad: int) -> int:
    """Caffe's pooling rounds up, but its last window must begin inside the image (pooling_layer.cpp)."""
    out = -(-(size + 2 * pad - kernel) // stride) + 1
    return out - (pad > 0 and (out - 1) * stride >= size + pad)


def _dims(shape: Shape) -> str:
    return " ".join(f"dim: {size}" for size in shape)
