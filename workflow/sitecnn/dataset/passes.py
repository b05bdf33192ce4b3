"""Records of whole networks → rows: layers with their kernels' sizes, passes, memory."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from sitecnn.dataset.schema import GPU_MEMORY, MEMORY
from sitecnn.errors import SiteCNNError
from sitecnn.network import Layer, Network, parse_prototxt
from sitecnn.workload.kernels import kind_on, layer_kernel, macs
from sitecnn.workload.memory import data_bytes, touched_bytes, weights_bytes, workspace_bytes

MANY_SAMPLES = 1000
"""2 to the minus so many is still a float."""


def network_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a `network` or `memory` record; SiteCNNError, KeyError, TypeError, ValueError or OverflowError if it
    is none.
    """
    block = part(record, "block")
    after = part(block, "after")
    network = network_of(record["prototxt"])
    if not isinstance(record["network"], str) or record["batch"] != network.batch:
        raise ValueError(f"batch {record['batch']!r} of {record['network']!r}: its prototxt is of {network.batch}")
    base = {
        name: record.get(name)
        for name in ("key", "run", "network", "batch", "status", "reason", "seconds", "iterations")
    }
    base |= {name: block.get(name) for name in ("attempt", "sentinel_before_ns", "sentinel_after_ns")}
    base |= {name: after.get(name) for name in ("load", "time", "gpu_mhz", "memory_mhz")}
    if record["task"] == "memory":
        found = part(record, "memory_bytes")
        yield {
            **base,
            "subject": "memory",
            **{name: found.get(name.removesuffix("_bytes")) for name in (*MEMORY, *GPU_MEMORY)},
        }
    elif record["status"] == "failed":
        yield {**base, "subject": "forward", "mode": "network"}
    else:
        yield from _timed_rows(record, network, {**base, "mode": "network"})


def part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, empty if there is none; ValueError where something else stands there."""
    found = record.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} is a {type(found).__name__}, not an object")
    return found


def _timed_rows(record: Mapping[str, Any], network: Network, base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for subject in ("layerwise", "forward"):
        if record.get(f"{subject}_ns"):
            yield {**base, "subject": subject, **summary(record[f"{subject}_ns"])}
    for timed in record.get("types", ()):
        yield {**base, "subject": "type", "layer_type": timed["type"], **summary(timed["samples_ns"])}
    if not all(isinstance(timed, dict) for timed in record["layers"]):
        raise TypeError("layers are not all objects")
    seen = set[int]()
    for position, timed in enumerate(record["layers"]):
        index = timed.get("index", position)
        layer = network.layers[index]
        if index < 0 or index in seen:
            raise ValueError(f"layer {index} is no position or there twice")
        seen.add(index)
        if layer.name != timed["name"]:
            raise ValueError(f"layer {index} is {timed['name']!r} in the record, {layer.name!r} in its prototxt")
        named = {"layer": layer.name, "layer_index": index, "layer_type": layer.type, "fused": timed.get("fused")}
        kernel = layer_kernel(layer).as_dict() | {"kind": kind_on(layer, zeros=timed.get("on_zeros") is True)}
        yield {**base, "subject": "layer", **named, **kernel, **summary(timed["samples_ns"])}


def summary(samples: list[float]) -> dict[str, Any]:
    """Samples with their median, half interquartile range, and 95 % order-statistic interval of the median."""
    ordered = sorted(samples)
    count = len(ordered)
    low = lowest_rank(count)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    spread = (ordered[3 * count // 4] - ordered[count // 4]) / 2
    if not math.isfinite(sum(ordered)):
        raise ValueError("samples_ns are not all finite")
    return {
        "samples_ns": samples,
        "median_ns": middle,
        "spread_ns": spread,
        "low_ns": ordered[low],
        "high_ns": ordered[count - 1 - low],
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


@lru_cache(maxsize=256)
def network_of(prototxt: str) -> Network:
    """The network of a record's text; alike texts are read once."""
    if not isinstance(prototxt, str):
        raise TypeError(f"prototxt is a {type(prototxt).__name__}, not text")
    return parse_prototxt(prototxt, "record")


@lru_cache(maxsize=256)
def definition_rows(name: str, prototxt: str) -> tuple[dict[str, Any], ...]:
    """The networks table's rows of a definition."""
    try:
        network = network_of(prototxt)
    except SiteCNNError:
        return ()
    digest = hashlib.sha256(prototxt.encode()).hexdigest()
    base = {"network": name, "batch": network.batch, "definition_sha256": digest}
    return tuple({**base, "layer_index": index, **_layer_row(layer)} for index, layer in enumerate(network.layers))


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
