"""Offloading against trying every split that leaves the board nothing to wait for."""

from itertools import product
from math import prod

import numpy as np
import pytest

from sitecnn.estimation.dataflow import dataflow
from sitecnn.estimation.offload import Link, best_split, offload, split
from sitecnn.network import load_network
from sitecnn.workload.kernels import is_free
from tests.estimation.fixtures import NETWORKS, board_model, random_network, stack_model


def on(processor, speed=1.0):
    """The model of one of the board's processors."""
    return board_model(processor, stacks=[stack_model(processor, speed=speed)])


def simulated_ms(network, board_ns, server_ns, link, on_board):
    """Walk the layers: what a server layer needs from the board is sent once; None if the board had to wait."""
    total, bytes_moved, made_here, size, sent, held, unread = 0.0, 0, {}, {}, set(), {}, set()
    for index, layer in enumerate(network.layers):
        given = [held[name] for name in layer.bottoms]
        passes = is_free(layer) and given
        unread -= set(layer.bottoms)
        if not passes and layer.bottoms:
            here = on_board[index]
            if here and not all(made_here[blob] for blob in given):
                return None
            if not here:
                bytes_moved += sum(size[blob] for blob in set(given) - sent if made_here[blob])
                sent |= set(given)
            total += (board_ns if here else server_ns)[index]
        for top, shape in zip(layer.tops, layer.outputs, strict=True):
            held[top] = given[0] if passes else (index, top)
            if not passes:
                made_here[held[top]] = on_board[index] if layer.bottoms else True
                size[held[top]] = 4 * prod(shape)
            unread.add(top)
    bytes_moved += sum(size[blob] for blob in {held[top] for top in unread} if not made_here[blob])
    moved = [index for index, layer in enumerate(network.layers) if not is_free(layer) and not on_board[index]]
    return total / 1e6 + ((bytes_moved * 8 / link.megabits_per_s / 1e3 + link.round_trip_ms) if moved else 0)


@pytest.mark.parametrize("seed", range(40))
def test_split_equals_brute_force_on_random_graphs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        network = random_network(rng, int(rng.integers(2, 8)))
        count = len(network.layers)
        moves = np.array([not is_free(layer) for layer in network.layers])
        board_ns, server_ns = rng.exponential(1e6, count) * moves, rng.exponential(1e5, count) * moves
        link = Link(float(rng.choice([1, 10, 100])), float(rng.choice([0, 0.5, 2.0])))
        options = []
        for labels in product((False, True), repeat=int(moves.sum())):
            on_board = np.ones(count, dtype=bool)
            on_board[moves] = labels
            options.append(simulated_ms(network, board_ns, server_ns, link, on_board))
        flow = dataflow(network)
        chosen = best_split(flow, board_ns, server_ns, link)
        least = min(option for option in options if option is not None)
        assert simulated_ms(network, board_ns, server_ns, link, chosen) == pytest.approx(least)
        assert split(flow, board_ns, server_ns, link, chosen).total_ms == pytest.approx(least)


def test_a_slow_link_keeps_everything_on_the_board_and_a_fast_one_nothing():
    network = load_network(NETWORKS / "alexnet.prototxt")
    board, server = on("cpu"), on("gpu", speed=10)
    alone = offload(network, board, server, Link(0.01, 100))
    assert not alone.best.leaves_board
    assert alone.gain_ms.estimate == pytest.approx(0)
    away = offload(network, board, server, Link(1e9, 0))
    assert not any(away.best.on_board)
    assert away.best.sent_bytes == 4 * 3 * 227 * 227
    assert away.best.returned_bytes == 4 * 1000


def test_no_depth_of_the_table_beats_the_best_split():
    offloaded = offload(load_network(NETWORKS / "googlenet.prototxt"), on("cpu"), on("gpu"), Link(50, 5))
    assert len(offloaded.by_depth) == 1 + sum(
        not is_free(layer) for layer in load_network(NETWORKS / "googlenet.prototxt").layers
    )
    assert offloaded.best.total_ms <= min(one.total_ms for one in offloaded.by_depth) + 1e-9
    assert offloaded.gain_ms.low < offloaded.gain_ms.estimate < offloaded.gain_ms.high
