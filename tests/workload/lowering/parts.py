"""Parts of networks that ONNX Runtime fuses, moves or runs in a way of its own, each behind a convolution."""

from collections.abc import Callable

import numpy as np

from tests.workload.lowering.graphs import Builder

Part = Callable[[Builder, str], str]
"""What is put behind a convolution of 32 channels: the builder, the convolution's output → what it makes."""


def _product(kind: str, *shape: int) -> Part:
    return lambda b, x: b.op(kind, x, b.weight(*shape))


def _pool(b: Builder, x: str) -> str:
    return b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def _gelu(b: Builder, x: str) -> str:
    erf = b.op("Erf", b.op("Div", x, b.constant(1.4142135)))
    return b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))


def _gelu_and_half(b: Builder, x: str) -> str:
    half, erf = b.op("Mul", x, b.constant(0.5)), b.op("Erf", b.op("Div", x, b.constant(1.4142135)))
    return b.op("Sub", b.op("Mul", half, b.op("Add", erf, b.constant(1.0))), half)


def _resized(b: Builder, x: str, scale: float = 2.0, **more: str) -> str:
    return b.op("Resize", x, "", b.constant([1, 1, scale, scale]), **more)


def _padded(b: Builder, x: str, kind: str, **more: str) -> str:
    pad = b.op("Pad", x, b.sizes(0, 0, 1, 1, 0, 0, 1, 1), **more)
    if kind == "Conv":
        return b.conv(pad, 32, 32, 3, pads=[0] * 4)
    return b.op(kind, pad, kernel_shape=[3, 3], strides=[2, 2])


def _transposed(b: Builder, x: str, between: Part) -> str:
    inner = between(b, b.op("Transpose", x, perm=[0, 2, 3, 1]))
    return b.conv(b.op("Transpose", inner, perm=[0, 3, 1, 2]), 32, 32)


def _normalised(b: Builder, x: str) -> str:
    """Layer normalisation of a transformer's tokens as older exporters write it."""
    return _layer_normalisation(b, b.op("Transpose", b.op("Reshape", x, b.sizes(1, 32, -1)), perm=[0, 2, 1]))


def _normalised_between_transposes(b: Builder, x: str) -> str:
    """ConvNeXt's of the channels, as older exporters write it."""
    return _transposed(b, x, _layer_normalisation)


def _layer_normalisation(b: Builder, x: str) -> str:
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.constant(2.0)), axes=[-1], keepdims=1)
    root = b.op("Sqrt", b.op("Add", variance, b.constant(1e-5)))
    return b.op("Add", b.op("Mul", b.op("Div", centred, root), b.weight(32)), b.weight(32))


def _joined(b: Builder, x: str) -> str:
    return b.op("Concat", x, b.op("Transpose", b.conv("x", 3, 32), perm=[0, 2, 3, 1]), axis=3)


def _equal_pads(b: Builder, x: str, *, computed: bool) -> str:
    """NASNet's: two branches pad the same tensor, by sizes that the file has or works out."""
    x, size = b.op("Relu", x), [0, 0, 1, 1, 0, 0, 1, 1]
    pads = [b.op("Cast", b.constant(size, np.int32), to=7) if computed else b.sizes(*size) for _ in range(2)]
    return b.op("Add", *(b.conv(b.op("Pad", x, one), 32, 32, 3, pads=[0] * 4) for one in pads))


def _residual_of_channels_last(b: Builder, x: str) -> str:
    """ConvNeXt's: scaled and added with channels first, which the end of the stage puts last."""
    x = b.op("Transpose", _perceptron(b, x), perm=[0, 2, 3, 1])
    x = b.op("Transpose", b.op("LayerNormalization", x, b.weight(32), b.weight(32)), perm=[0, 3, 1, 2])
    scaled = b.op("Mul", b.weight(32, 1, 1), _perceptron(b, b.conv(x, 32, 32, 3)))
    return b.op("Transpose", b.op("Add", scaled, x), perm=[0, 2, 3, 1])


def _mean(b: Builder, x: str) -> str:
    return b.op("ReduceMean", b.op("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)


def _attention(b: Builder, x: str) -> str:
    """One of two heads, queries, keys and values of one product, as timm's ViTs have it."""
    tokens = b.op("Transpose", b.op("Reshape", _pool(b, x), b.sizes(1, 32, -1)), perm=[0, 2, 1])
    triple = b.op("Add", b.op("MatMul", tokens, b.weight(32, 96)), b.weight(96))
    triple = b.op("Transpose", b.op("Reshape", triple, b.sizes(1, 256, 3, 2, 16)), perm=[2, 0, 3, 1, 4])
    query, key, value = (b.op("Gather", triple, b.constant(index, np.int64), axis=0) for index in range(3))
    product = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 1, 3, 2]))
    weights = b.op("Softmax", b.op("Mul", product, b.constant(0.25)), axis=-1)
    heads = b.op("Transpose", b.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    return b.op("Add", b.op("MatMul", b.op("Reshape", heads, b.sizes(1, 256, 32)), b.weight(32, 32)), b.weight(32))


def _perceptron(b: Builder, x: str) -> str:
    """ConvNeXt's: channels last, two products with a GELU between them."""
    x = b.op("LayerNormalization", b.op("Transpose", x, perm=[0, 2, 3, 1]), b.weight(32), b.weight(32))
    wide = _gelu(b, b.op("Add", b.op("MatMul", x, b.weight(32, 64)), b.weight(64)))
    return b.op("Transpose", b.op("Add", b.op("MatMul", wide, b.weight(64, 32)), b.weight(32)), perm=[0, 3, 1, 2])


def _slice(b: Builder, x: str, start: int, end: int, axis: int = 1) -> str:
    return b.op("Slice", x, b.sizes(start), b.sizes(end), b.sizes(axis), b.sizes(1))


def _chunks(*ranges: tuple[int, int]) -> Part:
    """PyTorch's `chunk` and `split`, which its exporter writes as Slices, and another reader."""

    def part(b: Builder, x: str) -> str:
        x = b.op("Relu", x)
        return b.op("Concat", b.op("Tanh", x), *(b.op("Relu", _slice(b, x, *one)) for one in ranges[::-1]), axis=1)

    return part


def _gathered(b: Builder, x: str, *, alone: bool = True) -> str:
    """Each index of an axis by itself."""
    x = b.op("Reshape", x, b.sizes(2, 16, -1))
    rows = [b.op("Abs", b.op("Gather", x, b.constant(index, np.int64), axis=0)) for index in range(2)]
    return b.op("Concat", *rows, *([] if alone else [b.op("Reshape", x, b.sizes(32, -1))]), axis=0)


def _sliced_attention(b: Builder, x: str) -> str:
    """Queries and values read as they lie, keys transposed: each Slice decides by itself on which side it is."""
    x = b.op("Transpose", b.op("Reshape", _pool(b, x), b.sizes(1, 2, 16, -1)), perm=[0, 1, 3, 2])
    query, key, value = (_slice(b, x, start, end, 3) for start, end in ((0, 4), (4, 8), (8, 16)))
    product = b.op("MatMul", b.op("Transpose", b.op("Relu", key), perm=[0, 1, 3, 2]), value)
    return b.op("MatMul", b.op("Relu", query), product)


def _reshaped_twice(b: Builder, x: str, **more: int) -> str:
    x = b.op("Reshape", b.op("Tanh", x), b.sizes(1, 32, -1))
    return b.op("Abs", b.op("Reshape", x, b.sizes(1, 4, 8, -1), **more))


def _sum_from_zero(b: Builder, x: str) -> str:
    """Python's `sum` of branches begins with 0."""
    return b.op("Add", b.op("Add", b.op("Relu", x), b.constant(0.0)), b.conv("x", 3, 32, 3))


def _head(b: Builder, x: str, *activation: str) -> str:
    given = b.op("Flatten", b.op("GlobalAveragePool", x))
    name = b.op("Gemm", given, b.weight(10, 32), b.weight(10), transB=1)
    return b.op(activation[0], name) if activation else name


def _by_value(kind: str) -> Part:
    return lambda b, x: b.op(kind, x, b.constant(2.0))


def _behind_pad(kind: str) -> Part:
    return lambda b, x: _padded(b, x, kind)


def _linear(mode: str) -> Part:
    return lambda b, x: _resized(b, x, mode="linear", coordinate_transformation_mode=mode)


def _nearest(scale: float) -> Part:
    more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return lambda b, x: _resized(b, x, scale, **more)


def _head_with(kind: str) -> Part:
    return lambda b, x: _head(b, x, kind)


def _gelu_of_a_product(b: Builder, x: str) -> str:
    """FastViT's last, behind squeeze-and-excite."""
    return _gelu(b, b.op("Mul", x, b.op("Sigmoid", b.op("GlobalAveragePool", x))))


def _sum_of_convolutions(b: Builder, x: str, *, turned: bool) -> str:
    """A residual with a convolution of its own, as ResNets begin a stage: the one listed first takes the other."""
    pair = [b.conv(x, 32, 32), b.conv(b.op("Tanh", x), 32, 32, 3)]
    return b.op("Relu", b.op("Add", *(pair[::-1] if turned else pair)))


def _chunks_of_a_chunk(b: Builder, x: str) -> str:
    """FocalNet's gates: what several outputs are made with is not split again."""
    first, rest = b.several("Split", 2, b.op("Relu", x), b.sizes(16, 16), axis=1)
    return b.op("Concat", b.op("Tanh", _slice(b, rest, 8, 16)), _slice(b, rest, 0, 8), first, axis=1)


def _reshaped_and(kind: str, *shape: int) -> Part:
    def part(b: Builder, x: str) -> str:
        x = b.op("Reshape", b.op("Tanh", x), b.sizes(*shape))
        return b.op("Abs", b.op("Reshape", b.op(kind, x, b.sizes(0)), b.sizes(4, 8, -1)))

    return part


def _scaled_once(b: Builder, x: str) -> str:
    """Global context attention's: one factor of the queries for two products."""
    heads = b.op("Mul", b.op("Reshape", _pool(b, x), b.sizes(1, 4, 8, 256)), b.constant(0.25))
    left = b.op("MatMul", heads, b.op("Transpose", b.op("Relu", heads), perm=[0, 1, 3, 2]))
    return b.op("Add", left, b.op("MatMul", heads, b.weight(256, 8)))


def _batches_behind_rows(order: list[int], keys: list[int]) -> Part:
    """PyTorch's multi-head attention: tokens, images, heads, values."""

    def part(b: Builder, x: str) -> str:
        query, key = (b.op(kind, b.op("Reshape", x, b.sizes(16, 8, 2, 128))) for kind in ("Tanh", "Abs"))
        query = b.op("Mul", b.op("Transpose", query, perm=order), b.constant(0.5))
        return b.op("Softmax", b.op("MatMul", query, b.op("Transpose", key, perm=keys)))

    return part


PARTS: dict[str, Part] = {
    "a factor of two products": _scaled_once,
    "images behind rows": _batches_behind_rows([1, 2, 0, 3], [1, 2, 3, 0]),
    "images behind rows, turned": _batches_behind_rows([1, 2, 3, 0], [1, 2, 0, 3]),
    "a product by matrices": lambda b, x: b.op("MatMul", b.op("Reshape", x, b.sizes(4, 8, 1024)), b.weight(4, 1024, 3)),
    "a product by a vector": lambda b, x: b.op("MatMul", x, b.weight(32)),
    "GELU of a product": _gelu_of_a_product,
    "a sum of convolutions": lambda b, x: _sum_of_convolutions(b, x, turned=False),
    "a sum of convolutions, the later first": lambda b, x: _sum_of_convolutions(b, x, turned=True),
    "chunks of a chunk": _chunks_of_a_chunk,
    "Reshape, Squeeze and Reshape": _reshaped_and("Squeeze", 1, 32, -1),
    "Reshape, Unsqueeze and Reshape": _reshaped_and("Unsqueeze", 32, -1),
    "Reshape and Unsqueeze": lambda b, x: b.op(
        "Abs", b.op("Unsqueeze", b.op("Reshape", b.op("Tanh", x), b.sizes(1, 32, -1)), b.sizes(1))
    ),
    "Pad that leaves its value out": lambda b, x: b.conv(
        b.op("Pad", x, b.sizes(0, 0, 1, 1, 0, 0, 1, 1), ""), 32, 32, 3, pads=[0] * 4
    ),
    **{f"{kind} by one value": _by_value(kind) for kind in ("Mul", "Add")},
    **{f"{kind} a channel": _product(kind, 32, 1, 1) for kind in ("Mul", "Add", "Sub", "Div")},
    **{f"{kind} a channel of an image": _product(kind, 1, 32, 1, 1) for kind in ("Mul", "Add")},
    "an Add with the constant first": lambda b, x: b.op("Add", b.weight(32, 1, 1), x),
    "a Mul of blocks": lambda b, x: b.op("Mul", _pool(b, x), b.weight(32, 1, 1)),
    "a Mul by one value of blocks": lambda b, x: b.op("Mul", _pool(b, x), b.weight(1)),
    "a BatchNormalization of blocks": lambda b, x: b.op("Relu", b.batch_norm(_pool(b, x), 32)),
    "Dropout": lambda b, x: b.op("Relu", b.op("Dropout", x)),
    "Dropout at the end": lambda b, x: b.op("Dropout", x),
    "Relu and Clip": lambda b, x: b.op("Clip", b.op("Relu", x), b.constant(0.0), b.constant(6.0)),
    "GELU": _gelu,
    "SiLU": lambda b, x: b.op("Mul", b.op("Sigmoid", x), x),
    "HardSwish": lambda b, x: b.conv(b.op("HardSwish", x), 32, 32),
    "HardSwish at the end": lambda b, x: b.op("HardSwish", x),
    "HardSwish of blocks": lambda b, x: b.conv(b.op("HardSwish", _pool(b, x)), 32, 32),
    "x·HardSigmoid of another slope": lambda b, x: b.conv(b.op("Mul", x, b.op("HardSigmoid", x)), 32, 32),
    "PReLU": lambda b, x: b.op("PRelu", x, b.weight(32, 1, 1)),
    **{f"Pad and {kind}": _behind_pad(kind) for kind in ("Conv", "MaxPool", "AveragePool")},
    "Pad that mirrors": lambda b, x: _padded(b, x, "Conv", mode="reflect"),
    "nearest Resize": _nearest(2.0),
    "nearest Resize, half pixels": lambda b, x: _resized(b, x, nearest_mode="floor"),
    "Resize by 1.5": _nearest(1.5),
    **{
        f"linear Resize, {mode}": _linear(mode)
        for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    },
    "cubic Resize": lambda b, x: _resized(b, x, mode="cubic"),
    "ConvTranspose": lambda b, x: b.batch_norm(b.op("ConvTranspose", x, b.weight(32, 16, 2, 2), strides=[2, 2]), 16),
    "Transposes that cancel": lambda b, x: _transposed(b, x, lambda b, x: b.op("Relu", x)),
    "Transposes around a Mul": lambda b, x: _transposed(b, x, _product("Mul", 32)),
    "Transposes around a Pad": lambda b, x: _transposed(
        b, x, lambda b, x: b.op("Pad", x, b.sizes(0, 1, 1, 0, 0, 1, 1, 0))
    ),
    "Transposes around a Softmax": lambda b, x: _transposed(b, x, lambda b, x: b.op("Softmax", x, axis=3)),
    "Transposes before a Concat": lambda b, x: b.op(
        "Transpose", _joined(b, b.op("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]
    ),
    "chunks": _chunks((0, 16), (16, 99)),
    "chunks of which one is left out": _chunks((0, 16), (24, 32)),
    "chunks that overlap": _chunks((0, 20), (12, 32)),
    "chunks from the end": _chunks((0, -8), (-8, 32)),
    "every index": _gathered,
    "every index, and the whole": lambda b, x: _gathered(b, x, alone=False),
    "Reshapes in a row": _reshaped_twice,
    "Reshapes in a row, one of which allows zeros": lambda b, x: _reshaped_twice(b, x, allowzero=1),
    "Reshapes in a row, the first of which allows zeros": lambda b, x: b.op(
        "Abs", b.op("Reshape", b.op("Reshape", b.op("Tanh", x), b.sizes(1, 32, -1), allowzero=1), b.sizes(1, 4, 8, -1))
    ),
    "equal Pads": lambda b, x: _equal_pads(b, x, computed=False),
    "equal Pads of computed sizes": lambda b, x: _equal_pads(b, x, computed=True),
    "GELU whose half is read": _gelu_and_half,
    "a sum from zero": _sum_from_zero,
    "a Mul by one": lambda b, x: b.op("Relu", b.op("Mul", b.constant([1.0]), b.op("Tanh", x))),
    "a Sub from zero": lambda b, x: b.op("Sub", b.constant(0.0), x),
    "a Sub from zero, and more": lambda b, x: b.op("Abs", b.op("Sub", b.constant(0.0), b.op("Tanh", x))),
    "a Div of one": lambda b, x: b.op("Abs", b.op("Div", b.constant(1.0), b.op("Tanh", x))),
    "Pad that cuts off": lambda b, x: b.conv(
        b.op("Pad", x, b.sizes(0, 0, -1, 1, 0, 0, -1, 1)), 32, 32, 3, pads=[0] * 4
    ),
    "Pad of channels": lambda b, x: b.conv(b.op("Pad", x, b.sizes(0, 8, 1, 1, 0, 8, 1, 1)), 48, 32, 3, pads=[0] * 4),
    "attention of slices": _sliced_attention,
    "a residual of channels last": _residual_of_channels_last,
    "a mean of channels last": _mean,
    "attention": _attention,
    "channels last at the end": lambda b, x: b.op("Softmax", b.op("Transpose", x, perm=[0, 2, 3, 1]), axis=-1),
    "layer normalisation": _normalised,
    "layer normalisation between Transposes": _normalised_between_transposes,
    "a perceptron": _perceptron,
    "a head": _head,
    **{f"a head with {kind}": _head_with(kind) for kind in ("Relu", "LeakyRelu", "Elu", "Softmax")},
    "equal branches": lambda b, x: b.op("Concat", b.op("Relu", _pool(b, x)), b.op("Relu", _pool(b, x)), axis=1),
    "a sum of three": lambda b, x: b.op("Sum", x, b.conv("x", 3, 32), b.conv("x", 3, 32)),
    "itself": lambda b, x: b.op("Add", x, x),
    "Softmax": lambda b, x: b.op("Softmax", x, axis=1),
    "ReduceMean": lambda b, x: b.op("ReduceMean", x, axes=[2, 3]),
    "SpaceToDepth": lambda b, x: b.op("SpaceToDepth", x, blocksize=2),
    "LRN": lambda b, x: _pool(b, b.op("LRN", b.op("Relu", x), size=5)),
}
