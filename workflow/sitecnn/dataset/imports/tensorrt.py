"""Layer profiles of TensorRT's `trtexec --exportProfile`: a list, a count first, then averages in ms by layer."""

import re
from pathlib import Path
from typing import Any

from sitecnn.dataset.imports.fusion import absorb, heaviest
from sitecnn.dataset.imports.onnxruntime import read_json
from sitecnn.dataset.imports.record import Imported, Passes, Refused, Target, brief, implausible, layer_index
from sitecnn.errors import SiteCNNError
from sitecnn.network import Network

LONGEST_MS = 1e10

_WRAPPED = re.compile(r"^(?:PWN|\{ForeignNode)?[(\[{]*|[)\]}]+$")
_JOINT = re.compile(r"\s*(?:\+|\|\||,|\.\.\.)\s*")
"""`conv1 + relu1`, `conv2 || conv3`, `PWN(sigmoid1)`: how TensorRT names what it fused."""


def read_profiles(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All profiles as passes of one network, a sample of each layer per file; copies and the like are refused."""
    passes = Passes(name, network, target.stack)
    refused: list[Refused] = []
    rows = sum(_read_profile(file, passes, refused) for file in files)
    for index, others in absorb(network, _covered(network, passes)).items():
        if index in passes.layers_ms:
            passes.fused[index] = passes.fused.get(index, []) + [network.layers[other].name for other in others]
    return Imported([passes], rows, rows - len(refused), 0, refused)


def _covered(network: Network, passes: Passes) -> set[int]:
    """Layers that an entry of the profile names."""
    named = {name for names in passes.fused.values() for name in names}
    return set(passes.layers_ms) | {index for index, layer in enumerate(network.layers) if layer.name in named}


def _read_profile(file: Path, passes: Passes, refused: list[Refused]) -> int:
    """Take over one profile; returns how many layers it lists."""
    entries = read_json(file)
    total, found = 0.0, dict[int, float]()
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict) and "count" in entry and "name" not in entry:
            passes.iterations = entry["count"] if isinstance(entry["count"], int) else None
            continue
        name, average_ms = _entry(file, number, entry)
        total += average_ms
        indices = layers_named(passes.network, name)
        if not indices:
            refused.append(Refused(number, f"{brief(name)} is no layer of the definition, nor several of them fused"))
            continue
        index = heaviest(passes.network, indices)
        found[index] = found.get(index, 0.0) + average_ms
        others = [passes.network.layers[other].name for other in sorted(indices - {index})]
        passes.fused[index] = sorted({*passes.fused.get(index, []), *others})
    if not found:
        raise SiteCNNError(f"{file}: no layer of the definition in it; is this what --exportProfile wrote?")
    if unit := implausible(passes.network, total):
        raise SiteCNNError(f"{file}: {unit}")
    for index, layer_ms in found.items():
        passes.layers_ms.setdefault(index, []).append(layer_ms)
    passes.layerwise_ms.append(total)
    return sum(1 for entry in entries if "name" in entry)


def _entry(file: Path, number: int, entry: Any) -> tuple[str, float]:
    """(name, average ms) of an entry."""
    name = entry.get("name") if isinstance(entry, dict) else None
    average_ms = entry.get("averageMs") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not isinstance(average_ms, int | float) or not 0 <= average_ms < LONGEST_MS:
        raise SiteCNNError(f"{file}: entry {number}: no name and averageMs; is this what --exportProfile wrote?")
    return name, float(average_ms)


def layers_named(network: Network, name: str) -> set[int]:
    """The layers that TensorRT's name tells of: one, or all that are joined in it; empty if any part is unknown."""
    whole = layer_index(network, name)
    if whole is not None:
        return {whole}
    parts = [layer_index(network, _WRAPPED.sub("", part)) for part in _JOINT.split(name)]
    return {index for index in parts if index is not None} if None not in parts else set()
