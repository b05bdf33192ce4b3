"""File → Network: a CNN's configuration, read exactly as Caffe would, with the shapes Caffe would infer."""

from sitecnn.network.caffe.reader import parse_prototxt
from sitecnn.network.caffe.writer import write_prototxt
from sitecnn.network.graph import Layer, Network, Parameter, Shape
from sitecnn.network.load import load_network

__all__ = ["Layer", "Network", "Parameter", "Shape", "load_network", "parse_prototxt", "write_prototxt"]
