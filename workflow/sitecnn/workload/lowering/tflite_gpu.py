"""What TFLite's GPU delegate makes of a network: kernels that elementwise work is linked to.

After tensorflow/lite/delegates/gpu/common (gpu_model.cc: MergeNodes; selectors/operation_selector.cc, and
tasks/winograd.cc: IsSuitableForWinograd4x4To6x6), and the names of kernels in public measurements of phones. The kinds
are those of `sitecnn import kernels`; `tflite_pad` and `tflite_elementwise` run, and no table lists them.
"""

from math import ceil, prod

from sitecnn.network.graph import Network, Shape
from sitecnn.workload.engines import JOINT, WINOGRAD, Engine
from sitecnn.workload.kernels import FLOAT_BYTES, Kernel, kernel
from sitecnn.workload.lowering.lowered import EngineMemory, LoweredKernel
from sitecnn.workload.lowering.onnxruntime import basic
from sitecnn.workload.lowering.onnxruntime.buffers import pattern, plan, weights_bytes
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.rules import Rules
from sitecnn.workload.lowering.onnxruntime.translate import to_graph

LINKED = {
    **{op: op.lower() for op in ("Relu", "Add", "Sub", "Mul", "Div", "Sigmoid", "Tanh", "Elu", "Exp", "Abs", "Neg")},
    **{op: op.lower() for op in ("Sqrt", "Log", "Pow", "Min", "Max")},
    **{"Clip": "relu", "LeakyRelu": "relu", "PRelu": "prelu", "HardSwish": "hard_swish", "HardSigmoid": "relu+mul"},
    **{"Sum": "add", "BatchNormalization": "mul+add"},
}
"""Elementwise operators, which are linked to the kernel before them where they can be, as its name has them."""

EXPONENTIAL = ("sigmoid", "hard_swish", "tanh")

FREE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Identity")
"""Operators of which nothing runs."""

MOVING = ("Softmax", "LogSoftmax", "Transpose", "Resize", "Upsample", "Slice", "Split", "Pad", "DepthToSpace", "Expand")
"""Operators that move elements, a kernel each."""

WINOGRAD_SLICES, WINOGRAD_TILES = 16, 32
"""Slices of inputs and of outputs, and tiles of 4 × 4 outputs, from which on 3×3 convolutions of stride 1 are
transformed where a GPU does so at all: 228 of 228 such kernels of two phones, and none of 672 others."""

JOINT_CHANNELS, JOINT_WEIGHTS = 16, 256
"""Most channels of a depthwise convolution, and weights of the pointwise one behind it, that are one kernel."""


def lower(network: Network, engine: Engine) -> tuple[LoweredKernel, ...]:
    """The kernels that the delegate runs; NetworkError for a layer of Caffe that ONNX has no operators for."""
    return lower_whole(network, engine)[0]


def lower_whole(network: Network, engine: Engine) -> tuple[tuple[LoweredKernel, ...], EngineMemory]:
    """The kernels, and the bytes of weights and of what is alive at once as fp32; errors as `lower`'s."""
    graph = to_graph(network)
    basic.optimise(graph, Rules(Engine().release))
    graph.sort()
    place = {id(node): position for position, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node in graph:
            _link(graph, node, place, engine)
    working = [node for node in graph.nodes if node.op not in FREE]
    kernels = tuple(one for node in working for one in _lowered(graph, node, engine))
    return kernels, EngineMemory(weights_bytes(graph), _buffers_bytes(graph), len(kernels))


def _buffers_bytes(graph: Graph) -> int:
    """One block in which every value has a place while it is alive."""
    steps = plan(graph)
    sizes = {name: FLOAT_BYTES * prod(graph.shape(name)) for step in steps for name in step.allocated}
    return pattern(steps, sizes, graph.outputs)[1]


def _link(graph: Graph, node: Node, place: dict[int, int], engine: Engine) -> None:
    """Take in what follows: what it alone hands its output to, as long as all that this reads is there."""
    linked: list[str] = []
    while not _is_winograd(graph, node, engine) and (follower := graph.follower(node)) is not None:
        if engine_joins := _joins(graph, node, follower, engine):
            node.attributes["pointwise"] = graph.shape(follower.output)[1]
        elif not _is_linkable(graph, node, follower, place):
            break
        other_layers = () if engine_joins else LINKED[follower.op].split("+")
        linked += other_layers
        for name in [name for name in graph.data(follower) if name != node.output]:
            graph.set_input(node, len(node.inputs), name)
        graph.fuse(node, follower)
    node.attributes["linked"] = tuple(linked)


def _is_linkable(graph: Graph, node: Node, follower: Node, place: dict[int, int]) -> bool:
    if follower.op not in LINKED or node.op in FREE or graph.shape(follower.output) != graph.shape(node.output):
        return False
    others = [graph.makers[name] for name in graph.data(follower) if name != node.output and name in graph.makers]
    return all(place[id(other)] < place[id(node)] for other in others)


def _joins(graph: Graph, node: Node, follower: Node, engine: Engine) -> bool:
    """Whether a pointwise convolution runs in the kernel of a small depthwise one."""
    if JOINT not in engine.variants or _kind(graph, node, engine) != "tflite_depthwise_convolution":
        return False
    if follower.op != "Conv" or "pointwise" in node.attributes:
        return False
    outputs, inputs, *window = graph.shape(follower.inputs[1])
    is_pointwise = set(window) == {1} and _stride(follower) == 1 and inputs == graph.shape(node.output)[1]
    return is_pointwise and inputs <= JOINT_CHANNELS and inputs * outputs <= JOINT_WEIGHTS


def _is_winograd(graph: Graph, node: Node, engine: Engine) -> bool:
    if WINOGRAD not in engine.variants or node.op != "Conv" or node.attributes.get("group", 1) != 1:
        return False
    outputs, inputs, *window = graph.shape(node.inputs[1])
    tiles = prod(ceil(length / 4) for length in graph.shape(node.output)[2:])
    is_plain = window == [3, 3] and _stride(node) == 1 and set(node.attributes.get("dilations") or (1,)) == {1}
    return is_plain and min(ceil(outputs / 4), ceil(inputs / 4)) >= WINOGRAD_SLICES and tiles >= WINOGRAD_TILES


def _stride(node: Node) -> int:
    return int((node.attributes.get("strides") or (1,))[0])


def _kind(graph: Graph, node: Node, engine: Engine) -> str:
    """The kind of a node's kernel."""
    in_shape, out_shape = graph.shape(node.inputs[0]), graph.shape(node.output)
    if node.op == "Conv":
        per_group = graph.shape(node.inputs[1])[1]
        group = node.attributes.get("group", 1)
        if "pointwise" in node.attributes:
            return f"tflite_{JOINT}"
        if group > 1:
            return "tflite_depthwise_convolution" if per_group == 1 else "tflite_convolution_2d_grouped"
        is_product = prod(in_shape[2:]) == prod(out_shape[2:]) == 1
        whole = f"tflite_{WINOGRAD}" if _is_winograd(graph, node, engine) else "tflite_convolution_2d"
        return "tflite_fully_connected" if is_product else whole
    if node.op == "Gemm" or (node.op == "MatMul" and graph.is_weight(node.inputs[1])):
        return "tflite_fully_connected"
    if node.op in ("GlobalAveragePool", "ReduceMean") or (node.op == "AveragePool" and prod(out_shape[2:]) == 1):
        return "tflite_mean"
    pools = {"MaxPool": "pooling_2d", "GlobalMaxPool": "pooling_2d", "AveragePool": "average_pooling_2d"}
    if node.op in pools:
        return f"tflite_{pools[node.op]}"
    if node.op in LINKED or node.op in MOVING:
        return "tflite_elementwise"
    return f"tflite_{node.op.rpartition('.')[2].lower()}"


def _lowered(graph: Graph, node: Node, engine: Engine) -> tuple[LoweredKernel, ...]:
    """A node's kernel, behind one that pads its input where that is not as TensorFlow's SAME does."""
    kind = _kind(graph, node, engine)
    main = LoweredKernel(_kernel(graph, node, kind), tuple(dict.fromkeys(node.layers)), node.op)
    padded = main.kernel["height"], main.kernel["width"]
    shape = graph.shape(node.inputs[0])
    if node.op not in ("Conv", "MaxPool", "AveragePool") or padded == shape[2:]:
        return (main,)
    pad = kernel("tflite_pad", _map_sizes((*shape[:2], *padded), (*shape[:2], *padded)))
    return (LoweredKernel(pad, main.layers[:1], "Pad"), main)


def _kernel(graph: Graph, node: Node, kind: str) -> Kernel:
    data = graph.data(node)
    in_shape, out_shape = graph.shape(data[0] if data else node.inputs[0]), graph.shape(node.output)
    if node.op in ("Conv", "MaxPool", "AveragePool") and len(in_shape) == 4:
        in_shape = (*in_shape[:2], *_padded(node, in_shape[2:], out_shape[2:], _window(graph, node)))
    sizes = _map_sizes(in_shape, out_shape)
    if node.op == "Conv" or kind == "tflite_fully_connected":
        sizes |= _weights(graph, node)
    if node.op in ("Conv", "MaxPool", "AveragePool") and kind != "tflite_mean":
        height, width = _window(graph, node)
        sizes |= {"kernel_h": height, "kernel_w": width, "stride_h": _stride(node), "stride_w": _stride(node)}
    if kind == "tflite_concat":
        sizes |= {"inputs": len(node.inputs)}
    linked: tuple[str, ...] = node.attributes.get("linked", ())
    activation = (len(linked) > 0) + any(name in EXPONENTIAL for name in linked)
    return kernel(kind, sizes | {"accumulate": "add" in linked, "activation": activation}, "+".join(linked))


def _weights(graph: Graph, node: Node) -> dict[str, int]:
    """Group and number of weights, both convolutions' where two are one kernel."""
    weights, group = prod(graph.shape(node.inputs[1])), int(node.attributes.get("group", 1))
    joint = node.attributes.get("pointwise", 0) * graph.shape(node.inputs[1])[0]
    return {"parameters": weights + joint, "group": group}


def _window(graph: Graph, node: Node) -> tuple[int, int]:
    height, width = node.attributes.get("kernel_shape") or graph.shape(node.inputs[1])[2:]
    return int(height), int(width)


def _padded(node: Node, in_size: Shape, out_size: Shape, window: tuple[int, int]) -> Shape:
    """Height and width that are read: with pads where TensorFlow's SAME puts others."""
    pads = tuple(node.attributes.get("pads") or (0, 0, 0, 0))
    wanted = tuple(
        max((out - 1) * _stride(node) + size - length, 0)
        for out, size, length in zip(out_size, window, in_size, strict=True)
    )
    same = tuple(total // 2 for total in wanted) + tuple(total - total // 2 for total in wanted)
    auto = node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", b"NOTSET", b"VALID")
    if auto or not any(pads) or pads == same:
        return in_size
    return (in_size[0] + pads[0] + pads[2], in_size[1] + pads[1] + pads[3])


def _map_sizes(in_shape: Shape, out_shape: Shape) -> dict[str, int]:
    """Images, channels, height and width of both, as the published tables have them: a product's map is 1 × 1."""
    images, channels, height, width = _as_map(in_shape)
    _, out_channels, out_height, out_width = _as_map(out_shape)
    sizes = {"images": images, "channels": channels, "height": height, "width": width}
    sizes |= {"out_channels": out_channels, "out_height": out_height, "out_width": out_width}
    return sizes | {"in_elements": channels * height * width, "out_elements": out_channels * out_height * out_width}


def _as_map(shape: Shape) -> tuple[int, int, int, int]:
    """Four axes of any shape: of two they are images and channels; more than four are folded into the width."""
    images, channels, height, width = (
        (*shape[:3], prod(shape[3:])) if len(shape) > 2 else (*shape, *(1,) * (4 - len(shape)))
    )
    return images, channels, height, width
