"""Kernels that a published table of TFLite's GPU delegate does not list: paddings and elementwise work of their own.

The names of kernels number the nodes of the graph that they run, so a number that is missing is a node that ran
unlisted. They are imported with their sizes and without a time, for a whole pass has them.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sitecnn.workload.kernels import SIZE_NAMES

PAD, ELEMENTWISE = "tflite_pad", "tflite_elementwise"
UNTIMED = (PAD, ELEMENTWISE)

Row = dict[str, Any]


def with_unlisted(kernels: Sequence[Row], implementations: Sequence[str]) -> list[Row]:
    """A network's kernels in their order, each after what ran unlisted before it.

    A kernel whose input has a height that nothing before it made reads a padded map. Other nodes that are missing one
    after another are one elementwise kernel, as the delegate links them: of the map that was gated where the
    kernel before made one position (squeeze-and-excite), of the map before otherwise.
    """
    found: list[Row] = []
    heights, last, before, pooled = {kernels[0]["height"]} if kernels else set(), -1, None, None
    for kernel, implementation in zip(kernels, implementations, strict=True):
        nodes = list(_nodes(implementation))
        missing = max(min(nodes, default=last + 1) - last - 1, 0)
        is_padded = missing > 0 and kernel["height"] > 1 and kernel["height"] not in heights
        if missing > is_padded and before is not None:
            gated = pooled if before["out_height"] == 1 and pooled is not None else None
            found.append(_moved(ELEMENTWISE, gated, "channels", "height") if gated else _written(before))
        if is_padded:
            found.append(_moved(PAD, kernel, "channels", "height"))
        found.append(kernel)
        heights.add(kernel["out_height"])
        last, before = max([last, *nodes]), kernel
        pooled = kernel if kernel["kind"] == "tflite_mean" else pooled
    return found


def _nodes(implementation: str) -> Iterator[int]:
    """Numbers of the nodes that a kernel runs: 16, 17 of `convolution_2d_16_linked_:_relu_17`."""
    for part in implementation.split("_linked_:_"):
        numbers = re.search(r"(?:_\d+)+$", part)
        yield from map(int, numbers[0].strip("_").split("_")) if numbers else ()


def _written(before: Row) -> Row:
    return _moved(ELEMENTWISE, before, "out_channels", "out_height")


def _moved(kind: str, of: Row, channels: str, height: str) -> Row:
    """A kernel that writes the map of `channels` and `height` of another; a time of 0 says that there is none."""
    elements = of[channels] * of[height] ** 2
    sizes = {"images": of.get("images", 1)}
    for side in ("", "out_"):
        sizes |= {f"{side}channels": of[channels], f"{side}height": of[height], f"{side}width": of[height]}
    sizes |= {"in_elements": elements, "out_elements": elements}
    return {
        "kind": kind,
        "variant": "",
        **{name: sizes[name] for name in SIZE_NAMES if name in sizes},
        "samples_ns": [0.0],
    }
