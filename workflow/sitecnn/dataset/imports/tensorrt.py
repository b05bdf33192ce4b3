"""Layer profiles of TensorRT's `trtexec --exportProfile`: a list, a count first, then averages in ms by layer."""

import re
from pathlib import Path
from typing import Any

from sitecnn.dataset.imports.fusion import absorb, heaviest
from sitecnn.dataset.imports.onnxruntime import json_list
from sitecnn.dataset.imports.record import Imported, Passes, Refused, Target, brief, implausible, layer_index
from sitecnn.errors import DatasetError
from sitecnn.network import Network
from sitecnn.workload.kernels import is_free, macs

LONGEST_MS = 1e10

_WRAPPED = re.compile(r"^(?:PWN\(|__my\w+-|ForeignNode\[|[(\[{])+|[)\]}]+$")
_JOINT = re.compile(r"\s*(?:\+|\|\||,)\s*")
_RANGE = re.compile(r"ForeignNode\[(.+)\.\.\.(.+?)\]")
"""`conv1 + relu1`, `conv2 || conv3`, `PWN(PWN(sigmoid1), mul1)`, `{ForeignNode[conv4...relu9]}`: how TensorRT names
what it fused."""

_OWN = re.compile(r"^Reformatting CopyNode |^reshape_before_|^reshape_after_| copy$|^copied_")
"""Kernels of TensorRT's own, which serve a layer but do none of its work."""

_ASSIGNED = re.compile(r"\A\s*\w+\s*=\s*(?=\[)")
_LINE = re.compile(r"\[I\]\s+[\d.]+\s+([\d.]+)(?:\s+[\d.]+)?\s+[\d.]+\s+(\S.*)$", re.MULTILINE)
"""Other forms of the same profile: a Python list, and the table that `trtexec --dumpProfile` prints."""


def read_profiles(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All profiles as passes of one network, a sample of each layer per file; copies and the like are left out."""
    passes = Passes(name, network, target.stack)
    refused: list[Refused] = []
    rows = left_out = 0
    for file in files:
        read, own = _read_profile(file, passes, refused)
        rows, left_out = rows + read, left_out + own
    for index, others in absorb(network, _covered(network, passes)).items():
        if index in passes.layers_ms:
            passes.fused[index] = passes.fused.get(index, []) + [network.layers[other].name for other in others]
    return Imported([passes], rows, rows - left_out - len(refused), left_out, refused, "copies of TensorRT's own")


def _covered(network: Network, passes: Passes) -> set[int]:
    """Layers that an entry of the profile names."""
    named = {name for names in passes.fused.values() for name in names}
    return set(passes.layers_ms) | {index for index, layer in enumerate(network.layers) if layer.name in named}


def _entries(file: Path) -> list[Any]:
    """What a profile lists, in any of its forms; DatasetError where it is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: no profile: {str(error).splitlines()[0]}") from None
    if table := _LINE.findall(text):
        return [{"name": name.strip(), "averageMs": float(ms)} for ms, name in table if name.strip() != "Total"]
    return json_list(file, _ASSIGNED.sub("", text))


def _read_profile(file: Path, passes: Passes, refused: list[Refused]) -> tuple[int, int]:
    """Take over one profile; returns how many layers it lists and how many of them are TensorRT's own."""
    entries, before = _entries(file), len(refused)
    own = 0
    total, found = 0.0, dict[int, float]()
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict) and "count" in entry and "name" not in entry:
            passes.iterations = entry["count"] if isinstance(entry["count"], int) else None
            continue
        name, average_ms = _entry(file, number, entry)
        total += average_ms
        if _OWN.search(name):
            own += 1
            continue
        indices = layers_named(passes.network, name)
        if not indices:
            refused.append(Refused(number, f"{brief(name)} is no layer of the definition, nor several of them fused"))
            continue
        if sum(macs(passes.network.layers[index]) > 0 for index in indices) > 1:
            reason = f"{brief(name)} is one time for several convolutions or products, which cannot be told apart"
            refused.append(Refused(number, reason))
            continue
        index = heaviest(passes.network, indices)
        found[index] = found.get(index, 0.0) + average_ms
        fused = [passes.network.layers[other] for other in sorted(indices - {index})]
        others = [layer.name for layer in fused if not is_free(layer)]
        passes.fused[index] = sorted({*passes.fused.get(index, []), *others})
    if not found and (mine := refused[before:]):
        raise DatasetError(f"{file}: nothing of it can be taken; entry {mine[0].row}: {mine[0].reason}")
    if not found:
        raise DatasetError(f"{file}: no layer of the definition in it; is this what --exportProfile wrote?")
    if unit := implausible(passes.network, total):
        raise DatasetError(f"{file}: {unit}")
    for index, layer_ms in found.items():
        passes.layers_ms.setdefault(index, []).append(layer_ms)
    passes.layerwise_ms.append(total)
    return sum(1 for entry in entries if "name" in entry), own


def _entry(file: Path, number: int, entry: Any) -> tuple[str, float]:
    """(name, average ms) of an entry."""
    name = entry.get("name") if isinstance(entry, dict) else None
    average_ms = entry.get("averageMs") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not isinstance(average_ms, int | float) or not 0 <= average_ms < LONGEST_MS:
        raise DatasetError(f"{file}: entry {number}: no name and averageMs; is this what --exportProfile wrote?")
    return name, float(average_ms)


def layers_named(network: Network, name: str) -> set[int]:
    """The layers that TensorRT's name tells of: one, all that are joined in it, or all from one to another.

    Empty if any part is unknown.
    """
    whole = layer_index(network, name)
    if whole is not None:
        return {whole}
    if ends := _RANGE.search(name):
        first, last = (layer_index(network, _WRAPPED.sub("", end)) for end in ends.groups())
        return set() if first is None or last is None else set(range(min(first, last), max(first, last) + 1))
    parts = [layer_index(network, _WRAPPED.sub("", part)) for part in _JOINT.split(name)]
    return {index for index in parts if index is not None} if None not in parts else set()
