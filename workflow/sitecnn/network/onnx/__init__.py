"""ONNX files, checked and shaped by the onnx package: Caffe's layers where those do the same, else ONNX's own.

And the other way: any network as an ONNX file, and as the nodes that an ONNX engine is given.
"""

from sitecnn.network.onnx.nodes import INPUT, nodes
from sitecnn.network.onnx.reader import parse_onnx
from sitecnn.network.onnx.writer import EXTERNAL_FILE, external_bytes, operator_sets, to_onnx, weight_shapes

__all__ = [
    "EXTERNAL_FILE",
    "INPUT",
    "external_bytes",
    "nodes",
    "operator_sets",
    "parse_onnx",
    "to_onnx",
    "weight_shapes",
]
