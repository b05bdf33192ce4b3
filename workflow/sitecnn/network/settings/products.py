"""Convolutions, pooling, matrix products and what is made of them."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


@dataclass(frozen=True)
class Convolution(Settings):
    """Convolution, Deconvolution, Im2col: lengths in pixels for each axis after `axis`, the channels."""

    num_output: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1
    bias: bool = True
    axis: int = 1


@dataclass(frozen=True)
class Pooling(Settings):
    """Pooling: `method` is MAX, AVE or STOCHASTIC; lengths as (h, w) in pixels; `ceil` rounds up, as Caffe does."""

    method: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    global_pooling: bool = False
    ceil: bool = True


@dataclass(frozen=True)
class SPP(Settings):
    """Spatial pyramid pooling: 4^level bins a channel at each of `pyramid_height` levels."""

    pyramid_height: int
    method: str = "MAX"


@dataclass(frozen=True)
class InnerProduct(Settings):
    """Fully connected: `transpose` is Caffe's (weights stored input-major)."""

    num_output: int
    bias: bool = True
    axis: int = 1
    transpose: bool = False


@dataclass(frozen=True)
class Embed(Settings):
    """Row look-up in a table of `input_dim` rows."""

    num_output: int
    input_dim: int
    bias: bool = True


@dataclass(frozen=True)
class Recurrent(Settings):
    """RNN and LSTM, unrolled over the first axis."""

    num_output: int
    expose_hidden: bool = False


@dataclass(frozen=True)
class Lstm(Settings):
    """LSTM of an older fork, over rows that are the steps of `images` sequences."""

    num_output: int
    images: int = 1


@dataclass(frozen=True)
class DenseBlock(Settings):
    """`transitions` convolutions of 3×3 that each add `growth` channels; behind one of 1×1 each with a `bottleneck`."""

    transitions: int
    growth: int
    bottleneck: bool = False


@dataclass(frozen=True)
class Correlation(Settings):
    """Products of patches of `kernel`² pixels of two images, displaced by up to `displacement` pixels (FlowNet)."""

    kernel: int
    displacement: int
    pad: int = 0
    stride: int = 1
    displacement_stride: int = 1
