"""How long fits and batches of estimates take. Run by `pytest benchmarks/test_models.py --benchmark-only`.

Wanted: the full fit of a board with 100,000 measurements 30 s; 2,000 networks of ResNet-50's size a second on one core;
one network 2 ms.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sitecnn import Network, estimate, estimate_many, load_network
from sitecnn.models.board_model import BoardModel
from sitecnn.models.calibrate import fit_board
from tests.models.fixtures import board, layer_rows

NETWORKS = Path(__file__).parents[1] / "config" / "networks"
MEASUREMENTS = 100_000


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Twelve networks, and kernels timed alone up to 100,000 measurements."""
    networks = board(1, networks=12, layers=90)
    rng = np.random.default_rng(2)
    alone = layer_rows("alone", rng, 0.05, layers=MEASUREMENTS - len(networks))
    alone = alone[alone["subject"] == "layer"].assign(
        subject="kernel", mode="cold", network=None, layer=None, stack="known law", threads=1, status="ok"
    )
    return pd.concat([networks, alone], ignore_index=True)


@pytest.fixture(scope="module")
def model() -> BoardModel:
    """A board that knows convolutions, pooling and ReLUs; ResNet-50's other layers are guessed."""
    return fit_board(board(1, networks=6), "shelf", "cpu", {})


@pytest.fixture(scope="module")
def resnet50() -> Network:
    """228 layers with their automatic splits."""
    return load_network(NETWORKS / "resnet50.prototxt")


def test_full_fit(benchmark: BenchmarkFixture, rows: pd.DataFrame) -> None:
    """With calibration: every network left out once."""
    benchmark.pedantic(fit_board, (rows, "shelf", "cpu", {}), rounds=1)


def test_one_network(benchmark: BenchmarkFixture, model: BoardModel, resnet50: Network) -> None:
    """As `sitecnn estimate` asks, its file already read."""
    benchmark(estimate, resnet50, model)


def test_two_thousand_networks(benchmark: BenchmarkFixture, model: BoardModel) -> None:
    """Networks of one size at eight batches; each has layers of its own, most of them like those of others."""
    at = [load_network(NETWORKS / "resnet50.prototxt", batch=batch) for batch in range(1, 9)]
    networks = [replace(one, layers=tuple(map(replace, one.layers))) for one in at * 250]
    benchmark.pedantic(estimate_many, (networks, model), rounds=3)
