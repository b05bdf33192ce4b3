"""Every sentence of the report that has a number is held against the tables and files that it is made of.

A sentence that no pattern of `sentences` knows is a failure: it has no test.
"""

import re

import pytest

from tests.report.datasets import half_failed, imported, toy
from tests.report.page import Report
from tests.report.sentences import fault, is_standing


@pytest.fixture(scope="module", params=[toy, half_failed, imported], ids=lambda make_one: make_one.__name__)
def report(request, tmp_path_factory):
    return Report(request.param(tmp_path_factory.mktemp(request.param.__name__)))


def test_every_sentence_with_a_number_is_true(report):
    assert [wrong for one in report.sentences if not is_standing(one) and (wrong := fault(report, one))] == []


NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?= |$|[,.;:)](?:\s|$))")
"""A number of its own, not one in a name (`vgg16`, `1×1`)."""


def test_another_number_in_any_sentence_is_noticed(report):
    """Else its test looks at that number in vain."""
    unnoticed = []
    for sentence in (one for one in report.sentences if not is_standing(one)):
        for number in NUMBER.finditer(sentence):
            decimals = len(number[0].partition(".")[2])
            other = f"{1.3 * float(number[0].replace(',', '')) + 1:,.{decimals}f}"
            changed = sentence[: number.start()] + other + sentence[number.end() :]
            unnoticed += [] if fault(report, changed) else [changed]
    assert unnoticed == []
