"""Another's measurements joined to the layers of a definition: which layers they tell of, and which cannot be."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from sitecnn.dataset.imports.record import Imported
from sitecnn.dataset.imports.tables import brief
from sitecnn.errors import NetworkError
from sitecnn.network import Network, load_network
from sitecnn.network.graph import Shape
from sitecnn.workload.kernels import is_free, macs

SLOWEST_MACS_PER_S, FASTEST_MACS_PER_S = 2e7, 1e15
"""A pass outside of these is given in another unit: a Raspberry Pi Zero does 10⁸, the fastest GPU of 2026 some 10¹⁵."""

LONGEST_SHARE = 2.0
"""A layer timed alone may take longer than its share of an asynchronous pass, but not twice the whole pass."""

LONGEST_NAME = 200

ABSORBED = frozenset(
    {"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BatchNorm", "Scale", "Bias", "Dropout", "Eltwise", "Split"}
)
"""What engines compute within the layer before: activations, normalisations, sums."""


def definition(folder: Path, name: str, batch: int, inputs: Mapping[str, Shape] | None = None) -> Network:
    """DIR/{name}.prototxt or .onnx at this batch, with the shapes it leaves open; NetworkError if there is none."""
    if "/" in name or "\\" in name or name.startswith(".") or "\0" in name or len(name) > LONGEST_NAME:
        raise NetworkError(f"network {brief(name)} is no name of a file")
    for suffix in (".prototxt", ".onnx"):
        if (folder / f"{name}{suffix}").is_file():
            return load_network(folder / f"{name}{suffix}", batch=batch, inputs=inputs)
    raise NetworkError(f"no definition {folder / name}.prototxt or .onnx")


def by_definition(
    rows: pd.DataFrame,
    columns: Sequence[str],
    folder: Path,
    inputs: Mapping[str, Shape] | None,
    imported: Imported,
) -> Iterator[tuple[tuple[Any, ...], Network, pd.DataFrame]]:
    """Rows alike in `columns`, of which the last are `network` and `batch`: (their values, the definition, the rows).

    `imported` refuses those whose definition is not in `folder`, or none at this batch.
    """
    known = cache(partial(definition, folder, inputs=inputs))  # libraries and threads share networks
    values: Any
    for values, part in rows.groupby(list(columns), sort=False):
        try:
            network = known(*values[-2:])
        except NetworkError as error:
            imported.refuse(part["row"], str(error))
        else:
            yield values, network, part


def layer_index(network: Network, name: str, position: int | None = None) -> int | None:
    """Where the layer called `name` stands; the sole input may be called `input` or `data`. None if nowhere."""
    indices = network.positions.get(name, [])
    if len(indices) > 1 and position in indices:
        return position
    if indices:
        return indices[0]
    inputs = [index for index, layer in enumerate(network.layers) if layer.type == "Input"]
    return inputs[0] if len(inputs) == 1 and name in ("input", "data") else None


def implausible(network: Network, pass_ms: float, indices: Collection[int] | None = None) -> str | None:
    """Why a pass (of the layers `indices` only, where given) cannot take `pass_ms`; None if it can."""
    work = sum(macs(layer) for index, layer in enumerate(network.layers) if indices is None or index in indices)
    what = "a pass" if indices is None else "a part of a pass"
    if pass_ms <= 0:
        return f"{what} of {pass_ms:g} ms"
    rate = work / (pass_ms / 1e3)
    if work and not SLOWEST_MACS_PER_S < rate < FASTEST_MACS_PER_S:
        return f"{what} of {pass_ms:g} ms would do {rate:.1e} multiply-accumulates/s: are the times in ms?"
    return None


def heaviest(network: Network, indices: Collection[int]) -> int:
    """The layer with the most multiply-accumulates, the first of equals: fused time is written down as its."""
    return min(indices, key=lambda index: (-macs(network.layers[index]), index))


def absorb(network: Network, timed: Collection[int]) -> dict[int, list[int]]:
    """For each timed layer, the untimed ones right after it that an engine computes within it.

    A layer is absorbed if its type is in ABSORBED, nothing in the profile stands for it, and one of its bottoms
    comes from the timed layer or from one absorbed by it.
    """
    producer: dict[str, int] = {}
    owner = {index: index for index in timed}
    absorbed: dict[int, list[int]] = {}
    for index, layer in enumerate(network.layers):
        if index not in owner and layer.type in ABSORBED:
            sources = [owner[producer[blob]] for blob in layer.bottoms if producer.get(blob) in owner]
            if sources:
                owner[index] = sources[-1]
                if not is_free(layer):
                    absorbed.setdefault(sources[-1], []).append(index)
        producer |= dict.fromkeys(layer.tops, index)
    return absorbed
