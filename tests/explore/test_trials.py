"""What the page offers to try: the text after it is the network that the gain was estimated of."""

from dataclasses import replace

import pytest

from sitecnn import estimate
from sitecnn.errors import SiteCNNError
from sitecnn.explore.answers import load_stacks
from sitecnn.explore.edits import applied, edit_from
from sitecnn.explore.question import Question, Source
from sitecnn.explore.reading import network_of
from sitecnn.explore.trials import trials
from tests.explore.chromium import NETWORKS


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1.0", "mobilenet-v1"])
def test_the_text_after_an_edit_gains_what_was_said(tmp_path, name):
    text = (NETWORKS / f"{name}.prototxt").read_text()
    question = Question(Source(name, text))
    network = network_of(question)
    stack = next(one for one in load_stacks(tmp_path) if one.model.stack.startswith("Caffe"))
    offered = [one for one in trials(question, stack, tmp_path) if one["edit"]]
    kinds = set()
    for one in offered:
        edit = edit_from(one["edit"])
        after = network_of(replace(question, source=Source(name, applied(text, edit, network))))
        assert after != network
        kinds.add(type(edit).__name__)
        times = [estimate(net, stack.board).forward_ms.estimate / net.batch for net in (network, after)]
        assert one["gain_ms"]["estimate"] == pytest.approx(times[0] - times[1], rel=1e-6), one["change"]
    assert kinds == {"Batch", "InputShapes", "Width", "Outputs"}


def test_a_layer_whose_values_are_added_to_wider_ones_is_not_offered(tmp_path):
    text = (NETWORKS / "resnet18.prototxt").read_text()
    advice = trials(Question(Source("x", text)), load_stacks(tmp_path)[0], tmp_path)
    halved = [one["edit"]["layer"] for one in advice if one["kind"] == "outputs"]
    assert len(halved) == 3 and not any(name.endswith("branch2b") for name in halved)


def test_an_edit_is_one_of_those_that_are_known():
    with pytest.raises(SiteCNNError, match="no such edit"):
        edit_from({"shell": "rm"})
