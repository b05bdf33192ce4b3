"""Activations and other functions of one value each."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


@dataclass(frozen=True)
class ReLU(Settings):
    """Rectifier; a slope other than 0 is a leaky one."""

    negative_slope: float = 0.0


@dataclass(frozen=True)
class PReLU(Settings):
    """Rectifier with learned slopes, one a channel or one for all."""

    channel_shared: bool = False


@dataclass(frozen=True)
class ELU(Settings):
    """Exponential linear unit."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Power(Settings):
    """(shift + scale·x)^power."""

    power: float = 1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Exp(Settings):
    """base^(shift + scale·x); a base of -1 is e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Log(Settings):
    """log to `base` of (shift + scale·x); a base of -1 is e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Clip(Settings):
    """Values cut off below `min` and above `max`."""

    min: float
    max: float


@dataclass(frozen=True)
class Swish(Settings):
    """x·sigmoid(beta·x)."""

    beta: float = 1.0


@dataclass(frozen=True)
class Threshold(Settings):
    """1 above the threshold, else 0."""

    threshold: float = 0.0


@dataclass(frozen=True)
class Dropout(Settings):
    """Dropout: at test time it only passes data on."""

    dropout_ratio: float = 0.5
