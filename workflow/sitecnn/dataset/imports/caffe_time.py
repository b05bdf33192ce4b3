"""The log that `caffe time` prints, of BVLC's and NVIDIA's branches, with or without lines per layer."""

import re
from pathlib import Path

from sitecnn.dataset.imports.joining import implausible, layer_index
from sitecnn.dataset.imports.record import Imported, Passes, Target
from sitecnn.dataset.imports.tables import brief
from sitecnn.errors import DatasetError
from sitecnn.network import Network

_LAYER = re.compile(r"(?:^|\]\s)\s*(\S+)\s+forward: (\S+) ms\.")
_FORWARD = re.compile(r"Average Forward pass: (\S+) ms\.")
_ITERATIONS = re.compile(r"Iteration: (\d{1,9}) |Testing for (\d{1,9}) iterations")
_DEVICE = re.compile(r"Use (CPU|GPU)")
_SHAPE = re.compile(r"Top shape(?:: | for layer \d+ '.*' )(\d+) ")
"""tools/caffe.cpp, function time(); net.cpp prints the shapes, NVIDIA's with the layer's number and name."""


def read_logs(files: list[Path], target: Target, network: Network, name: str) -> Imported:
    """All logs as passes of one network, a sample of each layer per benchmark; layers it lacks are refused.

    Losses and accuracies are no part of what a network takes: their rows are left out.
    """
    passes = Passes(name, network, target.stack)
    imported = Imported("losses and accuracies, and copies for them", passes=[passes])
    for file in files:
        _read_log(file, target.processor, passes, imported)
    return imported


def _read_log(file: Path, processor: str, passes: Passes, imported: Imported) -> None:
    """Take over one log; DatasetError where it is not whole, or of another network, batch or processor."""
    layers: dict[int, float] = {}
    layer_rows = benchmarks = 0
    refused_before = len(imported.refused)
    lines = _lines(file)
    _check(file, lines, processor, passes.network.batch)
    for number, line in enumerate(lines, 1):
        if iterations := _ITERATIONS.search(line):
            passes.iterations = int(iterations[1] or iterations[2])
        elif layer := _LAYER.search(line):
            layer_rows += 1
            name, layer_ms = layer[1], _ms(file, number, layer[2])
            index = layer_index(passes.network, name)
            if index is None and only_measures(passes.network, name):
                imported.left_out += 1
            elif index is None or index in layers:
                problem = "is not in the definition" if index is None else "is there twice in one benchmark"
                imported.refuse([number], f"{file.name}: layer {name!r} {problem}")
            else:
                layers[index] = layer_ms
        elif forward := _FORWARD.search(line):
            benchmarks += 1
            _take(file, number, _ms(file, number, forward[1]), layers, passes)
            layers = {}
    if not benchmarks or layers:
        raise DatasetError(f"{file}: no line 'Average Forward pass: … ms.' at its end: not a whole log of `caffe time`")
    imported.rows += layer_rows + benchmarks
    refused = imported.refused[refused_before:]
    if 2 * len(refused) > layer_rows:
        # Its passes are another network's, whatever few names both have.
        row, reason = refused[0]
        share = f"{len(refused)} of its {layer_rows} lines of layers"
        raise DatasetError(f"{file}: row {row}: {reason}, as {share}: is --network what was run?")


def only_measures(network: Network, name: str) -> bool:
    """Whether `name` is a layer of the network's file that was left out of it: a loss, an accuracy, a Split for those.

    The reader's notes name the former; the latter, Caffe calls `{blob}_{layer}_{top}_split` (insert_splits.cpp).
    """
    notes = (re.match(r"layer (?:'(.*)'|\"(.*)\") \(\S*\) is left out", note) for note in network.notes)
    left_out = {note[1] or note[2] for note in notes if note}
    return name in left_out or bool(left_out and re.fullmatch(r".+_\d+_split", name))


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
    for pattern, expected, option in ((_DEVICE, processor, "--processor"), (_SHAPE, str(batch), "--batch")):
        matches = ((number, pattern.search(line)) for number, line in enumerate(lines, 1))
        number, logged = next(((number, match[1].lower()) for number, match in matches if match), (0, expected))
        if logged != expected:
            raise DatasetError(f"{file}:{number}: the log says {logged}, not {expected}: give {option} {logged}")


def _take(file: Path, number: int, forward_ms: float, layers: dict[int, float], passes: Passes) -> None:
    """One benchmark's times, if they can be."""
    if unit := implausible(passes.network, forward_ms):
        raise DatasetError(f"{file}:{number}: {unit}")
    for index, layer_ms in layers.items():
        passes.add_samples(index, [layer_ms])
    passes.forward_ms.append(forward_ms)
    if len(layers) == len(passes.network.layers):
        passes.layerwise_ms.append(sum(layers.values()))
