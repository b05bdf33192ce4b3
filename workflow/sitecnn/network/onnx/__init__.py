"""ONNX files, checked and shaped by the onnx package: Caffe's layers where those do the same, else ONNX's own."""

from sitecnn.network.onnx.nodes import nodes
from sitecnn.network.onnx.reader import parse_onnx

__all__ = ["nodes", "parse_onnx"]
