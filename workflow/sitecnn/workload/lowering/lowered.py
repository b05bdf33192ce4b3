"""What an engine runs: kernels, each with the layers whose work it does."""

from dataclasses import dataclass, replace

from sitecnn.network.graph import Shape
from sitecnn.workload.kernels import Kernel, kernel, pass_bytes


@dataclass(frozen=True)
class LoweredKernel:
    """A kernel of an engine. `layers` are indices into the network's layers.

    The time stands at the first of `layers`; the others are fused into it. A kernel of the engine's own (a reorder)
    names the layer that it serves, and that layer has another kernel besides. A kernel that gives one work of its
    layer, not all of it, is one of several whose first layer is the same.
    `op` with `input_shapes` and `output_shapes` is what the engine's profile shows of it, weights among the inputs but
    for those that the engine packs for itself. Data come first: join by the first input, the outputs and the op.
    """

    kernel: Kernel
    layers: tuple[int, ...]
    op: str = ""
    input_shapes: tuple[Shape, ...] = ()
    output_shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class EngineMemory:
    """What decides the memory of an engine that shares its buffers.

    `activations_bytes` is what its allocator holds of values after some passes; `kernels` is their number.
    """

    weights_bytes: int
    activations_bytes: int
    kernels: int


def with_pass_bytes(kernels: tuple[LoweredKernel, ...]) -> tuple[LoweredKernel, ...]:
    """The kernels of one pass, each with the bytes that go through the caches until it runs again."""
    sizes = [dict(one.kernel.sizes) for one in kernels]
    weights, written = (sum(size.get(name, 0) for size in sizes) for name in ("parameters", "out_elements"))
    passing = {"pass_bytes": pass_bytes(weights, written)}
    return tuple(
        replace(one, kernel=kernel(one.kernel.kind, size | passing, one.kernel.variant))
        for one, size in zip(kernels, sizes, strict=True)
    )
