"""Features of what lies beyond a cache: of large tensors, and of weights in passes that read much else between."""

from collections.abc import Callable

import numpy as np

from sitecnn.models.feature import Array, Feature, Sizes

NEAR, FAR_AWAY = (1 << 20, 4 << 20), (8 << 20, 32 << 20)
"""Bytes from which on, and up to which, tensors outgrow the caches near a core (1 to 2 MiB), and the last one."""

LAST_CACHES = ((4 << 20, 16 << 20), (16 << 20, 32 << 20), (32 << 20, 64 << 20))
"""Bytes of a pass from which on weights are no longer in the last cache, whose share for one core nobody tells: of a
small board, and of servers (an Emerald Rapids keeps 45 MB and not 60 MB, of a cache of 260 MB).
"""


def share_beyond(level: tuple[int, int], size_bytes: Array) -> Array:
    """How much of so many bytes lies beyond the caches of a level, from 0 to 1."""
    least, most = level
    share: Array = np.clip((size_bytes - least) / (most - least), 0, 1)
    return share


def beyond_level(level: tuple[int, int], count: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
    """What of `count` is moved beyond the caches of a level, as a kernel's inputs and outputs are large."""
    return lambda sizes: share_beyond(level, 4 * (sizes["in_elements"] + sizes["out_elements"])) * count(sizes)


def moved(name: str, unit: str, count: Callable[[Sizes], Array]) -> tuple[Feature, ...]:
    """Features of elements that are beyond the near caches, and beyond the last one."""
    return (
        Feature(f"far_{name}", f"{unit} beyond near caches", beyond_level(NEAR, count)),
        Feature(f"farther_{name}", f"{unit} beyond the last cache", beyond_level(FAR_AWAY, count)),
    )


def in_passes_beyond(level: tuple[int, int], count: Callable[[Sizes], Array]) -> Callable[[Sizes], Array]:
    """What of `count` comes from beyond a last cache, as the whole pass is large; nothing of a kernel timed alone."""
    return lambda sizes: share_beyond(level, np.nan_to_num(sizes["pass_bytes"])) * count(sizes)


def beyond_caches(name: str, unit: str, count: Callable[[Sizes], Array]) -> tuple[Feature, ...]:
    """Features of data that are read again in the next pass only: from a last cache, or from memory."""
    in_large_passes = (
        Feature(
            f"{name}_beyond_{low >> 20}_mb",
            f"{unit} in a pass of {low >> 20} to {high >> 20} MiB",
            in_passes_beyond((low, high), count),
        )
        for low, high in LAST_CACHES
    )
    return (Feature(name, unit, count), *in_large_passes)
