"""Write the ONNX networks of config/networks: .venv/bin/python -m config.networks.generator [FOLDER]

Each is what PyTorch's exporter writes of the published model in evaluation mode (operator set 17): BatchNormalization
is folded into the convolution before it, Dropout and stochastic depth are gone. Two things differ. Reshapes keep the
batch, whatever it is. And no file has weights: they are said to lie in `weights.bin` beside it, where they overlap.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from config.networks.generator.layers import (
    IMAGE,
    Graph,
    activate,
    classify,
    concat,
    conv,
    depthwise,
    gemm,
    halves,
    inverted_residual,
    linear,
    max_pool,
    write_files,
)


def mobilenet_v2(graph: Graph) -> None:
    """Sandler et al. 2018, table 2: expansion, channels, repeats, stride."""
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    x = conv(graph, IMAGE, 32, 3, 2, activation="relu6")
    for expansion, outputs, repeats, stride in table:
        for index in range(repeats):
            inner = expansion * graph.channels[x]
            x = inverted_residual(graph, x, inner, outputs, 3, 1 if index else stride, "relu6")
    classify(graph, conv(graph, x, 1280, activation="relu6"))


def mobilenet_v3_large(graph: Graph) -> None:
    """Howard et al. 2019, table 1: kernel, inner channels, channels, those of the gate, activation, stride."""
    x = conv(graph, IMAGE, 16, 3, 2, activation="hard_swish")
    for kernel, inner, outputs, squeezed, activation, stride in (
        *((3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1)),
        *((5, 72, 40, 24, "relu", 2), (5, 120, 40, 32, "relu", 1), (5, 120, 40, 32, "relu", 1)),
        *((3, 240, 80, 0, "hard_swish", 2), (3, 200, 80, 0, "hard_swish", 1)),
        *((3, 184, 80, 0, "hard_swish", 1), (3, 184, 80, 0, "hard_swish", 1)),
        *((3, 480, 112, 120, "hard_swish", 1), (3, 672, 112, 168, "hard_swish", 1)),
        *((5, 672, 160, 168, "hard_swish", 2), (5, 960, 160, 240, "hard_swish", 1)),
        (5, 960, 160, 240, "hard_swish", 1),
    ):
        gating = (squeezed, "relu", "hard_sigmoid") if squeezed else None
        x = inverted_residual(graph, x, inner, outputs, kernel, stride, activation, gating)
    means = graph.node("GlobalAveragePool", conv(graph, x, 960, activation="hard_swish"))
    gemm(graph, gemm(graph, graph.node("Flatten", means, axis=1), 1280, "hard_swish"), 1000)


def efficientnet_b0(graph: Graph) -> None:
    """Tan and Le 2019, table 1: expansion, channels, repeats, stride, kernel; gates of a quarter of what comes in."""
    x = conv(graph, IMAGE, 32, 3, 2, activation="silu")
    for expansion, outputs, repeats, stride, kernel in (
        *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
        *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
    ):
        for index in range(repeats):
            given = graph.channels[x]
            gating = (given // 4, "silu", "sigmoid")
            shape = expansion * given, outputs, kernel, 1 if index else stride
            x = inverted_residual(graph, x, *shape, "silu", gating)
    classify(graph, conv(graph, x, 1280, activation="silu"))


def shuffle(graph: Graph, one: str, other: str, size: int) -> str:
    """Channels of two tensors in turn."""
    channels = 2 * graph.channels[one]
    shape = graph.constant(0, 2, channels // 2, size, size), graph.constant(0, channels, size, size)
    apart = graph.node("Reshape", concat(graph, one, other), shape[0])
    return graph.node("Reshape", graph.node("Transpose", apart, perm=[0, 2, 1, 3, 4]), shape[1], channels=channels)


def shuffle_branch(graph: Graph, given: str, outputs: int, stride: int) -> str:
    """Pointwise, depthwise, pointwise (Ma et al. 2018, figure 3)."""
    inner = depthwise(graph, conv(graph, given, outputs, activation="relu"), 3, stride)
    return conv(graph, inner, outputs, activation="relu")


def shufflenet_v2(graph: Graph) -> None:
    """Ma et al. 2018, table 5, 1×: channels and repeats."""
    x = max_pool(graph, conv(graph, IMAGE, 24, 3, 2, activation="relu"), 3, 2, 1)
    for size, outputs, repeats in ((28, 116, 4), (14, 232, 8), (7, 464, 4)):
        kept = conv(graph, depthwise(graph, x, 3, 2), outputs // 2, activation="relu")
        x = shuffle(graph, kept, shuffle_branch(graph, x, outputs // 2, 2), size)
        for _ in range(repeats - 1):
            kept, worked_on = halves(graph, x)
            x = shuffle(graph, kept, shuffle_branch(graph, worked_on, outputs // 2, 1), size)
    means = graph.node("ReduceMean", conv(graph, x, 1024, activation="relu"), axes=[2, 3], keepdims=0)
    gemm(graph, means, 1000)


def regnet_x_400mf(graph: Graph) -> None:
    """Radosavovic et al. 2020: widths and depths of w_0 = 24, w_a = 24.48, w_m = 2.54, 22 blocks, groups of 16."""
    x = conv(graph, IMAGE, 32, 3, 2, activation="relu")
    for width, depth in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for index in range(depth):
            shortcut = x if index else conv(graph, x, width, 1, 2)
            inner = conv(graph, x, width, activation="relu")
            inner = conv(graph, inner, width, 3, 1 if index else 2, activation="relu", group=width // 16)
            x = activate(graph, graph.node("Add", shortcut, conv(graph, inner, width)), "relu")
    classify(graph, x)


def normalise(graph: Graph, given: str) -> str:
    """LayerNormalization along the last axis."""
    weights = graph.weights(graph.channels[given]), graph.weights(graph.channels[given])
    return graph.node("LayerNormalization", given, *weights, axis=-1, epsilon=1e-6)


def channels_last(graph: Graph, given: str) -> str:
    """Channels behind the pixels."""
    return graph.node("Transpose", given, perm=[0, 2, 3, 1])


def channels_first(graph: Graph, given: str) -> str:
    """Channels before the pixels."""
    return graph.node("Transpose", given, perm=[0, 3, 1, 2])


def gelu(graph: Graph, given: str) -> str:
    """x · (1 + erf(x/√2)) · 1/2, as it is exported before operator set 20."""
    error = graph.node("Erf", graph.node("Div", given, graph.constant(2**0.5, scalar=True)))
    product = graph.node("Mul", given, graph.node("Add", error, graph.constant(1.0, scalar=True)))
    return graph.node("Mul", product, graph.constant(0.5, scalar=True))


def convnext_block(graph: Graph, given: str) -> str:
    """Liu et al. 2022, figure 4; pixels' channels by linear layers, and a factor a channel."""
    channels = graph.channels[given]
    inner = normalise(graph, channels_last(graph, depthwise(graph, given, 7)))
    inner = linear(graph, gelu(graph, linear(graph, inner, 4 * channels)), channels)
    scaled = graph.node("Mul", graph.weights(channels, 1, 1), channels_first(graph, inner), channels=channels)
    return graph.node("Add", scaled, given)


def convnext_tiny(graph: Graph) -> None:
    """Liu et al. 2022: channels and depths of ConvNeXt-T."""
    x = conv(graph, IMAGE, 96, 4, 4, pad=0)
    x = channels_first(graph, normalise(graph, channels_last(graph, x)))
    for channels, depth in ((96, 3), (192, 3), (384, 9), (768, 3)):
        if channels > 96:
            normal = channels_first(graph, normalise(graph, channels_last(graph, x)))
            x = conv(graph, normal, channels, 2, 2, pad=0)
        for _ in range(depth):
            x = convnext_block(graph, x)
    normal = normalise(graph, channels_last(graph, graph.node("GlobalAveragePool", x)))
    gemm(graph, graph.node("Flatten", channels_first(graph, normal), axis=1), 1000)


def c2f(graph: Graph, given: str, outputs: int, repeats: int, *, add: bool = False) -> str:
    """YOLOv8's block: half of the channels pass `repeats` pairs of convolutions, and all that came of it is joined."""
    parts = halves(graph, conv(graph, given, outputs, activation="silu"))
    for _ in range(repeats):
        inner = conv(graph, parts[-1], outputs // 2, 3, activation="silu")
        inner = conv(graph, inner, outputs // 2, 3, activation="silu")
        parts.append(graph.node("Add", parts[-1], inner) if add else inner)
    return conv(graph, concat(graph, *parts), outputs, activation="silu")


def enlarge(graph: Graph, given: str) -> str:
    """Twice as high and wide, each pixel four times."""
    how: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
    return graph.node("Resize", given, "", graph.constant(1.0, 1.0, 2.0, 2.0), **how)


def yolo_backbone(graph: Graph) -> list[str]:
    """Features at an eighth, a sixteenth and a 32nd of the image's size."""
    x = conv(graph, IMAGE, 16, 3, 2, activation="silu")
    levels = []
    for channels, repeats in ((32, 1), (64, 2), (128, 2), (256, 1)):
        x = c2f(graph, conv(graph, x, channels, 3, 2, activation="silu"), channels, repeats, add=True)
        levels.append(x)
    pools = [conv(graph, x, 128, activation="silu")]
    for _ in range(3):
        pools.append(max_pool(graph, pools[-1], 5, 1, 2))
    return [*levels[1:3], conv(graph, concat(graph, *pools), 256, activation="silu")]


def yolo_neck(graph: Graph, levels: Sequence[str]) -> list[str]:
    """Features of each size mixed with the others', down and up again."""
    fine, middle, coarse = levels
    middle = c2f(graph, concat(graph, enlarge(graph, coarse), middle), 128, 1)
    fine = c2f(graph, concat(graph, enlarge(graph, middle), fine), 64, 1)
    middle = c2f(graph, concat(graph, conv(graph, fine, 64, 3, 2, activation="silu"), middle), 128, 1)
    coarse = c2f(graph, concat(graph, conv(graph, middle, 128, 3, 2, activation="silu"), coarse), 256, 1)
    return [fine, middle, coarse]


def yolo_branch(graph: Graph, given: str, inner: int, outputs: int) -> str:
    """Boxes' or classes' values at each pixel."""
    once = conv(graph, given, inner, 3, activation="silu")
    return conv(graph, conv(graph, once, inner, 3, activation="silu"), outputs)


def yolo_boxes(graph: Graph, distances: str, places: int) -> str:
    """Four distances of 16 bins each → centre, width and height in pixels of the image."""
    bins = graph.node("Reshape", distances, graph.constant(0, 4, 16, places))
    bins = graph.node("Softmax", graph.node("Transpose", bins, perm=[0, 2, 1, 3]), axis=1, channels=16)
    sides = graph.node("Reshape", conv(graph, bins, 1, bias=False), graph.constant(0, 4, places), channels=4)
    near, far = halves(graph, sides)
    centres = graph.weights(1, 2, places)
    low, high = graph.node("Sub", centres, near, channels=2), graph.node("Add", centres, far, channels=2)
    middle = graph.node("Div", graph.node("Add", low, high), graph.constant(2.0, scalar=True))
    return graph.node("Mul", concat(graph, middle, graph.node("Sub", high, low)), graph.weights(1, places))


def yolov8n(graph: Graph) -> None:
    """Ultralytics 2023, the smallest, with COCO's 80 classes; its distances are of 16 bins."""
    heads = []
    for level in yolo_neck(graph, yolo_backbone(graph)):
        boxes, classes = yolo_branch(graph, level, 64, 64), yolo_branch(graph, level, 80, 80)
        heads.append(graph.node("Reshape", concat(graph, boxes, classes), graph.constant(0, 144, -1)))
    places = sum((graph.size // stride) ** 2 for stride in (8, 16, 32))
    joined = graph.node("Concat", *heads, channels=144, axis=2)
    distances, scores = graph.split("Split", joined, graph.constant(64, 80), channels=[64, 80], axis=1)
    concat(graph, yolo_boxes(graph, distances, places), graph.node("Sigmoid", scores))


def unet_block(graph: Graph, given: str, channels: int) -> str:
    """Two convolutions."""
    return conv(graph, conv(graph, given, channels, 3, activation="relu"), channels, 3, activation="relu")


def unet(graph: Graph) -> None:
    """Ronneberger et al. 2015, padded, with 32 channels first: Buda et al. 2019, on PyTorch Hub."""
    x, levels = IMAGE, []
    for channels in (32, 64, 128, 256):
        levels.append(unet_block(graph, x, channels))
        x = max_pool(graph, levels[-1], 2, 2)
    x = unet_block(graph, x, 512)
    for level in reversed(levels):
        channels = graph.channels[level]
        weights = graph.weights(graph.channels[x], channels, 2, 2), graph.weights(channels)
        windows = {"kernel_shape": [2, 2], "strides": [2, 2]}
        larger = graph.node("ConvTranspose", x, *weights, channels=channels, **windows)
        x = unet_block(graph, concat(graph, larger, level), channels)
    conv(graph, x, 1, activation="sigmoid")


NETWORKS: dict[str, tuple[Callable[[Graph], None], int]] = {
    "mobilenet-v2": (mobilenet_v2, 224),
    "mobilenet-v3-large": (mobilenet_v3_large, 224),
    "efficientnet-b0": (efficientnet_b0, 224),
    "shufflenet-v2": (shufflenet_v2, 224),
    "regnet-x-400mf": (regnet_x_400mf, 224),
    "convnext-tiny": (convnext_tiny, 224),
    "yolov8n": (yolov8n, 320),
    "unet": (unet, 256),
}
"""Each network's file and the size of its image."""


if __name__ == "__main__":
    write_files(NETWORKS, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
