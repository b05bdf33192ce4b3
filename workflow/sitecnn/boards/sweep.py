"""Layers that no network asked for: sizes spread over what CNNs use, so that a model can be fitted for any of them.

Without them a board knows a kind of kernel only from the networks at hand, and one that alone has BatchNorm
could not be estimated without its own timings.
"""

from collections.abc import Iterator

from sitecnn.network import parse_prototxt
from sitecnn.network.graph import Layer

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

# (inputs, outputs) of fully connected layers.
PRODUCTS = ((512, 1000), (1280, 1000), (4096, 1024), (6272, 4096), (2048, 2048), (16384, 2048), (18432, 4096))

BLOB_LAYERS = (
    ('type: "ReLU" top: "x"', 1),
    ('type: "BatchNorm" top: "x"', 1),
    ('type: "Scale" top: "x" scale_param { bias_term: true }', 1),
    ('type: "LRN" top: "y" lrn_param { local_size: 5 }', 1),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 3 stride: 2 }', 1),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }', 1),
    ('type: "Pooling" top: "y" pooling_param { pool: MAX kernel_size: 2 stride: 2 }', 1),
    ('type: "Pooling" top: "y" pooling_param { pool: AVE global_pooling: true }', 1),
    ('type: "Eltwise" top: "y"', 2),
    ('type: "Concat" top: "y"', 2),
)
"""Layers on one blob, with how many equal bottoms they take."""


def sweep_layers() -> Iterator[Layer]:
    """One layer per size and type of the sweep, at batch 1."""
    for channels, size, outputs, kernel, stride in CONVOLUTIONS:
        settings = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2}"
        yield _layer(f'type: "Convolution" top: "y" convolution_param {{ {settings} }}', (channels, size, size))
    for inputs, outputs in PRODUCTS:
        settings = f"inner_product_param {{ num_output: {outputs} }}"
        yield _layer(f'type: "InnerProduct" top: "y" {settings}', (inputs, 1, 1))
    for text, bottoms in BLOB_LAYERS:
        for channels, size in BLOBS:
            yield _layer(text, (channels, size, size), bottoms)
    for classes in (10, 100, 1000, 10000):
        yield _layer('type: "Softmax" top: "y"', (classes, 1, 1))


def _layer(text: str, shape: tuple[int, int, int], bottoms: int = 1) -> Layer:
    names = ["x", "x2"][:bottoms]
    dims = "dim: 1 " + " ".join(f"dim: {size}" for size in shape)
    inputs = "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {dims} }} }} }}' for n in names
    )
    wires = " ".join(f'bottom: "{name}"' for name in names)
    return parse_prototxt(f'{inputs} layer {{ name: "layer" {wires} {text} }}', "sweep").layers[-1]
