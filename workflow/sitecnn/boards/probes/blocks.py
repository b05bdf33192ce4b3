"""The blocks of CNNs, each of sizes that its probe draws: name → what it adds to a graph behind a tensor."""

from collections.abc import Callable
from itertools import product
from math import prod

from sitecnn.boards.probes import layers
from sitecnn.boards.probes.probe import FEW, Probe

FUSED_ACTIVATIONS = {
    **{"relu": 5, "relu6": 2, "silu": 3, "hard_swish": 2, "leaky_relu": 1.2, "": 3},
    **{"sigmoid": 0.5, "hard_sigmoid": 0.5, "tanh": 0.3},
}
"""Activations behind convolutions, as often as networks have them."""

OWN_ACTIVATIONS = {
    **{"elu": 1, "prelu": 1.5, "softplus": 0.7, "gelu": 1.2, "hard_swish": 1.5, "silu": 1, "relu": 1.5, "relu6": 1},
    **{"leaky_relu": 1, "sigmoid": 1.5, "tanh": 1, "hard_sigmoid": 1},
}
"""Activations where no convolution takes them in."""

POOLS = {
    **{("max", 3, 2, 1): 4, ("max", 2, 2, 0): 4, ("max", 3, 2, 0): 2, ("max", 3, 1, 1): 3, ("max", 5, 1, 2): 3},
    **{("average", 3, 1, 1): 2, ("average", 2, 2, 0): 2, ("average", 3, 2, 1): 1},
}

DEAR_ELEMENTS = 300_000
"""Layers that take tens of ns an element stay below this, or a few of them would take the board's whole time."""

LARGEST_TRANSPOSED, TRANSPOSED_MACS = 1.1e6, 150e6
"""Elements that a transposed convolution reads, and its MACs, at most: chains of small layers have them as well."""

LEAST_TOKEN_MACS = 60e6
"""What a product along the channels may have in any chain: few blocks have one, and networks have wide ones."""

TOKENS = 30
"""The greatest height of a blob whose pixels attend to each other."""

GROWTHS = (12, 32, 32, 48)
"""Channels that a DenseNet's layer adds."""

HEADS = tuple(product((2, 3, 4, 6), (16, 32, 32, 48, 64)))
"""(heads, channels of each) of attention."""

Block = Callable[[Probe, str], str]


def _convolution(name: str, kernel: int, dilation: int = 1) -> Block:
    def block(probe: Probe, tensor: str) -> str:
        tensor = probe.fitting(tensor, FEW * kernel**2)
        channels, height = probe.shape(tensor)
        tensor = probe.perhaps(tensor, probe.drawn(f"{name} in", height, max(channels, FEW * kernel**2)))
        outputs = probe.drawn(name, height, kernel**2 * probe.shape(tensor)[0])
        activation, bias = probe.fused.draw(), probe.generator.random() < 0.8
        return layers.convolution(
            probe.graph, tensor, outputs, kernel, dilation=dilation, activation=activation, bias=bias
        )

    return block


def _factorised(probe: Probe, tensor: str) -> str:
    """1×7 and 7×1 (Szegedy et al. 2016)."""
    tensor = probe.fitting(tensor, 7 * FEW)
    channels, height = probe.shape(tensor)
    outputs = probe.drawn("1x7", height, 7 * max(channels, FEW))
    tensor = layers.convolution(probe.graph, tensor, outputs, (1, 7), activation="relu")
    return layers.convolution(probe.graph, tensor, probe.limited(outputs, height, 7 * outputs), (7, 1))


def _basic(probe: Probe, tensor: str) -> str:
    """Two 3×3 and a sum (He et al. 2016)."""
    tensor = probe.fitting(tensor, behind=9 * FEW**2)
    channels, height = probe.shape(tensor)
    most = min(probe.most(height, channels), probe.most_square(height, 3))
    tensor = probe.to_channels(tensor, probe.whole(probe.channels("basic", height), most))
    channels, _ = probe.shape(tensor)
    inner = layers.convolution(probe.graph, tensor, channels, 3, activation="relu")
    return layers.add(probe.graph, layers.convolution(probe.graph, inner, channels, 3), tensor, "relu")


def _bottleneck(*, gated: bool) -> Block:
    """1×1, 3×3, 1×1 and a sum (He et al. 2016), with squeeze-and-excite (Hu et al. 2018) where `gated`."""

    def block(probe: Probe, tensor: str) -> str:
        tensor = probe.fitting(tensor, 4 * FEW, 9 * FEW**2)
        channels, height = probe.shape(tensor)
        most = min(probe.most(height, 4 * channels), probe.most_square(height, 3))
        narrow = probe.whole(probe.channels("bottleneck", height, 1, 0.4), most)
        tensor = probe.to_channels(tensor, 4 * narrow)
        inner = layers.convolution(probe.graph, tensor, narrow, activation="relu")
        inner = layers.convolution(probe.graph, inner, narrow, 3, activation="relu")
        inner = layers.convolution(probe.graph, inner, 4 * narrow)
        inner = _squeeze_excite(probe, inner) if gated else inner
        return layers.add(probe.graph, inner, tensor, "relu")

    return block


def _inverted(kernel: int) -> Block:
    """Expanded, depthwise, projected and a sum, sometimes with squeeze-and-excite (Sandler et al. 2018)."""

    def block(probe: Probe, tensor: str) -> str:
        tensor = probe.fitting(tensor, behind=FEW * kernel**2)
        channels, height = probe.shape(tensor)
        tensor = probe.perhaps(tensor, probe.drawn(f"inverted {kernel}", height, channels, 0.7, 0.25))
        channels, _ = probe.shape(tensor)
        activation = probe.fused.draw()
        expanded = probe.limited(channels * probe.generator.choice((3, 4, 6)), height, max(channels, kernel**2))
        inner = layers.convolution(probe.graph, tensor, expanded, activation=activation)
        inner = layers.depthwise(probe.graph, inner, kernel, activation=activation)
        if probe.generator.random() < 0.4:
            inner = _squeeze_excite(probe, inner)
        return layers.add(probe.graph, tensor, layers.convolution(probe.graph, inner, channels))

    return block


def _depthwise(kernel: int) -> Block:
    def block(probe: Probe, tensor: str) -> str:
        tensor = probe.fitting(tensor, kernel**2)
        channels, height = probe.shape(tensor)
        tensor = probe.perhaps(tensor, probe.drawn(f"depthwise {kernel}", height, max(channels, kernel**2)))
        return layers.depthwise(probe.graph, tensor, kernel, activation=probe.fused.draw())

    return block


def grouped(probe: Probe, tensor: str, stride: int = 1) -> str:
    """A 3×3 convolution in groups of 3 to 64 channels."""
    tensor = probe.fitting(tensor, behind=9 * FEW**2)
    channels, height = probe.shape(tensor)
    even = all(grain % 4 == 0 for grain in probe.grains)
    widths = (4, 8, 8, 16, 16, 16, 24, 32, 32, 40, 48, 64) if even else (3, 4, 6, 8)
    most = {width: probe.most(height, max(9 * width / stride**2, channels)) / width for width in widths}
    width = probe.generator.choice([width for width in widths if most[width] >= 2])
    groups = max(2, int(min(probe.channels("grouped", height) / width, most[width])))
    tensor = probe.to_channels(tensor, groups * width)
    activation = probe.fused.draw()
    return layers.convolution(
        probe.graph, tensor, groups * width, 3, stride=stride, group=groups, activation=activation
    )


def squeeze_excite(*gates: str) -> Block:
    """Squeeze-and-excite (Hu et al. 2018); `gates` are the activations that its last layer may have."""

    def block(probe: Probe, tensor: str) -> str:
        channels, _ = probe.shape(tensor)
        inner = probe.whole(channels / probe.generator.choice((4, 8, 16)))
        activations = probe.generator.choice(("relu", "silu")), probe.generator.choice(gates)
        return layers.squeeze_excite(probe.graph, tensor, inner, activations)

    return block


_squeeze_excite = squeeze_excite("sigmoid", "hard_sigmoid")


def _fire(probe: Probe, tensor: str) -> str:
    """Squeezed, then 1×1 and 3×3 side by side (Iandola et al. 2016)."""
    tensor = probe.fitting(tensor, behind=9 * FEW**2)
    channels, height = probe.shape(tensor)
    squeezed = probe.drawn("fire", height, max(channels, 9 * FEW), 0.5, 0.1)
    expanded = probe.limited(4 * squeezed, height, 9 * squeezed)
    tensor = layers.convolution(probe.graph, tensor, squeezed, activation="relu")
    sides = [layers.convolution(probe.graph, tensor, expanded, kernel, activation="relu") for kernel in (1, 3)]
    return layers.concatenate(probe.graph, sides)


def _inception(probe: Probe, tensor: str) -> str:
    """1×1, 3×3, 5×5 and pooling side by side (Szegedy et al. 2015)."""
    graph, tensor = probe.graph, probe.fitting(tensor, behind=25 * FEW**2)
    channels, height = probe.shape(tensor)
    sides = []
    for kernel, share in ((1, 0.0), (3, 0.6), (5, 0.3)):
        outputs = probe.drawn("inception", height, kernel**2 * (FEW if share else channels), 0.5, 0.25)
        given = tensor
        if share:
            reduced = probe.limited(share * outputs, height, max(channels, FEW * kernel**2))
            given = layers.convolution(graph, tensor, reduced, activation="relu")
            outputs = probe.limited(outputs, height, kernel**2 * reduced)
        sides.append(layers.convolution(graph, given, outputs, kernel, activation="relu"))
    pooled = layers.pool(graph, tensor, probe.generator.choice(("max", "average")), 3, 1, 1)
    outputs = probe.drawn("inception", height, channels, 0.5, 0.25)
    return layers.concatenate(graph, [*sides, layers.convolution(graph, pooled, outputs, activation="relu")])


def _dense(probe: Probe, tensor: str) -> str:
    """BatchNorm before 1×1 and 3×3, concatenated to what was there, twice (Huang et al. 2017)."""
    growth = 0
    for _ in range(2):
        tensor = probe.fitting(tensor, behind=9 * FEW**2)
        channels, height = probe.shape(tensor)
        fitting = [count for count in GROWTHS if count <= probe.most(height, 9 * FEW)]
        growth = growth or probe.generator.choice(fitting or [FEW])
        inner = layers.activate(probe.graph, layers.normalise(probe.graph, tensor), "relu")
        wide = probe.limited(4 * growth, height, max(channels, 9 * growth))
        inner = layers.convolution(probe.graph, inner, wide, activation="relu", bias=False)
        inner = layers.convolution(probe.graph, inner, growth, 3, bias=False)
        tensor = layers.concatenate(probe.graph, [tensor, inner])
    return tensor


def _shuffle(probe: Probe, tensor: str) -> str:
    """Half of the channels through 1×1, depthwise, 1×1, then shuffled (Ma et al. 2018)."""
    tensor = probe.fitting(tensor, 2 * FEW)
    channels, height = probe.shape(tensor)
    most = min(probe.most(height, max(2 * channels, 9)), probe.most_square(height))
    half = probe.whole(probe.channels("shuffle", height, 0.5, 0.4), most)
    still, moved = layers.halves(probe.graph, probe.to_channels(tensor, 2 * half))
    moved = layers.convolution(probe.graph, moved, half, activation="relu")
    moved = layers.convolution(probe.graph, layers.depthwise(probe.graph, moved, 3), half, activation="relu")
    return layers.shuffle_channels(probe.graph, layers.concatenate(probe.graph, [still, moved]))


def _partial(probe: Probe, tensor: str) -> str:
    """Two 3×3 on half of the channels, all concatenated (Jocher et al. 2023, C2f)."""
    graph, tensor = probe.graph, probe.fitting(tensor, 2 * FEW, 9 * FEW**2)
    channels, height = probe.shape(tensor)
    most = min(probe.most(height, 2 * channels), probe.most_square(height, 3))
    both = 2 * probe.whole(probe.channels("partial", height, 0.5, 0.25), most)
    still, moved = layers.halves(graph, layers.convolution(graph, tensor, both, activation="silu"))
    inner = layers.convolution(graph, moved, both // 2, 3, activation="silu")
    inner = layers.convolution(graph, inner, both // 2, 3, activation="silu")
    inner = layers.add(graph, moved, inner) if probe.generator.random() < 0.6 else inner
    return layers.convolution(graph, layers.concatenate(graph, [still, moved, inner]), both, activation="silu")


def _pool(probe: Probe, tensor: str) -> str:
    _, height = probe.shape(tensor)
    chosen = probe.pools.draw()
    return layers.pool(probe.graph, tensor, *(("max", 3, 1, 1) if height < 8 and chosen[2] > 1 else chosen))


def _own_activation(probe: Probe, tensor: str) -> str:
    """An activation of its own, which runs by itself: behind a sum of the tensor and its depthwise convolution."""
    tensor = probe.fitting(tensor, 9)
    channels, height = probe.shape(tensor)
    activation = probe.own.draw()
    if activation == "softplus" and channels * height**2 > DEAR_ELEMENTS:
        activation = "sigmoid"
    tensor = layers.add(probe.graph, tensor, layers.depthwise(probe.graph, tensor, 3, activation="relu6"))
    return layers.activate(probe.graph, tensor, activation)


def _normalised(probe: Probe, tensor: str) -> str:
    tensor = layers.normalise(probe.graph, tensor)
    return layers.activate(probe.graph, tensor, probe.generator.choice(("relu", "")))


def _upsampled(probe: Probe, tensor: str) -> str:
    """Pooled, convolved, enlarged and concatenated to what was there, as in feature pyramids."""
    mode = probe.generator.choice(("nearest", "nearest", "nearest", "linear", "align_corners"))
    return _enlarged(probe, tensor, lambda small: layers.resize(probe.graph, _narrowed(probe, small), mode))


def _transposed(probe: Probe, tensor: str) -> str:
    """The same by a transposed convolution, on as many elements as U-Nets have (Ronneberger et al. 2015)."""

    def enlarge(small: str) -> str:
        _, height = probe.shape(small)
        elements = probe.draws.log_uniform("transposed", 2e4, LARGEST_TRANSPOSED)
        inputs, _ = probe.shape(small)
        small = probe.to_channels(small, probe.whole(min(512, elements / height**2), probe.most(height, inputs)))
        kernel, channels = probe.generator.choice((2, 2, 4)), probe.shape(small)[0]
        allowed = TRANSPOSED_MACS / (kernel**2 * channels * height**2)
        outputs = probe.whole(channels * probe.generator.choice((0.5, 0.5, 1)), allowed)
        return layers.transposed(probe.graph, small, outputs, kernel)

    return _enlarged(probe, tensor, enlarge)


def _narrowed(probe: Probe, tensor: str) -> str:
    channels, height = probe.shape(tensor)
    outputs = probe.drawn("upsampled", height, channels, 0.5, 0.5)
    return layers.convolution(probe.graph, tensor, outputs, activation=probe.fused.draw())


def _enlarged(probe: Probe, tensor: str, enlarge: Callable[[str], str]) -> str:
    tensor = probe.fitting(tensor)
    _, height = probe.shape(tensor)
    if height % 2 or height < 4:
        return tensor
    pooled = layers.pool(probe.graph, tensor, probe.generator.choice(("max", "average")), 2, 2)
    return layers.concatenate(probe.graph, [tensor, enlarge(pooled)])


def _convnext(probe: Probe, tensor: str) -> str:
    """7×7 depthwise, LayerNormalization and two products along the channels (Liu et al. 2022)."""
    graph, tensor = probe.graph, probe.fitting(tensor, 49)
    channels, height = probe.shape(tensor)
    square = (max(probe.most_macs, LEAST_TOKEN_MACS) / 4) ** 0.5 / height
    most = min(square, probe.most(height, max(channels, 49)))
    tensor = probe.to_channels(tensor, probe.whole(probe.channels("convnext", height, 0.7, 0.4), most))
    channels, _ = probe.shape(tensor)
    inner = layers.transpose(graph, layers.depthwise(graph, tensor, 7), (0, 2, 3, 1))
    inner = layers.linear(graph, layers.layer_normalisation(graph, inner), 4 * channels, "gelu")
    inner = layers.linear(graph, inner, channels)
    inner = graph.node("Mul", [inner, graph.weights(channels)], graph.shapes[inner])
    return layers.add(graph, tensor, layers.transpose(graph, inner, (0, 3, 1, 2)))


def _transformer(probe: Probe, tensor: str) -> str:
    """Attention among pixels and two products, each with its normalisation and sum (Vaswani et al. 2017)."""
    graph = probe.graph
    while probe.shape(tensor)[1] > TOKENS:
        tensor = layers.pool(graph, tensor, "max", 2, 2)
    tensor = probe.fitting(tensor, 32)
    batch, inputs, height, width = graph.shapes[tensor]
    most = max(32, probe.most(height, inputs))
    heads, each = probe.generator.choice([pair for pair in HEADS if prod(pair) <= most])
    channels = heads * each
    tensor = probe.to_channels(tensor, channels)
    tokens = layers.transpose(graph, layers.reshape(graph, tensor, (batch, channels, height * width)), (0, 2, 1))
    tokens = layers.add(graph, tokens, layers.attention(graph, layers.layer_normalisation(graph, tokens), heads))
    wide = probe.generator.choice((2, 4)) * channels
    inner = layers.linear(graph, layers.layer_normalisation(graph, tokens), wide, "gelu")
    tokens = layers.add(graph, tokens, layers.linear(graph, inner, channels))
    return layers.reshape(graph, layers.transpose(graph, tokens, (0, 2, 1)), (batch, channels, height, width))


def _local_response(probe: Probe, tensor: str) -> str:
    channels, height = probe.shape(tensor)
    few = channels * height**2 <= 2 * DEAR_ELEMENTS
    return layers.local_response(probe.graph, tensor) if few else _pool(probe, tensor)


def _few_groups(probe: Probe, tensor: str) -> str:
    """Two to four wide groups (Krizhevsky et al. 2012)."""
    groups, kernel = probe.generator.choice(((2, 5), (2, 3), (4, 3), (3, 3)))
    tensor = probe.fitting(tensor, groups * FEW, groups * (FEW * kernel) ** 2)
    inputs, height = probe.shape(tensor)
    most = min(probe.most_square(height, kernel * groups**0.5), probe.most(height, inputs * groups))
    grain = probe.generator.choice([grain for grain in (16, 16, 32, 8) if grain <= most] or [FEW])
    width = min(probe.channels("few groups", height, 1, 0.5) / groups, most)
    channels = groups * max(grain, int(width / grain) * grain)
    tensor = probe.to_channels(tensor, channels)
    return layers.convolution(probe.graph, tensor, channels, kernel, group=groups, activation=probe.fused.draw())


def _scaled(probe: Probe, tensor: str) -> str:
    """A factor and an addend for each channel, by themselves."""
    graph = probe.graph
    shape = graph.shapes[tensor]
    for operator in ("Mul", "Add"):
        tensor = graph.node(operator, [tensor, graph.weights(shape[1], 1, 1)], shape)
    return layers.activate(graph, tensor, "relu")


def _binned(probe: Probe, tensor: str) -> str:
    """Means of 16 bins at each pixel (Li et al. 2020, Generalized Focal Loss), as YOLOv8 exports them; left aside."""
    graph = probe.graph
    _, height = probe.shape(tensor)
    while height > 2 * TOKENS:
        tensor = layers.pool(graph, tensor, "max", 2, 2)
        _, height = probe.shape(tensor)
    tensor = probe.fitting(tensor, 64)
    _, height = probe.shape(tensor)
    sides = layers.convolution(graph, tensor, 64)
    bins = layers.transpose(graph, layers.reshape(graph, sides, (1, 4, 16, height**2)), (0, 2, 1, 3))
    layers.convolution(graph, layers.softmax(graph, bins, axis=1), 1, bias=False)
    return tensor


BLOCKS: dict[str, tuple[float, Block]] = {
    "1x1": (4, _convolution("1x1", 1)),
    "3x3": (5, _convolution("3x3", 3)),
    "5x5": (1, _convolution("5x5", 5)),
    "7x7": (0.5, _convolution("7x7", 7)),
    "1x7": (0.7, _factorised),
    "dilated": (0.7, _convolution("dilated", 3, 2)),
    "basic": (2, _basic),
    "bottleneck": (1.4, _bottleneck(gated=False)),
    "gated bottleneck": (0.6, _bottleneck(gated=True)),
    "inverted 3x3": (2.5, _inverted(3)),
    "inverted 5x5": (2, _inverted(5)),
    "depthwise 3x3": (2, _depthwise(3)),
    "depthwise 5x5": (1.5, _depthwise(5)),
    "depthwise 7x7": (0.5, _depthwise(7)),
    "grouped": (3, grouped),
    "squeeze and excite": (1.5, _squeeze_excite),
    "fire": (1.2, _fire),
    "inception": (1, _inception),
    "dense": (1.2, _dense),
    "shuffle": (1.5, _shuffle),
    "partial": (1, _partial),
    "pool": (2.5, _pool),
    "activation": (2.5, _own_activation),
    "normalised": (0.7, _normalised),
    "upsampled": (1.5, _upsampled),
    "transposed": (1, _transposed),
    "convnext": (1.3, _convnext),
    "transformer": (0.5, _transformer),
    "local response": (0.7, _local_response),
    "few groups": (0.7, _few_groups),
    "scaled": (0.7, _scaled),
    "bins": (0.4, _binned),
}
"""Each block with how many of a deck's cards it has."""
