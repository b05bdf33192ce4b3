"""One kind of work that a kernel's time is made of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sitecnn.workload.engines import engine_of_stack

Array = NDArray[np.float64]
Sizes = Mapping[str, Array]
"""Columns named as in `sitecnn.workload.kernels.SIZE_NAMES`, an entry per kernel, NaN where a kind has no such size.
Those of `stack_sizes` stand beside them."""

STACK_SIZES = ("nchwc_block", "threads")


@dataclass(frozen=True)
class Feature:
    """One kind of work: `unit` is what a coefficient is per; `count` gives how much of it a kernel does."""

    name: str
    unit: str
    count: Callable[[Sizes], Array]


CALL = Feature("calls", "call", lambda sizes: np.ones_like(sizes["in_elements"]))


def stack_sizes(stack: str, kernels: int) -> dict[str, Array]:
    """What a kernel's work depends on of its stack: the channels in a block of ONNX Runtime's, 0 for none; its threads,
    0 where its name does not say.
    """
    threads = re.search(r"\b(\d+)-threads\b", stack)
    numbers = engine_of_stack(stack).nchwc_block, int(threads[1]) if threads else 0
    return {name: np.full(kernels, float(number)) for name, number in zip(STACK_SIZES, numbers, strict=True)}
