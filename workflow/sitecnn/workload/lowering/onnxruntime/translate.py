"""A network as the graph that ONNX Runtime is given."""

from dataclasses import replace

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Network, OnnxNode
from sitecnn.network.onnx import INPUT, nodes, operator_sets
from sitecnn.network.onnx.nodes import source
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node


def to_graph(network: Network) -> Graph:
    """The nodes of a network from either side, those of prototxt files as `sitecnn convert` writes them.

    Of a network of int8 they are those of the fp32 network that it was made from, without what quantises and back.
    Raises NetworkError for a layer of Caffe that ONNX has no operators for, and for operators that work on integers.
    """
    graph = Graph(network.outputs, operator_sets(network)[""])
    form = network.open_form
    graph.told = dict(form.dims) if form else {}
    same: dict[str, str] = {}
    for index, node in form.nodes if form else nodes(network):
        graph.shapes |= {name: shape for name, shape in zip(node.outputs, node.shapes, strict=True) if name}
        if node.operator.type in ("QuantizeLinear", "DequantizeLinear"):
            same[node.outputs[0]] = node.inputs[0]
        elif node.operator.type != INPUT:
            _require_floats(network, index, node)
            graph.add(_node(graph, index, replace(node, inputs=tuple(source(name, same) for name in node.inputs))))
    graph.outputs = {source(name, same) for name in graph.outputs}
    if not graph.outputs:
        graph.outputs = {name for name, maker in graph.makers.items() if not graph.users[name] and maker}
    _own_all_layers(graph, network)
    return graph


ON_INTEGERS = ("QLinear", "Quantize", "Integer", "QGemm", "QAttention")
"""What the names of operators that work on 8-bit integers have in them."""


def _require_floats(network: Network, index: int, node: OnnxNode) -> None:
    if any(part in node.operator.type for part in ON_INTEGERS):
        raise NetworkError(
            f"{network.name}: layer {network.layers[index].name!r} ({node.operator.type}) works on 8-bit integers, and"
            " SiteCNN knows ONNX Runtime's kernels for floating point alone; give the fp32 network it was made from"
        )


def _node(graph: Graph, index: int, node: OnnxNode) -> Node:
    operator = node.operator
    for position, constant in operator.constants:
        graph.weights[node.inputs[position]] = constant
    name = f"{operator.domain}.{operator.type}" if operator.domain not in ("", "ai.onnx") else operator.type
    inputs = list(node.inputs)
    # What is left out at the end makes a difference to Pad alone: it is not a constant.
    while inputs and not inputs[-1] and name != "Pad":
        inputs.pop()
    return Node(name, inputs, list(node.outputs), (index,), dict(operator.attributes), operator.version)


def _own_all_layers(graph: Graph, network: Network) -> None:
    """Layers without a node do a part of another's work: they are that one's, the last before or else the next."""
    owners = {index: node for node in graph.nodes for index in node.layers}
    working = [index for index, layer in enumerate(network.layers) if layer.type not in ("Input", "Split")]
    for index in working:
        if index in owners or not owners:
            continue
        tops = set(network.layers[index].tops)
        owner = next((graph.makers[top] for top in tops if top in graph.makers), None)
        near = min(owners, key=lambda other: (other < index, abs(other - index)))
        (owner or owners[near]).layers += (index,)
