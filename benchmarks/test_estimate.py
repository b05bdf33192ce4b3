"""How long answers take. Run by `pytest benchmarks/ --benchmark-only`.

Wanted: placement of GoogLeNet 50 ms, a cold command 0.6 s, a thousand candidates of a search a second.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sitecnn import Copy, Link, Network, estimate, estimate_many, load_network, memory_plan, offload, place
from tests.estimation.fixtures import NETWORKS, board_model, write_board


@pytest.fixture(scope="module", params=["googlenet", "resnet50"])
def network(request: pytest.FixtureRequest) -> Network:
    """Two networks with branches."""
    return load_network(NETWORKS / f"{request.param}.prototxt")


def test_placement(benchmark: BenchmarkFixture, network: Network) -> None:
    """Layers on CPU or GPU, with copies."""
    benchmark(place, network, board_model("cpu"), board_model("gpu"), Copy(20_000, 0.3))


def test_offload(benchmark: BenchmarkFixture, network: Network) -> None:
    """The best split, and the table by depth."""
    benchmark(offload, network, board_model("cpu"), board_model("gpu"), Link(50, 5))


def test_memory_plan(benchmark: BenchmarkFixture, network: Network) -> None:
    """The least memory over all orders."""
    benchmark(memory_plan, network)


def test_estimate(benchmark: BenchmarkFixture, network: Network) -> None:
    """One network."""
    benchmark(estimate, network, board_model("gpu"))


def test_a_thousand_networks(benchmark: BenchmarkFixture, network: Network) -> None:
    """As a search over architectures asks."""
    benchmark.pedantic(estimate_many, ([network] * 1000, board_model("gpu")), rounds=3)


def test_cold_command(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """From the shell, with its answer."""
    write_board(tmp_path, board_model("gpu"))
    network = NETWORKS / "googlenet.prototxt"
    command = [sys.executable, "-m", "sitecnn", "--root", tmp_path, "estimate", network, "--board", "tx1"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "stdout": subprocess.DEVNULL}, rounds=5)
