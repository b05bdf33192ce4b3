"""Kernels as columns, as the models take them: the kind of each, and its sizes by name."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import KINDS_ON_ZEROS, MOST_LAYERS, SIZE_NAMES, Kernel, layer_kernel, pass_bytes

Array = np.ndarray[Any, np.dtype[np.float64]]
Kinds = np.ndarray[tuple[int], np.dtype[np.str_]]
Sizes = Mapping[str, Array]

ROWS = {name: row for row, name in enumerate(SIZE_NAMES)}


def layer_columns(network: Network) -> tuple[Kinds, Sizes]:
    """(kinds, sizes) of the network's layers as columns, for the models."""
    rows = [_layer_row(layer) for layer in network.layers]
    sizes = np.array([row for _, row in rows]).reshape(len(rows), len(SIZE_NAMES)).T
    sizes[ROWS["pass_bytes"]] = pass_bytes(*(float(sizes[ROWS[name]].sum()) for name in ("parameters", "out_elements")))
    kinds = np.array([kind for kind, _ in rows], dtype=np.str_)
    return with_zeros(kinds, network.layers), dict(zip(SIZE_NAMES, sizes, strict=True))


def with_zeros(kinds: Kinds, layers: Sequence[Layer]) -> Kinds:
    """The kinds of the layers' kernels where layers without weights and images run on zeros."""
    on_zeros = np.array([layer.on_zeros for layer in layers], dtype=np.bool_)
    for kind, of_zeros in KINDS_ON_ZEROS.items():
        kinds = np.where(on_zeros & (kinds == kind), of_zeros, kinds)
    return kinds


@lru_cache(maxsize=MOST_LAYERS)
def _layer_row(layer: Layer) -> tuple[str, Array]:
    """A layer's kind and its sizes as a column."""
    kinds, sizes = columns([layer_kernel(layer)])
    return str(kinds[0]), np.concatenate([*sizes.values()])


def columns(kernels: Sequence[Kernel]) -> tuple[Kinds, Sizes]:
    """(kinds, sizes) of kernels as columns, NaN where a kernel has no such size."""
    # Of many networks most kernels are one object that came from a cache: it is taken apart once.
    distinct = {id(kernel): kernel for kernel in kernels}
    number = dict(zip(distinct, range(len(distinct)), strict=True))
    index = np.array([number[id(kernel)] for kernel in kernels], dtype=np.int_)
    rows = np.full((len(SIZE_NAMES), len(distinct)), np.nan)
    for column, kernel in enumerate(distinct.values()):
        for name, size in kernel.sizes:
            rows[ROWS[name], column] = size
    kinds = np.array([kernel.kind for kernel in distinct.values()], dtype=np.str_)
    return kinds[index], dict(zip(SIZE_NAMES, rows[:, index], strict=True))
