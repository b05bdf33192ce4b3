"""Every result is a document, a table, and one line where it is printed."""

import json

import pytest

import sitecnn
from tests.estimation.fixtures import NETWORKS, board_model


@pytest.fixture(scope="module")
def results():
    network = sitecnn.load_network(NETWORKS / "alexnet.prototxt")
    cpu, gpu = board_model("cpu"), board_model("gpu")
    return {
        "estimate": sitecnn.estimate(network, gpu),
        "plan": sitecnn.memory_plan(network),
        "placement": sitecnn.place(network, cpu, gpu),
        "offload": sitecnn.offload(network, cpu, gpu, sitecnn.Link(50, 5)),
    }


@pytest.mark.parametrize("name", ["estimate", "plan", "placement", "offload"])
def test_a_result_is_json_a_table_and_one_short_line(results, name):
    result = results[name]
    assert json.loads(json.dumps(result.to_dict())), "JSON takes it"
    assert len(result.to_frame()) > 0
    assert "\n" not in repr(result)
    assert len(repr(result)) < 200


def test_the_tables_have_a_row_per_layer(results):
    network = sitecnn.load_network(NETWORKS / "alexnet.prototxt")
    names = [layer.name for layer in network.layers]
    assert results["estimate"].to_frame()["layer"].tolist() == names
    placed = results["placement"].to_frame()
    assert placed["name"].tolist() == names
    assert (placed["processor"] == "gpu").tolist() == list(results["placement"].on_gpu)


def test_a_placement_without_a_copy_is_that_of_zero_copy(results):
    network = sitecnn.load_network(NETWORKS / "alexnet.prototxt")
    free = sitecnn.place(network, board_model("cpu"), board_model("gpu"), sitecnn.Copy(0, 0))
    assert results["placement"] == free


def test_a_split_says_after_which_layer_it_is(results):
    depths = results["offload"].to_frame()
    assert depths["after"].iloc[0] == ""
    assert depths["layers_on_board"].is_monotonic_increasing


def test_networks_and_boards_are_one_line_too():
    assert repr(sitecnn.load_network(NETWORKS / "alexnet.prototxt")) == "<Network AlexNet: 24 layers, batch 1>"
    assert repr(board_model("gpu")) == "<BoardModel tx1 gpu: 1 stacks>"


def test_many_networks_are_found_by_what_the_caller_called_them():
    board = board_model("gpu")
    networks = {(224, name): sitecnn.load_network(NETWORKS / f"{name}.prototxt") for name in ("alexnet", "nin")}
    many = sitecnn.estimate_many(networks, board)
    for key, network in networks.items():
        alone = sitecnn.estimate(network, board)
        assert many[key].forward_ms.estimate == pytest.approx(alone.forward_ms.estimate)
        assert many[key].memory_bytes == alone.memory_bytes.total
    assert list(many) == list(networks)
    assert many.to_frame()["memory_bytes"].tolist() == [many[key].memory_bytes for key in networks]
    assert len(many.to_dict()["networks"]) == len(many) == 2
    with pytest.raises(KeyError):
        many["alexnet"]
