"""What ONNX Runtime fuses on a CPU, by version.

The sources are microsoft/onnxruntime, onnxruntime/core/optimizer (conv_*_fusion.cc, nchwc_transformer.cc, …).
"""

from dataclasses import dataclass

CONV_ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"})
"""Activations that a Conv applies itself (conv_activation_fusion.cc; Clip with constant bounds)."""


GEMM_ACTIVATIONS = frozenset(
    {"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
)
"""Activations that a Gemm applies itself (gemm_activation_fusion.cc)."""

BLOCKED_ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid", "Gelu", "QuickGelu"})
"""Elementwise operators that stay on blocks of channels; those of CONV_ACTIVATIONS join a Conv with a sum."""

Release = tuple[int, ...]

SINCE: dict[str, Release] = {
    "Slices join a Split": (1, 18),
    "Pad joins AveragePool": (1, 20),
    "LayerNormalization is found before Transposes move": (1, 20),
    "MatMul and Add of more than two axes are Reshape, Gemm, Reshape": (1, 21),
    "of two Reshapes the first goes": (1, 21),
    "Gemm applies LeakyRelu": (1, 25),
    "HardSigmoid, Gelu and QuickGelu stay on blocks": (1, 25),
    "BatchNormalization of operator set 15 stays on blocks": (1, 25),
    "Resize of operator sets 18 and 19 stays on blocks": (1, 25),
    "a Mul by a constant a channel stays on blocks": (1, 25),
    "a Transpose moves behind a Gather": (1, 28),
    "a Transpose moves behind a Reshape that splits axes": (1, 29),
    "a size of another tensor is known by its axis alone": (1, 29),
    "Conv on blocks applies HardSwish": (1, 30),
    "a Transpose stays before a result, and before a Squeeze of several readers": (1, 31),
    "BatchNormalization joins ConvTranspose": (1, 31),
    "Pad stays before MaxPool": (1, 32),
}
"""What newer releases do, with the first that does. Read off graphs that 1.17.3, 1.18.1, 1.19.2, 1.20.1, 1.21.1,
1.22.1, 1.23.2, 1.24.1, 1.25.1, 1.26.0, 1.27.0, 1.28.0, 1.29.0, 1.30.0, 1.31.0 and 1.32.0 wrote."""


@dataclass(frozen=True)
class Rules:
    """The rules of a release."""

    release: Release

    def has(self, rule: str) -> bool:
        """Whether it does what a text of SINCE says; KeyError for another text."""
        return self.release >= SINCE[rule]

    @property
    def gemm_activations(self) -> frozenset[str]:
        """Activations that a Gemm applies itself."""
        return GEMM_ACTIVATIONS if self.has("Gemm applies LeakyRelu") else GEMM_ACTIVATIONS - {"LeakyRelu"}

    @property
    def padding(self) -> tuple[str, ...]:
        """Operators that take in a Pad before them."""
        pools = ("AveragePool",) if self.has("Pad stays before MaxPool") else ("AveragePool", "MaxPool")
        return ("Conv", *pools) if self.has("Pad joins AveragePool") else ("Conv",)

    @property
    def blocked_activations(self) -> frozenset[str]:
        """Elementwise operators that stay on blocks."""
        newer = self.has("HardSigmoid, Gelu and QuickGelu stay on blocks")
        return BLOCKED_ACTIVATIONS if newer else BLOCKED_ACTIVATIONS - {"HardSigmoid", "Gelu", "QuickGelu"}

    @property
    def blocked_batch_norm_version(self) -> int:
        """The newest operator set whose BatchNormalization stays on blocks."""
        return 15 if self.has("BatchNormalization of operator set 15 stays on blocks") else 14

    @property
    def blocked_resize_version(self) -> int:
        """The newest operator set whose Resize does."""
        return 19 if self.has("Resize of operator sets 18 and 19 stays on blocks") else 13
