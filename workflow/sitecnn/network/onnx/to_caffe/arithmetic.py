"""Normalisations, activations, reductions, and operators of one value each."""

from collections.abc import Sequence
from math import prod
from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.graph import Shape
from sitecnn.network.onnx.to_caffe.task import Mapper, Task, always


def _batch_norm(task: Task) -> Sequence[LayerParameter]:
    """Caffe's own leaves scale and bias to a layer of their own, which works in place."""
    norm = task.layer("BatchNorm", batch_norm_param={"use_global_stats": True})
    return [norm, _in_place(task, "Scale", scale_param={"bias_term": True})]


def _instance_norm(task: Task) -> Sequence[LayerParameter]:
    return [task.layer("MVN"), _in_place(task, "Scale", scale_param={"bias_term": True})]


def _in_place(task: Task, kind: str, **fields: Any) -> LayerParameter:
    output = task.operator.outputs[0]
    return LayerParameter(
        name=f"{task.operator.name}_{kind.lower()}", type=kind, bottom=[output], top=[output], **fields
    )


def _lrn(task: Task) -> Sequence[LayerParameter]:
    given = task.operator.attributes
    param = {"local_size": given["size"], "alpha": given.get("alpha", 1e-4), "beta": given.get("beta", 0.75)}
    return [task.layer("LRN", lrn_param={**param, "k": given.get("bias", 1.0)})]


def _arithmetic(task: Task) -> Sequence[LayerParameter] | None:
    """Add, Sub, Mul and Max: of blobs of one shape, of a blob and a weight, or of a blob and one value a channel."""
    shapes = [task.graph.shapes[name] for name in task.data]
    if len(task.data) == len(task.operator.inputs):
        return _between_blobs(task, shapes)
    if len(task.operator.inputs) != 2 or len(task.data) != 1:
        return None
    weight = task.shape(1) if task.is_weight(1) else task.shape(0)
    return _with_weight(task, shapes[0], weight)


def _between_blobs(task: Task, shapes: list[Shape]) -> Sequence[LayerParameter] | None:
    operation = {"Mul": "PROD", "Max": "MAX"}.get(task.operator.type, "SUM")
    if len(task.data) == 1:
        return [task.layer("Split")]
    if len(set(shapes)) == 1:
        coeff = [1, -1] if task.operator.type == "Sub" else []
        return [task.layer("Eltwise", task.data, eltwise_param={"operation": operation, "coeff": coeff})]
    large, small = sorted(zip(shapes, task.data, strict=True), key=lambda pair: -prod(pair[0]))[:2]
    if len(task.data) == 2 and task.operator.type == "Mul" and _one_a_channel(*small[:1], large[0]):
        flat = f"{task.operator.name}_factors"
        flatten = LayerParameter(name=flat, type="Flatten", bottom=[small[1]], top=[flat])
        return [flatten, task.layer("Scale", [large[1], flat], scale_param={"axis": 0})]
    return None


def _one_a_channel(small: Shape, large: Shape) -> bool:
    return len(small) == len(large) > 2 and small[:2] == large[:2] and prod(small[2:]) == 1


def _with_weight(task: Task, shape: Shape, weight: Shape) -> Sequence[LayerParameter] | None:
    """A scalar is a Power's; a vector along one axis is a learned Scale or Bias."""
    if task.operator.type not in ("Add", "Sub", "Mul"):
        return None
    scales = task.operator.type == "Mul"
    if prod(weight) == 1:
        return [task.layer("Power", power_param={"scale" if scales else "shift": 0.5})]
    padded = (1,) * (len(shape) - len(weight)) + weight
    wide = [axis for axis, size in enumerate(padded) if size != 1]
    if len(padded) != len(shape) or len(wide) != 1 or padded[wide[0]] != shape[wide[0]]:
        return None
    param = {"axis": wide[0]}
    return [task.layer("Scale", scale_param=param) if scales else task.layer("Bias", bias_param=param)]


def _clip(task: Task) -> Sequence[LayerParameter]:
    low, high = task.value(1, "min", -3.4e38), task.value(2, "max", 3.4e38)
    if (low, high) == (0, 6):
        return [task.layer("ReLU6")]
    return [task.layer("Clip", clip_param={"min": low, "max": high})]


def _softmax(task: Task) -> Sequence[LayerParameter]:
    return [
        task.layer(
            "Softmax", softmax_param={"axis": task.operator.attributes.get("axis", -1 if len(task.output) == 2 else 1)}
        )
    ]


def _prelu(task: Task) -> Sequence[LayerParameter] | None:
    slopes = prod(task.shape(1))
    if not task.is_weight(1) or slopes not in (1, task.output[1]):
        return None
    return [task.layer("PReLU", prelu_param={"channel_shared": slopes == 1 != task.output[1]})]


def _pow(task: Task) -> Sequence[LayerParameter] | None:
    exponent = task.value(1, "", None)
    return None if not isinstance(exponent, int | float) else [task.layer("Power", power_param={"power": exponent})]


def _reduce(task: Task) -> Sequence[LayerParameter] | None:
    """Mean or sum over all axes from one on, or over the image, which is pooling."""
    rank = len(task.shape(0))
    axes = sorted(axis % rank for axis in task.value(1, "axes", list(range(rank))))
    operation = {"ReduceMean": "MEAN", "ReduceSum": "SUM"}[task.operator.type]
    if not task.operator.attributes.get("keepdims", 1) and axes == list(range(axes[0], rank)):
        return [task.layer("Reduction", reduction_param={"operation": operation, "axis": axes[0]})]
    if (operation, rank, axes) == ("MEAN", 4, [2, 3]) and task.operator.attributes.get("keepdims", 1):
        return [task.layer("Pooling", pooling_param={"pool": "AVE", "global_pooling": True})]
    return None


def _arg_max(task: Task) -> Sequence[LayerParameter] | None:
    if not task.operator.attributes.get("keepdims", 1):
        return None
    return [task.layer("ArgMax", argmax_param={"axis": task.operator.attributes.get("axis", 0)})]


MAPPERS: dict[str, Mapper] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "Relu": always("ReLU"),
    "LeakyRelu": lambda task: [
        task.layer("ReLU", relu_param={"negative_slope": task.operator.attributes.get("alpha", 0.01)})
    ],
    "PRelu": _prelu,
    "Elu": lambda task: [task.layer("ELU", elu_param={"alpha": task.operator.attributes.get("alpha", 1.0)})],
    "Clip": _clip,
    "Sigmoid": always("Sigmoid"),
    "HardSigmoid": always("HardSigmoid"),
    "HardSwish": always("HardSwish"),
    "Tanh": always("TanH"),
    "Softplus": always("BNLL"),
    "Abs": always("AbsVal"),
    "Exp": always("Exp"),
    "Log": always("Log"),
    "Neg": always("Power", power_param={"scale": -1}),
    "Sqrt": always("Power", power_param={"power": 0.5}),
    "Reciprocal": always("Power", power_param={"power": -1}),
    "Pow": _pow,
    "Softmax": _softmax,
    "Dropout": always("Dropout"),
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Sum": _arithmetic,
    "Max": _arithmetic,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "ArgMax": _arg_max,
}
