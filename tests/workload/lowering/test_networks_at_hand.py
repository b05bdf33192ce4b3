"""Every network at hand, converted to ONNX, runs as it is lowered; from its prototxt and from its ONNX file alike."""

from pathlib import Path

import pytest

from sitecnn.network import Network, load_network
from sitecnn.network.onnx import EXTERNAL_FILE, external_bytes, to_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import lower, lower_whole
from tests.workload.lowering.graphs import counted, executed, machine_block
from tests.workload.test_memory import NETWORKS

FILES = sorted(path for path in NETWORKS.iterdir() if path.suffix in (".prototxt", ".onnx"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_networks_at_hand_run_as_lowered(path: Path, tmp_path: Path) -> None:
    network = load_network(path)
    file = onnx_file(network, tmp_path)
    again = load_network(file)
    for block in {machine_block(tmp_path), 0}:
        engine = Engine("onnxruntime", nchwc_block=block)
        kernels = lower(network, engine)
        assert counted(kernels) == executed(str(file), tmp_path, block)
        assert counted(lower(again, engine)) == counted(kernels)


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".onnx"], ids=lambda path: path.stem)
def test_onnx_files_at_hand_run_as_lowered(path: Path, tmp_path: Path) -> None:
    """The file itself, not what we write of it."""
    network = load_network(path)
    file = onnx_file(network, tmp_path)
    file.write_bytes(path.read_bytes())
    for block in {machine_block(tmp_path), 0}:
        assert counted(lower(network, Engine("onnxruntime", nchwc_block=block))) == executed(str(file), tmp_path, block)


def onnx_file(network: Network, folder: Path) -> Path:
    """The network's ONNX file, and weights of zeros beside it."""
    file = folder / "network.onnx"
    file.write_bytes(to_onnx(network, "external"))
    with (folder / EXTERNAL_FILE).open("wb") as zeros:
        zeros.truncate(external_bytes(network))
    return file


def test_memory_of_a_chain_is_its_weights_and_its_two_largest_neighbours_twice() -> None:
    """VGG-16 without blocks: two planes of 64 channels at 224×224, one by one in a first pass, then as one block."""
    _, parts = lower_whole(load_network(NETWORKS / "vgg16.prototxt"), Engine("onnxruntime"))
    assert parts is not None and 1 <= parts.activations_bytes / (2 * 2 * 4 * 64 * 224 * 224) < 1.1
    assert parts.weights_bytes == 4 * 138_357_544
