"""Placement against trying every assignment, with memories simulated as Caffe's SyncedMemory keeps them."""

from itertools import product
from math import prod

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from sitecnn.estimation.dataflow import dataflow
from sitecnn.estimation.minimum_cut import minimum_cut
from sitecnn.estimation.placement import ZERO_COPY, Copy, best_placement, place, placed_ns
from sitecnn.network import load_network
from sitecnn.workload.kernels import is_free
from tests.estimation.fixtures import NETWORKS, board_model, random_network, stack_model


def on(processor, speed=1.0):
    """The model of one of the board's processors."""
    return board_model(processor, stacks=[stack_model(processor, speed=speed)])


def simulated_ns(network, cpu_ns, gpu_ns, copy, on_gpu):
    """Walk the layers in order; a value is copied when it is needed where it is not, and then is in both places."""
    total, where, held = 0.0, {}, {}
    unread = set()
    for index, layer in enumerate(network.layers):
        free = is_free(layer)
        here = "cpu" if not layer.bottoms or not on_gpu[index] else "gpu"
        for blob in dict.fromkeys(held[name] for name in layer.bottoms):
            if not free and here not in where[blob][0]:
                total += copy.ns(where[blob][1])
                where[blob][0].add(here)
        unread -= set(layer.bottoms)
        for top, shape in zip(layer.tops, layer.outputs, strict=True):
            if free and layer.bottoms:
                held[top] = held[layer.bottoms[0]]
            else:
                held[top] = (index, top)
                where[held[top]] = ({here}, 4 * prod(shape))
            unread.add(top)
        if not free:
            total += (gpu_ns if on_gpu[index] else cpu_ns)[index]
    results = {held[top] for top in unread}
    return total + sum(copy.ns(where[blob][1]) for blob in results if "cpu" not in where[blob][0])


@pytest.mark.parametrize("seed", range(50))
def test_placement_equals_brute_force_on_random_graphs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(24):
        network = random_network(rng, int(rng.integers(2, 8)))
        count = len(network.layers)
        # Layers that move no data are free here: whose they are is checked below.
        moves = np.array([not is_free(layer) for layer in network.layers])
        cpu_ns, gpu_ns = rng.exponential(1000, count) * moves, rng.exponential(1000, count) * moves
        copy = Copy(float(rng.choice([0, 100, 1000])), float(rng.choice([0, 0.1, 1.0, 3.0])))
        options = []
        for labels in product((False, True), repeat=int(moves.sum())):
            on_gpu = np.zeros(count, dtype=bool)
            on_gpu[moves] = labels
            options.append(simulated_ns(network, cpu_ns, gpu_ns, copy, on_gpu))
        best = best_placement(dataflow(network), cpu_ns, gpu_ns, copy.ns)
        assert simulated_ns(network, cpu_ns, gpu_ns, copy, best) == pytest.approx(min(options))
        assert placed_ns(dataflow(network), cpu_ns, gpu_ns, copy.ns, best) == pytest.approx(min(options))


def test_cut_equals_scipys_maximum_flow_on_random_graphs():
    rng = np.random.default_rng(1)
    for _ in range(200):
        nodes = int(rng.integers(3, 12))
        pairs = {tuple(map(int, rng.choice(nodes, 2, replace=False))) for _ in range(4 * nodes)}
        edges = [(start, end, int(rng.integers(0, 9))) for start, end in pairs]
        starts, ends, capacities = zip(*edges, strict=True)
        graph = csr_array((np.array(capacities, dtype=np.int32), (starts, ends)), shape=(nodes, nodes))
        side = minimum_cut(edges, nodes, 0, nodes - 1)
        assert 0 in side
        assert nodes - 1 not in side
        crossing = sum(price for start, end, price in edges if start in side and end not in side)
        assert crossing == maximum_flow(graph, 0, nodes - 1).flow_value


def test_layers_that_move_no_data_stay_with_their_data():
    network = load_network(NETWORKS / "googlenet.prototxt")
    placed = place(network, on("cpu"), on("gpu"), ZERO_COPY)
    at = {top: index for index, layer in enumerate(network.layers) for top in layer.tops}
    for index, layer in enumerate(network.layers):
        if layer.type == "Split":
            assert placed.on_gpu[index] == placed.on_gpu[at[layer.bottoms[0]]]


def test_zero_copy_takes_each_layer_where_it_is_faster_and_gains_by_exactly_that():
    network = load_network(NETWORKS / "alexnet.prototxt")
    cpu, gpu = on("cpu"), on("gpu")
    placed = place(network, cpu, gpu, ZERO_COPY)
    assert placed.placed_ms.estimate < min(placed.all_cpu_ms, placed.all_gpu_ms)
    assert placed.gain_over_gpu_ms.estimate == pytest.approx(placed.all_gpu_ms - placed.placed_ms.estimate)
    assert placed.gain_over_cpu_ms.low < placed.gain_over_cpu_ms.estimate < placed.gain_over_cpu_ms.high


def test_dear_copies_leave_everything_in_one_place():
    network = load_network(NETWORKS / "googlenet.prototxt")
    placed = place(network, on("cpu"), on("cpu", speed=0.9), Copy(1e9, 1.0))
    assert not any(placed.on_gpu)
    assert not placed.worthwhile
    assert placed.gain_over_cpu_ms.estimate == pytest.approx(0)


def test_a_gain_that_may_be_none_is_not_worthwhile():
    network = load_network(NETWORKS / "alexnet.prototxt")
    placed = place(network, on("cpu"), on("cpu", speed=1.01), ZERO_COPY)
    assert all(placed.on_gpu)
    assert not placed.worthwhile
