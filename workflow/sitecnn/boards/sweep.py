"""Layers that no network asked for: sizes spread over what CNNs use, so that a model can be fitted for any of them.

Without them a board knows a kind of kernel only from the networks at hand, and one that alone has BatchNorm
could not be estimated without its own timings.
"""

from collections.abc import Iterator
from dataclasses import replace

from sitecnn.network import parse_prototxt
from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import Kernel, gemm

# (channels, height = width): the stages of ImageNet networks from the first blob to the last.
BLOBS = ((48, 224), (64, 112), (160, 56), (192, 56), (256, 28), (480, 14), (512, 28), (832, 7), (96, 27), (2048, 7))

# (channels, height, outputs, kernel, stride): 1×1, 3×3, 5×5, 7×7, 11×11; wide and narrow; early and late.
CONVOLUTIONS = (
    (3, 224, 64, 3, 1), (3, 224, 32, 3, 2), (3, 224, 64, 7, 2), (3, 227, 64, 11, 4),
    (32, 112, 32, 3, 1), (64, 112, 64, 1, 1), (48, 56, 160, 3, 1), (64, 56, 128, 3, 1),
    (96, 56, 48, 1, 1), (128, 56, 64, 1, 1), (128, 56, 256, 1, 2), (160, 28, 224, 3, 1),
    (24, 28, 96, 5, 1), (256, 28, 96, 1, 1), (320, 28, 320, 3, 1), (512, 28, 192, 1, 1),
    (112, 14, 288, 3, 1), (32, 14, 96, 5, 1), (384, 14, 384, 3, 1), (528, 14, 256, 1, 1),
    (640, 14, 128, 1, 1), (1024, 14, 384, 1, 1), (160, 7, 384, 3, 1), (48, 7, 128, 5, 1),
    (48, 224, 64, 3, 1), (96, 112, 144, 3, 1), (192, 56, 192, 3, 1), (224, 56, 288, 3, 1),
    (448, 28, 448, 3, 1), (640, 28, 512, 3, 1), (384, 56, 256, 3, 1), (160, 112, 128, 3, 1),
    (512, 7, 512, 3, 1), (768, 7, 320, 1, 1), (2048, 7, 448, 1, 1), (448, 7, 1792, 1, 1),
)  # fmt: skip

# (channels, size, outputs, kernel, stride, groups): a channel each as in MobileNets, a few as in ResNeXts, halves.
GROUPED = (
    (48, 112, 48, 3, 1, 48), (96, 112, 96, 3, 2, 96), (144, 56, 144, 3, 1, 144), (192, 56, 192, 3, 2, 192),
    (320, 28, 320, 3, 1, 320), (384, 14, 384, 3, 1, 384), (672, 14, 672, 5, 1, 672), (960, 7, 960, 3, 1, 960),
    (128, 56, 128, 3, 1, 32), (256, 28, 256, 3, 1, 32), (512, 14, 512, 3, 1, 32), (192, 28, 320, 5, 1, 2),
)  # fmt: skip

# (inputs, outputs) of fully connected layers.
PRODUCTS = ((512, 1000), (1280, 1000), (4096, 1024), (6272, 4096), (2048, 2048), (16384, 2048), (18432, 4096))

# (type and settings, how many equal bottoms, the layers that make each: as in the networks that have such a layer).
BLOB_LAYERS = (
    ('type: "ReLU" top: "x"', 1, ()),
    ('type: "BatchNorm" top: "x"', 1, ()),
    ('type: "Scale" top: "x" scale_param { bias_term: true }', 1, ("BatchNorm",)),
    ('type: "LRN" top: "y" lrn_param { local_size: 5 }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 3 stride: 2 }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 2 stride: 2 }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: AVE global_pooling: true }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }', 1, ("ReLU",)),
    ('type: "Pooling" top: "y" pooling_param { pool: AVE kernel_size: 2 stride: 2 }', 1, ("ReLU",)),
    ('type: "Eltwise" top: "y"', 2, ()),
    ('type: "Concat" top: "y"', 2, ("ReLU",)),
)

# The same for what fewer networks have: activations, and what moves or sums values. A ReLU with a slope is Caffe's
# ReLU, whatever the slope. The last ones are of forks of Caffe; a board whose Caffe lacks one has no time of it.
RARER_LAYERS = (
    ('type: "Sigmoid" top: "y"', 1, ()),
    ('type: "TanH" top: "y"', 1, ()),
    ('type: "ELU" top: "y"', 1, ()),
    ('type: "PReLU" top: "y"', 1, ()),
    ('type: "Power" top: "y" power_param { scale: 0.5 shift: 1 }', 1, ()),
    ('type: "Power" top: "y" power_param { power: 2 }', 1, ("ReLU",)),
    ('type: "Exp" top: "y"', 1, ()),
    ('type: "Log" top: "y" log_param { shift: 1 }', 1, ("ReLU",)),
    ('type: "AbsVal" top: "y"', 1, ()),
    ('type: "BNLL" top: "y"', 1, ()),
    ('type: "Threshold" top: "y"', 1, ()),
    ('type: "Bias" top: "y"', 1, ()),
    ('type: "MVN" top: "y"', 1, ()),
    ('type: "Eltwise" top: "y" eltwise_param { operation: PROD }', 2, ()),
    ('type: "Eltwise" top: "y" eltwise_param { operation: MAX }', 2, ()),
    ('type: "Slice" top: "y" top: "z" slice_param { axis: 1 }', 1, ("ReLU",)),
    ('type: "Reduction" top: "y" reduction_param { axis: 1 }', 1, ("ReLU",)),
    ('type: "Tile" top: "y" tile_param { axis: 2 tiles: 2 }', 1, ("ReLU",)),
    ('type: "ReLU6" top: "y"', 1, ()),
    ('type: "HardSigmoid" top: "y"', 1, ()),
    ('type: "HardSwish" top: "y"', 1, ()),
    ('type: "Permute" top: "y" permute_param { order: 0 order: 2 order: 3 order: 1 }', 1, ("ReLU",)),
    ('type: "Upsample" top: "y" upsample_param { scale: 2 }', 1, ("ReLU",)),
    ('type: "Normalize" top: "y"', 1, ("ReLU",)),
)
RARER_BLOBS = BLOBS[1::2]

# (channels, height, outputs, kernel, stride, groups): as decoders and segmentation have them, with a learnt kernel or
# one that interpolates.
DECONVOLUTIONS = (
    (512, 7, 256, 4, 2, 1), (256, 14, 128, 4, 2, 1), (128, 28, 64, 2, 2, 1), (64, 56, 32, 4, 2, 1),
    (64, 28, 64, 3, 1, 1), (21, 28, 21, 4, 2, 21), (64, 14, 64, 4, 2, 64), (21, 14, 21, 16, 8, 1),
)  # fmt: skip

# A convolution that makes a blob, so that caches and data are as behind any other.
PRODUCER = "convolution_param { num_output: %d kernel_size: 3 pad: 1 }"
HALVING = 'layer { name: "halve %s" type: "Pooling" bottom: "%s" top: "%s" pooling_param { kernel_size: 2 stride: 2 } }'
PRODUCER_CHANNELS = 32

# A blob smaller than this is made of an image at least so large by convolutions and pooling, as networks make theirs:
# how often a maximum changes hands depends on what the values have been through. On a server core, pooling of networks
# takes 3.5 ns an element behind one convolution and 2.1 behind six.
FIRST_BLOB = 112

SMALL_GEMM = gemm(64, 49, 64)
"""Short against a GPU's synchronisation, long against a CPU's timer."""


def sweep_layers() -> Iterator[tuple[Network, Layer]]:
    """One layer per size and type of the sweep, at batch 1, last in a network that makes its inputs."""
    for channels, size, outputs, kernel, stride, group in (*((*sizes, 1) for sizes in CONVOLUTIONS), *GROUPED):
        settings = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2} group: {group}"
        relu = () if channels == 3 else ("ReLU",)
        text = f'type: "Convolution" top: "y" convolution_param {{ {settings} }}'
        yield _layer(text, (channels, size, size), 1, relu)
    for inputs, outputs in PRODUCTS:
        settings = f"inner_product_param {{ num_output: {outputs} }}"
        yield _layer(f'type: "InnerProduct" top: "y" {settings}', (inputs, 1, 1), 1, ("ReLU",))
    for text, bottoms, makers in BLOB_LAYERS:
        for channels, size in BLOBS:
            yield _layer(text, (channels, size, size), bottoms, makers)
    for text, bottoms, makers in RARER_LAYERS:
        for channels, size in RARER_BLOBS:
            yield _layer(text, (channels, size, size), bottoms, makers)
    for channels, size, outputs, kernel, stride, group in DECONVOLUTIONS:
        settings = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {(kernel - stride + 1) // 2}"
        text = f'type: "Deconvolution" top: "y" convolution_param {{ {settings} group: {group} }}'
        yield _layer(text, (channels, size, size), 1, ("ReLU",))
    for classes in (10, 100, 1000, 10000):
        yield _layer('type: "Softmax" top: "y"', (classes, 1, 1), 1, ())


def gemm_sizes() -> Iterator[Kernel]:
    """m, n and k in turn: doubled from 16 to 4096 and, for m and n, in steps of 4 that show the edges of tiles."""
    for size in (2**power for power in range(4, 13)):
        yield from (gemm(size, 512, 512), gemm(512, size, 512), gemm(512, 512, size))
    for size in range(4, 161, 4):
        yield from (gemm(size, 256, 256), gemm(256, size, 256))


def _layer(text: str, shape: tuple[int, int, int], bottoms: int, makers: tuple[str, ...]) -> tuple[Network, Layer]:
    channels, height, _ = shape
    lines, trunk = _trunk(height)
    names = ["x", "x2"][:bottoms]
    for name in names:
        lines += _made(trunk, name, channels, makers)
    wires = " ".join(f'bottom: "{name}"' for name in names)
    network = parse_prototxt("\n".join([*lines, f'layer {{ name: "layer" {wires} {text} }}']), "sweep")
    # Layers of forks are Caffe's, where the Caffe at hand is that fork.
    layer = replace(network.layers[-1], modelled=True)
    return replace(network, layers=(*network.layers[:-1], layer)), layer


def _trunk(height: int) -> tuple[list[str], str]:
    """Layers that make a blob of this height of an image, a convolution and a pooling for each halving; its name."""
    size, given = height, "image"
    while 1 < size < FIRST_BLOB:
        size *= 2
    shape = f"dim: 1 dim: 3 dim: {size} dim: {size}"
    lines = [f'layer {{ name: "image" type: "Input" top: "image" input_param {{ shape {{ {shape} }} }} }}']
    while size > height:
        size //= 2
        made = f"before {size}"
        lines += _made(given, made, PRODUCER_CHANNELS, ("ReLU",))
        given = f"blob {size}"
        lines.append(HALVING % (size, made, given))
    return lines, given


def _made(given: str, name: str, channels: int, makers: tuple[str, ...]) -> list[str]:
    """A blob by a convolution of another, and layers in place."""
    convolution = f'layer {{ name: "make {name}" type: "Convolution" bottom: "{given}" top: "{name}" %s }}'
    layers = [f'layer {{ name: "{maker} {name}" type: "{maker}" bottom: "{name}" top: "{name}" }}' for maker in makers]
    return [convolution % (PRODUCER % channels), *layers]
