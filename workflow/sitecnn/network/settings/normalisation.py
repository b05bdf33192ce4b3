"""Normalisations, and what scales and shifts channels."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


@dataclass(frozen=True)
class LRN(Settings):
    """Local response normalisation: `region` is ACROSS_CHANNELS or WITHIN_CHANNEL."""

    local_size: int
    region: str
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True)
class BatchNorm(Settings):
    """Batch normalisation by stored means and variances, or by the batch's own."""

    use_global_stats: bool = True
    eps: float = 1e-5


@dataclass(frozen=True)
class MVN(Settings):
    """Mean and variance normalisation of each image."""

    normalize_variance: bool = True
    across_channels: bool = False
    eps: float = 1e-9


@dataclass(frozen=True)
class Scale(Settings):
    """Multiplication by a learned blob of `num_axes` axes from `axis` on or by a second input; then a bias."""

    axis: int = 1
    num_axes: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Bias(Settings):
    """Addition of a learned blob of `num_axes` axes from `axis` on, or of a second input."""

    axis: int = 1
    num_axes: int = 1


@dataclass(frozen=True)
class Normalize(Settings):
    """Division by the L2 norm, times a learned scale (SSD)."""

    across_spatial: bool = True
    channel_shared: bool = True
