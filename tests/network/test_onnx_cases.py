"""The small ONNX files that once went wrong: each gives what its README says."""

import re
from pathlib import Path

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network
from sitecnn.workload.describe import describe

CASES = Path(__file__).parents[3] / "shared" / "cases"
MACS = {
    "onnx-qlinearconv-macs": 884_736,
    "onnx-matmul-data-data-macs": 1_229_312,
    "onnx-convtranspose-output-padding-macs": 13_824,
}
READ = (
    "onnx-slice-refused", "onnx-slice-focus-step2", "onnx-collision-pad3", "onnx-collision-tile",
    "onnx-lstm-refused", "onnx-concat-with-constant-refused", "onnx-minus-one-batch-hint",
)  # fmt: skip

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not at hand"),
]


@pytest.mark.parametrize("name", MACS)
def test_products_of_onnx_operators_are_counted(name):
    assert describe(load_network(CASES / f"{name}.onnx"))["totals"]["macs"] == MACS[name]


def test_an_int8_convolution_has_weights_of_a_byte_each():
    network = load_network(CASES / "onnx-qlinearconv-macs.onnx")
    parameters = sum(parameter.count for layer in network.layers for parameter in layer.parameters)
    assert 0 < describe(network)["totals"]["weights_bytes"] < 2 * parameters


@pytest.mark.parametrize("name", READ)
def test_operators_that_share_a_name_with_caffes_are_read_by_onnxs_rules(name):
    assert load_network(CASES / f"{name}.onnx").layers


def test_the_example_for_an_open_size_can_be_typed_as_it_stands():
    path = CASES / "onnx-open-shape-hint.onnx"
    with pytest.raises(SiteCNNError) as refused:
        load_network(path)
    name, shape = re.search(r"--input (\w+):([\dx]+)", str(refused.value)).groups()
    assert load_network(path, inputs={name: tuple(map(int, shape.split("x")))}).layers


def test_a_git_lfs_pointer_is_named_for_what_it_is():
    with pytest.raises(SiteCNNError, match="LFS"):
        load_network(CASES / "proto-lfs-pointer.onnx")
