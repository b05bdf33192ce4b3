"""Probe networks from a seed: chains of blocks from an image down to a few pixels, and what CNNs have at their end."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto

from sitecnn.boards.probes import layers
from sitecnn.boards.probes.blocks import BLOCKS, FUSED_ACTIVATIONS, OWN_ACTIVATIONS, POOLS, Block, grouped
from sitecnn.boards.probes.drawing import Deck, EvenDraws
from sitecnn.boards.probes.graph import INPUT, Graph
from sitecnn.boards.probes.probe import FEW, WIDTHS, Probe, resolution

SIZES = (64, 96, 112, 128, 160, 192, 200, 224, 224, 256, 288, 320, 416)
"""Heights of images; small ones make chains whose blobs stay in a cache."""

GRAINS: tuple[tuple[int, ...], ...] = (
    (16, 16, 16, 8, 8, 4),
    (16,),
    (8, 16),
    (16, 16, 8, 4),
    (1, 2, 2),
    (16, 8),
    (4, 4, 8),
    (16,),
)
"""What channels are multiples of, a chain each in turn: an eighth has counts that no vector takes whole."""

MOST_MACS = (8e6, 150e6, 20e6, 50e6, 8e6, 20e6, 400e6, 50e6, 20e6)
"""What a layer has at most, a chain each in turn: networks of small layers and of large ones."""

STEMS = {(3, 2): 6, (3, 1): 2, (7, 2): 2, (4, 4): 1, (11, 4): 1, (5, 2): 1, (6, 2): 1}
"""(kernel, stride) of the first convolution."""

STEM_OUTPUTS = (8, 16, 24, 32, 48, 64, 64, 96)

DOWNS = {
    "3x3": 3,
    "depthwise 3x3": 2,
    "depthwise 5x5": 1.5,
    "pool": 3,
    "1x1": 1,
    "residual": 2,
    "patch": 1,
    "grouped": 1,
}
"""What halves height and width."""

DOWN_POOLS = (("max", 3, 2, 1), ("max", 2, 2, 0), ("average", 2, 2, 0), ("max", 3, 2, 0), ("average", 3, 2, 1))

HEADS = {"linear": 4, "large": 3, "mean": 1, "convolution": 1, "two": 1}
"""What a network ends in."""

LEAST_HEIGHT = 10
"""A chain of so few pixels goes on to its head."""

LARGEST_PRODUCT, LARGEST_FIRST_PRODUCT = 25e6, 33e6
"""Weights of a fully connected layer at most (AlexNet's and VGG's second are 17 million), and of a head's first."""


def probe_models(seed: int, count: int) -> list[ModelProto]:
    """`count` probe networks at batch 1, called `probe-001` and so on; the same for the same seed."""
    generator = Generator(seed, Recipe())
    return [generator.chain(number).model() for number in range(1, count + 1)]


@dataclass(frozen=True)
class Recipe:
    """What an engine's probes are made of: the weights of decks, and lists that chains go through in turn."""

    name: str = "probe"
    graph: Callable[[str, int], Graph] = Graph
    blocks: Mapping[str, tuple[float, Block]] = field(default_factory=lambda: BLOCKS)
    fused: Mapping[str, float] = field(default_factory=lambda: FUSED_ACTIVATIONS)
    own: Mapping[str, float] = field(default_factory=lambda: OWN_ACTIVATIONS)
    pools: Mapping[tuple[str, int, int, int], float] = field(default_factory=lambda: POOLS)
    sizes: Mapping[int, float] = field(default_factory=lambda: dict.fromkeys(SIZES, 1) | {224: 2})
    stems: Mapping[tuple[int, int], float] = field(default_factory=lambda: STEMS)
    downs: Mapping[str, float] = field(default_factory=lambda: DOWNS)
    heads: Mapping[str, float] = field(default_factory=lambda: HEADS)
    grains: tuple[tuple[int, ...], ...] = GRAINS
    most_macs: tuple[float, ...] = MOST_MACS
    lengths: tuple[int, ...] = (2, 3, 3, 4)
    """Blocks at each height."""


class Generator:
    """Decks that go on from chain to chain, so that all chains together have what one alone could not."""

    def __init__(self, seed: int, recipe: Recipe) -> None:
        self.recipe, self.generator = recipe, random.Random(seed)  # noqa: S311  # sizes, no secrets
        self.draws = EvenDraws(self.generator)
        weights = {name: weight for name, (weight, _) in recipe.blocks.items()}
        self.blocks = [Deck(self.generator, weights) for _ in WIDTHS]
        self.sizes = Deck(self.generator, recipe.sizes)
        self.stems, self.downs = Deck(self.generator, recipe.stems), Deck(self.generator, recipe.downs)
        self.heads = Deck(self.generator, recipe.heads)
        self.fused, self.own = Deck(self.generator, recipe.fused), Deck(self.generator, recipe.own)
        self.pools = Deck(self.generator, recipe.pools)

    def chain(self, number: int) -> Graph:
        """The next probe; all before it must have been drawn."""
        recipe = self.recipe
        graph = recipe.graph(f"{recipe.name}-{number:03d}", self.sizes.draw())
        grains, most_macs = recipe.grains[number % len(recipe.grains)], recipe.most_macs[number % len(recipe.most_macs)]
        probe = Probe(graph, self.generator, self.draws, self.fused, self.own, self.pools, grains, most_macs)
        tensor = self.stem(probe)
        while True:
            for _ in range(self.generator.choice(recipe.lengths)):
                _, height = probe.shape(tensor)
                _, block = recipe.blocks[self.blocks[resolution(height)].draw()]
                tensor = block(probe, tensor)
            if probe.shape(tensor)[1] < LEAST_HEIGHT or graph.is_full:
                self.head(probe, tensor)
                return graph
            tensor = self.down(probe, tensor)

    def stem(self, probe: Probe) -> str:
        """The convolution that reads the image."""
        _, size = probe.shape(INPUT)
        kernel, stride = self.stems.draw()
        stride = 2 if stride == 1 and size > 256 else stride
        outputs = probe.limited(self.generator.choice(STEM_OUTPUTS), size // stride, 3 * kernel**2)
        pad = 0 if kernel == 4 else None
        activation = self.fused.draw()
        return layers.convolution(probe.graph, INPUT, outputs, kernel, stride=stride, pad=pad, activation=activation)

    def down(self, probe: Probe, tensor: str) -> str:
        """Half the height and width."""
        kind, graph = self.downs.draw(), probe.graph
        if kind == "pool":
            return layers.pool(graph, tensor, *self.generator.choice(DOWN_POOLS))
        if kind == "grouped":
            return grouped(probe, tensor, stride=2)
        tensor = probe.fitting(tensor, 9 * FEW / 2)
        channels, height = probe.shape(tensor)
        if kind.startswith("depthwise"):
            tensor = probe.perhaps(tensor, probe.drawn(f"down {kind}", height, channels, 1, 0.6))
            return layers.depthwise(graph, tensor, int(kind[-1]), stride=2, activation=self.fused.draw())
        kernel, half = {"3x3": 3, "1x1": 1, "patch": 2, "residual": 1}[kind], -(-height // 2)
        outputs = probe.drawn(f"down {kind}", half, kernel**2 * channels)
        if kind != "residual":
            pad = 0 if kind == "patch" else None
            activation = self.fused.draw()
            return layers.convolution(graph, tensor, outputs, kernel, stride=2, pad=pad, activation=activation)
        inner = probe.limited(outputs / 2, half, max(9 * channels, outputs))
        inner_tensor = layers.convolution(graph, tensor, inner, 3, stride=2, activation="relu")
        main = layers.convolution(graph, inner_tensor, outputs)
        return layers.add(graph, main, layers.convolution(graph, tensor, outputs, stride=2), "relu")

    def head(self, probe: Probe, tensor: str) -> None:
        """Classes from the last pixels: means, or all pixels in a row, and products."""
        kind, graph = self.heads.draw(), probe.graph
        if kind == "convolution":
            self.convolution_head(probe, tensor)
        elif kind == "large":
            tensor = probe.fitting(tensor)
            channels, height = probe.shape(tensor)
            tensor = tensor if channels <= 512 else probe.to_channels(tensor, probe.limited(512, height, channels))
            while probe.shape(tensor)[1] > 8:
                tensor = layers.pool(graph, tensor, "max", 2, 2)
            tensor = layers.flatten(graph, tensor)
            weights = self.draws.log_uniform("large product", 5e5, LARGEST_FIRST_PRODUCT)
            outputs = int(min(4096, max(64, weights / graph.shapes[tensor][1])))
            tensor = layers.fully_connected(graph, tensor, outputs, "relu")
            layers.softmax(graph, self.product(probe, tensor, 64, 4096, self.generator.choice(("relu", ""))))
        else:
            self.linear_head(probe, tensor, kind)

    def convolution_head(self, probe: Probe, tensor: str) -> None:
        """A 1×1 convolution and the means of its channels."""
        graph, tensor = probe.graph, probe.fitting(tensor)
        channels, height = probe.shape(tensor)
        tensor = layers.convolution(graph, tensor, probe.limited(1000, height, channels), activation="relu")
        layers.softmax(graph, layers.flatten(graph, layers.global_average(graph, tensor)))

    def linear_head(self, probe: Probe, tensor: str, kind: str) -> None:
        """Means of channels and one or two products."""
        graph, tensor = probe.graph, probe.fitting(tensor)
        channels, height = probe.shape(tensor)
        if kind == "mean":
            axes = graph.constant(np.array([2, 3], np.int64))
            tensor = graph.node("ReduceMean", [tensor, axes], graph.shapes[tensor][:2], keepdims=0)
        else:
            if self.generator.random() < 0.6:
                outputs = probe.drawn("head", height, channels)
                tensor = layers.convolution(graph, tensor, outputs, activation=self.fused.draw())
            tensor = layers.flatten(graph, layers.global_average(graph, tensor))
        if kind == "two":
            tensor = self.product(probe, tensor, 256, 4096, self.generator.choice(("hard_swish", "relu")))
        if self.generator.random() < 0.3:
            tensor = layers.layer_normalisation(graph, tensor)
        tensor = self.product(probe, tensor, 100, 6000, self.generator.choice(("", "relu", "")))
        if self.generator.random() < 0.5:
            layers.softmax(graph, tensor)

    def product(self, probe: Probe, tensor: str, fewest: int, most: int, activation: str) -> str:
        """A fully connected layer with evenly drawn outputs."""
        _, inputs = probe.graph.shapes[tensor]
        outputs = int(self.draws.log_uniform(f"product {fewest}", fewest, min(most, LARGEST_PRODUCT / inputs)))
        return layers.fully_connected(probe.graph, tensor, outputs, activation)
