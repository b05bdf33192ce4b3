"""Nodes of an ONNX Runtime profile → the layers whose work they did, by what the engine makes of the network."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sitecnn.errors import NetworkError
from sitecnn.network import Network
from sitecnn.network.graph import Shape
from sitecnn.workload.engines import NCHWC_BLOCKS, ONNXRUNTIME, Engine
from sitecnn.workload.lowering import LoweredKernel, lower
from sitecnn.workload.lowering.releases import RELEASES

Node = tuple[str, Shape, tuple[Shape, ...]]
"""What tells kernels apart, which a profile lists in no sure order: operator, shape of the first input, of outputs."""

OWN = ("ReorderInput", "ReorderOutput")
"""Kernels of the engine's own, which serve a layer but do none of its work."""


@dataclass(frozen=True)
class Matched:
    """What nodes stand for: `layers` (the first has the time) by node; `own` are nodes of the engine's own."""

    engine: Engine
    layers: dict[str, tuple[int, ...]]
    own: frozenset[str]


def match(network: Network, nodes: Sequence[tuple[str, Node]]) -> Matched | None:
    """The layers of each node, which has its name in the profile, in the order of one run.

    The engine is the block size and the release whose lowering has most of the nodes. None where the network cannot be
    lowered, or none has half of them.
    """
    try:
        lowered = [(engine, lower(network, engine)) for engine in _engines(nodes)]
    except NetworkError:
        return None
    counts = Counter(node for _, node in nodes)
    common = [(Counter(map(_node, kernels)) & counts).total() for _, kernels in lowered]
    if 2 * max(common) < len(nodes):
        return None
    engine, kernels = lowered[common.index(max(common))]
    waiting: dict[Node, list[LoweredKernel]] = defaultdict(list)
    for kernel in reversed(kernels):
        waiting[_node(kernel)].append(kernel)
    own = frozenset(name for name, node in nodes if node[0] in OWN)
    layers = {name: waiting[node].pop().layers for name, node in nodes if waiting[node]}
    return Matched(engine, {name: indices for name, indices in layers.items() if name not in own}, own)


def _node(kernel: LoweredKernel) -> Node:
    return kernel.op, kernel.input_shapes[0] if kernel.input_shapes else (), kernel.output_shapes


def _engines(nodes: Sequence[tuple[str, Node]]) -> Iterator[Engine]:
    """The newest release first; those with blocks where the profile has any reorder."""
    in_blocks = any(node[0] in OWN or name.endswith("_nchwc") for name, node in nodes)
    for block in NCHWC_BLOCKS[:0:-1] if in_blocks else NCHWC_BLOCKS[:1]:
        for release in RELEASES:
            yield Engine(ONNXRUNTIME, release, block)
