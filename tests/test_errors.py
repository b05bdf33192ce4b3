"""An error's class says what is wrong, so that a caller catches what it means."""

import pytest

import sitecnn
from sitecnn.boards.campaign import profile
from sitecnn.boards.config import load_board_config
from sitecnn.config import load_config
from sitecnn.dataset.summary import export


def missing_network(root):
    sitecnn.load_network(root / "none.prototxt")


def network_that_is_none(root):
    (root / "net.prototxt").write_text("layer {")
    sitecnn.load_network(root / "net.prototxt")


def missing_config(root):
    load_config(root)


def missing_plan(root):
    (root / "config" / "boards").mkdir(parents=True)
    (root / "config" / "boards" / "here.yaml").write_text("name: here\nprocessors: {cpu: {threads: [1]}}\n")
    profile(root, load_board_config(root, "here"), root / "plan.jsonl")


def unknown_format(root):
    export(root, root / "rows.xls", {})


def missing_model(root):
    sitecnn.load_board("nosuch", root=root)


def missing_stack(root):
    net = root / "net.prototxt"
    net.write_text('input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } layer { name: "r" type: "ReLU" '
                   'bottom: "data" top: "r" }')  # fmt: skip
    sitecnn.estimate(sitecnn.load_network(net), sitecnn.load_board("tx1"), stack="nosuch")


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (missing_network, sitecnn.NetworkError),
        (network_that_is_none, sitecnn.NetworkError),
        (missing_config, sitecnn.ConfigError),
        (missing_plan, sitecnn.BoardError),
        (unknown_format, sitecnn.DatasetError),
        (missing_model, sitecnn.ModelError),
        (missing_stack, sitecnn.ModelError),
    ],
)
def test_an_error_is_of_the_class_that_says_what_is_wrong(tmp_path, fails, error):
    with pytest.raises(sitecnn.SiteCNNError) as raised:
        fails(tmp_path)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
