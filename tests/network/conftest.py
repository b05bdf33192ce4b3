"""Real Caffe and the public definitions, for tests that compare with them."""

import json
import subprocess
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest

from sitecnn.network import Network

ROOT = Path(__file__).parents[2]
CAFFE_PYTHON = ROOT / "envs/pycaffe/.venv/bin/python"
SHARED_NETWORKS = ROOT.parent / "shared/networks"

RealCaffe = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def real_caffe() -> Iterator[RealCaffe]:
    """Definition → what `caffe_probe.py` says of it."""
    if not CAFFE_PYTHON.exists():
        pytest.skip(f"real Caffe is not at {CAFFE_PYTHON.relative_to(ROOT)}: ./run test builds it")
    command = [CAFFE_PYTHON, Path(__file__).with_name("caffe_probe.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdin and probe.stdout

        def ask(text: str) -> dict[str, Any]:
            probe.stdin.write(json.dumps(text) + "\n")
            probe.stdin.flush()
            answer: dict[str, Any] = json.loads(probe.stdout.readline())
            return answer

        yield ask
        probe.stdin.close()


def as_caffe_says(network: Network) -> dict[str, Any]:
    """A network in the words of `caffe_probe.py`."""
    layers = [
        {
            "name": layer.name,
            "type": layer.type,
            "bottoms": list(layer.bottoms),
            "tops": list(layer.tops),
            "outputs": [list(shape) for shape in layer.outputs],
            "parameters": [list(parameter.shape) for parameter in layer.parameters],
        }
        for layer in network.layers
    ]
    parameters = [parameter for layer in network.layers for parameter in layer.parameters]
    return {
        "layers": layers,
        "parameters": sum(parameter.count for parameter in parameters if not parameter.owner),
        "data_bytes": 4 * sum(prod(shape) for layer in network.layers for shape in layer.outputs),
    }
