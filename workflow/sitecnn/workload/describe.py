"""What can be said of a network without any board: the document behind `sitecnn describe`."""

from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Layer, Network
from sitecnn.workload.engines import CAFFE, Engine
from sitecnn.workload.flops import poster_flops_by_group
from sitecnn.workload.kernels import gemms, multiply_accumulates
from sitecnn.workload.lowering import lower
from sitecnn.workload.memory import memory


def describe(network: Network, engine: Engine | None = None) -> dict[str, Any]:
    """The `describe --json` document: totals (macs, poster_flops, bytes) and every layer in Caffe's order.

    With an engine there are its `kernels`, too; NetworkError where it cannot run the network.
    """
    layers = [_describe_layer(layer) for layer in network.layers]
    parts = memory(network)
    return {
        "network": network.name,
        "batch": network.batch,
        "precision": network.precision,
        "totals": {
            "macs": sum(layer["macs"] for layer in layers),
            "poster_flops": poster_flops_by_group(network),
            "weights_bytes": parts.weights_bytes,
            "data_bytes": parts.data_bytes,
            "workspace_bytes": parts.workspace_bytes,
            "workspace_poster_bytes": parts.workspace_poster_bytes,
        },
        "layers": layers,
        "notes": [*network.doubts, *network.notes],
        **({"engine": engine.name, "kernels": _kernels(network, engine)} if engine else {}),
    }


def _kernels(network: Network, engine: Engine) -> list[dict[str, Any]]:
    """What the engine runs: the first layer of each kernel is that at which its time stands.

    NetworkError for a network of int8, which engines run with kernels of their own.
    """
    if network.precision == "int8" and engine.name != CAFFE:
        raise NetworkError(
            f"{network.name}: the file is int8, and SiteCNN does not know which kernels {engine.name} runs of it; leave"
            " --engine out, or describe the fp32 network that it was made from"
        )
    return [
        {
            "kind": one.kernel.kind,
            "variant": one.kernel.variant,
            "layers": [network.layers[index].name for index in one.layers],
            "sizes": dict(one.kernel.sizes),
            "output": list(one.output_shapes[0]) if one.output_shapes else [],
        }
        for one in lower(network, engine)
    ]


def _describe_layer(layer: Layer) -> dict[str, Any]:
    uses = gemms(layer)
    return {
        "name": layer.name,
        "type": layer.type,
        "inputs": [list(shape) for shape in layer.inputs],
        "outputs": [list(shape) for shape in layer.outputs],
        "macs": multiply_accumulates(uses),
        "params": sum(parameter.count for parameter in layer.parameters),
        "gemms": [
            {"m": use.kernel["m"], "n": use.kernel["n"], "k": use.kernel["k"], "count": use.count} for use in uses
        ],
        **({} if layer.modelled else {"unmodelled": layer.note}),
        **({"guessed": True} if layer.guessed else {}),
        **({} if layer.counted else {"counted": False}),
    }
