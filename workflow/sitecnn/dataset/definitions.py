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
from sitecnn.workload.kernels import SIZE_NAMES, kind_on, layer_kernel, macs, pass_bytes
from sitecnn.workload.memory import data_bytes, touched_bytes, weights_bytes, workspace_bytes

MANY_SAMPLES = 1000
"""2 to the minus so many is still a float."""

_SIZES = pa.struct([("variant", pa.string()), *[(name, pa.int64()) for name in SIZE_NAMES]])
_KERNEL = [("prototxt", pa.string()), ("kind", pa.string()), ("kind_on_zeros", pa.string()), ("sizes", _SIZES)]
DEFINITIONS = pa.schema([*_KERNEL, *[field for field in NETWORKS if field.name != "network"]])
"""Layers of definitions, each with its kernel: the whole prototxt names its definition."""

UNREAD = pa.schema([("prototxt", pa.string()), ("reason", pa.string())])
"""Definitions that are none, with what is wrong."""


def read_definitions(prototxts: Iterable[str]) -> tuple[pa.Table, pa.Table]:
    """(DEFINITIONS, UNREAD) of these texts."""
    layers: list[dict[str, Any]] = []
    unread: list[dict[str, str]] = []
    for prototxt in prototxts:
        try:
            network = parse_prototxt(prototxt, "record")
        except NetworkError as error:
            unread.append({"prototxt": prototxt, "reason": str(error)})
            continue
        digest = hashlib.sha256(prototxt.encode()).hexdigest()
        named = {"prototxt": prototxt, "batch": network.batch, "definition_sha256": digest}
        layers += _layer_rows(network, named)
    return pa.Table.from_pylist(layers, DEFINITIONS), pa.Table.from_pylist(unread, UNREAD)


def _layer_rows(network: Network, named: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [{**named, "layer_index": index, **_layer_row(layer)} for index, layer in enumerate(network.layers)]
    sums = (sum(row["sizes"][name] for row in rows) for name in ("parameters", "out_elements"))
    passing = {"pass_bytes": pass_bytes(*sums)}
    return [row | {"sizes": row["sizes"] | passing} for row in rows]


def _layer_row(layer: Layer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "type": layer.type,
        "kind": kind_on(layer, zeros=False),
        "kind_on_zeros": kind_on(layer, zeros=True),
        "sizes": layer_kernel(layer).as_dict(),
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
