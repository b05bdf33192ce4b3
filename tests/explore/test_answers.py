"""Rows of the page's first table against the estimates of the command line, without a page."""

import json
import shlex

import pytest

from sitecnn.cli import main
from sitecnn.estimation.advice import Batch, InputShapes
from sitecnn.explore import number_format
from sitecnn.explore.answers import answers, load_stacks
from sitecnn.explore.edits import question_after
from sitecnn.explore.export import command_line
from sitecnn.explore.question import Question, Source
from sitecnn.explore.reading import network_of
from tests.explore.chromium import NETWORKS

FILE = NETWORKS / "squeezenet1.0.prototxt"


def asked(**more) -> Question:
    return Question(Source(str(FILE), FILE.read_text()), **more)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    return load_stacks(tmp_path_factory.mktemp("none"), ["tx1", "pixel4"])


@pytest.mark.parametrize(
    "question",
    [
        asked(),
        asked(batch=3, level=0.7, budget_ms=400.5, budget_mb=200),
        asked(budget_fps=30, inputs=(("data", (2, 3, 160, 160)),)),
    ],
)
def test_the_command_line_of_a_row_gives_the_row(stacks, question, capsys):
    for row in answers(question, None, stacks):
        status = main([*shlex.split(command_line(question, row))[1:], "--json"])
        document = json.loads(capsys.readouterr().out)
        assert status == int(row["fits_time"] is False or row["fits_memory"] is False)
        assert document["forward_ms"] == pytest.approx(row["forward_ms"])
        assert document["fits"] == {"time": row["fits_time"], "memory": row["fits_memory"]}
        assert document["chance_in_time"] == pytest.approx(row["chance_in_time"])
        assert document["memory_bytes"] == row["memory_bytes"]


def test_the_fastest_is_first_and_changes_are_what_lies_between_two_answers(stacks):
    before, after = asked(batch=4), asked(batch=2, inputs=(("data", (2, 3, 160, 160)),))
    earlier = {row["key"]: row for row in answers(before, None, stacks)}
    rows = answers(after, before, stacks)
    assert len(rows) == len(stacks)
    times = [row["forward_ms"]["estimate"] for row in rows]
    assert times == sorted(times)
    for row in rows:
        old, change = earlier[row["key"]], row["change"]
        for name in ("forward_ms", "images_per_second"):
            one, other = (of[name]["estimate"] if name == "forward_ms" else of[name] for of in (old, row))
            # An imported stack's kernels are held above half of their time singly here, and as a whole there.
            assert change[name]["estimate"] == pytest.approx(other - one, rel=1e-4)
            assert change[name]["low"] <= change[name]["estimate"] <= change[name]["high"]
        assert change["memory_bytes"] == row["memory_bytes"]["total"] - old["memory_bytes"]["total"]


def test_a_network_without_a_total_is_below_those_that_have_one(stacks):
    text = FILE.read_text().replace('type: "Convolution"', 'type: "Deconvolution"', 1)
    rows = answers(Question(Source("net", text)), None, stacks)
    assert [row["is_whole"] for row in rows] == sorted((row["is_whole"] for row in rows), reverse=True)


def test_what_an_edit_writes_into_the_text_is_not_asked_for_besides():
    shapes = (("data", (1, 3, 160, 160)), ("other", (1, 2)))
    question = asked(batch=4, inputs=shapes)
    network = network_of(asked())
    batched = question_after(question, Batch(8), network)
    assert (batched.batch, batched.inputs) == (None, shapes)
    smaller = question_after(question, InputShapes({"data": (1, 3, 96, 96)}), network)
    assert (smaller.batch, smaller.inputs) == (4, shapes[1:])


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number_format.number(1234.5), "1,234"),
        (number_format.number(0.01234), "0.0123"),
        (number_format.megabytes(1_500_000), "1.50"),
        (number_format.signed_megabytes(-2_000_000), "−2.00"),
        (number_format.signed(1e-12), "±0"),
        (number_format.percent(0.05), "5.0 %"),
        (number_format.percent(0.5), "50 %"),
        (number_format.percent(0.0), "0 %"),
        (number_format.millions(7_240_000), "7.24"),
        (number_format.shape((2, 64, 56, 55)), "64 × 56 × 55"),
    ],
)
def test_numbers_have_three_digits_and_units_of_a_million(shown, text):
    assert shown == text
