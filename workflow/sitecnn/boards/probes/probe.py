"""A probe while it is drawn: its graph, and the sizes that it draws for its layers."""

import random
from dataclasses import dataclass

from sitecnn.boards.probes import layers
from sitecnn.boards.probes.drawing import Deck, EvenDraws
from sitecnn.boards.probes.graph import Graph

WIDTHS = ((96, 8, 256), (48, 16, 512), (24, 24, 1024), (12, 32, 1536), (0, 48, 2048))
"""(least height, fewest and most channels) of the five resolutions at which CNNs work."""


def resolution(height: int) -> int:
    """Which of WIDTHS a height is of."""
    return next(index for index, (least, _, _) in enumerate(WIDTHS) if height >= least)


@dataclass
class Probe:
    """One probe being drawn: its graph, and what its sizes are drawn with.

    `grains` are what channels are multiples of, one drawn each time; no layer has more than about `most_macs`.
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

    def whole(self, channels: float) -> int:
        """Channels as a multiple of this probe's grains."""
        grain = self.generator.choice(self.grains)
        return max(grain, round(channels / grain) * grain)

    def channels(self, purpose: str, height: int, low: float = 1.0, high: float = 1.0) -> int:
        """Channels for a purpose, evenly drawn over what is usual at that height, times `low` and `high`."""
        at = resolution(height)
        _, fewest, most = WIDTHS[at]
        return self.whole(self.draws.log_uniform(f"{purpose} {at}", max(4.0, fewest * low), most * high))

    def limited(self, outputs: float, height: int, kernel: float, inputs: int) -> int:
        """`outputs` of a convolution, or as many as this probe's MACs allow."""
        allowed = self.most_macs * self.generator.uniform(0.5, 1) / (kernel**2 * inputs * height**2)
        return self.whole(max(8.0, min(outputs, allowed)))

    def drawn(self, purpose: str, height: int, kernel: float, inputs: int, low: float = 1.0, high: float = 1.0) -> int:
        """Channels for a purpose within this probe's MACs."""
        return self.limited(self.channels(purpose, height, low, high), height, kernel, inputs)

    def to_channels(self, tensor: str, channels: int) -> str:
        """`tensor` through a 1×1 convolution, unless it has these channels."""
        if self.shape(tensor)[0] == channels:
            return tensor
        return layers.convolution(self.graph, tensor, channels, activation=self.fused.draw())

    def perhaps(self, tensor: str, channels: int) -> str:
        """`tensor` with other channels in six of ten cases, and whenever it has many more."""
        present, _ = self.shape(tensor)
        return self.to_channels(tensor, channels) if self.generator.random() < 0.6 or present > 4 * channels else tensor
