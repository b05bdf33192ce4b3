"""Caffe's probe networks: the same chains of what Caffe's networks are made of, and its rarer layers at their side."""

from collections.abc import Mapping
from math import prod

from sitecnn.boards.probes import layers
from sitecnn.boards.probes.blocks import BLOCKS, DEAR_ELEMENTS, Block, squeeze_excite
from sitecnn.boards.probes.caffe_graph import CaffeGraph
from sitecnn.boards.probes.chains import LARGEST_PRODUCT, Generator, Recipe
from sitecnn.boards.probes.drawing import Deck
from sitecnn.boards.probes.graph import INPUT, Graph
from sitecnn.boards.probes.probe import Probe

DEAR = {
    **{"Sigmoid": "", "TanH": "", "ELU": "", "Exp": "", "BNLL": "", "MVN": ""},
    **{"Power": "power_param { power: 2 }", "Log": "log_param { shift: 1 }"},
}
"""Rarer layers of tens of ns an element, with their settings."""

CHEAP = {
    **{"PReLU": "", "AbsVal": "", "Threshold": "", "Bias": "", "Slice": "slice_param { axis: 1 }"},
    **{"Power ": "power_param { scale: 0.5 shift: 1 }", "Reduction": "reduction_param { axis: 1 }"},
    **{"Tile": "tile_param { axis: 2 tiles: 2 }", "Eltwise": "eltwise_param { operation: PROD }"},
    **{"Eltwise ": "eltwise_param { operation: MAX }"},
}
"""Other rarer layers; a space tells two of one type apart."""

OF_FORKS = {
    **{"ReLU6": "", "HardSigmoid": "", "HardSwish": "", "Upsample": "upsample_param { scale: 2 }", "Normalize": ""},
    "Permute": "permute_param { order: 0 order: 2 order: 3 order: 1 }",
}
"""Layers that a board's Caffe may lack: in a probe of their own each, as a network with one is not run at all there."""

FORK_SIZES = ((16, 56), (64, 28), (96, 28), (192, 14), (480, 14), (320, 7))
"""(channels, height) at which a probe of a fork's layer has it."""

WIDE, WIDE_MACS = 300, 20e6
"""Of a higher image no layer has more multiply-accumulates: its blobs are large enough."""

LARGE = {(4096, 4096, 4096): 1, (4096, 4096): 1, (2048, 4096): 1, (0, 0): 1, (0,): 2}
"""Outputs of the fully connected layers before the last; 0 for any number. With 2048 or 4096 the next one's rows are
whole pages, and three of 4096 have more weights than a last cache keeps from one pass to the next."""


def _side(probe: Probe, tensor: str, kind: str, settings: str) -> None:
    """A layer that reads a blob of the chain and that nothing reads."""
    graph = probe.graph
    assert isinstance(graph, CaffeGraph)
    number, name = graph.length, kind.strip()
    bottoms = [tensor, tensor] if name == "Eltwise" else [tensor]
    tops = [f"side{number}"] + ([f"side{number}b"] if name == "Slice" else [])
    graph.layer(f'type: "{name}"', bottoms, tops, settings)


def _rare(kinds: Mapping[str, str], most_elements: int) -> Block:
    decks: dict[int, Deck[str]] = {}

    def block(probe: Probe, tensor: str) -> str:
        channels, height = probe.shape(tensor)
        if channels % 2 or channels * height**2 > most_elements:
            return layers.pool(probe.graph, tensor, "max", 3, 1, 1)
        deck = decks.setdefault(id(probe.generator), Deck(probe.generator, dict.fromkeys(kinds, 1)))
        for _ in range(3):
            kind = deck.draw()
            _side(probe, tensor, kind, kinds[kind])
        return tensor

    return block


def _pool(probe: Probe, tensor: str) -> str:
    """As networks have it: of what a ReLU leaves, and without a stride beside convolutions only."""
    tensor = layers.activate(probe.graph, tensor, "relu")
    return BLOCKS["pool" if probe.shape(tensor)[1] >= 8 else "inception"][1](probe, tensor)


def _inception(probe: Probe, tensor: str) -> str:
    return BLOCKS["inception"][1](probe, layers.activate(probe.graph, tensor, "relu"))


def _means(probe: Probe, tensor: str) -> str:
    """Global averages, which nothing reads."""
    layers.global_average(probe.graph, tensor)
    return tensor


def _sum(probe: Probe, tensor: str) -> str:
    """A blob, its convolution and their sum, in blobs of any size."""
    tensor = probe.fitting(tensor, 9)
    inner = layers.depthwise(probe.graph, tensor, 3, activation="relu")
    return layers.add(probe.graph, tensor, inner, probe.generator.choice(("relu", "")))


def _local_response(probe: Probe, tensor: str) -> str:
    channels, height = probe.shape(tensor)
    few = channels * height**2 <= 2 * DEAR_ELEMENTS
    return layers.local_response(probe.graph, tensor) if few else layers.pool(probe.graph, tensor, "max", 3, 2)


def _bilinear(probe: Probe, tensor: str) -> str:
    """A deconvolution of each channel by itself, which nothing reads: it interpolates."""
    batch, channels, height, width = probe.graph.shapes[tensor]
    windows = {"kernel_shape": [4, 4], "pads": [1] * 4, "group": channels}
    probe.graph.node("ConvTranspose", [tensor], (batch, channels, 2 * height, 2 * width), **windows)
    return tensor


KEPT = {
    **{"1x1": 4, "3x3": 6, "5x5": 1, "7x7": 0.3, "1x7": 1, "dilated": 0.5, "basic": 2, "bottleneck": 2.5},
    **{"depthwise 3x3": 4, "depthwise 5x5": 0.7, "grouped": 1.5, "fire": 1.5, "dense": 1.5},
    **{"normalised": 1, "transposed": 1},
}
"""Of the blocks of any engine those that Caffe's networks have, with their cards."""

CAFFE_BLOCKS: dict[str, tuple[float, Block]] = {
    **{name: (weight, BLOCKS[name][1]) for name, weight in KEPT.items()},
    "pool": (4, _pool),
    "inception": (3.5, _inception),
    "sum": (1.5, _sum),
    "gated": (1.5, squeeze_excite("sigmoid")),
    "local response": (3, _local_response),
    "means": (1, _means),
    "bilinear": (1, _bilinear),
    "dear": (2.5, _rare(DEAR, DEAR_ELEMENTS)),
    "rare": (3, _rare(CHEAP, 3 * DEAR_ELEMENTS)),
}

RECIPE = Recipe(
    name="caffe-probe",
    graph=CaffeGraph,
    blocks=CAFFE_BLOCKS,
    fused={"relu": 12, "": 1, "leaky_relu": 0.5, "silu": 1},
    own={"relu": 1},
    pools={
        **{("max", 3, 2, 0): 6, ("max", 2, 2, 0): 3, ("max", 3, 2, 1): 1},
        **{("average", 3, 1, 1): 2, ("average", 2, 2, 0): 2, ("average", 3, 2, 0): 1},
    },
    sizes={224: 4, 227: 2, 299: 1, 256: 1, 192: 1, 160: 1, 128: 1, 320: 1, 416: 1},
    stems={(3, 1): 3, (3, 2): 4, (7, 2): 3, (11, 4): 1, (5, 2): 1},
    downs={"3x3": 2, "depthwise 3x3": 1, "pool": 6, "1x1": 1, "residual": 1.5},
    heads={"large": 3, "means": 5, "convolution": 1},
    grains=((16, 8), (16,), (8,), (8, 4), (16, 16, 8), (1, 2)),
    most_macs=(20e6, 10e6, 150e6, 12e6, 30e6, 8e6, 60e6),
    lengths=(1, 1, 2, 2),
)


class CaffeGenerator(Generator):
    """Chains that begin and end as Caffe's networks do."""

    def __init__(self, seed: int, recipe: Recipe) -> None:
        super().__init__(seed, recipe)
        self.large = Deck(self.generator, LARGE)

    def stem(self, probe: Probe) -> str:
        """The convolution that reads the image, then mostly what real networks have behind it."""
        _, size = probe.shape(INPUT)
        kernel, stride = self.stems.draw()
        assert isinstance(probe.graph, CaffeGraph)
        probe.graph.normalised = self.generator.random() < 0.4
        probe.graph.in_place = self.generator.random() < 0.7
        if size > WIDE:
            probe.most_macs = min(probe.most_macs, WIDE_MACS)
        height = -(-size // stride)
        most = min(64 if stride > 1 or size <= WIDE else 16, max(self.recipe.most_macs) / (3 * (kernel * height) ** 2))
        outputs = self.generator.choice([count for count in (16, 24, 32, 48, 64, 96) if count <= most])
        pad = 0 if kernel == 11 else None
        tensor = layers.convolution(probe.graph, INPUT, outputs, kernel, stride=stride, pad=pad, activation="relu")
        if self.generator.random() < 0.6:
            chosen = self.generator.choice((("max", 3, 2), ("max", 3, 2), ("max", 2, 2), ("average", 2, 2)))
            tensor = layers.pool(probe.graph, tensor, *chosen)
        return tensor

    def head(self, probe: Probe, tensor: str) -> None:
        """Fully connected layers on all values or on means, or a convolution and means."""
        kind, graph = self.heads.draw(), probe.graph
        if kind == "convolution":
            self.convolution_head(probe, tensor)
            return
        if kind == "means":
            tensor = layers.global_average(graph, tensor)
        else:
            wanted = self.large.draw()
            while probe.shape(tensor)[1] > 8 or prod(graph.shapes[tensor]) * max(wanted) > LARGEST_PRODUCT:
                tensor = layers.pool(graph, tensor, "max", 3 if probe.shape(tensor)[1] > 2 else 2, 2)
        graph.shapes[tensor] = (1, prod(graph.shapes[tensor]))
        if kind == "large":
            for outputs in wanted:
                weights = self.draws.log_uniform("large product", 2e6, LARGEST_PRODUCT)
                drawn = int(min(max(weights / graph.shapes[tensor][1], 64), 4096))
                tensor = layers.fully_connected(graph, tensor, outputs or drawn, "relu")
        layers.softmax(graph, self.product(probe, tensor, 200, 2000, ""))


def caffe_probes(seed: int, count: int) -> dict[str, str]:
    """Name → prototxt of `count` probes at batch 1 and of one for each layer of a fork; the same for the same seed."""
    generator = CaffeGenerator(seed, RECIPE)
    graphs: list[Graph] = [generator.chain(number) for number in range(1, count + 1)]
    graphs += [_of_fork(f"{RECIPE.name}-{count + number:03d}", kind) for number, kind in enumerate(OF_FORKS, 1)]
    return {graph.name: graph.text() for graph in graphs if isinstance(graph, CaffeGraph)}


def _of_fork(name: str, kind: str) -> CaffeGraph:
    """A chain of convolutions with a layer at the side of each."""
    graph = CaffeGraph(name, 2 * FORK_SIZES[0][1])
    tensor = INPUT
    for channels, height in FORK_SIZES:
        stride = graph.shapes[tensor][2] // height
        tensor = layers.convolution(graph, tensor, channels, stride=stride, activation="relu")
        graph.layer(f'type: "{kind}"', [tensor], [f"side{graph.length}"], OF_FORKS[kind])
    return graph
