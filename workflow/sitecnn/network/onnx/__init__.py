"""ONNX files, checked and shaped by the onnx package, as the layers of Caffe that would do the same work."""

from sitecnn.network.onnx.reader import parse_onnx

__all__ = ["parse_onnx"]
