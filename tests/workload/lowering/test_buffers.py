"""What ONNX Runtime allocates for values: our plan has its peak, and the arena is that of bfc_arena.cc."""

import json
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitecnn.network import load_network
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering.onnxruntime import optimised, to_graph
from sitecnn.workload.lowering.onnxruntime.arena import Arena, rounded
from sitecnn.workload.lowering.onnxruntime.buffers import Step, arena_bytes, pattern, plan
from sitecnn.workload.lowering.onnxruntime.graph import Graph
from tests.workload.lowering.graphs import Builder, machine_block
from tests.workload.lowering.parts import PARTS
from tests.workload.lowering.test_networks_at_hand import FILES, onnx_file

MIB = 2**20


def requested(file: Path, folder: Path) -> list[int]:
    """Bytes requested of the arena after each node of the first pass; skips where the version does not tell."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    session.run(None, {one.name: np.zeros(one.shape, np.float32) for one in session.get_inputs()})
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event.get("name", "").endswith("_kernel_time")]
    if "mem_bytes_requested_in_use" not in nodes[0]:
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} does not tell of memory in its profile")
    return [int(node["mem_bytes_requested_in_use"]) for node in nodes]


def alive_bytes(graph: Graph) -> list[int]:
    """What a pass has allocated for values at the end of each node."""
    alive, series = 0, []
    for step in plan(graph):
        alive += sum(4 * prod(graph.shape(name)) for name in step.allocated)
        series.append(alive)
        alive -= sum(4 * prod(graph.shape(name)) for name in step.released)
    return series


def peak_bytes(graph: Graph) -> int:
    """The most of it at once."""
    return max(alive_bytes(graph))


BRANCHED = ("chunks", "every index, and", "attention of slices", "GELU of a", "a factor of two", "images behind rows")
IN_ANOTHER_ORDER = {name for name in PARTS if name.startswith(BRANCHED)}
"""Parts whose branches ONNX Runtime runs in another order than their file's; what is alive differs by that order."""


@pytest.mark.parametrize("name", sorted(PARTS.keys() - IN_ANOTHER_ORDER))
def test_what_is_alive_after_each_node_is_what_onnxruntime_requests(name: str, tmp_path: Path) -> None:
    builder = Builder()
    model = builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3)))
    file = tmp_path / "part.onnx"
    file.write_bytes(model)
    theirs = requested(file, tmp_path)
    graph = optimised(to_graph(parse_onnx(model, name)), Engine("onnxruntime", "", machine_block(tmp_path)))
    ours = alive_bytes(graph)
    assert sorted(ours) == sorted(bytes - theirs[0] + ours[0] for bytes in theirs)
    assert ours[0] == 4 * prod(graph.shape(graph.nodes[0].output))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_most_alive_is_what_onnxruntime_requests(path: Path, tmp_path: Path) -> None:
    """Of a first pass, less what was packed at loading; what a node has for itself while it runs is not told."""
    theirs = requested(onnx_file(load_network(path), tmp_path), tmp_path)
    graph = optimised(to_graph(load_network(path)), Engine("onnxruntime", "", machine_block(tmp_path)))
    first = 4 * prod(graph.shape(graph.nodes[0].output))
    assert peak_bytes(graph) == pytest.approx(max(theirs) - theirs[0] + first, rel=0.01)


def test_a_chain_holds_its_two_buffers_one_by_one_and_as_a_block() -> None:
    """Convolutions of 2 MiB each: two by turns in the first pass, a block of both in the second beside them."""
    builder, name = Builder((1, 8, 256, 256)), "x"
    for _ in range(6):
        name = builder.conv(name, 8, 8, 3)
    graph = optimised(to_graph(parse_onnx(builder.model(name), "chain")), Engine("onnxruntime"))
    assert peak_bytes(graph) == 2 * 2 * MIB
    assert arena_bytes(graph) == 2 * 2 * 2 * MIB


def test_regions_double_and_a_large_request_gets_one_that_holds_it() -> None:
    arena = Arena()
    arena.allocate(MIB)  # the first region, 1 MiB
    arena.allocate(MIB)  # 2 MiB, half of it
    arena.allocate(5 * MIB)  # 8 MiB, whole: the rest is less than the request
    assert arena.regions == 3
    arena.allocate(2 * MIB)
    assert arena.regions == 4
    assert arena.touched_bytes() == 9 * MIB


def test_free_neighbours_join_and_are_taken_before_a_new_region() -> None:
    arena = Arena()
    pieces = [arena.allocate(256 * 1024) for _ in range(4)]
    for piece in pieces:
        arena.release(piece)
    arena.allocate(MIB)
    assert arena.regions == 1 and arena.touched_bytes() == MIB


def test_the_smallest_chunk_that_fits_is_taken_and_what_is_reused_is_resident_once() -> None:
    arena = Arena()
    small, _, large, _ = (arena.allocate(kib * 1024) for kib in (64, 1, 256, 1))
    arena.release(large)
    arena.release(small)
    assert arena.allocate(50 * 1024) == small
    assert arena.touched_bytes() == (64 + 1 + 256 + 1) * 1024


class Bookkeeper:
    """bfc_arena.cc, written down as lists of (offset, bytes, is free) of each region, with no index of anything."""

    def __init__(self) -> None:
        self.regions: list[list[list[int]]] = []
        self.next_bytes = MIB
        self.pages: set[tuple[int, int]] = set()

    def allocate(self, count: int) -> tuple[int, int]:
        """(region, offset)."""
        wanted = 256 * max(1, -(-count // 256))
        if not self._fitting(wanted):
            grows = wanted > self.next_bytes
            while wanted > self.next_bytes:
                self.next_bytes *= 2
            self.regions.append([[0, self.next_bytes, True]])
            self.next_bytes *= 1 if grows else 2
        _, region, offset = min(self._fitting(wanted))
        chunks = self.regions[region]
        at = next(number for number, chunk in enumerate(chunks) if chunk[0] == offset)
        _, size, _ = chunks[at]
        rest = [[offset + wanted, size - wanted, True]] if size >= 2 * wanted or size - wanted >= 128 * MIB else []
        chunks[at : at + 1] = [[offset, size - sum(one[1] for one in rest), False], *rest]
        self.pages |= {(region, byte) for byte in range(offset, offset + count, 256)}
        return region, offset

    def release(self, region: int, offset: int) -> None:
        """Free a chunk and join what is free beside it."""
        joined: list[list[int]] = []
        for start, size, free in self.regions[region]:
            is_free = free or start == offset
            if joined and is_free and joined[-1][2]:
                joined[-1][1] += size
            else:
                joined.append([start, size, is_free])
        self.regions[region] = joined

    def _fitting(self, wanted: int) -> list[tuple[int, int, int]]:
        return [
            (size, number, start)
            for number, chunks in enumerate(self.regions)
            for start, size, free in chunks
            if free and size >= wanted
        ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 12_000), st.integers(0, 5)), max_size=40))
def test_the_arena_is_the_one_of_bfc_arena_cc(requests: list[tuple[int, int]]) -> None:
    """Multiples of 256 bytes are asked for, and after each some chunk is freed or none."""
    arena, book = Arena(), Bookkeeper()
    held: list[tuple[int, tuple[int, int]]] = []
    places = []
    for units, which in requests:
        held.append((arena.allocate(256 * units), book.allocate(256 * units)))
        places.append(held[-1])
        if which < len(held) - 1:
            address, place = held.pop(which)
            arena.release(address)
            book.release(*place)
    bases = {region: min(address - offset for address, (other, offset) in places if other == region)
             for _, (region, _) in places}  # fmt: skip
    assert [address - bases[region] for address, (region, _) in places] == [offset for _, (_, offset) in places]
    assert arena.regions == len(book.regions)
    assert arena.touched_bytes() == 256 * len(book.pages)


def test_sizes_are_whole_units_and_what_is_far_too_large_is_split() -> None:
    assert [rounded(count) for count in (0, 1, 255, 256, 257, 512)] == [256, 256, 256, 256, 512, 512]
    for rest, splits in ((128 * MIB, True), (128 * MIB - 256, False)):
        arena = Arena()
        arena.release(whole := arena.allocate(512 * MIB))
        assert arena.allocate(512 * MIB - rest) == whole
        behind = arena.allocate(rest)
        assert (behind == whole + 512 * MIB - rest, arena.regions) == (splits, 1 if splits else 2)


def test_what_is_not_written_is_not_resident() -> None:
    arena = Arena()
    block = arena.allocate(8 * MIB, is_touched=False)
    assert arena.touched_bytes() == 0
    arena.touch(block + 1000, 500)
    arena.touch(block + 1200, 1000)
    arena.touch(block + 5000, 1)
    assert arena.touched_bytes() == 1200 + 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), min_size=1, max_size=20))
def test_a_block_of_a_pass_has_a_place_for_each_buffer_where_it_fits_best(lives: list[tuple[int, int]]) -> None:
    """Buffer i is there from step i on for so many steps: in the smallest gap that holds it, else behind the last."""
    count = len(lives)
    steps = [Step([str(index)], [str(one) for one in range(count) if one + lives[one][1] - 1 == index])
             for index in range(count)]  # fmt: skip
    size_of = {str(index): 256 * units for index, (units, _) in enumerate(lives)}
    offsets, total = pattern(steps, size_of, set())
    highest = 0
    for index, (units, _) in enumerate(lives):
        alive = [one for one in range(index) if one + lives[one][1] > index]
        taken = {offsets[str(one)] + byte for one in alive for byte in range(0, size_of[str(one)], 256)}
        end = max(taken, default=-256) + 256
        gaps: list[tuple[int, int]] = []
        for byte in sorted(set(range(0, end, 256)) - taken):
            if gaps and sum(gaps[-1]) == byte:
                gaps[-1] = (gaps[-1][0], gaps[-1][1] + 256)
            else:
                gaps.append((byte, 256))
        fitting = [(length, start) for start, length in gaps if length >= 256 * units]
        assert offsets[str(index)] == (min(fitting)[1] if fitting else end)
        highest = max(highest, offsets[str(index)] + 256 * units)
    assert total == highest


def test_results_have_no_place_in_the_block_and_sizes_there_are_whole_units() -> None:
    steps = [Step(["a", "result"]), Step(["b"])]
    assert pattern(steps, {"a": 300, "b": 10, "result": 999}, {"result"}) == ({"a": 0, "b": 512}, 768)


def test_a_transposed_convolution_has_columns_of_its_own() -> None:
    """conv_transpose.cc: the columns of one image and one group, while the node runs."""
    builder = Builder((2, 8, 16, 16))
    name = builder.op("ConvTranspose", builder.op("Relu", "x"), builder.weight(8, 6, 2, 3), strides=[2, 2], group=2)
    graph = optimised(to_graph(parse_onnx(builder.model(builder.op("Sigmoid", name)), "up")), Engine("onnxruntime"))
    steps = plan(graph)
    (scratch_bytes,) = (step.scratch_bytes for step in steps if step.scratch_bytes)
    # At each of 16·16 positions a window of 2·3 values for each of a group's 6 output channels.
    assert scratch_bytes == 4 * (16 * 16) * 6 * (2 * 3)
    assert [graph.nodes[at].op for at, step in enumerate(steps) if step.scratch_bytes] == ["ConvTranspose"]


def test_an_arena_holds_packed_weights_a_first_pass_the_block_of_a_second_and_what_it_leaves_out() -> None:
    """Relu, ConvTranspose, Sigmoid: the order of requests of two passes, written down."""
    builder = Builder((1, 8, 64, 64))
    name = builder.op("ConvTranspose", builder.op("Relu", "x"), builder.weight(8, 16, 2, 2), strides=[2, 2])
    graph = optimised(to_graph(parse_onnx(builder.model(builder.op("Sigmoid", name)), "up")), Engine("onnxruntime"))
    relu, up, columns = 4 * 8 * 64 * 64, 4 * 16 * 128 * 128, 4 * 16 * 4 * 64 * 64
    book = Bookkeeper()
    book.allocate(4 * 8 * 16 * 4)
    first, second = book.allocate(relu), book.allocate(up)
    book.release(*book.allocate(columns))
    for place in (first, second, book.allocate(up)):
        book.release(*place)
    book.allocate(relu + up)
    book.release(*book.allocate(columns))
    book.release(*book.allocate(up))
    assert arena_bytes(graph) == 256 * len(book.pages)
