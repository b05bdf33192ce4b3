"""Definitions of networks in records → their layers with kernels' sizes, for the statements to join."""

import hashlib
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa

from sitecnn.dataset.schema import NETWORKS
from sitecnn.errors import NetworkError
from sitecnn.network import Layer, Network, parse_prototxt
from sitecnn.workload.kernels import SIZE_NAMES, kind_on, layer_kernel, macs
from sitecnn.workload.memory import data_bytes, touched_bytes, weights_bytes, workspace_bytes

MANY_SAMPLES = 1000
"""2 to the minus so many is still a float."""

_NAMED = [("prototxt", pa.string()), ("batch", pa.int64()), ("layer_index", pa.int64()), ("layer", pa.string())]
_KERNEL = [(name, pa.string()) for name in ("type", "kind", "kind_on_zeros", "variant")]
DEFINITIONS = pa.schema([*_NAMED, *_KERNEL, *[(name, pa.int64()) for name in SIZE_NAMES]])
"""Layers of definitions: the whole prototxt names its definition."""

UNREAD = pa.schema([("prototxt", pa.string()), ("reason", pa.string())])
"""Definitions that are none, with what is wrong."""


def read_definitions(prototxts: Iterable[str]) -> tuple[pa.Table, pa.Table]:
    """(DEFINITIONS, UNREAD) of these texts."""
    layers: list[dict[str, Any]] = []
    unread: list[dict[str, str]] = []
    for prototxt in prototxts:
        try:
            network = network_of(prototxt)
        except NetworkError as error:
            unread.append({"prototxt": prototxt, "reason": str(error)})
        else:
            named = {"prototxt": prototxt, "batch": network.batch}
            layers += [
                {**named, "layer_index": index, **_kernel_row(layer)} for index, layer in enumerate(network.layers)
            ]
    return pa.Table.from_pylist(layers, DEFINITIONS), pa.Table.from_pylist(unread, UNREAD)


def network_rows(named: Iterable[tuple[str, str]]) -> pa.Table:
    """Rows of the networks table for each (name, prototxt)."""
    rows: list[dict[str, Any]] = []
    for name, prototxt in named:
        network = network_of(prototxt)
        digest = hashlib.sha256(prototxt.encode()).hexdigest()
        base = {"network": name, "batch": network.batch, "definition_sha256": digest}
        rows += [{**base, "layer_index": index, **_layer_row(layer)} for index, layer in enumerate(network.layers)]
    return pa.Table.from_pylist(rows, NETWORKS)


@lru_cache(maxsize=256)
def network_of(prototxt: str) -> Network:
    """The network of a record's text; alike texts are read once. NetworkError if it is none."""
    return parse_prototxt(prototxt, "record")


def _kernel_row(layer: Layer) -> dict[str, Any]:
    kinds = {"kind": kind_on(layer, zeros=False), "kind_on_zeros": kind_on(layer, zeros=True)}
    return {"layer": layer.name, "type": layer.type, **layer_kernel(layer).as_dict(), **kinds}


def _layer_row(layer: Layer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "type": layer.type,
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "macs": macs(layer),
        "parameters": sum(parameter.count for parameter in layer.parameters),
        "weights_bytes": weights_bytes(layer),
        "data_bytes": data_bytes(layer),
        "workspace_bytes": workspace_bytes(layer),
        "touched_bytes": touched_bytes(layer),
    }


@lru_cache
def lowest_rank(count: int) -> int:
    """Where among `count` ordered samples the 95 % interval of the median begins (binomial; normal if many)."""
    if count > MANY_SAMPLES:
        return int(count / 2 - 1.96 * math.sqrt(count) / 2) - 1
    outside, term, rank = 0.0, 0.5**count, 0
    while rank < count // 2 and outside + term <= 0.025:
        outside, term, rank = outside + term, term * (count - rank) / (rank + 1), rank + 1
    return max(rank - 1, 0)
