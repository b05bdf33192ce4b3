"""What is counted of MLAS's convolutions in blocks of channels, against walks through its loops, step by step."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from sitecnn.models.features import features_of
from sitecnn.workload.kernels import SIZE_NAMES

SET_BLOCKS = 4
"""Blocks of outputs that are computed at once (snchwc.cpp, FilterSetSize)."""


@dataclass(frozen=True)
class Conv:
    """A convolution whose kernel, stride and padding differ between rows and columns."""

    images: int
    channels: int
    height: int
    width: int
    out_channels: int
    kernel_h: int = 3
    kernel_w: int = 3
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 1
    pad_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    group: int = 1
    block: int = 16
    """Channels in a block: 16 with AVX-512, 8 with AVX2."""

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.pad_h - self.dilation_h * (self.kernel_h - 1) - 1) // self.stride_h + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.pad_w - self.dilation_w * (self.kernel_w - 1) - 1) // self.stride_w + 1

    def columns(self) -> dict[str, np.ndarray]:
        outputs = self.images * self.out_channels * self.out_height * self.out_width
        sizes = {"out_height": self.out_height, "out_width": self.out_width, "out_elements": outputs}
        sizes |= {"in_elements": self.images * self.channels * self.height * self.width}
        sizes |= {"parameters": self.out_channels * self.channels // self.group * self.kernel_h * self.kernel_w}
        sizes |= {"inputs": 1, "activation": 0, "pass_bytes": 0}
        sizes |= {"nchwc_block": self.block}
        known = asdict(self) | sizes
        return {name: np.array([float(known.get(name, np.nan))]) for name in (*SIZE_NAMES, "nchwc_block")}

    @property
    def group_channels(self) -> int:
        return self.channels // self.group

    @property
    def sets(self) -> list[int]:
        """How many blocks each set of a group's outputs has."""
        blocks = -(-self.out_channels // self.group // self.block)
        return [min(SET_BLOCKS, blocks - first) for first in range(0, blocks, SET_BLOCKS)]

    def window_rows(self, row: int) -> list[int]:
        """Rows of the window of a row of outputs that lie inside the image."""
        places = (row * self.stride_h + place * self.dilation_h - self.pad_h for place in range(self.kernel_h))
        return [place for place in places if 0 <= place < self.height]

    def window_columns(self, column: int) -> list[int]:
        """Columns of the window of a column of outputs that lie inside the image."""
        places = (column * self.stride_w + place * self.dilation_w - self.pad_w for place in range(self.kernel_w))
        return [place for place in places if 0 <= place < self.width]

    def lines(self) -> Iterator[tuple[list[int], list[int]]]:
        """Of each row of outputs and each row of its windows: pixels computed at once, windows of those at edges.

        A 1×1 convolution that skips nothing and pads nothing has one line of all pixels.
        """
        if (self.kernel_h, self.kernel_w, self.stride_h, self.stride_w, self.pad_h, self.pad_w) == (1, 1, 1, 1, 0, 0):
            yield self.groups(self.out_height * self.out_width), []
            return
        inside = [len(self.window_columns(column)) for column in range(self.out_width)]
        edges = [count for count in inside if count < self.kernel_w]
        for row in range(self.out_height):
            for _ in self.window_rows(row):
                yield self.groups(self.out_width - len(edges)), edges

    def groups(self, pixels: int) -> list[int]:
        """The most pixels at once, then fewer and fewer of what is left (ProcessOutputCountN).

        Source: SconvKernelAvx512F.S, SconvKernelFma3.S.
        """
        taken: list[int] = []
        for size in (6, 3, 2, 1) if self.block == 16 else (3, 2, 1):
            taken += [size] * ((pixels - sum(taken)) // size)
        return taken


def walk(conv: Conv) -> Counter[str]:
    """What the loops over images, groups, sets of outputs, rows, inputs and pixels do."""
    done: Counter[str] = Counter()
    for _ in range(conv.images * conv.group):
        for blocks in conv.sets:
            for between, edges in conv.lines():
                # Two vectors a cycle; the next addition to an output waits four cycles for the one before.
                tiles = [size for size in between for _ in range(conv.kernel_w)] + [1] * sum(edges)
                done[f"steps_of_{blocks}"] += sum(tiles) * conv.group_channels
                done["cycles"] += sum(max(blocks * size / 2, 4) for size in tiles) * conv.group_channels
                done["weight_loads"] += len(tiles) * blocks * conv.group_channels
                done["edge_steps"] += sum(edges) * conv.group_channels
                done["row_calls"] += len(range(0, conv.group_channels, conv.block))
            done["read_elements"] += conv.group_channels * conv.height * conv.width
    return done


CONVOLUTIONS = {
    "one set": Conv(1, 32, 7, 9, 64),
    "a set and a block": Conv(2, 16, 6, 11, 80),
    "two sets and three blocks": Conv(1, 48, 5, 8, 176),
    "a wide window": Conv(1, 16, 9, 13, 32, kernel_h=3, kernel_w=5, pad_h=1, pad_w=2),
    "a high window": Conv(2, 16, 13, 9, 48, kernel_h=7, kernel_w=1, pad_h=3, pad_w=0),
    "strides": Conv(1, 16, 11, 14, 32, stride_h=2, stride_w=2),
    "strides over an odd width": Conv(1, 16, 11, 15, 32, stride_h=2, stride_w=2),
    "strides of a wide window": Conv(1, 16, 9, 17, 32, kernel_h=3, kernel_w=7, pad_h=1, pad_w=3, stride_w=2),
    "strides of windows far apart": Conv(1, 16, 9, 18, 32, stride_w=3, dilation_w=3, pad_w=2),
    "less than a window": Conv(1, 16, 4, 3, 32, kernel_h=3, kernel_w=7, pad_h=1, pad_w=3),
    "strides of rows": Conv(1, 16, 11, 15, 32, stride_h=2, stride_w=1),
    "groups": Conv(1, 64, 7, 10, 96, group=2),
    "dilation": Conv(1, 16, 12, 15, 16, dilation_h=2, dilation_w=2, pad_h=2, pad_w=2),
    "no padding": Conv(1, 16, 6, 8, 32, pad_h=0, pad_w=0),
}
FLAT = {
    "one by one": Conv(3, 32, 5, 7, 80, kernel_h=1, kernel_w=1, pad_h=0, pad_w=0),
    "one by one with strides": Conv(1, 32, 7, 11, 64, 1, 1, 2, 2, pad_h=0, pad_w=0),
}
BLOCKED = ("cycles", *(f"steps_of_{blocks}" for blocks in (1, 2, 3, 4)), "weight_loads")


def counted(kind: str, conv: Conv) -> dict[str, float]:
    sizes = conv.columns()
    return {feature.name: float(feature.count(sizes)[0]) for feature in features_of(kind)}


@pytest.mark.parametrize("block", [16, 8])
@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_windows_are_counted_as_the_loops_run(conv: Conv, block: int) -> None:
    conv = replace(conv, block=block)
    ours, expected = counted("ort_nchwc_conv_window", conv), walk(conv)
    for name in (*BLOCKED, "edge_steps", "row_calls"):
        assert ours[name] == pytest.approx(expected[name]), name
    assert ours["read_elements"] == expected["read_elements"]


@pytest.mark.parametrize("block", [16, 8])
@pytest.mark.parametrize("conv", FLAT.values(), ids=FLAT)
def test_pointwise_convolutions_are_counted_as_the_loops_run(conv: Conv, block: int) -> None:
    conv = replace(conv, block=block)
    ours, expected = counted("ort_nchwc_conv_pointwise", conv), walk(conv)
    for name in (*BLOCKED, "read_elements"):
        assert ours[name] == pytest.approx(expected[name]), name


def test_outputs_are_read_and_written_again_for_every_block_of_inputs() -> None:
    """Windows take 16 inputs at a time, 1×1 convolutions 128 (snchwc.cpp)."""
    window, pointwise = Conv(1, 80, 6, 6, 32), Conv(1, 272, 6, 6, 32, 1, 1, pad_h=0, pad_w=0)
    outputs = 32 * 36
    assert counted("ort_nchwc_conv_window", window)["accumulated_elements"] == outputs * len(range(0, 80, 16))
    assert counted("ort_nchwc_conv_pointwise", pointwise)["accumulated_elements"] == outputs * len(range(0, 272, 128))


def beyond(least: int, most: int, size_bytes: int) -> float:
    """The share of a size beyond a cache of `least` to `most` bytes: a straight line between both."""
    return float(np.interp(size_bytes, [least, most], [0, 1]))


def near(size_bytes: int) -> float:
    return beyond(2**20, 2**22, size_bytes)


@pytest.mark.parametrize("edge", [20, 90, 130, 200])
@pytest.mark.parametrize("blocks", [1, 3, 6])
def test_outputs_of_a_set_that_no_near_cache_holds_come_from_beyond_it(edge: int, blocks: int) -> None:
    """The rows of a set of up to four blocks are all written before the next 16, or 128, inputs add to them."""
    conv = Conv(1, 48, edge, edge, 16 * blocks)
    share = near(4 * 16 * min(blocks, 4) * edge * edge)
    outputs = 16 * blocks * edge * edge
    assert counted("ort_nchwc_conv_window", conv)["far_accumulated"] == pytest.approx(share * outputs * 2)
    flat = Conv(1, 300, edge, edge, 16 * blocks, 1, 1, pad_h=0, pad_w=0)
    assert counted("ort_nchwc_conv_pointwise", flat)["far_accumulated"] == pytest.approx(share * outputs * 2)


@pytest.mark.parametrize("edge", [20, 100, 150, 300])
def test_inputs_that_no_near_cache_holds_are_read_from_beyond_it_by_every_set_but_the_first(edge: int) -> None:
    inputs = 2 * 32 * edge * edge
    conv = Conv(2, 32, edge, edge, 16 * 9)
    assert counted("ort_nchwc_conv_window", conv)["far_read_elements"] == pytest.approx(near(4 * inputs) * inputs * 2)


@pytest.mark.parametrize("channels", [16, 48])
def test_depthwise_convolutions_are_counted_as_their_loops_run(channels: int) -> None:
    """One block of channels after the other; groups of pixels as elsewhere, but for each channel its own window."""
    conv = Conv(2, channels, 9, 14, channels, kernel_h=3, kernel_w=5, pad_h=1, pad_w=2, group=channels)
    expected: Counter[str] = Counter()
    for _ in range(conv.images * channels // conv.block):
        expected["row_calls"] += conv.out_height
        for between, edges in conv.lines():
            expected["window_steps"] += conv.block * (sum(between) * conv.kernel_w + sum(edges))
            expected["pixel_groups"] += len(between) * conv.kernel_w + sum(edges)
            expected["edge_steps"] += sum(edges)
    ours = counted("ort_nchwc_conv_depthwise", conv)
    for name, count in expected.items():
        assert ours[name] == pytest.approx(count), name
    assert (ours["out_elements"], ours["image_elements"]) == (2 * channels * 9 * 14, 2 * channels * 9 * 14)
