"""A probe while it is drawn: its graph, and the sizes that it draws for its layers."""

import random
from dataclasses import dataclass
from math import inf, sqrt

from sitecnn.boards.probes import layers
from sitecnn.boards.probes.drawing import Deck, EvenDraws
from sitecnn.boards.probes.graph import Graph

WIDTHS = ((96, 8, 256), (48, 16, 512), (24, 24, 1024), (12, 32, 1536), (0, 48, 2048))
"""(least height, fewest and most channels) of the five resolutions at which CNNs work."""

FEW = 8
"""Outputs that any convolution may have; what leaves no room for them is made smaller before it."""


def resolution(height: int) -> int:
    """Which of WIDTHS a height is of."""
    return next(index for index, (least, _, _) in enumerate(WIDTHS) if height >= least)


@dataclass
class Probe:
    """One probe being drawn: its graph, and what its sizes are drawn with.

    `grains` are what channels are multiples of, one drawn each time. No convolution behind the first has more than
    `most_macs`.
    """

    graph: Graph
    generator: random.Random
    draws: EvenDraws
    fused: Deck[str]
    own: Deck[str]
    pools: Deck[tuple[str, int, int, int]]
    grains: tuple[int, ...]
    most_macs: float

    def shape(self, tensor: str) -> tuple[int, int]:
        """(channels, height) of a tensor."""
        return self.graph.shapes[tensor][1], self.graph.shapes[tensor][2]

    def whole(self, channels: float, most: float = inf) -> int:
        """Channels as a multiple of this probe's grains; where `most` has no room for it, the multiple below or FEW."""
        grain = self.generator.choice(self.grains)
        wanted = max(grain, round(channels / grain) * grain)
        return wanted if wanted <= most else max(FEW, int(most / grain) * grain)

    def most(self, height: float, each: float) -> float:
        """Channels at that height of which each value may have `each` MACs."""
        return self.most_macs / (each * height**2)

    def most_square(self, height: float, kernel: float = 1) -> float:
        """Channels at that height that a convolution may have as its inputs and outputs."""
        return sqrt(self.most_macs) / (kernel * height)

    def channels(self, purpose: str, height: int, low: float = 1.0, high: float = 1.0) -> int:
        """Channels for a purpose, evenly drawn over what is usual at that height, times `low` and `high`."""
        at = resolution(height)
        _, fewest, most = WIDTHS[at]
        return self.whole(self.draws.log_uniform(f"{purpose} {at}", max(4.0, fewest * low), most * high))

    def limited(self, outputs: float, height: int, each: float) -> int:
        """`outputs` of a layer, or as many as this probe's MACs allow if each value has `each` of them."""
        allowed = self.most(height, each)
        return self.whole(min(outputs, allowed * self.generator.uniform(0.5, 1)), allowed)

    def drawn(self, purpose: str, height: int, each: float, low: float = 1.0, high: float = 1.0) -> int:
        """Channels for a purpose within this probe's MACs, `each` of them for a value."""
        return self.limited(self.channels(purpose, height, low, high), height, each)

    def fitting(self, tensor: str, each: float = FEW, behind: float = FEW * FEW) -> str:
        """`tensor`, pooled and led through a 1×1 convolution as far as this probe's MACs ask.

        Then each of its values may have `each` MACs, and each pixel `behind`.
        """
        while max(behind, FEW * self.shape(tensor)[0], FEW * each) > self.most(self.shape(tensor)[1], 1):
            tensor = layers.pool(self.graph, tensor, "max", 2, 2)
        channels, height = self.shape(tensor)
        fits = channels <= self.most(height, each)
        return tensor if fits else self.to_channels(tensor, self.limited(channels, height, max(channels, each)))

    def to_channels(self, tensor: str, channels: int) -> str:
        """`tensor` through a 1×1 convolution, unless it has these channels."""
        if self.shape(tensor)[0] == channels:
            return tensor
        return layers.convolution(self.graph, tensor, channels, activation=self.fused.draw())

    def perhaps(self, tensor: str, channels: int) -> str:
        """`tensor` with other channels in six of ten cases, and whenever it has many more."""
        present, _ = self.shape(tensor)
        return self.to_channels(tensor, channels) if self.generator.random() < 0.6 or present > 4 * channels else tensor
