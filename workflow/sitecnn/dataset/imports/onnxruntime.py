"""Profiles that ONNX Runtime writes (`SessionOptions.enable_profiling`): trace events, durations in µs."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sitecnn.dataset.imports.fusion import absorb
from sitecnn.dataset.imports.profiled import Matched, Shown, match
from sitecnn.dataset.imports.record import Imported, Passes, Refused, Target, implausible, layer_index
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
    refused: list[Refused] = []
    rows = left_out = 0
    for file in files:
        profile = _read_profile(file, target.processor, network)
        matched = match(network, profile.shown) if target.processor == "cpu" else None
        left_out += (
            _take_groups(profile, matched, passes, refused) if matched else _take_names(profile, passes, refused)
        )
        rows += profile.rows
    return Imported([passes], rows, rows - left_out - len(refused), left_out, refused, "warm-up and reorders")


def json_list(file: Path, text: str) -> list[Any]:
    """The JSON list of a file's text; DatasetError where it holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: no profile: {str(error).splitlines()[0]}") from None
    if not isinstance(found, list):
        raise DatasetError(f"{file}: no profile: expected a JSON list, found {type(found).__name__}")
    return found


def _events(file: Path) -> list[Any]:
    try:
        return json_list(file, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise DatasetError(f"{file}: no profile: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Profile:
    """Events of one file: ms of its runs, of each node by name with the events' numbers, and what tells nodes apart.

    `shown` has the nodes in the order in which they ran; `skip` runs warm up.
    """

    runs: list[float]
    nodes: dict[str, list[tuple[int, float]]]
    shown: list[tuple[str, Shown]]
    skip: int

    @property
    def rows(self) -> int:
        """Events of nodes."""
        return sum(map(len, self.nodes.values()))

    @property
    def warm_up_rows(self) -> int:
        """Those of runs that warm up."""
        return sum(len(timed[: self.skip]) for timed in self.nodes.values())


def _read_profile(file: Path, processor: str, network: Network) -> Profile:
    """The events of a profile; DatasetError where it is none, or of another processor."""
    runs: list[float] = []
    nodes: dict[str, list[tuple[int, float]]] = defaultdict(list)
    shown: dict[str, Shown] = {}
    for number, event in enumerate(_events(file), 1):
        kind, name, duration = (
            (event.get(key) for key in ("cat", "name", "dur")) if isinstance(event, dict) else ("", "", 0)
        )
        if not isinstance(name, str) or not isinstance(duration, int | float) or not 0 <= duration < LONGEST_US:
            raise DatasetError(f"{file}: event {number}: no name and duration; is this ONNX Runtime's?")
        if kind == "Session" and name == "model_run":
            runs.append(duration / 1e3)
        elif kind == "Node" and name.endswith("_kernel_time"):
            said = event.get("args")
            said = said if isinstance(said, dict) else {}
            provider = str(said.get("provider", ""))
            if _PROCESSORS.get(provider, processor) != processor:
                raise DatasetError(f"{file}: event {number}: ran by {provider}, not on the {processor}: --processor")
            name = name.removesuffix("_kernel_time")
            nodes[name].append((number, duration / 1e3))
            shown[name] = _shown(said)
    if not runs or not nodes:
        raise DatasetError(f"{file}: no run and nodes in it; is this ONNX Runtime's, written after end_profiling()?")
    skip = WARM_UP_RUNS if len(runs) > WARM_UP_RUNS else 0
    if unit := implausible(network, min(runs[skip:])):
        raise DatasetError(f"{file}: {unit}")
    return Profile(runs, nodes, list(shown.items()), skip)


def _shown(said: dict[str, Any]) -> Shown:
    """What a node's event says of it, empty where it does not."""
    inputs, outputs = (_shapes(said.get(f"{name}_type_shape")) for name in ("input", "output"))
    return str(said.get("op_name", "")), inputs[0] if inputs else (), outputs


def _shapes(listed: Any) -> tuple[Shape, ...]:
    """Shapes as events have them: a list of `{type: [dimensions]}`."""
    entries = listed if isinstance(listed, list) else []
    shapes = [shape for one in entries if isinstance(one, dict) for shape in one.values() if isinstance(shape, list)]
    return tuple(tuple(size for size in shape if isinstance(size, int)) for shape in shapes)


def _take_groups(profile: Profile, matched: Matched, passes: Passes, refused: list[Refused]) -> int:
    """Put the times of groups at their first layers; returns how many events were left out."""
    layers = passes.network.layers
    if engine_of_stack(passes.stack).name != ONNXRUNTIME:
        passes.stack = f"{ONNXRUNTIME}+nchwc-{matched.engine.nchwc_block}+fp32+{passes.stack}"
    passes.forward_ms += profile.runs[profile.skip :]
    whole: dict[int, list[float]] = {}
    for name, (index, *others) in matched.layers.items():
        times = [duration for _, duration in profile.nodes[name][profile.skip :]]
        before = whole.get(index, [0.0] * len(times))
        whole[index] = [one + more for one, more in zip(before, times, strict=False)]
        fused = [layers[other].name for other in others]
        if fused:
            passes.fused[index] = list(dict.fromkeys([*passes.fused.get(index, []), *fused]))
    for index, times in whole.items():
        passes.layers_ms.setdefault(index, []).extend(times)
    for name, timed in profile.nodes.items():
        if name not in matched.layers and name not in matched.own:
            reason = f"node {name!r} is nothing that ONNX Runtime makes of the definition"
            refused += [Refused(number, reason) for number, _ in timed[profile.skip :]]
    return profile.warm_up_rows + sum(len(profile.nodes[name][profile.skip :]) for name in matched.own)


def _take_names(profile: Profile, passes: Passes, refused: list[Refused]) -> int:
    """Put the times of nodes at the layers of their names; returns how many events were left out."""
    passes.forward_ms += profile.runs[profile.skip :]
    operators = {name: shown[0] for name, shown in profile.shown}
    for name, timed in profile.nodes.items():
        index = layer_of(passes.network, _RENAMED.sub("", name), operators[name])
        kept = timed[profile.skip :]
        if index is None:
            refused += [Refused(number, f"node {name!r} is no layer of the definition") for number, _ in kept]
        else:
            passes.layers_ms.setdefault(index, []).extend(duration for _, duration in kept)
    for index, others in absorb(passes.network, passes.layers_ms).items():
        passes.fused[index] = [passes.network.layers[other].name for other in others]
    return profile.warm_up_rows


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
