"""Sizes that a file works out of its input's are known before any data is; what would be huge is not worked out."""

import numpy
import onnxruntime
import pytest
from onnx import TensorProto

from sitecnn.network import load_network

from .models import Builder


def _resized(b: Builder, scaled: str) -> bytes:
    """The image at sizes of which the last two are `scaled`."""
    sizes = b("Concat", b.constant([1, 3], numpy.int64), b("Cast", scaled, to=TensorProto.INT64), axis=0)
    resized = b("Resize", "image", "", "", sizes)
    return b.model(b.conv(resized, 3, 4, 1)).SerializeToString()


def _of_image(b: Builder) -> str:
    """Its height and width as floats."""
    sizes = b("Slice", b("Shape", "image"), b.constant([2], numpy.int64), b.constant([4], numpy.int64))
    return b("Cast", sizes, to=TensorProto.FLOAT)


def by_reciprocal(b: Builder) -> str:
    """torchvision's detectors: the shorter side to a fixed length."""
    sizes = _of_image(b)
    factor = b("Mul", b("Reciprocal", b("ReduceMin", sizes, keepdims=1)), b.constant([20.0], numpy.float32))
    return b("Floor", b("Mul", sizes, factor))


def by_one_hot(b: Builder) -> str:
    """PyTorch's repeat_interleave: one axis twice as long."""
    values = b.constant([1.0, 2.0], numpy.float32)
    hot = b("OneHot", b.constant([1], numpy.int64), b.constant(2, numpy.int64), values)
    return b(
        "Mul", _of_image(b), b("Tile", b("Reshape", hot, b.constant([2], numpy.int64)), b.constant([1], numpy.int64))
    )


@pytest.mark.parametrize(("scaled", "shape"), [(by_reciprocal, (1, 4, 20, 30)), (by_one_hot, (1, 4, 16, 48))])
def test_sizes_that_exporters_work_out_of_the_images_are_known(scaled, shape):
    """As onnxruntime runs it."""
    b = Builder(17, [1, 3, 16, 24])
    data = _resized(b, scaled(b))
    network = load_network(data)
    (made,) = onnxruntime.InferenceSession(data).run(None, {"image": numpy.zeros((1, 3, 16, 24), numpy.float32)})
    assert network.layers[-1].outputs == (shape,) == (made.shape,) and not network.doubts


@pytest.mark.parametrize("kind", ["Tile", "OneHot", "Range"])
def test_constants_that_would_be_huge_are_not_worked_out(kind):
    b = Builder(17, [1, 3, 16, 24])
    many = 10**12
    inputs = {
        "Tile": lambda: [b.constant([1.0], numpy.float32), b.constant([many], numpy.int64)],
        "OneHot": lambda: [b.constant([1], numpy.int64), b.constant(many, numpy.int64), b.weight(2)],
        "Range": lambda: [b.constant(0, numpy.int64), b.constant(many, numpy.int64), b.constant(1, numpy.int64)],
    }
    huge = b(kind, *inputs[kind]())
    size = b("Cast", b("Slice", b("Shape", huge), b.constant([0], numpy.int64), b.constant([1], numpy.int64)), to=1)
    assert load_network(b.model(b("Add", "image", size)).SerializeToString()).layers[-1].outputs == ((1, 3, 16, 24),)
