"""Arithmetic over axes and between blobs."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


@dataclass(frozen=True)
class Softmax(Settings):
    """Softmax along `axis`, which may be negative."""

    axis: int = 1


@dataclass(frozen=True)
class Eltwise(Settings):
    """`operation` is SUM, PROD or MAX; `coeff` of a SUM, one per input, or none for all 1."""

    operation: str = "SUM"
    coeff: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reduction(Settings):
    """`operation` (SUM, ASUM, SUMSQ, MEAN) over all axes from `axis` on, times `coeff`."""

    operation: str = "SUM"
    axis: int = 0
    coeff: float = 1.0


@dataclass(frozen=True)
class ArgMax(Settings):
    """The `top_k` largest along `axis`, or of the whole image where it is None."""

    out_max_val: bool = False
    top_k: int = 1
    axis: int | None = None
