"""Profiles that ONNX Runtime writes (`SessionOptions.enable_profiling`): trace events, durations in µs."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from sitecnn.dataset.imports.fusion import absorb
from sitecnn.dataset.imports.record import Imported, Passes, Refused, Target, implausible, layer_index
from sitecnn.errors import SiteCNNError
from sitecnn.network import Network
from sitecnn.workload.kernels import macs

_RENAMED = re.compile(r"^fused |_nchwc$|_nhwc$|_token_\d+$|/fused.*$")
"""What ONNX Runtime's graph optimisers add to a node's name."""

WARM_UP_RUNS = 1
"""The first run allocates; it is left out where there are others."""

LONGEST_US = 1e13

_MULTIPLY = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"})

_PROCESSORS = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "gpu", "TensorrtExecutionProvider": "gpu"}


def read_profiles(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All profiles as passes of one network; nodes that stand for none of its layers are refused."""
    passes = Passes(name, network, target.stack)
    refused: list[Refused] = []
    rows = left_out = 0
    for file in files:
        read, skipped = _read_profile(file, target.processor, passes, refused)
        rows, left_out = rows + read, left_out + skipped
    for index, others in absorb(network, passes.layers_ms).items():
        passes.fused[index] = [network.layers[other].name for other in others]
    return Imported([passes], rows, rows - left_out - len(refused), left_out, refused, "the run that warms up")


def read_json(file: Path) -> list[Any]:
    """A JSON list; SiteCNNError where the file holds none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SiteCNNError(f"{file}: no profile: {str(error).splitlines()[0]}") from None
    if not isinstance(found, list):
        raise SiteCNNError(f"{file}: no profile: expected a JSON list, found {type(found).__name__}")
    return found


def _read_profile(file: Path, processor: str, passes: Passes, refused: list[Refused]) -> tuple[int, int]:
    """Take over one profile; returns how many kernel events it has and how many of them were warm-up."""
    runs: list[float] = []
    nodes: dict[str, list[tuple[int, float]]] = defaultdict(list)
    operators: dict[str, str] = {}
    for number, event in enumerate(read_json(file), 1):
        kind, name, duration = (
            (event.get(key) for key in ("cat", "name", "dur")) if isinstance(event, dict) else ("", "", 0)
        )
        if not isinstance(name, str) or not isinstance(duration, int | float) or not 0 <= duration < LONGEST_US:
            raise SiteCNNError(f"{file}: event {number}: no name and duration; is this ONNX Runtime's?")
        if kind == "Session" and name == "model_run":
            runs.append(duration / 1e3)
        elif kind == "Node" and name.endswith("_kernel_time"):
            operator, provider = _arguments(event)
            if _PROCESSORS.get(provider, processor) != processor:
                raise SiteCNNError(f"{file}: event {number}: ran by {provider}, not on the {processor}: --processor")
            name = name.removesuffix("_kernel_time")
            nodes[name].append((number, duration / 1e3))
            operators[name] = operator
    if not runs or not nodes:
        raise SiteCNNError(f"{file}: no run and nodes in it; is this ONNX Runtime's, written after end_profiling()?")
    skip = WARM_UP_RUNS if len(runs) > WARM_UP_RUNS else 0
    if unit := implausible(passes.network, min(runs[skip:])):
        raise SiteCNNError(f"{file}: {unit}")
    passes.forward_ms += runs[skip:]
    for name, timed in nodes.items():
        index = layer_of(passes.network, _RENAMED.sub("", name), operators[name])
        if index is None:
            refused += [Refused(number, f"node {name!r} is no layer of the definition") for number, _ in timed[skip:]]
        else:
            passes.layers_ms.setdefault(index, []).extend(duration for _, duration in timed[skip:])
    return sum(map(len, nodes.values())), sum(len(timed[:skip]) for timed in nodes.values())


def _arguments(event: dict[str, Any]) -> tuple[str, str]:
    """(operator, provider) of a node's event, empty where it does not say."""
    said = event.get("args")
    said = said if isinstance(said, dict) else {}
    return str(said.get("op_name", "")), str(said.get("provider", ""))


def layer_of(network: Network, name: str, operator: str) -> int | None:
    """The layer a node stands for, by its name or by the blob it makes; None if there is none.

    A convolution or product that makes an activation's blob has the activation fused to it: the layer is the one
    that the activation comes from.
    """
    index = layer_index(network, name)
    producer = {blob: number for number, layer in enumerate(network.layers) for blob in layer.tops}
    if index is None:
        index = producer.get(name)
    while index is not None and operator in _MULTIPLY and not macs(network.layers[index]):
        sources = [producer[blob] for blob in network.layers[index].bottoms if producer.get(blob, index) < index]
        index = sources[0] if sources else None
    return index
