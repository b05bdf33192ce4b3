"""What ONNX Runtime allocates for values: our plan has its peak, and the arena is that of bfc_arena.cc."""

import json
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sitecnn.network import load_network
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering.onnxruntime import optimised, to_graph
from sitecnn.workload.lowering.onnxruntime.arena import Arena
from sitecnn.workload.lowering.onnxruntime.buffers import arena_bytes, plan
from sitecnn.workload.lowering.onnxruntime.graph import Graph
from tests.workload.lowering.graphs import Builder, machine_block
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


def peak_bytes(graph: Graph) -> int:
    """The most that a pass has allocated for values at once."""
    alive = peak = 0
    for step in plan(graph):
        alive += sum(4 * prod(graph.shape(name)) for name in step.allocated)
        peak = max(peak, alive)
        alive -= sum(4 * prod(graph.shape(name)) for name in step.released)
    return peak


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_most_alive_is_what_onnxruntime_requests(path: Path, tmp_path: Path) -> None:
    """Of a first pass, less what was packed at loading; what a node has for itself while it runs is not told."""
    found = requested(onnx_file(load_network(path), tmp_path), tmp_path)
    graph = optimised(to_graph(load_network(path)), Engine("onnxruntime", "", machine_block(tmp_path)))
    first = 4 * prod(graph.shape(graph.nodes[0].output))
    assert peak_bytes(graph) == pytest.approx(max(found) - found[0] + first, rel=0.01)


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
