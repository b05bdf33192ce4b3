"""What a layer was told, typed, one dataclass per layer type that has settings; lengths are per spatial axis."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """A layer type that has no settings that matter to its shapes or its cost."""


@dataclass(frozen=True)
class Convolution(Settings):
    """Convolution, Deconvolution and Im2col: `kernel`, `stride`, `pad`, `dilation` as (h, w) in pixels."""

    num_output: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1
    bias: bool = True


@dataclass(frozen=True)
class Pooling(Settings):
    """Pooling: `method` is MAX, AVE or STOCHASTIC; `kernel`, `stride`, `pad` as (h, w) in pixels."""

    method: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    global_pooling: bool = False


@dataclass(frozen=True)
class InnerProduct(Settings):
    """Fully connected: `transpose` is Caffe's (weights stored input-major)."""

    num_output: int
    bias: bool = True
    axis: int = 1
    transpose: bool = False


@dataclass(frozen=True)
class LRN(Settings):
    """Local response normalisation: `region` is ACROSS_CHANNELS or WITHIN_CHANNEL."""

    local_size: int
    region: str
