"""What ONNX Runtime's CPU provider makes of a network: the graph that it writes as `optimized_model_filepath`.

The kinds of its kernels are told in `kernels`.
"""

from sitecnn.network.graph import Network
from sitecnn.workload.engines import GRAPH_LEVELS, Engine
from sitecnn.workload.lowering.lowered import EngineMemory, LoweredKernel, with_pass_bytes
from sitecnn.workload.lowering.onnxruntime import basic, extended
from sitecnn.workload.lowering.onnxruntime.buffers import arena_bytes, weights_bytes
from sitecnn.workload.lowering.onnxruntime.graph import Graph
from sitecnn.workload.lowering.onnxruntime.kernels import lowered
from sitecnn.workload.lowering.onnxruntime.nchwc import Layout
from sitecnn.workload.lowering.onnxruntime.rules import Rules
from sitecnn.workload.lowering.onnxruntime.translate import to_graph


def lower(network: Network, engine: Engine) -> tuple[LoweredKernel, ...]:
    """The kernels that a session with this block size, version and graph level runs.

    Raises NetworkError for a layer of Caffe that ONNX has no operators for.
    """
    return _kernels(optimised(to_graph(network), engine))


def lower_whole(network: Network, engine: Engine) -> tuple[tuple[LoweredKernel, ...], EngineMemory]:
    """The kernels, and the parts of the process's memory that the network decides; errors as `lower`'s."""
    graph = optimised(to_graph(network), engine)
    memory = EngineMemory(weights_bytes(graph), arena_bytes(graph), len(graph.nodes))
    return _kernels(graph), memory


def _kernels(graph: Graph) -> tuple[LoweredKernel, ...]:
    return with_pass_bytes(tuple(lowered(graph, node) for node in graph.nodes))


def optimised(graph: Graph, engine: Engine) -> Graph:
    """The graph after the optimisers of the engine's level, changed in place."""
    level, rules = GRAPH_LEVELS.index(engine.graph_level), Rules(engine.release)
    if level >= GRAPH_LEVELS.index("basic"):
        basic.optimise(graph, rules)
    basic.expand_functions(graph)
    if level >= GRAPH_LEVELS.index("extended"):
        extended.optimise(graph, rules)
    if level >= GRAPH_LEVELS.index("all"):
        if engine.nchwc_block:
            Layout(graph, engine.nchwc_block, rules).apply()
        extended.add_sums(graph)
    graph.sort()
    return graph
