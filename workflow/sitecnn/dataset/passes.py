"""Records of whole networks → rows: layers with their kernels' sizes, passes, memory."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from sitecnn.dataset.schema import MEMORY
from sitecnn.errors import SiteCNNError
from sitecnn.network import Layer, Network, parse_prototxt
from sitecnn.workload.kernels import layer_kernel, macs
from sitecnn.workload.memory import data_bytes, weights_bytes, workspace_bytes


def network_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a `network` or `memory` record; SiteCNNError, KeyError, TypeError or ValueError if it is none."""
    block = record.get("block") or {}
    after = block.get("after") or {}
    base = {
        name: record.get(name)
        for name in ("key", "run", "network", "batch", "status", "reason", "seconds", "iterations")
    }
    base |= {name: block.get(name) for name in ("attempt", "sentinel_before_ns", "sentinel_after_ns")}
    base |= {"load": after.get("load"), "time": after.get("time")}
    if record["task"] == "memory":
        found = record.get("memory_bytes", {})
        yield {**base, "subject": "memory", **{name: found.get(name.removesuffix("_bytes")) for name in MEMORY}}
    elif record["status"] == "failed":
        yield {**base, "subject": "forward", "mode": "network"}
    else:
        yield from _timed_rows(record, {**base, "mode": "network"})


def _timed_rows(record: Mapping[str, Any], base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for subject in ("layerwise", "forward"):
        if record.get(f"{subject}_ns"):
            yield {**base, "subject": subject, **summary(record[f"{subject}_ns"])}
    layers = network_of(record["prototxt"]).layers
    for position, timed in enumerate(record["layers"]):
        index = timed.get("index", position)
        layer = layers[index]
        if layer.name != timed["name"]:
            raise ValueError(f"layer {index} is {timed['name']!r} in the record, {layer.name!r} in its prototxt")
        named = {"layer": layer.name, "layer_index": index, "layer_type": layer.type, "fused": timed.get("fused")}
        yield {**base, "subject": "layer", **named, **layer_kernel(layer).as_dict(), **summary(timed["samples_ns"])}


def summary(samples: list[float]) -> dict[str, Any]:
    """Samples with their median, half interquartile range, and 95 % order-statistic interval of the median."""
    ordered = sorted(samples)
    count = len(ordered)
    outside, term, rank = 0.0, 0.5**count, 0
    while rank < count // 2 and outside + term <= 0.025:
        outside, term, rank = outside + term, term * (count - rank) / (rank + 1), rank + 1
    low = max(rank - 1, 0)
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


@lru_cache(maxsize=256)
def network_of(prototxt: str) -> Network:
    """The network of a record's text; alike texts are read once."""
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
    }
