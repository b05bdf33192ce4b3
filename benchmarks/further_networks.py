"""Networks of further families, which no choice of SiteCNN's was made by: ONNX files that judge its estimates.

    .venv/bin/python -m benchmarks.further_networks FOLDER

They are written as those of config/networks are, without weights: these are said to lie in `weights.bin` beside them.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from config.networks.generator.layers import (
    IMAGE,
    Graph,
    activate,
    classify,
    concat,
    conv,
    depthwise,
    gate,
    inverted_residual,
    max_pool,
    write_files,
)


def residual(graph: Graph, given: str, inner: str, outputs: int, stride: int) -> str:
    """A sum with what was given, or with its 1×1 convolution, and ReLU (He et al. 2016)."""
    fits = stride == 1 and graph.channels[given] == outputs
    shortcut = given if fits else conv(graph, given, outputs, 1, stride)
    return activate(graph, graph.node("Add", inner, shortcut), "relu")


def resnet34(graph: Graph) -> None:
    """He et al. 2016, table 1."""
    x = max_pool(graph, conv(graph, IMAGE, 64, 7, 2, activation="relu"), 3, 2, 1)
    for channels, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for index in range(depth):
            stride = 2 if channels > 64 and not index else 1
            inner = conv(graph, x, channels, 3, stride, activation="relu")
            x = residual(graph, x, conv(graph, inner, channels, 3), channels, stride)
    classify(graph, x)


def bottlenecks(graph: Graph, group: int, width: int, *, gated: bool = False) -> None:
    """Bottlenecks of `width` channels in groups first, twice as many at each stage, gated by a 16th if so."""
    x = max_pool(graph, conv(graph, IMAGE, 64, 7, 2, activation="relu"), 3, 2, 1)
    for stage, depth in enumerate((3, 4, 6, 3)):
        outputs = 256 << stage
        for index in range(depth):
            stride = 2 if stage and not index else 1
            inner = conv(graph, x, width << stage, activation="relu")
            inner = conv(graph, inner, width << stage, 3, stride, activation="relu", group=group)
            inner = conv(graph, inner, outputs)
            inner = gate(graph, inner, outputs // 16, ("relu", "sigmoid")) if gated else inner
            x = residual(graph, x, inner, outputs, stride)
    classify(graph, x)


def mobilenet_v1(graph: Graph, scale: float) -> None:
    """Howard et al. 2017, table 1, with `scale` times the channels."""
    x = conv(graph, IMAGE, int(32 * scale), 3, 2, activation="relu6")
    for outputs, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ):
        x = conv(graph, depthwise(graph, x, 3, stride, "relu6"), int(outputs * scale), activation="relu6")
    classify(graph, x)


def efficientnet_lite0(graph: Graph) -> None:
    """EfficientNet-B0 without gates and with ReLU6 (TensorFlow's tpu repository, 2020)."""
    x = conv(graph, IMAGE, 32, 3, 2, activation="relu6")
    for expansion, outputs, repeats, stride, kernel in (
        *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
        *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
    ):
        for index in range(repeats):
            inner = expansion * graph.channels[x]
            x = inverted_residual(graph, x, inner, outputs, kernel, 1 if index else stride, "relu6")
    classify(graph, conv(graph, x, 1280, activation="relu6"))


def mnasnet(graph: Graph) -> None:
    """Tan et al. 2019, MnasNet-B1 as torchvision has it: expansion, channels, repeats, stride, kernel."""
    x = conv(graph, IMAGE, 32, 3, 2, activation="relu")
    x = conv(graph, depthwise(graph, x, 3, 1, "relu"), 16)
    for expansion, outputs, repeats, stride, kernel in (
        *((3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3)),
        *((6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
    ):
        for index in range(repeats):
            inner = expansion * graph.channels[x]
            x = inverted_residual(graph, x, inner, outputs, kernel, 1 if index else stride, "relu")
    classify(graph, conv(graph, x, 1280, activation="relu"))


def ghost(graph: Graph, given: str, outputs: int, activation: str = "") -> str:
    """Half of the outputs by 1×1, the others by 3×3 depthwise from these (Han et al. 2020)."""
    primary = conv(graph, given, outputs // 2, activation=activation)
    return concat(graph, primary, depthwise(graph, primary, 3, 1, activation))


def ghostnet(graph: Graph) -> None:
    """Han et al. 2020, table 1: kernel, inner channels, channels, whether gated, stride."""
    x = conv(graph, IMAGE, 16, 3, 2, activation="relu")
    for kernel, inner, outputs, gated, stride in (
        *((3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1)),
        *((3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1)),
        *((3, 672, 112, 1, 1), (5, 672, 160, 1, 2), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1)),
    ):
        wide = ghost(graph, x, inner, "relu")
        wide = depthwise(graph, wide, kernel, stride) if stride > 1 else wide
        wide = gate(graph, wide, -(-inner // 16) * 4, ("relu", "hard_sigmoid")) if gated else wide
        shortcut = x
        if stride > 1 or graph.channels[x] != outputs:
            shortcut = conv(graph, depthwise(graph, x, kernel, stride), outputs)
        x = graph.node("Add", ghost(graph, wide, outputs), shortcut)
    means = graph.node("GlobalAveragePool", conv(graph, x, 960, activation="relu"))
    classify(graph, conv(graph, means, 1280, activation="relu"))


def squeezenet_1_1(graph: Graph) -> None:
    """Iandola et al. 2016, the second release."""
    x = max_pool(graph, conv(graph, IMAGE, 64, 3, 2, activation="relu", pad=0), 3, 2)
    for number, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        x = max_pool(graph, x, 3, 2) if number in (2, 4) else x
        small = conv(graph, x, squeezed, activation="relu")
        x = concat(graph, *(conv(graph, small, 4 * squeezed, kernel, activation="relu") for kernel in (1, 3)))
    graph.node("Flatten", graph.node("GlobalAveragePool", conv(graph, x, 1000, activation="relu")), axis=1)


def tiny_yolo(graph: Graph) -> None:
    """Redmon and Farhadi 2017: YOLOv2-tiny on VOC, LeakyReLU."""
    x = IMAGE
    for channels in (16, 32, 64, 128, 256):
        x = max_pool(graph, leaky(graph, x, channels), 2, 2)
    for channels in (512, 1024, 1024):
        x = leaky(graph, x, channels)
    conv(graph, x, 125)


def leaky(graph: Graph, given: str, channels: int) -> str:
    """3×3 and LeakyReLU."""
    return graph.node("LeakyRelu", conv(graph, given, channels, 3), alpha=0.1)


def xception(graph: Graph) -> None:
    """Chollet 2017, figure 5."""
    x = conv(graph, conv(graph, IMAGE, 32, 3, 2, activation="relu", pad=0), 64, 3, activation="relu", pad=0)
    for outputs in (128, 256, 728):
        inner = separable(graph, x if outputs == 128 else activate(graph, x, "relu"), outputs)
        inner = max_pool(graph, separable(graph, activate(graph, inner, "relu"), outputs), 3, 2, 1)
        x = graph.node("Add", inner, conv(graph, x, outputs, 1, 2))
    for _ in range(8):
        inner = x
        for _ in range(3):
            inner = separable(graph, activate(graph, inner, "relu"), 728)
        x = graph.node("Add", inner, x)
    inner = separable(graph, activate(graph, x, "relu"), 728)
    inner = max_pool(graph, separable(graph, activate(graph, inner, "relu"), 1024), 3, 2, 1)
    x = graph.node("Add", inner, conv(graph, x, 1024, 1, 2))
    for outputs in (1536, 2048):
        x = activate(graph, separable(graph, x, outputs), "relu")
    classify(graph, x)


def separable(graph: Graph, given: str, outputs: int) -> str:
    """3×3 depthwise and 1×1."""
    return conv(graph, depthwise(graph, given, 3), outputs)


def regnet_y_400mf(graph: Graph) -> None:
    """Radosavovic et al. 2020: groups of 8, gates of a quarter of what comes in."""
    x = conv(graph, IMAGE, 32, 3, 2, activation="relu")
    for width, depth in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for index in range(depth):
            stride, given = 1 if index else 2, graph.channels[x]
            inner = conv(graph, x, width, activation="relu")
            inner = conv(graph, inner, width, 3, stride, activation="relu", group=width // 8)
            inner = conv(graph, gate(graph, inner, given // 4, ("relu", "sigmoid")), width)
            x = residual(graph, x, inner, width, stride)
    classify(graph, x)


def repvgg_a0(graph: Graph) -> None:
    """Ding et al. 2021, table 2, its branches merged."""
    x = conv(graph, IMAGE, 48, 3, 2, activation="relu")
    for channels, depth in ((48, 2), (96, 4), (192, 14), (1280, 1)):
        for index in range(depth):
            x = conv(graph, x, channels, 3, 1 if index else 2, activation="relu")
    classify(graph, x)


NETWORKS: dict[str, tuple[Callable[[Graph], None], int]] = {
    "resnet34": (resnet34, 224),
    "resnext50": (partial(bottlenecks, group=32, width=128), 224),
    "se-resnet50": (partial(bottlenecks, group=1, width=64, gated=True), 224),
    "mobilenet-v1-half": (partial(mobilenet_v1, scale=0.5), 160),
    "efficientnet-lite0": (efficientnet_lite0, 224),
    "mnasnet": (mnasnet, 224),
    "ghostnet": (ghostnet, 224),
    "squeezenet1.1": (squeezenet_1_1, 224),
    "tiny-yolo": (tiny_yolo, 416),
    "xception": (xception, 299),
    "regnet-y-400mf": (regnet_y_400mf, 224),
    "repvgg-a0": (repvgg_a0, 224),
}
"""Each network's file and the size of its image."""


if __name__ == "__main__":
    write_files(NETWORKS, Path(sys.argv[1]))
