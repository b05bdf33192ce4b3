"""Nodes as kernels: a kind for each thing that has a law of its own for its time.

All kinds begin with PREFIX, for the same names mean other code in other engines.

- `ort_nchwc_conv_*` and, in plain layout, `ort_conv_*`: `first` (blocks only: reads less channels than a block, plain;
  `few_pointwise`: 1×1 of so few; `scale`: 1×1 depthwise, a factor a channel),
  `pixel` (1×1 on 1×1 pixels), `pointwise` (1×1, stride 1), `depthwise` (`depthwise_3x3`: plain, 3×3, stride 1),
  `grouped`, `window` (all others). `variant` is the activation; `inputs` 2 where a sum is added; channels and elements
  are those in whole blocks. `ort_conv_transpose`, `ort_conv_volume` (not 2-D).
- `ort_gemm` (weights are constant; `m`, `n`, `k`), `ort_matmul` (both are data; `images` of them).
- `ort_nchwc_max_pool`, `…_average_pool`, `…_global_max_pool`, `…_global_average_pool`, and the same without `nchwc_`.
- `ort_reorder_input`, `ort_reorder_output`; variant `last` where channels are last in the plain layout.
- Elementwise by operator: `ort_relu`, `ort_add`, `ort_quick_gelu`, … and `…_broadcast` where inputs differ in shape:
  `window` is how many values a stretched input meets in one go.
- `ort_softmax` (`…_across`: not along the last axis, so that it is turned before and after),
  `ort_layer_normalization`, `ort_reduce_mean`, `ort_lrn`: `window` is what each output is computed of.
- Any other operator by its name: `ort_concat`, `ort_resize` and `ort_nchwc_upsample` (`…_linear` and so on by mode),
  `ort_transpose` (variant: axes), `ort_reshape`, `ort_split`, `ort_slice`, `ort_gather`, …
"""

import re
from math import prod

from sitecnn.network.graph import Shape
from sitecnn.workload.kernels import Kernel, kernel
from sitecnn.workload.lowering.lowered import LoweredKernel
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.nchwc import BLOCKED

PREFIX = "ort_"

ACTIVATIONS = {
    **dict.fromkeys(("Clip", "HardSigmoid"), 1),
    **dict.fromkeys(("LeakyRelu", "HardSwish"), 2),
    **dict.fromkeys(("Sigmoid", "Tanh", "Gelu", "QuickGelu"), 3),
}
"""Classes of the activations that kernels take in, by the work on each output; Relu is done as it is written."""

PRODUCTS = ("Gemm", "MatMul", "FusedMatMul")

PACKED = {"ConvTranspose": (1,), "LSTM": (1, 2), "GRU": (1, 2)}
"""Other operators' constant inputs, by position, that are packed at loading, too."""

POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")


def lowered(graph: Graph, node: Node) -> LoweredKernel:
    """A node as a kernel, with what the profiler shows of it."""
    op = profiled_op(node)
    listed = [position for position, name in enumerate(node.inputs) if shown(graph, node, name)]
    inputs = tuple(input_shape(graph, node, position) for position in listed)
    outputs = tuple(graph.shape(name) for name in node.outputs if name)
    return LoweredKernel(_kernel(graph, node), tuple(dict.fromkeys(node.layers)), op, inputs, outputs)


def profiled_op(node: Node) -> str:
    """The operator's name in a profile: those that take over others' work in plain layout have one of their own."""
    if node.op == "Conv" and not node.nchwc and (node.activation or len(node.inputs) > 3):
        return "FusedConv"
    return "FusedGemm" if node.op == "Gemm" and node.activation else node.op


def shown(graph: Graph, node: Node, name: str) -> bool:
    """Whether a profile lists an input: matrices that are constant are packed at loading and gone."""
    is_matrix = node.op in PRODUCTS and bool(name) and len(graph.shape(name)) == 2
    packed = (1,) if is_matrix else PACKED.get(node.op, ())
    return bool(name) and not (graph.is_weight(name) and node.inputs.index(name) in packed)


def input_shape(graph: Graph, node: Node, position: int) -> Shape:
    """The shape of an input as it is executed: weights and biases of convolutions in blocks have whole ones."""
    shape = graph.shape(node.inputs[position])
    if not (node.nchwc and node.op == "Conv" and position in (1, 2)):
        return shape
    outputs = graph.shape(node.output)[1]
    if position == 2:
        return (outputs,)
    reads_blocks = node.inputs[0].endswith(BLOCKED) and node.attributes.get("group", 1) == 1
    return (outputs, graph.shape(node.inputs[0])[1] if reads_blocks else shape[1], *shape[2:])


def _kernel(graph: Graph, node: Node) -> Kernel:
    given = [graph.shape(name) for name in graph.data(node)]
    outputs = [graph.shape(name) for name in node.outputs if name]
    sizes = _shape_sizes(given[0] if given else ()) | _elements(graph, node, given, outputs)
    _, out_channels, out_height, out_width = _shape_sizes(outputs[0] if outputs else ()).values()
    sizes |= {"out_channels": out_channels, "out_height": out_height, "out_width": out_width}
    if node.op in ("Conv", "ConvTranspose"):
        return _convolution(graph, node, sizes)
    if node.op in PRODUCTS:
        return _product(graph, node, sizes)
    if node.op in POOLS:
        return _pool(graph, node, sizes)
    name = snake_case(node.op)
    if node.op == "Transpose":
        return kernel(PREFIX + name, sizes, "".join(map(str, node.attributes.get("perm") or ())))
    if node.op in ("ReorderInput", "ReorderOutput"):
        return kernel(PREFIX + name, sizes, "last" if node.attributes.get("channels_last") else "")
    if node.op == "Upsample" and node.nchwc:
        return _resizing("nchwc_upsample", node, sizes)
    if node.op in ("Resize", "Upsample"):
        return _resizing("resize", node, sizes)
    if _is_broadcast(graph, node):
        # Whichever input comes first: its time is that of the whole, which the output has.
        whole = _shape_sizes(outputs[0]) | {"window": _span(graph, node)}
        return kernel(f"{PREFIX}{name}_broadcast", sizes | whole)
    if node.op == "Softmax" and prod(given[0][int(node.attributes.get("axis", -1)) % len(given[0]) + 1 :]) > 1:
        name += "_across"
    return kernel(PREFIX + name, sizes | _window(node, given, outputs))


def _resizing(name: str, node: Node, sizes: dict[str, int]) -> Kernel:
    mode = str(node.attributes.get("mode", "nearest"))
    return kernel(PREFIX + (name if mode == "nearest" else f"{name}_{mode}"), sizes, mode)


def _elements(graph: Graph, node: Node, given: list[Shape], outputs: list[Shape]) -> dict[str, int]:
    constants = [position for position, name in enumerate(node.inputs) if graph.is_weight(name)]
    return {
        "inputs": len(given),
        "outputs": len(outputs),
        "in_elements": sum(map(prod, given)),
        "out_elements": sum(map(prod, outputs)),
        "parameters": sum(prod(input_shape(graph, node, position)) for position in constants),
    }


def _shape_sizes(shape: Shape) -> dict[str, int]:
    """Images, channels, height, width; missing axes are 1, axes past the fourth join the width."""
    padded = (*shape, 1, 1, 1, 1)
    width = prod(shape[3:]) if len(shape) > 3 else 1
    return {"images": padded[0], "channels": padded[1], "height": padded[2], "width": width}


def _windows(node: Node, window: Shape) -> dict[str, int]:
    rank = len(window)
    pads = node.attributes.get("pads") or (0,) * 2 * rank
    values = {
        "kernel": window,
        "stride": node.attributes.get("strides") or (1,) * rank,
        "pad": pads[:rank],
        "dilation": node.attributes.get("dilations") or (1,) * rank,
    }
    missing = {"kernel": 1, "stride": 1, "pad": 0, "dilation": 1}
    return {
        f"{name}_{axis}": pair[at] if at < rank else missing[name]
        for name, pair in values.items()
        for at, axis in enumerate("hw")
    }


def _convolution(graph: Graph, node: Node, sizes: dict[str, int]) -> Kernel:
    weight = input_shape(graph, node, 1)
    group = node.attributes.get("group", 1)
    if node.nchwc and group > 1 and graph.shape(node.inputs[1])[1] == 1:
        group = weight[0]
    sizes |= _windows(node, weight[2:]) | {"group": group, "bias": len(node.inputs) > 2 and bool(node.inputs[2])}
    if node.op == "ConvTranspose":
        return kernel(f"{PREFIX}conv_transpose", sizes)
    layout = "nchwc_" if node.nchwc else ""
    sizes |= {"activation": ACTIVATIONS.get(node.activation, 0)}
    return kernel(f"{PREFIX}{layout}conv_{_conv_kind(node, weight, sizes)}", sizes, node.activation)


def _conv_kind(node: Node, weight: Shape, sizes: dict[str, int]) -> str:
    if len(weight) != 4:
        return "volume"
    strides = sizes["stride_h"], sizes["stride_w"]
    if sizes["group"] > 1:
        if weight[1] > 1 or weight[0] != sizes["group"]:
            return "grouped"
        if node.nchwc and weight[2:] == (1, 1):
            return "scale"
        return "depthwise_3x3" if not node.nchwc and weight[2:] == (3, 3) and strides == (1, 1) else "depthwise"
    if node.nchwc and not node.inputs[0].endswith(BLOCKED):
        return "few_pointwise" if weight[2:] == (1, 1) else "first"
    if weight[2:] == (1, 1) and strides == (1, 1):
        return "pixel" if sizes["out_height"] * sizes["out_width"] == 1 else "pointwise"
    return "window"


def _product(graph: Graph, node: Node, sizes: dict[str, int]) -> Kernel:
    left, right, output = (graph.shape(name) for name in (*node.inputs[:2], node.output))
    constant = graph.is_weight(node.inputs[1])
    before_last = 0 if node.attributes.get("transBatchA") else -2
    depth = left[before_last] if node.attributes.get("transA") and len(left) > 1 else left[-1]
    columns = output[-1] if len(right) > 1 else 1
    rows = prod(output) // columns if constant or len(output) < 2 else output[-2]
    images = 1 if constant else prod(output) // (rows * columns)
    flags = {"trans_a": bool(node.attributes.get("transA")), "trans_b": bool(node.attributes.get("transB"))}
    sizes = {name: sizes[name] for name in ("inputs", "outputs", "in_elements", "out_elements", "parameters")}
    sizes |= {"m": rows, "n": columns, "k": depth, "images": images, "bias": len(node.inputs) > 2, **flags}
    sizes |= {"activation": ACTIVATIONS.get(node.activation, 0)}
    return kernel(f"{PREFIX}{'gemm' if constant else 'matmul'}", sizes, node.activation)


def _pool(graph: Graph, node: Node, sizes: dict[str, int]) -> Kernel:
    layout = "nchwc_" if node.nchwc else ""
    window = tuple(node.attributes.get("kernel_shape") or graph.shape(node.inputs[0])[2:])
    sizes |= _windows(node, window) | {"window": prod(window)}
    return kernel(f"{PREFIX}{layout}{snake_case(node.op)}", sizes)


def _is_broadcast(graph: Graph, node: Node) -> bool:
    """Whether an elementwise operator of several inputs stretches one of them."""
    if node.op not in ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Pow", "Where", "PRelu"):
        return False
    return any(graph.shape(name) != graph.shape(node.output) for name in node.inputs if name)


def _span(graph: Graph, node: Node) -> int:
    """Values that a stretched input meets in one go: with as many of its own, or all with one (element_wise_ops.h)."""
    whole = graph.shape(node.output)
    least = prod(whole)
    for given in (graph.shape(name) for name in node.inputs if name):
        padded = (1,) * (len(whole) - len(given)) + tuple(given)
        own = [size == of_whole for size, of_whole in zip(padded, whole, strict=True) if of_whole > 1]
        same = next((place for place, one in enumerate(reversed(own)) if one != own[-1]), len(own))
        sizes = [size for size in whole if size > 1]
        least = min(least, prod(sizes[len(sizes) - same :]))
    return least


def _window(node: Node, given: list[Shape], outputs: list[Shape]) -> dict[str, int]:
    """Elements that each output is computed of, of operators that look along an axis."""
    if node.op == "LRN":
        return {"window": int(node.attributes.get("size", 1))}
    if node.op in ("Softmax", "LogSoftmax") and given:
        return {"window": given[0][int(node.attributes.get("axis", -1))]}
    if node.op.endswith("LayerNormalization") and given:
        return {"window": given[0][-1]}
    if node.op.startswith("Reduce") and given and outputs:
        return {"window": prod(given[0]) // max(prod(outputs[0]), 1)}
    return {}


def snake_case(op: str) -> str:
    """QuickGelu → quick_gelu, LRN → lrn, FusedMatMul → fused_mat_mul."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", op).lower()
