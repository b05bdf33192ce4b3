"""What ONNX Runtime fuses on a CPU, by version: read off the graphs that 1.17.3 and 1.32.0 write, and their sources.

The sources are microsoft/onnxruntime, onnxruntime/core/optimizer (conv_*_fusion.cc, nchwc_transformer.cc, …).
"""

from dataclasses import dataclass
from functools import lru_cache

CONV_ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"})
"""Activations that a Conv applies itself (conv_activation_fusion.cc; Clip with constant bounds)."""


@dataclass(frozen=True)
class Rules:
    """Where versions differ. Sets are of operators, `*_version` the newest operator set that a rule takes."""

    gemm_activations: frozenset[str]
    """Activations that a Gemm applies itself (gemm_activation_fusion.cc)."""
    blocked_activations: frozenset[str]
    """Elementwise operators that stay on blocks of channels; those of CONV_ACTIVATIONS join a Conv with a sum."""
    blocked_batch_norm_version: int
    blocked_resize_version: int
    blocked_scale: bool
    """A Mul by a constant a channel stays on blocks."""
    blocked_hard_swish: bool
    """A Conv in blocks applies x·HardSigmoid(x) itself, where it is no result."""
    pads_average: bool
    """A Pad joins the AveragePool behind it."""
    scales_transposed: bool
    """A BatchNormalization joins the ConvTranspose before it."""
    reshapes_products: bool
    """MatMul and Add of more than two axes become Reshape, Gemm, Reshape."""
    joins_reshapes: bool
    """Of two Reshapes in a row the first goes."""


_OLD = Rules(
    gemm_activations=frozenset(
        {"Elu", "HardSigmoid", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
    ),
    blocked_activations=frozenset({"Relu", "Sigmoid", "Tanh"}),
    blocked_batch_norm_version=14,
    blocked_resize_version=13,
    blocked_scale=False,
    blocked_hard_swish=False,
    pads_average=False,
    scales_transposed=False,
    reshapes_products=False,
    joins_reshapes=False,
)

_NEW = Rules(
    gemm_activations=_OLD.gemm_activations | {"LeakyRelu"},
    blocked_activations=_OLD.blocked_activations | {"HardSigmoid", "Gelu", "QuickGelu"},
    blocked_batch_norm_version=15,
    blocked_resize_version=19,
    blocked_scale=True,
    blocked_hard_swish=True,
    pads_average=True,
    scales_transposed=True,
    reshapes_products=True,
    joins_reshapes=True,
)

_SINCE: tuple[tuple[tuple[int, ...], Rules], ...] = (((0,), _OLD), ((1, 22), _NEW))
"""Rules with the release that they hold from."""


@lru_cache
def rules_of(release: tuple[int, ...]) -> Rules:
    """The rules of a release, such as (1, 17)."""
    return next(rules for since, rules in reversed(_SINCE) if release >= since)
