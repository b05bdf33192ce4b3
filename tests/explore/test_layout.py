"""The drawing against the network: every layer once, every edge downwards, no box over another, memory as replayed."""

from collections import Counter
from itertools import pairwise
from math import prod

import pytest

from sitecnn.estimation.peak_memory import schedule
from sitecnn.explore.layout import alive_bytes, draw
from sitecnn.network.caffe.reader import parse_prototxt
from tests.explore.chromium import NETWORKS

FILES = sorted(NETWORKS.glob("*.prototxt"))

BRANCHES = """
input: "x" input_shape { dim: 1 dim: 2 dim: 8 dim: 8 }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "b" type: "Convolution" bottom: "x" top: "b" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" }
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_layer_has_a_box_and_no_box_covers_another(file):
    network = parse_prototxt(file.read_text(), "x")
    drawing = draw(network, {})
    drawn = [index for box in drawing.boxes for index in box.layers]
    assert drawn == [index for index, layer in enumerate(network.layers) if layer.type != "Split"]
    rows: dict[int, list[float]] = {}
    for box in drawing.boxes:
        rows.setdefault(box.row, []).append(box.column)
    for columns in rows.values():
        columns.sort()
        assert all(right - left >= 0.99 for left, right in pairwise(columns))
    assert all(one[1] < other[1] for line in drawing.lines for one, other in pairwise(line.points))


def test_lines_join_makers_and_readers():
    drawing = draw(parse_prototxt(BRANCHES, "x"), {})
    spot = {box.layers[0]: (box.column, box.row) for box in drawing.boxes}
    ends = Counter((line.points[0], line.points[-1]) for line in drawing.lines)
    names = {layer.name: index for index, layer in enumerate(parse_prototxt(BRANCHES, "x").layers)}
    expected = [("input", "a"), ("input", "b"), ("b", "r"), ("a", "c"), ("r", "c")]
    expected = [(one if one in names else next(iter(names)), other) for one, other in expected]
    assert ends == Counter((spot[names[one]], spot[names[other]]) for one, other in expected)


def test_fused_layers_share_a_box_and_need_no_line():
    network = parse_prototxt(BRANCHES, "x")
    drawing = draw(network, {"r": "b"})
    groups = [[network.layers[index].name for index in box.layers] for box in drawing.boxes]
    assert ["b", "r"] in groups
    assert len(drawing.lines) == 4


def test_networks_of_one_layer_and_of_parts_apart_are_drawn():
    alone = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'
    assert len(draw(parse_prototxt(alone, "x"), {}).boxes) == 1
    two = alone + alone.replace('"x"', '"y"')
    boxes = draw(parse_prototxt(two, "x"), {}).boxes
    assert len({(box.column, box.row) for box in boxes}) == 2


def test_memory_alive_is_that_of_a_replay():
    network = parse_prototxt(BRANCHES, "x")
    x, a, b, c = (4 * prod(shape) for shape in ((2, 8, 8), (4, 8, 8), (6, 8, 8), (10, 8, 8)))
    # The image lives until both convolutions have read it, a and b until the Concat has, c to the end.
    by_name = {"a": x + a, "b": x + a + b, "r": a + b, "c": a + b + c}
    alive = alive_bytes(schedule(network))
    for layer, value in zip(network.layers, alive, strict=True):
        assert value == by_name.get(layer.name, x)
