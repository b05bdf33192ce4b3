"""The columns in which Li, Paolieri and Golubchik published TFLite's GPU delegate on phones (A Benchmark for ML
Inference Latency on Mobile Devices, EdgeSys 2024), and the kernels that ran beside those they list.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from sitecnn.workload.kernels import SIZE_NAMES

PUBLISHED = ("network", "operation", "in_size", "in_channels", "out_size", "kernel_size", "implementation", "kernel_ms")
JOINT = "tflite_depthwise_conv_plus_1x1_conv"
"""A depthwise convolution and the pointwise one behind it in one kernel, which the published table lists twice."""

PAD, ELEMENTWISE = "tflite_pad", "tflite_elementwise"
"""Kinds of kernels that are not listed: paddings and elementwise work of their own."""

Row = dict[str, Any]


def of_published(rows: pd.DataFrame) -> pd.DataFrame:
    """The published columns as ours: `in_size` and `out_size` are height and width of square maps.

    `parameters` are weights; `accumulate` is 1 where another tensor is added, `activation` as SIZE_NAMES has it.

    Traps: of a depthwise convolution `out_channels` is the multiplier; of a mean `out_size` is its channels; of a
    concatenation `kernel_size` is the number of inputs; a joint kernel is listed for each of its two layers.
    """
    operation, names = rows["operation"].astype(str), rows["implementation"].astype(str)
    kind = "tflite_" + names.str.replace(r"_linked_.*", "", regex=True).str.replace(r"(_\d+)+$", "", regex=True)
    kind = kind.where(operation != "AVERAGE_POOL_2D", kind.replace("tflite_pooling_2d", "tflite_average_pooling_2d"))
    linked = names.str.findall(r"linked_:_([a-z0-9_]+?)_\d+(?=_linked|$)").str.join("+")
    is_mean, is_concat = kind == "tflite_mean", kind == "tflite_concat"
    channels, in_size = rows["in_channels"], rows["in_size"].fillna(1)
    multiplied = (operation == "DEPTHWISE_CONV_2D") | (kind == JOINT)
    out_channels = rows["out_channels"].where(~multiplied, channels * rows["out_channels"]).fillna(channels)
    out_size = rows["out_size"].fillna(1).where(~is_mean, 1)
    window = rows["kernel_size"].where(~(is_mean | is_concat))
    pooling = operation.map({"MAX_POOL_2D": "MAX", "AVERAGE_POOL_2D": "AVE"}).where(kind.str.endswith("pooling_2d"))
    weights = out_channels * (channels / rows["group"].where(~multiplied, channels).fillna(1)) * window.fillna(1) ** 2
    has_weights = kind.str.contains("conv|connected")
    sizes: dict[str, Any] = {
        **{"images": 1, "channels": channels, "height": in_size, "width": in_size},
        **{"out_channels": out_channels, "out_height": out_size, "out_width": out_size},
        **{"kernel_h": window, "kernel_w": window, "stride_h": rows["stride"], "stride_w": rows["stride"]},
        **{"group": rows["group"].where(operation != "DEPTHWISE_CONV_2D", channels)},
        **{"inputs": rows["kernel_size"].where(is_concat), "in_elements": channels * in_size**2},
        **{"out_elements": out_channels * out_size**2, "parameters": weights.where(has_weights, 0)},
        **{"accumulate": linked.str.contains("add").astype(int), "activation": _activation(linked)},
    }
    rows = rows[["row", "board", "network", "batch", "kernel_ms"]].assign(
        kind=kind, variant=pooling.fillna(linked), implementation=names, **sizes
    )
    return _joined(rows)


def _activation(linked: "pd.Series[str]") -> "pd.Series[int]":
    """The class of the activation that was fused, as SIZE_NAMES has it."""
    return (linked != "").astype(int) + linked.str.contains("sigmoid|swish|tanh").astype(int)


def _joined(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of which joint kernels are there once: the depthwise sizes, what the pointwise part makes, the mean time."""
    same = (rows[["network", "implementation"]] == rows[["network", "implementation"]].shift(-1)).all(axis=1)
    is_first = (rows["kind"] == JOINT) & same
    is_second = is_first.shift(1, fill_value=False)
    depthwise, pointwise = rows[is_first], rows[is_second].set_index(rows.index[is_first])
    # Of the pointwise convolution outputs are not multiplied.
    outputs = pointwise["out_channels"] // pointwise["channels"]
    joint = depthwise.assign(
        kernel_ms=(depthwise["kernel_ms"] + pointwise["kernel_ms"]) / 2,
        out_channels=outputs,
        **{name: pointwise[name] for name in ("out_height", "out_width")},
        out_elements=outputs * pointwise["out_height"] * pointwise["out_width"],
        parameters=depthwise["parameters"] + pointwise["channels"] * outputs,
    )
    return pd.concat([joint, rows[~is_first & ~is_second]]).sort_index()


def with_unlisted(kernels: Sequence[Row], implementations: Sequence[str]) -> list[Row]:
    """A network's kernels in their order, each after what ran unlisted before it.

    The names of kernels number the nodes of the graph that they run, so a number that is missing is a node that ran
    unlisted. A kernel whose input has a height that nothing before it made reads a padded map. Other nodes that are
    missing one after another are one elementwise kernel, as the delegate links them: of the map that was gated where
    the kernel before made one position (squeeze-and-excite), of the map before otherwise.
    """
    run: list[Row] = []
    heights, last, before, pooled = {kernels[0]["height"]} if kernels else set(), -1, None, None
    for kernel, implementation in zip(kernels, implementations, strict=True):
        nodes = list(_nodes(implementation))
        missing = max(min(nodes, default=last + 1) - last - 1, 0)
        is_padded = missing > 0 and kernel["height"] > 1 and kernel["height"] not in heights
        if missing > is_padded and before is not None:
            gated = pooled if before["out_height"] == 1 else None
            run.append(_unlisted(ELEMENTWISE, gated) if gated else _unlisted(ELEMENTWISE, before, "out_"))
        if is_padded:
            run.append(_unlisted(PAD, kernel))
        run.append(kernel)
        heights.add(kernel["out_height"])
        last, before = max([last, *nodes]), kernel
        pooled = kernel if kernel["kind"] == "tflite_mean" else pooled
    return run


def _nodes(implementation: str) -> Iterator[int]:
    """Numbers of the nodes that a kernel runs: 16, 17 of `convolution_2d_16_linked_:_relu_17`."""
    for part in implementation.split("_linked_:_"):
        numbers = re.search(r"(?:_\d+)+$", part)
        yield from map(int, numbers[0].strip("_").split("_")) if numbers else ()


def _unlisted(kind: str, listed: Row, side: str = "") -> Row:
    """A kernel that writes a map as large as another's input (`side` out_: output); a time of 0 says there is none."""
    channels, height = listed[f"{side}channels"], listed[f"{side}height"]
    elements = channels * height**2
    shape = {"channels": channels, "height": height, "width": height}
    sizes = {"images": listed.get("images", 1), "in_elements": elements, "out_elements": elements}
    sizes |= shape | {f"out_{name}": size for name, size in shape.items()}
    sizes = {name: sizes[name] for name in SIZE_NAMES if name in sizes}
    return {"kind": kind, "variant": "", **sizes, "samples_ns": [0.0]}
