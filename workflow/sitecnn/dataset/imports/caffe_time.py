"""The log that `caffe time` prints, of BVLC's and NVIDIA's branches, with or without lines per layer."""

import re
from pathlib import Path

from sitecnn.dataset.imports.record import (
    Imported,
    Passes,
    Refused,
    Target,
    brief,
    implausible,
    layer_index,
    only_measures,
)
from sitecnn.errors import DatasetError
from sitecnn.network import Network

_LAYER = re.compile(r"(?:^|\]\s)\s*(\S+)\s+forward: (\S+) ms\.")
_FORWARD = re.compile(r"Average Forward pass: (\S+) ms\.")
_ITERATION = re.compile(r"Iteration: (\d{1,9}) ")
_TESTING = re.compile(r"Testing for (\d{1,9}) iterations")
_DEVICE = re.compile(r"Use (CPU|GPU)")
_SHAPE = re.compile(r"Top shape(?:: | for layer \d+ '.*' )(\d+) ")
"""tools/caffe.cpp, function time(); net.cpp prints the shapes, NVIDIA's with the layer's number and name."""


def read_logs(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All logs as passes of one network, a sample of each layer per benchmark; layers it lacks are refused.

    Losses and accuracies are no part of what a network takes: their rows are left out.
    """
    passes = Passes(name, network, target.stack)
    refused: list[Refused] = []
    rows = imported = 0
    for file in files:
        read, kept = _read_log(file, target.processor, passes, refused)
        rows, imported = rows + read, imported + kept
    left_out = rows - imported - len(refused)
    return Imported([passes], rows, imported, left_out, refused, "losses and accuracies, and copies for them")


def _read_log(file: Path, processor: str, passes: Passes, refused: list[Refused]) -> tuple[int, int]:
    """Take over one log; returns how many lines of times it has and how many of them were kept."""
    layers: dict[int, float] = {}
    rows = kept = whole = 0
    before = len(refused)
    lines = _lines(file)
    _check(file, lines, processor, passes.network.batch)
    for number, line in enumerate(lines, 1):
        if found := _ITERATION.search(line) or _TESTING.search(line):
            passes.iterations = int(found[1])
        elif found := _LAYER.search(line):
            rows += 1
            index = layer_index(passes.network, found[1])
            if index is None and only_measures(passes.network, found[1]):
                _ms(file, number, found[2])
            elif index is None or index in layers:
                problem = "is not in the definition" if index is None else "is there twice in one benchmark"
                refused.append(Refused(number, f"{file.name}: layer {found[1]!r} {problem}"))
            else:
                layers[index] = _ms(file, number, found[2])
        elif found := _FORWARD.search(line):
            rows, whole = rows + 1, whole + 1
            kept += 1 + len(layers)
            _take(file, number, _ms(file, number, found[1]), layers, passes)
            layers = {}
    if not whole or layers:
        raise DatasetError(f"{file}: no line 'Average Forward pass: … ms.' at its end: not a whole log of `caffe time`")
    if 2 * (len(refused) - before) > rows - whole:
        # Its passes are another network's, whatever few names both have.
        first, share = refused[before], f"{len(refused) - before} of its {rows - whole} lines of layers"
        raise DatasetError(f"{file}: row {first.row}: {first.reason}, as {share}: is --network what was run?")
    return rows, kept


def _ms(file: Path, number: int, text: str) -> float:
    """A time of a log; DatasetError where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise DatasetError(f"{file}:{number}: {brief(text)} ms is no time")
    return value


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}") from None


def _check(file: Path, lines: list[str], processor: str, batch: int) -> None:
    """DatasetError where the log tells of another processor or, by its first blob, of another batch."""
    for pattern, wanted, option in ((_DEVICE, processor, "--processor"), (_SHAPE, str(batch), "--batch")):
        said = next(
            ((number, found[1].lower()) for number, line in enumerate(lines, 1) if (found := pattern.search(line))),
            None,
        )
        if said and said[1] != wanted:
            raise DatasetError(f"{file}:{said[0]}: the log says {said[1]}, not {wanted}: give {option} {said[1]}")


def _take(file: Path, number: int, forward_ms: float, layers: dict[int, float], passes: Passes) -> None:
    """One benchmark's times, if they can be."""
    if unit := implausible(passes.network, forward_ms):
        raise DatasetError(f"{file}:{number}: {unit}")
    for index, layer_ms in layers.items():
        passes.layers_ms.setdefault(index, []).append(layer_ms)
    passes.forward_ms.append(forward_ms)
    if len(layers) == len(passes.network.layers):
        passes.layerwise_ms.append(sum(layers.values()))
