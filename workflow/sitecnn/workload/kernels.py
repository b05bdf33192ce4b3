"""A network's kernels: the device work of its layers, after Caffe's own forward code."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TypeVar

from sitecnn.network.caffe.layers.convolution import DEPTHWISE_TYPES
from sitecnn.network.graph import Layer, Shape
from sitecnn.network.settings import (
    LRN,
    Convolution,
    Correlation,
    InnerProduct,
    Lstm,
    OnnxOperator,
    Pooling,
    Power,
    Recurrent,
    Scale,
    Settings,
)
from sitecnn.workload.onnx_products import products

SettingsType = TypeVar("SettingsType", bound=Settings)

FLOAT_BYTES = 4

MOST_LAYERS = 1 << 16
"""Layers whose kernels are remembered: a network is asked about again and again, and its relatives share layers."""

SIZE_NAMES = (
    *("m", "n", "k", "trans_a", "trans_b", "accumulate"),
    *("images", "channels", "height", "width", "out_channels", "out_height", "out_width"),
    *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"),
    *("group", "bias", "window", "inputs", "outputs", "in_elements", "out_elements", "parameters"),
    *("activation", "pass_bytes", "in_place"),
)
"""Every size a kernel can have, in the order of the dataset's columns; all are integers.

`activation` is the class of the one that a kernel takes in: 0 none or free, 1 a minimum and a
maximum, 2 a product more, 3 an exponential.
`pass_bytes` is what passes through the caches until the kernel's weights are read again, missing of those timed alone.
`in_place` is 1 where a layer of Caffe writes into the blob that it reads, and missing elsewhere.
"""


@dataclass(frozen=True)
class Kernel:
    """One piece of device work: its `kind`, a `variant` of it (`MAX`, `SUM`, …) and its sizes.

    Two layers with equal kernels take equal time on a board, so a kernel is measured once. `sizes` are
    (name, value) pairs with names of `SIZE_NAMES`, in that order.
    """

    kind: str
    sizes: tuple[tuple[str, int], ...]
    variant: str = ""

    def __getitem__(self, name: str) -> int:
        """The size called `name`; KeyError if this kind has none."""
        return dict(self.sizes)[name]

    def as_dict(self) -> dict[str, int | str]:
        """Flat and JSON-ready, as plans, records and tables hold it."""
        return {"kind": self.kind, "variant": self.variant, **dict(self.sizes)}


@dataclass(frozen=True)
class KernelCount:
    """A kernel and how many times one forward pass of its layer runs it (groups, images of a batch)."""

    kernel: Kernel
    count: int


def kernel(kind: str, sizes: Mapping[str, int], variant: str = "") -> Kernel:
    """A kernel from its sizes in any order."""
    return Kernel(kind, tuple((name, int(sizes[name])) for name in SIZE_NAMES if name in sizes), variant)


def pass_bytes(parameters: float, written: float) -> int:
    """Bytes that go through the caches in a pass, of the numbers of all weights and of all elements that are written.

    These are all weights, and half of what is written: the rest is written in place, or where something lay shortly
    before. Below what the last cache holds, weights come from there in the next pass, otherwise from memory.
    """
    return FLOAT_BYTES * int(parameters + written // 2)


def gemm(m: int, n: int, k: int, *, trans_a: bool = False, trans_b: bool = False, accumulate: bool = False) -> Kernel:
    """C(m×n) = A(m×k)·B(k×n), plus C if `accumulate`: `caffe_cpu_gemm`, math_functions.cpp."""
    flags = {"trans_a": trans_a, "trans_b": trans_b, "accumulate": accumulate}
    return kernel("gemm", {"m": m, "n": n, "k": k, **flags})


def is_bias(piece: Kernel) -> bool:
    """Whether a kernel is Caffe's bias addition: a rank-1 gemm onto the output."""
    return piece.kind == "gemm" and piece["k"] == 1 and piece["accumulate"] == 1


@lru_cache(maxsize=MOST_LAYERS)
def layer_kernel(layer: Layer) -> Kernel:
    """The whole forward call of a layer as one kernel: what a one-layer net times."""
    given = layer.inputs[0] if layer.inputs else ()
    sizes = _shape_sizes(given)
    if layer.outputs:
        _, out_channels, out_height, out_width = _shape_sizes(layer.outputs[0]).values()
        sizes |= {"out_channels": out_channels, "out_height": out_height, "out_width": out_width}
    sizes |= {
        "inputs": len(layer.inputs),
        "outputs": len(layer.outputs),
        "in_elements": sum(map(prod, layer.inputs)),
        "out_elements": sum(map(prod, layer.outputs)),
        "parameters": sum(parameter.count for parameter in layer.parameters),
    }
    sizes |= {"in_place": 1} if layer.bottoms == layer.tops and not isinstance(layer.settings, OnnxOperator) else {}
    return kernel(kind_of(layer), sizes | _setting_sizes(layer), variant_of(layer))


def kernels(layer: Layer) -> tuple[KernelCount, ...]:
    """The kernels one forward pass of a layer runs, with counts; none for layers that only pass data on."""
    if is_free(layer):
        return ()
    expand = None if isinstance(layer.settings, OnnxOperator) or not layer.counted else EXPANSIONS.get(layer.type)
    return expand(layer) if expand else (KernelCount(layer_kernel(layer), 1),)


def gemms(layer: Layer) -> tuple[KernelCount, ...]:
    """The layer's matrix multiplications, bias additions left out: Σ m·n·k·count is its MACs."""
    if isinstance(layer.settings, OnnxOperator):
        return tuple(KernelCount(gemm(m, n, k), count) for m, n, k, count in products(layer))
    if layer.type not in EXPANSIONS or not layer.counted:
        return ()
    return tuple(use for use in kernels(layer) if use.kernel.kind == "gemm" and not is_bias(use.kernel))


def multiply_accumulates(uses: Iterable[KernelCount]) -> int:
    """Σ m·n·k·count of gemms."""
    return sum(use.kernel["m"] * use.kernel["n"] * use.kernel["k"] * use.count for use in uses)


@lru_cache(maxsize=MOST_LAYERS)
def macs(layer: Layer) -> int:
    """Multiply-accumulates of a layer's matrix multiplications."""
    return multiply_accumulates(gemms(layer))


def unique_kernels(layers: Iterable[Layer]) -> dict[Kernel, Layer]:
    """Every kernel of the layers once, sub-kernels and whole layers, each with the first layer that runs it."""
    first_layers: dict[Kernel, Layer] = {}
    for layer in layers:
        if layer.modelled and not is_free(layer):
            for piece in (layer_kernel(layer), *(use.kernel for use in kernels(layer))):
                first_layers.setdefault(piece, layer)
    return first_layers


def kind_of(layer: Layer) -> str:
    """The kind of a layer's kernel: its type in snake case, but average pooling, which no data decides, is its own.

    So is a Power that calls the C library's pow: without a power it only scales and shifts (power_layer.cpp).
    Operators of ONNX that Caffe has no layer for are kinds of their own: the same name may mean another thing.
    """
    if isinstance(layer.settings, OnnxOperator):
        return f"onnx_{_snake_case(layer.type)}"
    kind = _snake_case(layer.type)
    if isinstance(layer.settings, Power) and layer.settings.power not in (0, 1):
        return "pow"
    return f"average_{kind}" if isinstance(layer.settings, Pooling) and layer.settings.method == "AVE" else kind


KINDS_ON_ZEROS = {"lrn": "lrn_of_zeros"}
"""Kinds that are others on zeros: powers of 1, which is what LRN then takes, are a short cut of many C libraries."""

KINDS_ON_VALUES = {of_zeros: kind for kind, of_zeros in KINDS_ON_ZEROS.items()}
"""What those kinds are on other values."""


def kind_on(layer: Layer, *, zeros: bool) -> str:
    """The kind of a layer's kernel on values that are all zero, or not."""
    kind = kind_of(layer)
    return KINDS_ON_ZEROS.get(kind, kind) if zeros else kind


def _snake_case(layer_type: str) -> str:
    """InnerProduct → inner_product, ReLU → relu, LRN → lrn."""
    if layer_type.isupper() or layer_type in ("ReLU", "PReLU", "ReLU6", "TanH"):
        return layer_type.lower()
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in layer_type).lstrip("_")


def variant_of(layer: Layer) -> str:
    """What else tells kernels of a kind apart: pooling's method, LRN's region, Eltwise's operation."""
    settings = layer.settings
    for name in ("method", "region", "operation"):
        if hasattr(settings, name):
            return str(getattr(settings, name))
    return ""


def _shape_sizes(shape: Shape) -> dict[str, int]:
    """Images, channels, height, width of a blob; missing axes are 1, axes past the fourth join the width."""
    padded = (*shape, 1, 1, 1, 1)
    return {
        "images": padded[0],
        "channels": padded[1],
        "height": padded[2],
        "width": prod(shape[3:]) if len(shape) > 3 else 1,
    }


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    """(h, w) of settings given per spatial axis; 1-D convolutions get a width of 1."""
    return (values[0], values[1]) if len(values) > 1 else (values[0], 1)


def _window_sizes(**pairs: tuple[int, ...]) -> dict[str, int]:
    return {
        f"{name}_{axis}": size for name, pair in pairs.items() for axis, size in zip("hw", _pair(pair), strict=True)
    }


def _setting_sizes(layer: Layer) -> dict[str, int]:
    match layer.settings:
        case Convolution() as conv:
            windows = _window_sizes(kernel=conv.kernel, stride=conv.stride, pad=conv.pad, dilation=conv.dilation)
            return {**windows, "group": conv.group, "bias": conv.bias}
        case Pooling() as pool:
            windows = _window_sizes(kernel=pool.kernel, stride=pool.stride, pad=pool.pad)
            return {**windows, "window": prod(pool.kernel)}
        case LRN() as lrn:
            return {"window": lrn.local_size}
        case Scale() as scale:
            return {"bias": scale.bias}
        case InnerProduct() as product:
            rows = prod(layer.inputs[0][: product.axis])
            # Rows stand only where they are not the images, so that what was measured before keeps its identity.
            return {"bias": product.bias} | ({} if rows == layer.inputs[0][0] else {"m": rows})
    return {}


def is_pointwise(conv: Convolution) -> bool:
    """1×1, stride 1, unpadded: Caffe's `is_1x1_` multiplies the input itself, without im2col."""
    return all(k == s == 1 and p == 0 for k, s, p in zip(conv.kernel, conv.stride, conv.pad, strict=True))


def im2col(channels: int, image: Shape, out: Shape, conv: Convolution) -> Kernel:
    """`im2col_cpu` of one image: reads channels·h·w values, writes channels·kh·kw·out_h·out_w."""
    (height, width), (out_height, out_width) = _pair(image), _pair(out)
    sizes = {"images": 1, "channels": channels, "height": height, "width": width}
    sizes |= {"out_height": out_height, "out_width": out_width}
    sizes |= _window_sizes(kernel=conv.kernel, stride=conv.stride, pad=conv.pad, dilation=conv.dilation)
    return kernel("im2col", sizes)


def _convolution(layer: Layer) -> tuple[KernelCount, ...]:
    """base_conv_layer.cpp: per image im2col of all groups, a gemm per group, the bias as a rank-1 gemm."""
    conv = _settings(layer, Convolution)
    out_spatial = prod(layer.outputs[0][2:])
    uses = []
    for given, out in zip(layer.inputs, layer.outputs, strict=True):
        batch, channels = given[:2]
        if not is_pointwise(conv):
            uses.append(KernelCount(im2col(channels, given[2:], out[2:], conv), batch))
        rows, depth = conv.num_output // conv.group, channels // conv.group * prod(conv.kernel)
        uses.append(KernelCount(gemm(rows, out_spatial, depth), batch * conv.group))
        if conv.bias:
            uses.append(KernelCount(gemm(conv.num_output, out_spatial, 1, accumulate=True), batch))
    return tuple(uses)


def _deconvolution(layer: Layer) -> tuple[KernelCount, ...]:
    """deconv_layer.cpp: per image and group weightsᵀ·input, then col2im (im2col backwards), then the bias."""
    conv = _settings(layer, Convolution)
    uses = []
    for given, out in zip(layer.inputs, layer.outputs, strict=True):
        batch, channels = given[:2]
        rows, depth = conv.num_output // conv.group * prod(conv.kernel), channels // conv.group
        uses.append(KernelCount(gemm(rows, prod(given[2:]), depth, trans_a=True), batch * conv.group))
        if not is_pointwise(conv):
            uses.append(KernelCount(im2col(conv.num_output, out[2:], given[2:], conv), batch))
        if conv.bias:
            uses.append(KernelCount(gemm(conv.num_output, prod(out[2:]), 1, accumulate=True), batch))
    return tuple(uses)


def _inner_product(layer: Layer) -> tuple[KernelCount, ...]:
    """inner_product_layer.cpp: one gemm (batch × outputs × inputs) with B transposed, then the bias."""
    product = _settings(layer, InnerProduct)
    rows = prod(layer.inputs[0][: product.axis])
    depth = prod(layer.inputs[0][product.axis :])
    uses = [KernelCount(gemm(rows, product.num_output, depth, trans_b=not product.transpose), 1)]
    if product.bias:
        uses.append(KernelCount(gemm(rows, product.num_output, 1, accumulate=True), 1))
    return tuple(uses)


def _settings(layer: Layer, kind: type[SettingsType]) -> SettingsType:
    if not isinstance(layer.settings, kind):
        raise TypeError(f"layer {layer.name!r} of type {layer.type} carries {type(layer.settings).__name__}")
    return layer.settings


def _recurrent(layer: Layer) -> tuple[KernelCount, ...]:
    """lstm_layer.cpp and rnn_layer.cpp, `FillUnrolledNet`: the input's product for all steps, the state's each step."""
    settings = _settings(layer, Recurrent)
    size, (steps, images) = settings.num_output, layer.inputs[0][:2]
    is_lstm = layer.type == "LSTM"
    rows = 4 * size if is_lstm else size
    uses = [
        KernelCount(gemm(steps * images, rows, prod(layer.inputs[0][2:]), trans_b=True), 1),
        KernelCount(gemm(steps * images, rows, 1, accumulate=True), 1),
        KernelCount(gemm(images, rows, size, trans_b=True), steps),
    ]
    states = (2 if is_lstm else 1) if settings.expose_hidden else 0
    if len(layer.inputs) - states == 3:
        uses.append(KernelCount(gemm(images, rows, prod(layer.inputs[2][1:]), trans_b=True), 1))
    if not is_lstm:
        uses.append(KernelCount(gemm(images, size, size, trans_b=True), steps))
        uses.append(KernelCount(gemm(images, size, 1, accumulate=True), steps))
    return tuple(uses)


def _old_lstm(layer: Layer) -> tuple[KernelCount, ...]:
    """lstm_layer.cpp of junhyukoh's fork: the input's product for all rows, the state's each step."""
    settings = _settings(layer, Lstm)
    rows, gates = layer.inputs[0][0], 4 * settings.num_output
    return (
        KernelCount(gemm(rows, gates, prod(layer.inputs[0][1:]), trans_b=True), 1),
        KernelCount(gemm(rows, gates, 1, accumulate=True), 1),
        KernelCount(gemm(settings.images, gates, settings.num_output, trans_b=True), rows // settings.images),
    )


def _dense_block(layer: Layer) -> tuple[KernelCount, ...]:
    """The convolutions of denseblock_layer.cpp as matrix products, each over all channels before it."""
    images, _, height, width = layer.inputs[0]
    shapes = (parameter.shape for parameter in layer.parameters)
    return tuple(KernelCount(gemm(shape[0], height * width, prod(shape[1:])), images) for shape in shapes)


def _correlation(layer: Layer) -> tuple[KernelCount, ...]:
    """correlation_layer.cpp of FlowNet: at every pixel a product of patches for each displacement."""
    settings = _settings(layer, Correlation)
    images, displacements, height, width = layer.outputs[0]
    depth = layer.inputs[0][1] * settings.kernel**2
    return (KernelCount(gemm(displacements, height * width, depth), images),)


EXPANSIONS: dict[str, Callable[[Layer], tuple[KernelCount, ...]]] = {
    "Convolution": _convolution,
    **dict.fromkeys(DEPTHWISE_TYPES, _convolution),
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "Lstm": _old_lstm,
    "DenseBlock": _dense_block,
    "Correlation": _correlation,
    "Deconvolution": _deconvolution,
    "InnerProduct": _inner_product,
}
"""Layer types that come down to several kernels; every other type is one kernel of its own kind."""

FREE_TYPES = frozenset({"Input", "Split", "Flatten", "Reshape", "Silence"})
"""Types whose forward pass on the CPU moves no data: Caffe shares or keeps the buffer."""


def is_free(layer: Layer) -> bool:
    """Whether a layer's test-time forward pass moves no data: by its type, or Dropout in place."""
    if isinstance(layer.settings, OnnxOperator):
        return layer.type == "Reshape"
    return layer.type in FREE_TYPES or (layer.type == "Dropout" and layer.bottoms == layer.tops)
