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
        if type(edit).__name__ != "Outputs":  # of which only the layer's own gain is said
            times = [estimate(net, stack.board).forward_ms.estimate / net.batch for net in (network, after)]
            assert one["gain_ms"]["estimate"] == pytest.approx(times[0] - times[1], rel=1e-6), one["change"]
    assert kinds == {"Batch", "InputShapes", "Width", "Outputs"}


def test_what_the_text_cannot_say_is_not_offered(tmp_path):
    text = (NETWORKS / "resnet18.prototxt").read_text()
    advice = trials(Question(Source("x", text)), load_stacks(tmp_path)[0], tmp_path)
    added = [one for one in advice if one["change"].startswith("halve the outputs of res5a_branch2b")]
    assert added and added[0]["edit"] is None  # its values are added to others, which would stay as wide


def test_an_edit_is_one_of_those_that_are_known():
    with pytest.raises(SiteCNNError, match="no such edit"):
        edit_from({"shell": "rm"})
