"""ONNX graphs for the tests, hand-written and random, and what the installed ONNX Runtime runs of them."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sitecnn.workload.lowering import LoweredKernel

Executed = Counter[tuple[str, tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]]
"""How many kernels have an operator, shapes of inputs and of outputs."""

LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Builder:
    """Nodes one after another; every method returns the name of what it makes."""

    def __init__(self, shape: Sequence[Any] = (1, 3, 32, 32), opset: int = 17) -> None:
        self.shape, self.opset = tuple(shape), opset
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.random = np.random.default_rng(0)

    def weight(self, *shape: int) -> str:
        """A constant of floats."""
        return self.constant((self.random.random(shape) * 0.1 + 0.5).astype(np.float32))

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A constant of these values."""
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def sizes(self, *values: int) -> str:
        """A constant of 64-bit integers."""
        return self.constant(values, np.int64)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator of one output."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """An operator of several outputs."""
        names = [f"{kind}{len(self.nodes)}_{number}" for number in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"node{len(self.nodes)}", **attributes))
        return names

    def conv(self, given: str, inputs: int, outputs: int, size: int = 1, *, bias: bool = True, **more: Any) -> str:
        """A convolution that keeps the image's size unless `more` says otherwise."""
        weights = [self.weight(outputs, inputs // more.get("group", 1), size, size)]
        weights += [self.weight(outputs)] if bias else []
        return self.op("Conv", given, *weights, **{"pads": [size // 2] * 4, **more})

    def batch_norm(self, given: str, channels: int) -> str:
        """A normalisation by stored means and variances."""
        return self.op("BatchNormalization", given, *(self.weight(channels) for _ in range(4)))

    def model(self, *outputs: str) -> bytes:
        """The file."""
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.initializers,
        )
        model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return model.SerializeToString()


def machine_block(folder: Path) -> int:
    """The block size of this machine, as a convolution of 3 to 5 channels shows it; 0 where it has none."""
    builder = Builder()
    kernels = executed(builder.model(builder.conv("x", 3, 5)), folder, 16)
    widths = {shapes[0][1] for op, _, shapes in kernels if op == "Conv"} - {5}
    return widths.pop() if widths else 0


def counted(kernels: Sequence[LoweredKernel]) -> Executed:
    """Lowered kernels as a profile shows them."""
    return Counter((one.op, one.input_shapes, one.output_shapes) for one in kernels)


def executed(model: bytes | str, folder: Path, block: int, level: str = "all") -> Executed:
    """What the installed ONNX Runtime's profile shows of one run; NCHWc is switched off where `block` is 0.

    Axes that the file leaves open are 1.

    `model` is a file's content or its path.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[level]
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[] if block else ["NchwcTransformer"],
    )
    # A session names the axes that a file leaves open, or says None.
    shapes = {one.name: [axis if isinstance(axis, int) else 1 for axis in one.shape] for one in session.get_inputs()}
    session.run(None, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    events = json.loads(Path(session.end_profiling()).read_text())
    kernels = (event["args"] for event in events if event.get("name", "").endswith("_kernel_time"))
    return Counter(
        (one["op_name"], _shapes(one["input_type_shape"]), _shapes(one["output_type_shape"])) for one in kernels
    )


def _shapes(listed: list[dict[str, list[int]]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for one in listed for shape in one.values())


def random_network(seed: int) -> bytes:
    """A network of about twenty random layers with branches, of the parts that CNNs are made of."""
    draw = random.Random(seed)
    builder = Builder(
        (draw.choice((1, 1, 1, 2)), draw.choice((1, 3, 3, 4, 16, 18, 32)), 24, 24), draw.choice((13, 15, 17))
    )
    blobs = [_Blob("x", builder.shape[1], 24)]
    for _ in range(draw.randint(8, 24)):
        step = draw.choices(list(STEPS), list(STEPS.values()))[0]
        blobs.append(step(builder, draw, draw.choice(blobs[-3:])))
    unread = {one.name for one in blobs} - {name for node in builder.nodes for name in node.input}
    return builder.model(*sorted(unread - {"x"}) or [blobs[-1].name])


def random_orders(seed: int) -> bytes:
    """Layers of channels first and last with Transposes between them, none of two of the same tensor."""
    draw = random.Random(seed)
    builder = Builder((1, 32, 8, 8))
    tensors = {builder.conv("x", 32, 32, 3): True}
    turned: set[str] = set()
    for _ in range(draw.randint(5, 14)):
        given = draw.choice(list(tensors)[-3:])
        step = draw.choice([step for step in ORDER_STEPS if step != _turn or given not in turned])
        turned |= {given} if step == _turn else set()
        name = step(builder, draw, given, tensors)
        tensors[name] = tensors[given] != (step == _turn)
    unread = tensors.keys() - {name for node in builder.nodes for name in node.input}
    return builder.model(*[builder.op("Sigmoid", name) for name in sorted(unread)])


def _turn(builder: Builder, draw: random.Random, given: str, tensors: dict[str, bool]) -> str:
    return builder.op("Transpose", given, perm=[0, 2, 3, 1] if tensors[given] else [0, 3, 1, 2])


def _work(builder: Builder, draw: random.Random, given: str, tensors: dict[str, bool]) -> str:
    """What can only work in the order that its input has."""
    if tensors[given]:
        return builder.conv(given, 32, 32, 3)
    return builder.op("LayerNormalization", given, builder.weight(32), builder.weight(32))


def _scale_or_shift(builder: Builder, draw: random.Random, given: str, tensors: dict[str, bool]) -> str:
    constant = builder.weight(32, 1, 1) if tensors[given] else builder.weight(32)
    return builder.op(draw.choice(("Mul", "Add")), *draw.sample([given, constant], 2))


def _sum(builder: Builder, draw: random.Random, given: str, tensors: dict[str, bool]) -> str:
    same = [name for name, is_first in tensors.items() if is_first == tensors[given]]
    return builder.op("Add", given, draw.choice(same))


def _simple(builder: Builder, draw: random.Random, given: str, tensors: dict[str, bool]) -> str:
    return builder.op(draw.choice(("Relu", "Sigmoid", "Tanh")), given)


ORDER_STEPS = (_turn, _turn, _work, _scale_or_shift, _sum, _sum, _simple)
"""What `random_orders` draws from; `tensors` are all so far, and whether their channels come first."""


class _Blob:
    def __init__(self, name: str, channels: int, size: int) -> None:
        self.name, self.channels, self.size = name, channels, size


CHANNELS = (8, 12, 16, 18, 20, 24, 32, 48, 64)

ACTIVATIONS = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "LeakyRelu",
    "HardSigmoid",
    "HardSwish",
    "Elu",
    "Softplus",
    "Abs",
    "Neg",
    "Erf",
)


def _activate(builder: Builder, draw: random.Random, name: str) -> str:
    kind = draw.choice((*ACTIVATIONS, "Clip", "Silu", "None", "None", "Relu", "Relu"))
    if kind == "None":
        return name
    if kind == "Clip":
        return builder.op("Clip", name, builder.constant(0.0), builder.constant(6.0))
    if kind == "Silu":
        return builder.op("Mul", name, builder.op("Sigmoid", name))
    return builder.op(kind, name) if kind != "HardSwish" or builder.opset > 13 else builder.op("Relu", name)


def _convolution(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    outputs = draw.choice(CHANNELS)
    group = 1
    if draw.random() < 0.3:
        group = draw.choice([g for g in (blob.channels, 2, 4) if blob.channels % g == 0] or [1])
        outputs = blob.channels if draw.random() < 0.8 else outputs - outputs % group or group
    stride = 2 if blob.size > 6 and draw.random() < 0.2 else 1
    more: dict[str, Any] = {"group": group, "strides": [stride] * 2, "bias": draw.random() < 0.6}
    name = builder.conv(blob.name, blob.channels, outputs, draw.choice((1, 3, 3, 5)), **more)
    size = -(-blob.size // stride)
    if draw.random() < 0.4:
        name = builder.batch_norm(name, outputs)
    if draw.random() < 0.2:
        name = builder.op(draw.choice(("Mul", "Add")), name, builder.weight(outputs, 1, 1))
    return _Blob(_activate(builder, draw, name), outputs, size)


def _residual(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    inner = builder.conv(blob.name, blob.channels, blob.channels, draw.choice((1, 3)), bias=draw.random() < 0.6)
    inner = _activate(builder, draw, inner) if draw.random() < 0.3 else inner
    given = [inner, blob.name]
    draw.shuffle(given)
    return _Blob(
        _activate(builder, draw, builder.op(draw.choice(("Add", "Add", "Sum", "Mul")), *given)),
        blob.channels,
        blob.size,
    )


def _pool(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    if blob.size < 6:
        return _Blob(builder.op("Relu", blob.name), blob.channels, blob.size)
    kind = draw.choice(("MaxPool", "AveragePool"))
    return _Blob(builder.op(kind, blob.name, kernel_shape=[2, 2], strides=[2, 2]), blob.channels, blob.size // 2)


def _join(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    parts = [16, *draw.choices(CHANNELS, k=draw.randint(1, 3))]
    names = [builder.conv(blob.name, blob.channels, channels) for channels in parts]
    return _Blob(builder.op("Concat", *names, axis=1), sum(parts), blob.size)


def _gate(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    """Squeeze and excite."""
    pooled = builder.op("GlobalAveragePool", blob.name)
    inner = max(blob.channels // 4, 4)
    squeezed = builder.op("Relu", builder.conv(pooled, blob.channels, inner))
    gate = builder.op(draw.choice(("Sigmoid", "HardSigmoid")), builder.conv(squeezed, inner, blob.channels))
    return _Blob(builder.op("Mul", blob.name, gate), blob.channels, blob.size)


def _shuffle(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    batch, half = builder.shape[0], blob.channels // 2
    if blob.channels % 2:
        return _Blob(builder.op("Relu", blob.name), blob.channels, blob.size)
    name = builder.op("Reshape", blob.name, builder.sizes(batch, 2, half, blob.size, blob.size))
    name = builder.op("Transpose", name, perm=[0, 2, 1, 3, 4])
    name = builder.op("Reshape", name, builder.sizes(batch, blob.channels, blob.size, blob.size))
    return _Blob(name, blob.channels, blob.size)


def _enlarge(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    if blob.size > 12:
        return _Blob(builder.op("Sigmoid", blob.name), blob.channels, blob.size)
    mode = draw.choice((("nearest", "asymmetric"), ("nearest", "half_pixel"), ("linear", "half_pixel")))
    more = {"mode": mode[0], "coordinate_transformation_mode": mode[1], "nearest_mode": "floor"}
    name = builder.op("Resize", blob.name, "", builder.constant([1, 1, 2, 2]), **more)
    return _Blob(name, blob.channels, blob.size * 2)


def _norm(builder: Builder, draw: random.Random, blob: _Blob) -> _Blob:
    if draw.random() < 0.3:
        return _Blob(builder.op("LRN", blob.name, size=5), blob.channels, blob.size)
    return _Blob(_activate(builder, draw, builder.batch_norm(blob.name, blob.channels)), blob.channels, blob.size)


STEPS: dict[Any, int] = {
    _convolution: 8,
    _residual: 4,
    _pool: 2,
    _join: 2,
    _gate: 1,
    _shuffle: 1,
    _enlarge: 1,
    _norm: 1,
}
"""What a random network is made of, with how often."""
