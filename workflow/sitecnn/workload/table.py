"""Layers and kernels as tables, for the files between the stages."""

from math import prod
from typing import Any

import pandas as pd

from sitecnn.network.graph import Layer, Network
from sitecnn.workload.flops import poster_flops
from sitecnn.workload.kernels import SIZE_NAMES, kernels, macs
from sitecnn.workload.memory import (
    data_bytes,
    touched_bytes,
    weights_bytes,
    workspace_bytes,
    workspace_poster_bytes,
)


def layer_table(network: Network) -> pd.DataFrame:
    """One row per layer in Caffe's order: name, type, shapes, macs, poster_flops and bytes."""
    return pd.DataFrame([_layer_row(network, index, layer) for index, layer in enumerate(network.layers)])


def kernel_table(network: Network) -> pd.DataFrame:
    """One row per kernel of each layer: network, batch, layer, count, kind, variant, nullable sizes."""
    rows = [
        {"network": network.name, "batch": network.batch, "layer": layer.name, "count": use.count}
        | use.kernel.as_dict()
        for layer in network.layers
        for use in kernels(layer)
    ]
    columns = ["network", "batch", "layer", "count", "kind", "variant", *SIZE_NAMES]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(SIZE_NAMES, "Int64"))


def _layer_row(network: Network, index: int, layer: Layer) -> dict[str, Any]:
    return {
        "network": network.name,
        "batch": network.batch,
        "layer_index": index,
        "layer": layer.name,
        "type": layer.type,
        "inputs": [list(shape) for shape in layer.inputs],
        "outputs": [list(shape) for shape in layer.outputs],
        "out_elements": sum(map(prod, layer.outputs)),
        "parameters": sum(parameter.count for parameter in layer.parameters),
        "macs": macs(layer),
        "poster_flops": poster_flops(layer),
        "weights_bytes": weights_bytes(layer),
        "data_bytes": data_bytes(layer),
        "workspace_bytes": workspace_bytes(layer),
        "workspace_poster_bytes": workspace_poster_bytes(layer),
        "touched_bytes": touched_bytes(layer),
        "modelled": layer.modelled,
    }
