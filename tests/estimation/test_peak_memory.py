"""The least activation memory against running the layers in every order that leaves the results as they are."""

from math import prod

import numpy as np
import pytest

from sitecnn.estimation.memory_plan import largest_batch, memory_plan
from sitecnn.estimation.peak_memory import Schedule, least_peak, schedule
from sitecnn.network import load_network, parse_prototxt
from sitecnn.workload.memory import memory, workspace_bytes
from tests.estimation.fixtures import NETWORKS, random_network

SHARED = ("Split", "Reshape")


def brute_force_peak(network, extra):
    """Every order, symbolically: a buffer holds which layer computed it from what; an order is right if all agree."""
    buffer_of, sizes = {}, {}
    for layer in network.layers:
        for top, shape in zip(layer.tops, layer.outputs, strict=True):
            shared = layer.type in SHARED
            buffer_of[top] = buffer_of[layer.bottoms[0]] if shared else buffer_of.get(top, top)
            sizes.setdefault(buffer_of[top], 4 * prod(shape))
    users = {buffer: set() for buffer in sizes}
    for index, layer in enumerate(network.layers):
        for blob in (*layer.bottoms, *layer.tops):
            users[buffer_of[blob]].add(index)
    last_made = {top: i for i, layer in enumerate(network.layers) for top in layer.tops}
    results = {
        buffer_of[top]
        for top, producer in last_made.items()
        if not any(top in layer.bottoms for layer in network.layers[producer + 1 :])
    }

    def run(index, contents):
        layer = network.layers[index]
        if layer.type in SHARED:
            return contents if contents.get(buffer_of[layer.bottoms[0]]) else None
        given = tuple(contents.get(buffer_of[name]) for name in layer.bottoms)
        if None in given:
            return None
        return contents | {buffer_of[top]: (index, given) for top in layer.tops}

    wanted, contents = {}, {}
    for index, layer in enumerate(network.layers):
        wanted[index] = tuple(contents.get(buffer_of[name]) for name in layer.bottoms)
        contents = run(index, contents)

    best = [float("inf")]

    def search(done, contents, peak):
        if peak >= best[0]:
            return
        if len(done) == len(network.layers):
            best[0] = peak
            return
        for index, layer in enumerate(network.layers):
            if index in done or tuple(contents.get(buffer_of[name]) for name in layer.bottoms) != wanted[index]:
                continue
            then = run(index, contents)
            if then is None:
                continue
            now = {*done, index}
            alive = sum(
                size
                for buffer, size in sizes.items()
                if users[buffer] & now and (index in users[buffer] or buffer in results or users[buffer] - now)
            )
            search(now, then, max(peak, alive + extra(layer)))

    search(set(), {}, 0)
    return best[0]


@pytest.mark.parametrize("seed", range(30))
def test_least_memory_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        network = random_network(rng, int(rng.integers(1, 7)))
        for extra in (lambda layer: 0, workspace_bytes):
            peak = least_peak(schedule(network, extra))
            assert peak.exact
            assert peak.bytes == brute_force_peak(network, extra)


@pytest.mark.parametrize("seed", range(20))
def test_a_search_cut_short_gives_an_upper_bound(seed):
    network = random_network(np.random.default_rng(seed), 8)
    exact, short = least_peak(schedule(network)), least_peak(schedule(network), states=0)
    assert not short.exact
    assert short.bytes >= exact.bytes


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg16"])
def test_least_memory_of_the_default_networks_is_exact_and_below_what_caffe_takes(name):
    network = load_network(NETWORKS / f"{name}.prototxt")
    plan, parts = memory_plan(network), memory(network)
    assert plan.exact
    biggest = max(sum(map(prod, layer.inputs)) for layer in network.layers) * 4
    assert biggest <= plan.least_data <= parts.data_bytes
    assert plan.least_data <= plan.least <= parts.data_bytes + parts.workspace_bytes


def test_a_chain_needs_its_largest_pair():
    # VGG-16: conv1_2 reads and writes 64 × 224 × 224 values.
    network = load_network(NETWORKS / "vgg16.prototxt")
    assert least_peak(schedule(network)).bytes == 2 * 64 * 224 * 224 * 4


def test_in_place_layers_wait_for_those_who_read_what_they_overwrite():
    text = """
    layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }
    layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { kernel_size: 3 } }
    layer { name: "f" type: "Flatten" bottom: "d" top: "f" }
    layer { name: "r" type: "ReLU" bottom: "f" top: "f" }
    """
    network = parse_prototxt(text, "test")
    names = [layer.name for layer in network.layers]
    assert names.index("p") in schedule(network).after[names.index("r")]


def test_nothing_needs_nothing():
    assert least_peak(Schedule((), (), (), frozenset(), ())).bytes == 0


@pytest.mark.parametrize(("free", "batch"), [(99, 0), (100, 1), (149, 1), (150, 2), (1000, 19)])
def test_largest_batch_is_the_last_that_fits(free, batch):
    assert largest_batch(lambda images: 50 + 50 * images, free) == batch


def test_largest_batch_of_a_bent_line():
    def total(images):
        return images * images

    assert largest_batch(total, 100) == 10
