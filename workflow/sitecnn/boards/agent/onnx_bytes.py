# -*- coding: utf-8 -*-
"""Small ONNX models written by hand, in protobuf's wire format: boards have no `onnx` (onnx.proto has the numbers)."""

from __future__ import absolute_import, division, print_function

import struct

FLOAT = 1
INTEGER, INTEGERS = 2, 7


def _varint(value):
    text = bytearray()
    while value > 127:
        text.append(value & 127 | 128)
        value >>= 7
    text.append(value)
    return bytes(text)


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _block(field, content):
    content = content if isinstance(content, bytes) else content.encode("utf-8")
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def node(op, inputs, outputs, **attributes):
    """A NodeProto; attributes are whole numbers or lists of them."""
    text = b"".join(_block(1, name) for name in inputs) + b"".join(_block(2, name) for name in outputs)
    text += _block(3, outputs[0]) + _block(4, op)
    for name, value in sorted(attributes.items()):
        if isinstance(value, list):
            content = b"".join(_number(8, entry) for entry in value) + _number(20, INTEGERS)
        else:
            content = _number(3, value) + _number(20, INTEGER)
        text += _block(5, _block(1, name) + content)
    return text


def _value(name, shape):
    dims = b"".join(_block(1, _number(1, size)) for size in shape)
    return _block(1, name) + _block(2, _block(1, _number(1, FLOAT) + _block(2, dims)))


def _weights(name, shape):
    count = 1
    for size in shape:
        count *= size
    raw = struct.pack("<%df" % count, *[0.01 * (number % 7 - 3) for number in range(count)])
    return b"".join(_number(1, size) for size in shape) + _number(2, FLOAT) + _block(8, name) + _block(9, raw)


def model(nodes, inputs, outputs, weights):
    """A ModelProto's bytes (opset 13, IR 7: ONNX Runtime 1.5 and newer); the others are {name: shape}."""
    graph = b"".join(_block(1, content) for content in nodes) + _block(2, "g")
    graph += b"".join(_block(5, _weights(*named)) for named in sorted(weights.items()))
    graph += b"".join(_block(11, _value(*named)) for named in sorted(inputs.items()))
    graph += b"".join(_block(12, _value(*named)) for named in sorted(outputs.items()))
    return _number(1, 7) + _block(7, graph) + _block(8, _block(1, "") + _number(2, 13))


def two_convolutions():
    """A plain convolution, and one of 2 groups of 8 channels: blocks of 16 take in the first only, blocks of 8 both."""
    nodes = [node("Conv", ["x", "w"], ["plain"], pads=[1] * 4)]
    nodes.append(node("Conv", ["x", "v"], ["grouped"], pads=[1] * 4, group=2))
    shape = [1, 16, 8, 8]
    return model(nodes, {"x": shape}, {"plain": shape, "grouped": shape}, {"w": [16, 16, 3, 3], "v": [16, 8, 3, 3]})


def chain(count):
    """Abs and Neg in turn: nodes that do next to nothing."""
    names = ["x"] + ["t%d" % number for number in range(1, count)] + ["y"]
    nodes = [node(("Abs", "Neg")[index % 2], [names[index]], [names[index + 1]]) for index in range(count)]
    return model(nodes, {"x": [1, 64]}, {"y": [1, 64]}, {})
