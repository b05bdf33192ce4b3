"""Layers made of matrix products: InnerProduct, Embed, RNN and LSTM."""

from math import prod

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import (
    Inferred,
    Inputs,
    LayerType,
    canonical_axis,
    changed,
    read,
    require,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import Embed, InnerProduct, Lstm, Recurrent

BIAS = {"bias": "bias_term"}


def _inner_product(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """inner_product_layer.cpp: the axes from `axis` on become one, of num_output values."""
    param, shape = layer.inner_product_param, inputs[0]
    outputs, bias = param.num_output, param.bias_term
    require(outputs > 0, "num_output must be at least 1")
    axis = canonical_axis(param.axis, shape)
    depth = prod(shape[axis:])
    weights = (depth, outputs) if param.transpose else (outputs, depth)
    settings = InnerProduct(outputs, bias, axis, param.transpose)
    return Inferred(((*shape[:axis], outputs),), (weights, (outputs,)) if bias else (weights,), settings)


def _embed(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """embed_layer.cpp: every value of the input becomes a row of the table."""
    settings = read(Embed, layer.embed_param, BIAS)
    outputs, rows = settings.num_output, settings.input_dim
    require(min(outputs, rows) > 0, "num_output and input_dim must be at least 1")
    parameters = ((rows, outputs), (outputs,))
    return Inferred(((*inputs[0], outputs),), parameters if settings.bias else parameters[:1], settings)


def _recurrent_blobs(layer: LayerParameter, inputs: Inputs, states: int) -> tuple[Recurrent, tuple[Shape, ...]]:
    """Settings and tops of a layer with this many hidden states (recurrent_layer.cpp, `LayerSetUp`)."""
    settings = read(Recurrent, layer.recurrent_param)
    if not layer.HasField("recurrent_param") and layer.lstm_param.num_output:
        settings = Recurrent(layer.lstm_param.num_output)  # the name before it was Caffe's own
    exposed = states if settings.expose_hidden else 0
    require(settings.num_output > 0, "num_output must be at least 1")
    require(2 + exposed <= len(inputs) <= 3 + exposed, f"it takes {2 + exposed} or {3 + exposed} bottoms")
    require(len(layer.top) == 1 + exposed, f"it gives {1 + exposed} tops, has {len(layer.top)}")
    steps = inputs[0][:2]
    require(len(inputs[0]) > 2, f"its first input must have the axes time, image and more, is {text(inputs[0])}")
    require(inputs[1] == steps, f"its second input must be {text(steps)}, one flag a step, is {text(inputs[1])}")
    state = (1, steps[1], settings.num_output)
    for shape in inputs[len(inputs) - exposed :]:
        require(shape == state, f"a state given to it must be {text(state)}, is {text(shape)}")
    return settings, ((*steps, settings.num_output), *(state,) * exposed)


def _recurrent_weights(inputs: Inputs, settings: Recurrent, rows: int, states: int) -> tuple[Shape, ...]:
    """Weights of `rows` outputs from the input, its bias, the static input where there is one, and the state."""
    static = len(inputs) - (states if settings.expose_hidden else 0) == 3
    if static:
        require(inputs[2][:1] == inputs[0][1:2], f"its static input must hold {inputs[0][1]} images")
    from_static = ((rows, prod(inputs[2][1:])),) if static else ()
    return ((rows, prod(inputs[0][2:])), (rows,), *from_static, (rows, settings.num_output))


def _rnn(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """rnn_layer.cpp, `FillUnrolledNet`."""
    settings, outputs = _recurrent_blobs(layer, inputs, states=1)
    size = settings.num_output
    weights = _recurrent_weights(inputs, settings, size, states=1)
    return Inferred(outputs, (*weights, (size, size), (size,)), settings)


def _lstm(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """lstm_layer.cpp, `FillUnrolledNet`: four gates."""
    settings, outputs = _recurrent_blobs(layer, inputs, states=2)
    return Inferred(outputs, _recurrent_weights(inputs, settings, 4 * settings.num_output, states=2), settings)


def _old_lstm(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """lstm_layer.cpp of junhyukoh's fork: rows are steps, of `batch_size` sequences each; one bias."""
    settings = read(Lstm, layer.lstm_param, {"images": "batch_size"})
    shape, size = inputs[0], settings.num_output
    require(min(size, settings.images) > 0, "num_output and batch_size must be at least 1")
    require(len(shape) > 1 and shape[0] % settings.images == 0, f"its input {text(shape)} must hold whole sequences")
    return Inferred(((shape[0], size),), ((4 * size, prod(shape[1:])), (4 * size, size), (4 * size,)), settings)


TYPES = (
    LayerType(
        "Lstm",
        _old_lstm,
        lambda settings: {"lstm_param": changed(settings, {"images": "batch_size"})},
        (1, 2),
        fork="an older fork for sequences",
    ),
    LayerType("InnerProduct", _inner_product, lambda settings: {"inner_product_param": changed(settings, BIAS)}),
    LayerType("Embed", _embed, lambda settings: {"embed_param": changed(settings, BIAS)}),
    LayerType("RNN", _rnn, lambda settings: {"recurrent_param": changed(settings)}, (2, 4), (1, 2)),
    LayerType("LSTM", _lstm, lambda settings: {"recurrent_param": changed(settings)}, (2, 5), (1, 3)),
)
