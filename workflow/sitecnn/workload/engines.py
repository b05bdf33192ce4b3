"""Engines: the software that executes a network, with the options that decide what it makes of one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from sitecnn.network.graph import Network

CAFFE, ONNXRUNTIME, TFLITE_GPU = "caffe", "onnxruntime", "tflite-gpu"

ENGINES = (CAFFE, ONNXRUNTIME, TFLITE_GPU)
"""Names of engines, as the names of their stacks begin."""

GRAPH_LEVELS = ("disabled", "basic", "extended", "all")
"""ONNX Runtime's GraphOptimizationLevel, each with all that the ones before it do."""

NCHWC_BLOCKS = (0, 8, 16)
"""Channels that ONNX Runtime keeps side by side on a CPU: 16 with AVX-512F, 8 with AVX, 0 where it keeps NCHW."""

WINOGRAD, JOINT = "convolution_winograd_4x4_6x6", "depthwise_conv_plus_1x1_conv"
"""Kernels of TFLite's delegate that some GPUs are given where they suit: on Mali and Apple's, and on Apple's."""

VALUE_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
PRECISIONS = tuple(VALUE_BYTES)


@dataclass(frozen=True)
class Engine:
    """An engine with the options that its lowering depends on.

    `version` is as the engine prints it, empty where it is not known, which stands for the newest that we know.
    `nchwc_block` is one of NCHWC_BLOCKS and `graph_level` one of GRAPH_LEVELS; both are ONNX Runtime's. `variants` are
    kernels that TFLite chooses on some GPUs and not on others.
    """

    name: str = CAFFE
    version: str = ""
    nchwc_block: int = 0
    graph_level: str = "all"
    precision: str = "fp32"
    variants: frozenset[str] = frozenset()

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers to compare, (1, 27) for `1.27.0`; beyond all others where it is not known."""
        numbers = re.findall(r"\d+", self.version)[:2]
        return tuple(map(int, numbers)) if numbers else (10**6,)


def engine_of_stack(stack: str) -> Engine:
    """The engine of a stack, read off its name: `onnxruntime-1.27.0+cpu+nchwc-16+fp32+1-threads+clock-unknown`.

    A stack whose name does not begin with that of an engine was imported under a name of the user's: Caffe, fp32.
    """
    first, *parts = stack.split("+")
    name = next((name for name in ENGINES if first == name or first.startswith(f"{name}-")), None)
    if name is None:
        return Engine()
    engine = Engine(name, version=first.removeprefix(name).removeprefix("-"))
    for part in parts:
        engine = next((read(engine, part) for fits, read in _OPTIONS if fits(part)), engine)
    return engine


def engine_of_network(network: Network) -> str:
    """The engine that a network was written for: ONNX Runtime for ONNX files, Caffe for prototxt."""
    return ONNXRUNTIME if any(layer.node is not None for layer in network.layers) else CAFFE


_OPTIONS: tuple[tuple[Callable[[str], bool], Callable[[Engine, str], Engine]], ...] = (
    (lambda part: part in PRECISIONS, lambda engine, part: replace(engine, precision=part)),
    (
        lambda part: part in {f"nchwc-{block}" for block in NCHWC_BLOCKS},
        lambda engine, part: replace(engine, nchwc_block=int(part.removeprefix("nchwc-"))),
    ),
    (
        lambda part: part in {f"graph-{level}" for level in GRAPH_LEVELS},
        lambda engine, part: replace(engine, graph_level=part.removeprefix("graph-")),
    ),
)
"""How the parts of a stack's name are told, and what each says of the engine."""
