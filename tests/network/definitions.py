"""Random network definitions, for comparison with real Caffe: of layer types that Caffe has, most of them valid."""

import re
from collections.abc import Callable

from hypothesis import strategies as st

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, Shape, parse_prototxt

Draw = Callable[..., object]

SMALL = st.integers(1, 5)
AXES = st.integers(-4, 3)
YES = st.booleans()


def _fields(draw: Draw, **choices: st.SearchStrategy) -> str:
    """`name: value` for a random part of the choices."""
    return " ".join(f"{name}: {draw(values)}" for name, values in choices.items() if draw(YES))


def _word(*words: str) -> st.SearchStrategy:
    return st.sampled_from(words)


def _boolean() -> st.SearchStrategy:
    return _word("true", "false")


def _lengths(draw: Draw, name: str, axes: int, least: int = 1, most: int = 4) -> str:
    """A length singly, once an axis, or as _h and _w."""
    short = name.removesuffix("_size")
    values = [draw(st.integers(least, most)) for _ in range(max(axes, 1))]
    form = draw(_word("one", "each", "pair"))
    if form == "each":
        return " ".join(f"{name}: {value}" for value in values)
    if form == "pair" and axes == 2:
        return f"{short}_h: {values[0]} {short}_w: {values[1]}"
    return f"{name}: {values[0]}"


def _window(draw: Draw, axes: int, dilated: bool) -> str:
    parts = [_lengths(draw, "kernel_size", axes)]
    parts += [_lengths(draw, "stride", axes, most=3)] * draw(YES)
    parts += [_lengths(draw, "pad", axes, least=0, most=2)] * draw(YES)
    parts += [f"dilation: {draw(SMALL)}"] * (dilated and draw(st.integers(0, 3)) == 0)
    return " ".join(parts)


def _convolution(draw: Draw, shape: Shape) -> str:
    axis = draw(st.sampled_from([1, 1, 1, -3, -2, 0, 2]))
    channels = shape[axis] if -len(shape) <= axis < len(shape) else 1
    group = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    axes = len(shape) - axis % len(shape) - 1 if shape else 0
    parts = [_window(draw, axes, dilated=True), f"num_output: {group * draw(SMALL)}"]
    parts += [f"group: {group}"] * (group > 1) + [f"axis: {axis}"] * (axis != 1)
    return f"convolution_param {{ {' '.join(parts)} {_fields(draw, bias_term=_boolean())} }}"


def _pooling(draw: Draw, shape: Shape) -> str:
    method = f"pool: {draw(_word('MAX', 'AVE', 'STOCHASTIC'))}" if draw(YES) else ""
    if draw(st.integers(0, 4)) == 0:
        return f"pooling_param {{ {method} global_pooling: true }}"
    pair = " ".join(_lengths(draw, name, 2, low, 3) for name, low in (("kernel_size", 1), ("stride", 1), ("pad", 0)))
    words = pair.split()
    # Pooling takes a length once; per axis only as _h and _w.
    once = {words[i]: words[i + 1] for i in range(0, len(words), 2)}
    return f"pooling_param {{ {method} {' '.join(f'{name} {value}' for name, value in once.items())} }}"


def _reshape(draw: Draw, shape: Shape) -> str:
    dims = draw(st.permutations(shape)) if shape and draw(YES) else [draw(st.integers(-1, 6)) for _ in range(3)]
    dims = [draw(st.sampled_from([dim, dim, 0, -1])) for dim in dims]
    dims_text = " ".join(f"dim: {dim}" for dim in dims)
    return f"reshape_param {{ shape {{ {dims_text} }} {_fields(draw, axis=AXES, num_axes=st.integers(-1, 3))} }}"


def _simple(param: str, **choices: st.SearchStrategy) -> Callable[[Draw, Shape], str]:
    return lambda draw, shape: f"{param} {{ {_fields(draw, **choices)} }}" if param else ""


def _slice(draw: Draw, shape: Shape) -> str:
    points = sorted(draw(st.sets(st.integers(1, 6), max_size=3)))
    return f"slice_param {{ {_fields(draw, axis=AXES)} {' '.join(f'slice_point: {point}' for point in points)} }}"


def _tops(kind: str, text: str, draw: Draw) -> int:
    if kind == "Slice":
        return text.count("slice_point") + 1 if "slice_point" in text else draw(st.integers(1, 3))
    return draw(st.integers(1, 2)) if kind == "Pooling" else 0 if kind == "Silence" else 1


ONE_INPUT = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "Im2col": _convolution,
    "Pooling": _pooling,
    "SPP": _simple("spp_param", pyramid_height=st.integers(1, 3), pool=_word("MAX", "AVE")),
    "InnerProduct": _simple(
        "inner_product_param num_output: 3",
        axis=AXES,
        bias_term=_boolean(),
        transpose=_boolean(),
    ),
    "Embed": _simple("embed_param", num_output=SMALL, input_dim=SMALL, bias_term=_boolean()),
    "LRN": _simple(
        "lrn_param",
        local_size=st.sampled_from([1, 2, 3, 5]),
        norm_region=_word("ACROSS_CHANNELS", "WITHIN_CHANNEL"),
        beta=st.just(0.5),
    ),
    "BatchNorm": _simple("batch_norm_param", use_global_stats=_boolean()),
    "MVN": _simple("mvn_param", normalize_variance=_boolean(), across_channels=_boolean()),
    "Scale": _simple("scale_param", axis=AXES, num_axes=st.integers(-1, 3), bias_term=_boolean()),
    "Bias": _simple("bias_param", axis=AXES, num_axes=st.integers(-1, 3)),
    "ReLU": _simple("relu_param", negative_slope=st.just(0.1)),
    "PReLU": _simple("prelu_param", channel_shared=_boolean()),
    "ELU": _simple("elu_param", alpha=st.just(0.5)),
    "Power": _simple("power_param", power=SMALL, scale=SMALL, shift=SMALL),
    "Exp": _simple("exp_param", base=st.sampled_from([-1, 2, 0]), scale=SMALL),
    "Log": _simple("log_param", base=st.sampled_from([-1, 2, -2]), scale=SMALL),
    "Threshold": _simple("threshold_param", threshold=SMALL),
    "Dropout": _simple("dropout_param", dropout_ratio=st.just(0.3)),
    "Softmax": _simple("softmax_param", axis=AXES),
    "Sigmoid": _simple(""),
    "TanH": _simple(""),
    "AbsVal": _simple(""),
    "BNLL": _simple(""),
    "Split": _simple(""),
    "Reduction": _simple("reduction_param", operation=_word("SUM", "ASUM", "SUMSQ", "MEAN"), axis=AXES),
    "ArgMax": _simple("argmax_param", out_max_val=_boolean(), top_k=SMALL, axis=AXES),
    "Flatten": _simple("flatten_param", axis=AXES, end_axis=AXES),
    "Reshape": _reshape,
    "Slice": _slice,
    "Tile": _simple("tile_param", axis=AXES, tiles=st.integers(0, 3)),
    "Silence": _simple(""),
    "Permute": lambda draw, shape: (
        "permute_param { " + " ".join(f"order: {axis}" for axis in draw(st.permutations(range(len(shape))))) + " }"
    ),
    "Normalize": _simple("norm_param", across_spatial=_boolean(), channel_shared=_boolean()),
}
"""Layer types of one input, and how their settings are drawn for an input of this shape."""

SEVERAL_INPUTS = {
    "Eltwise": (2, 3, _simple("eltwise_param", operation=_word("SUM", "PROD", "MAX"))),
    "Concat": (1, 3, _simple("concat_param", axis=AXES)),
    "Scale": (2, 2, _simple("scale_param", axis=AXES, bias_term=_boolean())),
    "Bias": (2, 2, _simple("bias_param", axis=AXES)),
    "Crop": (2, 2, _simple("crop_param", axis=AXES, offset=st.integers(0, 2))),
    "BatchReindex": (2, 2, _simple("")),
    "Filter": (2, 2, _simple("")),
    "LSTM": (2, 3, _simple("recurrent_param num_output: 2")),
    "RNN": (2, 3, _simple("recurrent_param num_output: 2")),
}

IMAGE_TYPES = ("Convolution", "Deconvolution", "Im2col", "LRN", "MVN", "Pooling", "SPP")
IN_PLACE = ("ReLU", "ELU", "Power", "Sigmoid", "TanH", "Dropout", "BatchNorm", "Scale", "Bias", "PReLU", "Softmax")


def _opened(text: str) -> str:
    """`param num_output: 3 { … }` → `param { num_output: 3 … }`: settings that are always given."""
    name, _, rest = text.partition(" ")
    return text if rest.startswith("{") or not rest else f"{name} {{ {rest.replace('{', '', 1)}"


def _candidate(draw: Draw, name: str, shapes: dict[str, Shape]) -> str:
    """One more layer on blobs that exist."""
    blobs = sorted(shapes)
    if draw(st.integers(0, 3)) == 0:
        kind = draw(st.sampled_from(sorted(SEVERAL_INPUTS)))
        least, most, settings = SEVERAL_INPUTS[kind]
        first = draw(st.sampled_from(blobs))
        alike = [blob for blob in blobs if shapes[blob] == shapes[first]] if draw(YES) else blobs
        more = [draw(st.sampled_from(alike)) for _ in range(draw(st.integers(least, most)) - 1)]
        bottoms, tops = [first, *more], 1
        text = _opened(settings(draw, shapes[first]))
    else:
        kind = draw(st.sampled_from(IMAGE_TYPES if draw(YES) else sorted(ONE_INPUT)))
        images = [blob for blob in blobs if len(shapes[blob]) == 4]
        bottoms = [draw(st.sampled_from(images if images and kind in IMAGE_TYPES else blobs))]
        text = _opened(ONE_INPUT[kind](draw, shapes[bottoms[0]]))
        tops = _tops(kind, text, draw)
    in_place = kind in IN_PLACE and len(bottoms) == 1 and draw(YES)
    top_names = bottoms if in_place else [f"{name}_{index}" for index in range(tops)]
    blob_text = " ".join([f'bottom: "{blob}"' for blob in bottoms] + [f'top: "{blob}"' for blob in top_names])
    return f'layer {{ name: "{name}" type: "{kind}" {blob_text} {text} }}\n'


@st.composite
def inputs(draw: Draw) -> str:
    """Input layers, most of them images."""
    text = ""
    for index in range(draw(st.integers(1, 3))):
        axes = draw(st.sampled_from([4, 4, 4, 4, 3, 2, 1, 5, 0]))
        most = [6, 9, 16, 16] if axes == 4 else [6] * axes
        dims = " ".join(f"dim: {draw(st.integers(1, limit))}" for limit in most)
        shape = f"input_param {{ shape {{ {dims} }} }}"
        text += f'layer {{ name: "in{index}" type: "Input" top: "in{index}" {shape} }}\n'
    return text


@st.composite
def definitions(draw: Draw, layers: int = 12) -> tuple[str, list[str]]:
    """A definition that we accept, and the same with one more layer each that we refuse."""
    text = draw(inputs())
    refused = []
    for index in range(draw(st.integers(1, layers))):
        more = text + _candidate(draw, f"layer{index}", _shapes(parse_prototxt(text, "drawn")))
        try:
            parse_prototxt(more, "drawn")
        except SiteCNNError:
            refused.append(more)
        else:
            text = more
    return text, refused


def _shapes(network: Network) -> dict[str, Shape]:
    """The shape of every blob that a layer may read, by the name it has in the file."""
    shapes = {top: shape for layer in network.layers for top, shape in zip(layer.tops, layer.outputs, strict=True)}
    return {blob: shape for blob, shape in shapes.items() if "_split_" not in blob}


V1_TYPES = {
    **{kind: kind.upper() for kind in ("AbsVal", "ArgMax", "BNLL", "Concat", "Convolution", "Deconvolution")},
    **{kind: kind.upper() for kind in ("Dropout", "Eltwise", "Exp", "Flatten", "Im2col", "LRN", "MVN", "Pooling")},
    **{kind: kind.upper() for kind in ("Power", "ReLU", "Sigmoid", "Silence", "Slice", "Softmax", "Split", "TanH")},
    "InnerProduct": "INNER_PRODUCT",
    "Threshold": "THRESHOLD",
}


def in_v1_words(text: str) -> str | None:
    """The same definition in the format before today's, or None where that had no such layer type."""
    lines = []
    for line in text.splitlines():
        kind = re.search(r'type: "(\w+)"', line)
        assert kind
        if kind[1] == "Input":
            name, dims = re.search(r'top: "(\w+)"', line), re.search(r"shape (\{.*?\})", line)
            assert name and dims
            lines.append(f'input: "{name[1]}" input_shape {dims[1]}')
        elif kind[1] in V1_TYPES:
            lines.append(line.replace(kind[0], f"type: {V1_TYPES[kind[1]]}").replace("layer {", "layers {", 1))
        else:
            return None
    return "\n".join(lines)
