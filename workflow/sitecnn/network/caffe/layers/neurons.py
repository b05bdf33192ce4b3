"""Activations: one input, one output of the same shape."""

from collections.abc import Callable

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.caffe.layers.base import (
    Inferred,
    Inputs,
    LayerType,
    canonical_axis,
    changed,
    read,
    require,
    same_shape,
    text,
)
from sitecnn.network.settings import (
    ELU,
    Clip,
    Dropout,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    Settings,
    Softmax,
    Swish,
    Threshold,
)


def _neuron(name: str, param: str, kind: type[Settings], check: Callable[[Settings], None] | None = None) -> LayerType:
    """A type whose settings are the fields of their names in `param` (neuron_layer.cpp and its heirs)."""

    def infer(layer: LayerParameter, inputs: Inputs) -> Inferred:
        settings = read(kind, getattr(layer, param))
        if check:
            check(settings)
        return Inferred(inputs, settings=settings)

    return LayerType(name, infer, lambda settings: {param: changed(settings)})


def _check_base(settings: Settings) -> None:
    """exp_layer.cpp and log_layer.cpp, `LayerSetUp`."""
    assert isinstance(settings, Exp | Log)
    require(settings.base == -1 or settings.base > 0, f"base must be above 0, or -1 for e, is {settings.base:g}")


def _softmax(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """softmax_layer.cpp."""
    settings = read(Softmax, layer.softmax_param)
    canonical_axis(settings.axis, inputs[0])
    return Inferred(inputs, settings=settings)


def _prelu(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """prelu_layer.cpp: a learned slope for each channel, or one."""
    shape, settings = inputs[0], read(PReLU, layer.prelu_param)
    require(2 <= len(shape) <= 4, f"its input must have 2 to 4 axes, is {text(shape)}")
    return Inferred(inputs, ((),) if settings.channel_shared else ((shape[1],),), settings)


ELEMENTWISE_OF_FORKS = (
    *("Insanity", "RReLU", "SELU", "SeLu", "Selu", "SeLuDropout", "Mish", "GELU", "SignedSqrt"),
    *("L2Normalize", "L2Normalization", "InstanceNorm", "SpatialDropout", "NoisyReLU"),
)
"""Forks' activations and normalisations without matrix products; what they compute leaves the shape as it is."""

TYPES = (
    _neuron("ReLU", "relu_param", ReLU),
    _neuron("ELU", "elu_param", ELU),
    _neuron("Power", "power_param", Power),
    _neuron("Exp", "exp_param", Exp, _check_base),
    _neuron("Log", "log_param", Log, _check_base),
    _neuron("Threshold", "threshold_param", Threshold),
    _neuron("Dropout", "dropout_param", Dropout),
    _neuron("Clip", "clip_param", Clip),
    _neuron("Swish", "swish_param", Swish),
    LayerType("PReLU", _prelu, lambda settings: {"prelu_param": changed(settings)}),
    LayerType("Softmax", _softmax, lambda settings: {"softmax_param": changed(settings)}),
    LayerType("AbsVal", same_shape),
    LayerType("BNLL", same_shape),
    LayerType("Sigmoid", same_shape),
    LayerType("TanH", same_shape),
    LayerType("ReLU6", same_shape, fork="MobileNet's forks"),
    *(LayerType(name, same_shape, fork="a fork") for name in ELEMENTWISE_OF_FORKS),
    LayerType("HardSigmoid", same_shape, fork="MobileNet's forks"),
    LayerType("HardSwish", same_shape, fork="MobileNet's forks"),
)
