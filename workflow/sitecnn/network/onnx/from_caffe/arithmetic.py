"""Activations, normalisations and arithmetic of Caffe as ONNX nodes."""

from math import log
from typing import Any

from sitecnn.network.graph import Shape
from sitecnn.network.onnx.from_caffe.site import FLOAT, NoOperatorError, Rule, Site, integers, scalar
from sitecnn.network.settings import BatchNorm


def _batch_norm(site: Site, settings: BatchNorm) -> None:
    """Caffe keeps sums and their factor; ONNX wants the means and variances that they come to."""
    if not settings.use_global_stats:
        raise NoOperatorError("it normalises by the batch's own mean and variance")
    channels = site.layer.parameters[0].shape
    names = ("scale", "bias", "mean", "variance")
    site.add(
        "BatchNormalization", site.inputs[0], *(site.named(name, channels) for name in names), epsilon=settings.eps
    )


def _bn(site: Site, settings: Any) -> None:
    """A fork's: slope, bias, mean and variance."""
    channels = (site.layer.inputs[0][1],)
    site.add("BatchNormalization", site.inputs[0], *(site.weight(index, channels) for index in range(4)))


def _lrn(site: Site, settings: Any) -> None:
    """Within a channel: x·(1 + alpha·average of squares)^-beta (lrn_layer.cpp, `WithinChannelForward`)."""
    name, shape = site.inputs[0], site.layer.outputs[0]
    if settings.region == "ACROSS_CHANNELS":
        site.add("LRN", name, size=settings.local_size, alpha=settings.alpha, beta=settings.beta, bias=settings.k)
        return
    half = settings.local_size // 2
    window: dict[str, Any] = {"kernel_shape": (settings.local_size,) * 2, "pads": (half,) * 4, "count_include_pad": 1}
    mean = site.add("AveragePool", site.add("Mul", name, name, shape=shape), shape=shape, **window)
    base = site.add("Mul", mean, scalar(settings.alpha), shape=shape)
    base = site.add("Add", base, scalar(1.0), shape=shape)
    site.add("Mul", name, site.add("Pow", base, scalar(-settings.beta), shape=shape))


def _mvn(site: Site, settings: Any) -> None:
    """(x - mean) / (sqrt(variance) + eps) (mvn_layer.cpp)."""
    given, output = site.layer.inputs[0], site.layer.outputs[0]
    axes = tuple(range(1 if settings.across_channels else 2, len(output)))
    means = (*output[: axes[0]], *(1 for _ in axes))
    name = site.inputs[0]
    if given != output:
        name = site.add("Reshape", name, integers(*output), shape=output)
    mean = site.add("ReduceMean", name, shape=means, axes=axes, keepdims=1)
    if not settings.normalize_variance:
        site.add("Sub", name, mean)
        return
    centred = site.add("Sub", name, mean, shape=output)
    variance = site.add("Mul", centred, centred, shape=output)
    variance = site.add("ReduceMean", variance, shape=means, axes=axes, keepdims=1)
    deviation = site.add("Sqrt", variance, shape=means)
    site.add("Div", centred, site.add("Add", deviation, scalar(settings.eps), shape=means))


def _normalize(site: Site, settings: Any) -> None:
    """x / sqrt(sum of squares + 1e-10) times a learned scale (normalize_layer.cpp of SSD)."""
    name, shape = site.inputs[0], site.layer.outputs[0]
    axes = tuple(range(1, len(shape))) if settings.across_spatial else (1,)
    sums = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    norm = site.add("ReduceSumSquare", name, shape=sums, axes=axes, keepdims=1)
    norm = site.add("Sqrt", site.add("Add", norm, scalar(1e-10), shape=sums), shape=sums)
    one = () if settings.channel_shared else (shape[1], *(1 for _ in shape[2:]))
    site.add("Mul", site.add("Div", name, norm, shape=shape), site.weight(0, one))


def _broadcast(site: Site, index: int, shape: Shape, axis: int) -> str:
    """A second input in a shape that ONNX spreads over the first from `axis` on."""
    spread = (*shape, *(1 for _ in site.layer.outputs[0][axis + len(shape) :]))
    return (
        site.inputs[index]
        if spread == shape
        else site.add("Reshape", site.inputs[index], integers(*spread), shape=spread)
    )


def _learned(site: Site, index: int, axis: int) -> Any:
    """A learned blob in such a shape."""
    shape = site.layer.parameters[index].shape
    return site.weight(index, (*shape, *(1 for _ in site.layer.outputs[0][axis + len(shape) :])) if shape else shape)


def _scale(site: Site, settings: Any) -> None:
    shape, alone = site.layer.outputs[0], len(site.inputs) == 1
    axis = settings.axis % max(len(shape), 1)
    factor = _learned(site, 0, axis) if alone else _broadcast(site, 1, site.layer.inputs[1], axis)
    product = site.add("Mul", site.inputs[0], factor, shape=shape if settings.bias else None)
    if settings.bias:
        site.add("Add", product, _learned(site, int(alone), axis))


def _bias(site: Site, settings: Any) -> None:
    axis = settings.axis % max(len(site.layer.outputs[0]), 1)
    alone = len(site.inputs) == 1
    added = _learned(site, 0, axis) if alone else _broadcast(site, 1, site.layer.inputs[1], axis)
    site.add("Add", site.inputs[0], added)


def _axpy(site: Site, settings: Any) -> None:
    """Scale·x + y, one value a channel."""
    spread = (*site.layer.inputs[0][:2], *(1 for _ in site.layer.outputs[0][2:]))
    factor = site.add("Reshape", site.inputs[0], integers(*spread), shape=spread)
    product = site.add("Mul", factor, site.inputs[1], shape=site.layer.outputs[0])
    site.add("Add", product, site.inputs[2])


def _relu(site: Site, settings: Any) -> None:
    if settings.negative_slope:
        site.add("LeakyRelu", site.inputs[0], alpha=settings.negative_slope)
    else:
        site.add("Relu", site.inputs[0])


def _prelu(site: Site, settings: Any) -> None:
    spread = (1 for _ in site.layer.outputs[0][2:])
    shape = (1,) if settings.channel_shared else (site.layer.outputs[0][1], *spread)
    site.add("PRelu", site.inputs[0], site.weight(0, shape))


def _scaled(site: Site, settings: Any, inner: bool) -> str:
    """Shift + scale·x; the last node makes the output unless another follows (`inner`)."""
    shape = site.layer.outputs[0]
    steps = [("Mul", settings.scale)] * (settings.scale != 1) + [("Add", settings.shift)] * (settings.shift != 0)
    name = site.inputs[0]
    for index, (kind, value) in enumerate(steps):
        is_last = index == len(steps) - 1 and not inner
        name = site.add(kind, name, scalar(value), shape=None if is_last else shape)
    return name if steps or inner else site.add("Identity", name)


def _power(site: Site, settings: Any) -> None:
    if settings.power == 1:
        _scaled(site, settings, inner=False)
    else:
        site.add("Pow", _scaled(site, settings, inner=True), scalar(settings.power))


def _exp(site: Site, settings: Any) -> None:
    name = _scaled(site, settings, inner=True)
    if settings.base != -1:
        name = site.add("Mul", name, scalar(log(settings.base)), shape=site.layer.outputs[0])
    site.add("Exp", name)


def _log(site: Site, settings: Any) -> None:
    name = _scaled(site, settings, inner=True)
    if settings.base == -1:
        site.add("Log", name)
    else:
        site.add("Mul", site.add("Log", name, shape=site.layer.outputs[0]), scalar(1 / log(settings.base)))


def _threshold(site: Site, settings: Any) -> None:
    above = site.add("Greater", site.inputs[0], scalar(settings.threshold), shape=site.layer.outputs[0])
    site.add("Cast", above, to=FLOAT)


def _swish(site: Site, settings: Any) -> None:
    shape, name = site.layer.outputs[0], site.inputs[0]
    gate = name if settings.beta == 1 else site.add("Mul", name, scalar(settings.beta), shape=shape)
    site.add("Mul", name, site.add("Sigmoid", gate, shape=shape))


def _clip(low: float | None = None, high: float | None = None) -> Rule:
    def rule(site: Site, settings: Any) -> None:
        bounds = (low, high) if low is not None and high is not None else (settings.min, settings.max)
        site.add("Clip", site.inputs[0], *map(scalar, bounds))

    return rule


def _eltwise(site: Site, settings: Any) -> None:
    shape = site.layer.outputs[0]
    names = [
        name if factor == 1 else site.add("Mul", name, scalar(factor), shape=shape)
        for name, factor in zip(site.inputs, settings.coeff or (1,) * len(site.inputs), strict=True)
    ]
    if settings.operation == "MAX":
        site.add("Max", *names)
        return
    first, *others = names
    for index, other in enumerate(others):
        inner = shape if index < len(others) - 1 else None
        first = site.add("Mul" if settings.operation == "PROD" else "Add", first, other, shape=inner)


def _reduction(site: Site, settings: Any) -> None:
    axes = tuple(range(settings.axis % len(site.layer.inputs[0]), len(site.layer.inputs[0])))
    shape = None if settings.coeff == 1 else site.layer.outputs[0]
    if settings.operation == "SUM":
        name = site.add("ReduceSum", site.inputs[0], integers(*axes), shape=shape, keepdims=0)
    else:
        kind = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[settings.operation]
        name = site.add(kind, site.inputs[0], shape=shape, axes=axes, keepdims=0)
    if settings.coeff != 1:
        site.add("Mul", name, scalar(settings.coeff))


def _same(kind: str, **attributes: Any) -> Rule:
    return lambda site, settings: site.add(kind, site.inputs[0], **attributes)


RULES: dict[str, Rule] = {
    "BatchNorm": _batch_norm,
    "BN": _bn,
    "LRN": _lrn,
    "MVN": _mvn,
    "Normalize": _normalize,
    "Scale": _scale,
    "Bias": _bias,
    "Axpy": _axpy,
    "ReLU": _relu,
    "ReLU6": _clip(0.0, 6.0),
    "PReLU": _prelu,
    "ELU": lambda site, settings: site.add("Elu", site.inputs[0], alpha=settings.alpha),
    "Sigmoid": _same("Sigmoid"),
    "TanH": _same("Tanh"),
    "AbsVal": _same("Abs"),
    "BNLL": _same("Softplus"),
    "HardSigmoid": _same("HardSigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _same("HardSwish"),
    "Power": _power,
    "Exp": _exp,
    "Log": _log,
    "Threshold": _threshold,
    "Clip": _clip(),
    "Swish": _swish,
    "Dropout": _same("Dropout"),
    "Softmax": lambda site, settings: site.add("Softmax", site.inputs[0], axis=settings.axis),
    "Eltwise": _eltwise,
    "Reduction": _reduction,
}
"""What each layer type is in ONNX."""
