"""What a plan asks of a board, counted, and how its probes' sizes are drawn, against SciPy's sequences."""

import random
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
from scipy.stats import kstest, qmc

from sitecnn.boards.archive import agent_name
from sitecnn.boards.plan import MEMORY_SHARE, Amount, gemm_sizes, plan, plan_lines, sweep_products
from sitecnn.boards.probes import caffe_probes, probe_models
from sitecnn.boards.probes.caffe import RECIPE
from sitecnn.boards.probes.chains import Generator, Recipe
from sitecnn.boards.probes.drawing import Deck, EvenDraws
from sitecnn.boards.probes.graph import Graph
from sitecnn.boards.probes.probe import WIDTHS, Probe, resolution
from sitecnn.errors import NetworkError
from sitecnn.network import parse_prototxt
from sitecnn.network.graph import Network
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.kernels import Kernel, gemm, layer_kernel, macs
from sitecnn.workload.memory import footprint_bytes

CAFFE, RUNTIME = Engine(), Engine("onnxruntime", "1.32.0", 16)
LAYERS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: %d dim: %d } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "p" type: "InnerProduct" bottom: "c" top: "p" inner_product_param { num_output: 10 } }
"""


def network(size: int = 8) -> Network:
    return parse_prototxt(LAYERS % (size, size), f"net-{size}")


def counts(tasks: list[dict[str, object]]) -> Counter[tuple[object, object]]:
    return Counter((task.get("engine", "caffe"), task["task"]) for task in tasks)


def test_a_sweep_has_an_engines_own_number_of_probes_and_rounds() -> None:
    """45 of Caffe in 4 rounds, and one for each of two layers of forks; 60 of ONNX Runtime in 7 (docs/measuring.md)."""
    forks = len(caffe_probes(1, 0))
    assert counts(plan({CAFFE: [network()]}, sweep=True)) == {
        ("caffe", "probe"): (45 + forks) * 4,
        ("caffe", "network"): 4,
        ("caffe", "memory"): 1,
        ("caffe", "gemm"): len(list(sweep_products())),
    }
    few = counts(plan({CAFFE: [network()], RUNTIME: [network()]}, Amount(probes=3, rounds=2), sweep=True))
    assert few[("onnxruntime", "probe")] == 6 and few[("caffe", "probe")] == (3 + forks) * 2
    assert few[("onnxruntime", "network")] == few[("caffe", "network")] == 2
    alone = counts(plan({RUNTIME: [network()]}, Amount(probes=1), sweep=True))
    assert (alone[("onnxruntime", "probe")], alone[("onnxruntime", "network")]) == (7, 7)
    assert ("caffe", "gemm") not in alone


def test_engines_with_different_numbers_of_rounds_begin_together() -> None:
    tasks = plan({CAFFE: [network()], RUNTIME: [network()]}, Amount(probes=0), sweep=False)
    turns = [(task["round"], task.get("engine", "caffe")) for task in tasks if "round" in task]
    both = [(number, engine) for number in range(4) for engine in ("caffe", "onnxruntime")]
    assert turns == [*both, *((number, "onnxruntime") for number in (4, 5, 6))]


def test_without_a_sweep_there_are_probes_only_if_their_number_is_given() -> None:
    without = counts(plan({CAFFE: [network()]}, sweep=False))
    assert ("caffe", "probe") not in without and without[("caffe", "network")] == 4
    assert counts(plan({CAFFE: [network()]}, Amount(probes=1, rounds=1), sweep=False))[("caffe", "probe")] >= 1
    assert ("caffe", "probe") not in counts(plan({CAFFE: [network()]}, Amount(probes=0), sweep=True))


def test_only_the_probes_that_were_chosen_are_measured_and_a_seed_draws_others() -> None:
    names = ["caffe-probe-002", "caffe-probe-003"]
    for engines in ({CAFFE: []}, {RUNTIME: []}):
        prefix = "caffe-" if CAFFE in engines else ""
        chosen = [f"{prefix}probe-002", f"{prefix}probe-003"]
        tasks = plan(engines, Amount(probes=4, rounds=1, chosen=chosen), sweep=True)
        assert [task["network"] for task in tasks if task["task"] == "probe"] == chosen
    one, other = (
        plan({CAFFE: []}, Amount(probes=3, rounds=1, seed=seed, chosen=names), sweep=False) for seed in (1, 2)
    )
    assert one == plan({CAFFE: []}, Amount(probes=3, rounds=1, chosen=names), sweep=False) != other


@pytest.mark.parametrize("spare", [0, -1])
def test_a_network_that_just_fits_is_measured(spare: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Its process: 120 MiB of Python, Caffe and its libraries, and what the network takes."""
    need = (120 << 20) + footprint_bytes(network(200))
    tasks = plan({CAFFE: [network(200)]}, Amount(probes=0, memory_bytes=need + spare), sweep=False)
    assert bool(counts(tasks)[("caffe", "network")]) == (spare == 0)
    said = capsys.readouterr().err
    mib = f"{need / 2**20:,.0f} MiB"
    told = f"net-200: left out: caffe takes {mib} for it, the board leaves {mib} to a process\n"
    assert said == ("" if spare == 0 else told)


def test_the_products_of_a_sweep_are_one_size_at_a_time() -> None:
    """Doubled from 16 to 4096 beside 512 × 512, and m and n in steps of 4 up to 80 beside 256 × 256."""
    expected = set()
    for size in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        expected |= {(size, 512, 512), (512, size, 512), (512, 512, size)}
    for size in range(4, 84, 4):
        expected |= {(size, 256, 256), (256, size, 256)}
    sizes = [(kernel["m"], kernel["n"], kernel["k"]) for kernel in gemm_sizes()]
    assert set(sizes) == expected and len(sizes) == len(expected)
    tasks = list(sweep_products())
    assert all(task["mode"] == "warm" for task in tasks[: len(sizes)])
    overhead = tasks[len(sizes) :]
    assert [task["iterations"] for task in overhead] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert all((task["mode"], task["kernel"]) == ("overhead", gemm(64, 49, 64).as_dict()) for task in overhead)


def test_products_of_networks_are_their_layers_own_once_the_largest_first() -> None:
    tasks = plan({CAFFE: [network(8), network(8), network(16)]}, sweep=False)
    kernels = [task["kernel"] for task in tasks if task["task"] == "gemm"]
    sizes = [(one["m"], one["n"], one["k"]) for one in kernels]
    # Of 3 × 3 × 3 weights on 6 × 6 and 14 × 14 positions, products of 144 and 784 values, and their biases.
    expected = {(4, 36, 27), (4, 196, 27), (1, 10, 144), (1, 10, 784), (4, 36, 1), (4, 196, 1), (1, 10, 1)}
    assert set(sizes) == expected and len(sizes) == len(expected)
    work = [m * n * k for m, n, k in sizes]
    assert work == sorted(work, reverse=True)
    assert plan_lines(tasks[:2]).count("\n") == 2 and " " not in plan_lines(tasks[-1:])


def test_what_an_engine_is_to_run_it_is_given_whole() -> None:
    tasks = plan({RUNTIME: [network()]}, Amount(probes=0, rounds=1), sweep=False)
    passes, memory = tasks
    assert set(passes) == {"task", "engine", "network", "batch", "model", "weights_bytes", "kernels", "round"}
    assert set(memory) == {"task", "engine", "network", "batch", "model", "weights_bytes", "parts"}
    assert set(memory["parts"]) >= {"weights", "activations", "kernels"}
    with pytest.raises(NetworkError, match="net-8: the file is fp32, and only int8 is measured yet"):
        plan({Engine("onnxruntime", precision="int8"): [network()]}, Amount(probes=0), sweep=False)


def test_a_decks_cards_come_in_the_proportions_of_their_weights_before_any_comes_again() -> None:
    deck = Deck(random.Random(3), {"a": 3, "b": 1, "c": 0.5, "d": 0})
    drawn = []
    while len(drawn) < 4000 or deck.left:
        drawn.append(deck.draw())
        if not deck.left:
            since = Counter(drawn[-5:] if drawn[-5:].count("a") == 3 and "c" in drawn[-5:] else drawn[-4:])
            assert since["a"] == 3 and since["b"] == 1 and since["c"] <= 1
    counts = Counter(drawn)
    rounds = counts["b"]
    assert counts["a"] == 3 * rounds and counts["d"] == 0
    assert counts["c"] == pytest.approx(rounds / 2, abs=4 * np.sqrt(rounds / 4))


def test_even_draws_are_scipys_van_der_corput_sequence_shifted_for_each_purpose() -> None:
    draws = EvenDraws(random.Random(5))
    numbers = {name: np.array([draws.draw(name) for _ in range(50)]) for name in ("one", "other")}
    sequence = qmc.Halton(1, scramble=False).random(51)[1:, 0]
    for values in numbers.values():
        shift = (values - sequence) % 1
        assert np.allclose(np.exp(2j * np.pi * shift), np.exp(2j * np.pi * shift[0]))
        assert ((values >= 0) & (values < 1)).all()
    assert not np.allclose(numbers["one"], numbers["other"])


def test_log_uniform_draws_are_even_in_their_logarithm() -> None:
    draws = EvenDraws(random.Random(7))
    values = np.array([draws.log_uniform("x", 8, 512) for _ in range(512)])
    assert values.min() >= 8 and values.max() < 512
    assert kstest(np.log(values / 8) / np.log(64), "uniform").statistic < 0.01
    assert draws.log_uniform("y", 9, 3) == 9


def drawn_probe(grains: tuple[int, ...] = (8,), most_macs: float = 1e7, seed: int = 1) -> Probe:
    generator = random.Random(seed)
    fused = Deck(generator, {"relu": 1})
    return Probe(Graph("p", 32), generator, EvenDraws(generator), fused, fused, Deck(generator, {}), grains, most_macs)


@pytest.mark.parametrize(
    ("height", "fewest", "most"),
    [(224, 8, 256), (96, 8, 256), (95, 16, 512), (48, 16, 512), (47, 24, 1024), (24, 24, 1024), (23, 32, 1536),
     (12, 32, 1536), (11, 48, 2048), (1, 48, 2048)],
)  # fmt: skip
def test_channels_reach_from_the_fewest_to_the_most_at_each_resolution(height: int, fewest: int, most: int) -> None:
    probe = drawn_probe()
    widths = [probe.channels("x", height) for _ in range(300)]
    assert resolution(height) == [8, 16, 24, 32, 48].index(fewest)
    assert all(count % 8 == 0 and count > 0 for count in widths)
    assert fewest <= min(widths) <= fewest + 8 and 0.95 * most <= max(widths) <= most
    # Even in logarithms: half of them below the geometric mean.
    assert np.mean(np.array(widths) < np.sqrt(fewest * most)) == pytest.approx(0.5, abs=0.1)
    assert max(probe.channels("y", height, 1, 0.5) for _ in range(100)) <= most / 2


def test_a_layer_has_no_more_multiplications_than_its_probe_allows() -> None:
    probe = drawn_probe(most_macs=1e9)
    widths = [probe.limited(10_000, 28, 9 * 64) for _ in range(200)]
    # Between a half and all of them, evenly.
    allowed = 1e9 / (9 * 64 * 28**2)
    assert 0.5 * allowed - 4 <= min(widths) <= 0.55 * allowed and 0.95 * allowed <= max(widths) <= allowed
    probe = drawn_probe(most_macs=1e7)
    assert probe.limited(10_000, 500, 49 * 512) == 8
    assert probe.limited(24, 4, 8) == 24
    assert [drawn_probe(grains=(16,)).whole(channels) for channels in (1, 16, 23, 25, 40.1)] == [16, 16, 16, 32, 48]
    assert [drawn_probe(grains=(16,)).whole(41, most) for most in (60, 48, 47, 31, 15, 1)] == [48, 48, 32, 16, 8, 8]


def test_what_leaves_no_room_for_a_convolution_is_made_smaller_before_it() -> None:
    """10 million multiplications: 3 × 3 of 8 inputs for 8 outputs, on 131 × 131 pixels at most."""
    for size, channels in ((416, 8), (224, 64), (56, 256), (28, 2048), (7, 96)):
        probe = drawn_probe()
        given = probe.graph.node("x", ["image"], (1, channels, size, size))
        tensor = probe.fitting(given, 8 * 9)
        width, height = probe.shape(tensor)
        assert 9 * width * 8 * height**2 <= 1e7 and width >= 8
        assert (tensor == given) == (9 * channels * 8 * size**2 <= 1e7)
        assert height == size or 4 * height**2 * max(9 * 8 * 8, 8 * channels) > 0.9e7


def test_a_tensor_is_led_to_channels_that_it_does_not_have() -> None:
    probe = drawn_probe()
    tensor = probe.to_channels("image", 24)
    assert probe.shape(tensor) == (24, 32) and probe.to_channels(tensor, 24) == tensor
    changed = [probe.shape(probe.perhaps(tensor, 16))[0] == 16 for _ in range(400)]
    assert np.mean(changed) == pytest.approx(0.6, abs=0.08)
    assert all(probe.shape(probe.perhaps(probe.to_channels("image", 40), 8))[0] == 8 for _ in range(20))


@cache
def probes_of(engine: str, seed: int = 1) -> tuple[Network, ...]:
    if engine == "caffe":
        return tuple(parse_prototxt(text, name) for name, text in list(caffe_probes(seed, 45).items())[:45])
    models = probe_models(seed, 40)
    return tuple(parse_onnx(model.SerializeToString(), model.graph.name) for model in models)


def convolutions(engine: str) -> list[Kernel]:
    layers = [layer for one in probes_of(engine) for layer in one.layers if layer.type in ("Convolution", "Conv")]
    return [layer_kernel(layer) for layer in layers]


@pytest.mark.parametrize("engine", ["caffe", "onnxruntime"])
@pytest.mark.parametrize("place", range(5))
def test_probes_convolve_at_each_resolution_with_few_and_with_many_channels(engine: str, place: int) -> None:
    """What a CNN does at a resolution, probes do there, by 1×1, 3×3 and each channel by itself.

    From the fewest channels there to a third of the most, or of what a layer of 150 million multiplications can have.
    """
    least, fewest, most = WIDTHS[place]
    at = [one for one in convolutions(engine) if resolution(one["out_height"]) == place]
    for kernel in (1, 3):
        same = [one for one in at if one["kernel_h"] == kernel and one["group"] == 1]
        assert len(same) >= 10, (kernel, len(same))
        assert min(one["out_channels"] for one in same) <= 2 * fewest
        reach = min(most, 150e6**0.5 / kernel / max(least, 4))
        assert max(one["out_channels"] for one in same) >= reach / 3
    assert sum(one["group"] == one["channels"] > 1 for one in at) >= 3


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("engine", ["caffe", "onnxruntime"])
def test_no_convolution_has_more_multiplications_than_its_probe_allows(engine: str, seed: int) -> None:
    """First ones may have what the largest probe allows, as networks' are large, and transposed ones 150 million."""
    recipe = RECIPE if engine == "caffe" else Recipe()
    reached = []
    for number, one in enumerate(probes_of(engine, seed), 1):
        most = recipe.most_macs[number % len(recipe.most_macs)]
        if engine == "caffe" and one.layers[0].outputs[0][-1] > 300:
            most = min(most, 20e6)
        first, *work = [macs(layer) for layer in one.layers if layer.type in ("Convolution", "Conv")]
        transposed = [macs(layer) for layer in one.layers if layer.type in ("Deconvolution", "ConvTranspose")]
        assert first <= max(recipe.most_macs)
        assert max(work) <= most and max(transposed, default=0) <= max(most, 150e6), one.name
        reached.append(max(work) / most)
    assert np.median(reached) > 0.5


def test_a_first_convolution_leaves_no_large_image_as_large() -> None:
    generator = Generator(3, Recipe())
    for size in (256, 288, 320, 416) * 20:
        probe = Probe(
            Graph("p", size), generator.generator, generator.draws, generator.fused, generator.own, generator.pools,
            (8,), 1e9,
        )  # fmt: skip
        _, height = probe.shape(generator.stem(probe))
        assert height <= 0.51 * size or size <= 256


def test_weights_of_a_probe_lie_behind_each_other_and_begin_at_its_files_start_again() -> None:
    ends = []
    for model in probe_models(1, 8):
        end = 0
        for tensor in model.graph.initializer:
            place = {entry.key: entry.value for entry in tensor.external_data}
            if place:
                offset, length = int(place["offset"]), int(place["length"])
                assert offset % 4096 == 0 and (offset >= end or offset == 0)
                end = offset + length
                ends.append(end)
    assert max(ends) <= 128 << 20


def test_a_chain_ends_at_about_a_hundred_operators_or_ninety_layers() -> None:
    """The blocks at its height and the head come on top, of Caffe with BatchNorm and Scale behind each convolution."""
    sizes = [len(model.graph.node) for model in probe_models(1, 40)]
    assert 60 < max(sizes) <= 110 + 60
    layers = [len(one.layers) for one in probes_of("caffe")]
    assert 60 < max(layers) <= 2 * 90


def test_a_leaky_relu_of_a_caffe_probe_leaks_a_tenth() -> None:
    texts = " ".join(caffe_probes(1, 45).values())
    assert texts.count("negative_slope: 0.1 ") == texts.count("negative_slope") >= 3


def test_a_process_may_take_four_fifths_of_what_a_board_has_free() -> None:
    assert MEMORY_SHARE == 0.8


def test_an_agents_name_tells_its_version_beyond_doubt() -> None:
    assert re.fullmatch(r"agent-[0-9a-f]{16}\.pyz", agent_name())


def test_a_graph_is_full_beyond_a_hundred_and_ten_operators() -> None:
    graph = Graph("g", 8)
    for _ in range(110):
        graph.node("Relu", ["image"], (1, 3, 8, 8))
    assert not graph.is_full
    graph.node("Relu", ["image"], (1, 3, 8, 8))
    assert graph.is_full
