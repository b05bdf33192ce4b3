"""Layer profiles of TensorRT's `trtexec --exportProfile`: a list, a count first, then averages in ms by layer."""

import re
from pathlib import Path
from typing import Any

from sitecnn.dataset.imports.joining import absorb, heaviest, implausible, layer_index
from sitecnn.dataset.imports.record import Imported, Passes, Target
from sitecnn.dataset.imports.tables import brief, json_list, read_text
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
    imported = Imported("copies of TensorRT's own", passes=[passes])
    for file in files:
        _read_profile(file, passes, imported)
    names = {name for fused in passes.fused.values() for name in fused}
    covered = set(passes.layers_ms) | {index for index, layer in enumerate(network.layers) if layer.name in names}
    for index, others in absorb(network, covered).items():
        if index in passes.layers_ms:
            passes.fuse(index, others)
    return imported


def _entries(file: Path) -> list[Any]:
    """What a profile lists, in any of its forms; DatasetError where it is none."""
    text = read_text(file)
    if table := _LINE.findall(text):
        return [{"name": name.strip(), "averageMs": float(ms)} for ms, name in table if name.strip() != "Total"]
    return json_list(file, _ASSIGNED.sub("", text))


def _read_profile(file: Path, passes: Passes, imported: Imported) -> None:
    """Take over one profile; DatasetError where it is none or nothing of it can be taken."""
    total_ms, layers_ms = 0.0, dict[int, float]()
    refused_before = len(imported.refused)
    for number, entry in enumerate(_entries(file), 1):
        if isinstance(entry, dict) and "count" in entry and "name" not in entry:
            passes.iterations = entry["count"] if isinstance(entry["count"], int) else None
            continue
        name, average_ms = _entry(file, number, entry)
        imported.rows += 1
        total_ms += average_ms
        indices = layers_named(passes.network, name)
        if _OWN.search(name):
            imported.left_out += 1
        elif problem := _problem(passes.network, indices):
            imported.refuse([number], f"{brief(name)} is {problem}")
        else:
            index = heaviest(passes.network, indices)
            layers_ms[index] = layers_ms.get(index, 0.0) + average_ms
            others = [other for other in indices - {index} if not is_free(passes.network.layers[other])]
            passes.fuse(index, sorted(others, key=lambda other: passes.network.layers[other].name))
    if not layers_ms:
        refused = imported.refused[refused_before:]
        reason = f"nothing of it can be taken; entry {refused[0][0]}: {refused[0][1]}" if refused else None
        reason = reason or "no layer of the definition in it; is this what --exportProfile wrote?"
        raise DatasetError(f"{file}: {reason}")
    if unit := implausible(passes.network, total_ms):
        raise DatasetError(f"{file}: {unit}")
    for index, layer_ms in layers_ms.items():
        passes.add_samples(index, [layer_ms])
    passes.layerwise_ms.append(total_ms)


def _problem(network: Network, indices: set[int]) -> str | None:
    """Why an entry's time cannot be that of the layers it names; None if it can."""
    if not indices:
        return "no layer of the definition, nor several of them fused"
    if sum(macs(network.layers[index]) > 0 for index in indices) > 1:
        return "one time for several convolutions or products, which cannot be told apart"
    return None


def _entry(file: Path, number: int, entry: Any) -> tuple[str, float]:
    """(name, average ms) of an entry."""
    name, average_ms = (entry.get(key) if isinstance(entry, dict) else None for key in ("name", "averageMs"))
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
