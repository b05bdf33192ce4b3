"""Profiles that ONNX Runtime writes (`SessionOptions.enable_profiling`): trace events, durations in µs."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.dataset.imports.joining import absorb, implausible, layer_index
from sitecnn.dataset.imports.profiled import Matched, Node, match
from sitecnn.dataset.imports.record import Imported, Passes, Target
from sitecnn.dataset.imports.tables import json_list, read_text
from sitecnn.errors import DatasetError
from sitecnn.network import Network
from sitecnn.network.graph import Shape
from sitecnn.workload.engines import ONNXRUNTIME, engine_of_stack
from sitecnn.workload.kernels import macs

_RENAMED = re.compile(r"^fused |_nchwc$|_nhwc$|_token_\d+$|/fused.*$")
"""What ONNX Runtime's graph optimisers add to a node's name."""

WARM_UP_RUNS = 1
"""The first run allocates; it is left out where there are others."""

LONGEST_US = 1e13

_MULTIPLY = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"})

_PROCESSORS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "gpu", "TensorrtExecutionProvider": "gpu"}


def read_profiles(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All profiles as passes of one network; nodes that stand for none of its layers are refused.

    On a CPU nodes are told by what ONNX Runtime makes of the network: a fused group's time is that of its first layer,
    and the name of the stack then says the engine. Reorders are the engine's own: they are left out.
    """
    passes = Passes(name, network, target.stack)
    imported = Imported("warm-up and reorders", passes=[passes])
    for file in files:
        runs_ms, nodes = _read_profile(file, target.processor)
        skip = WARM_UP_RUNS if len(runs_ms) > WARM_UP_RUNS else 0
        if unit := implausible(network, min(runs_ms[skip:])):
            raise DatasetError(f"{file}: {unit}")
        passes.forward_ms += runs_ms[skip:]
        by_name = dict(zip(nodes["name"], nodes["node"], strict=True))
        matched = match(network, list(by_name.items())) if target.processor == "cpu" else None
        is_left_out = (nodes["run"] < skip) | (nodes["name"].isin(matched.own) if matched else False)
        imported.rows += len(nodes)
        imported.left_out += int(is_left_out.sum())
        if matched:
            _take_groups(nodes[~is_left_out], matched, passes, imported)
        else:
            _take_names(nodes[~is_left_out], passes, imported)
    return imported


def _read_profile(file: Path, processor: str) -> tuple[list[float], pd.DataFrame]:
    """(ms of each run; nodes: `event`, `name`, `run`, `ms`, and `node`, which tells them apart), of a profile.

    DatasetError if the file is none, or of another processor.
    """
    runs_ms: list[float] = []
    nodes: list[tuple[int, str, float, Node]] = []
    for number, event in enumerate(json_list(file, read_text(file)), 1):
        event = event if isinstance(event, dict) else {"name": "", "dur": 0}
        kind, name, duration_us = (event.get(key) for key in ("cat", "name", "dur"))
        if not isinstance(name, str) or not isinstance(duration_us, int | float) or not 0 <= duration_us < LONGEST_US:
            raise DatasetError(f"{file}: event {number}: no name and duration; is this ONNX Runtime's?")
        if kind == "Session" and name == "model_run":
            runs_ms.append(duration_us / 1e3)
        elif kind == "Node" and name.endswith("_kernel_time"):
            details = event["args"] if isinstance(event.get("args"), dict) else {}
            provider = str(details.get("provider", ""))
            if _PROCESSORS.get(provider, processor) != processor:
                raise DatasetError(f"{file}: event {number}: ran by {provider}, not on the {processor}: --processor")
            nodes.append((number, name.removesuffix("_kernel_time"), duration_us / 1e3, _node(details)))
    if not runs_ms or not nodes:
        raise DatasetError(f"{file}: no run and nodes in it; is this ONNX Runtime's, written after end_profiling()?")
    table = pd.DataFrame(nodes, columns=["event", "name", "ms", "node"])
    return runs_ms, table.assign(run=table.groupby("name").cumcount())


def _node(details: dict[str, Any]) -> Node:
    """What a node's event says of it, empty where it does not."""
    inputs, outputs = (_shapes(details.get(f"{name}_type_shape")) for name in ("input", "output"))
    return str(details.get("op_name", "")), inputs[0] if inputs else (), outputs


def _shapes(listed: Any) -> tuple[Shape, ...]:
    """Shapes as events have them: a list of `{type: [dimensions]}`."""
    entries = listed if isinstance(listed, list) else []
    shapes = [shape for one in entries if isinstance(one, dict) for shape in one.values() if isinstance(shape, list)]
    return tuple(tuple(size for size in shape if isinstance(size, int)) for shape in shapes)


def _take_groups(nodes: pd.DataFrame, matched: Matched, passes: Passes, imported: Imported) -> None:
    """Put the times of groups at their first layers: the sum of each run's nodes, where the run has them all."""
    if engine_of_stack(passes.stack).name != ONNXRUNTIME:
        passes.stack = f"{ONNXRUNTIME}+nchwc-{matched.engine.nchwc_block}+fp32+{passes.stack}"
    groups: dict[int, list[str]] = defaultdict(list)
    for name, (index, *others) in matched.layers.items():
        groups[index].append(name)
        if others:
            passes.fuse(index, others)
    runs_ms = nodes.pivot(index="run", columns="name", values="ms")
    for index, names in groups.items():
        passes.add_samples(index, runs_ms.reindex(columns=names).sum(axis=1, skipna=False).dropna().tolist())
    strangers = nodes[~nodes["name"].isin(matched.layers.keys())]
    for stranger, events in strangers.groupby("name", sort=False)["event"]:
        imported.refuse(events, f"node {stranger!r} is nothing that ONNX Runtime makes of the definition")


def _take_names(nodes: pd.DataFrame, passes: Passes, imported: Imported) -> None:
    """Put the times of nodes at the layers of their names."""
    for name, events in nodes.groupby("name", sort=False):
        operator = events["node"].iloc[-1][0]
        index = layer_of(passes.network, _RENAMED.sub("", str(name)), operator)
        if index is None:
            imported.refuse(events["event"], f"node {name!r} is no layer of the definition")
        else:
            passes.add_samples(index, events["ms"].tolist())
    for index, others in absorb(passes.network, passes.layers_ms).items():
        passes.fuse(index, others)


def layer_of(network: Network, name: str, operator: str) -> int | None:
    """The layer a node stands for, by its name or by the blob it makes; None if there is none.

    A convolution or product that makes an activation's blob has the activation fused to it: the layer is the one
    that the activation comes from.
    """
    producer = {blob: number for number, layer in enumerate(network.layers) for blob in layer.tops}
    index = layer_index(network, name)
    index = producer.get(name) if index is None else index
    while index is not None and operator in _MULTIPLY and not macs(network.layers[index]):
        sources = [producer[blob] for blob in network.layers[index].bottoms if producer.get(blob, index) < index]
        index = sources[0] if sources else None
    return index
