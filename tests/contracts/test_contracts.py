"""What people's scripts read stays: every document against one that was stored, and every exit status.

A document may grow. What was in it stays, of the same kind; of a network's file, with the same value.
"""

import json

import pytest

from tests.contracts.commands import DOCUMENTS, STATUSES, answer, make_root, stored

FROM_THE_FILE = ("name", "network", "type", "batch", "inputs", "outputs", "macs", "params", "gemms")
"""Keys whose values a network's file decides; all others may change with a board's model."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contracts")
    make_root(folder)
    return folder


def has_all(value, stored_value, *, values=False):
    """Whether a document has every key of the one that was kept, with values of its kinds, or with its values.

    A list has, for each member that was kept, one that has all of it: at the same place where `values` count.
    """
    if isinstance(stored_value, dict):
        return isinstance(value, dict) and all(
            key in value and has_all(value[key], inner, values=values) for key, inner in stored_value.items()
        )
    if isinstance(stored_value, list) and values:
        return len(value) == len(stored_value) and all(
            has_all(one, inner, values=True) for one, inner in zip(value, stored_value, strict=True)
        )
    if isinstance(stored_value, list):
        return isinstance(value, list) and all(any(has_all(one, inner) for one in value) for inner in stored_value)
    return value == stored_value if values else type(value) is type(stored_value)


def named(value, key=""):
    """Every value that the network's file decides, in order."""
    if isinstance(value, dict):
        return [one for inner_key, inner in value.items() for one in named(inner, inner_key)]
    if isinstance(value, list) and key not in FROM_THE_FILE:
        return [one for inner in value for one in named(inner, key)]
    return [(key, value)] if key in FROM_THE_FILE else []


@pytest.mark.parametrize(
    ("value", "stored_value", "all_there"),
    [
        ({"a": 1, "b": 2}, {"a": 3}, True),
        ({"b": 2}, {"a": 3}, False),
        ({"a": 1.0}, {"a": 3}, False),
        ({"a": [{"x": 1}, {"y": 1, "z": 2}]}, {"a": [{"y": 5}]}, True),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"y": 5}]}, False),
    ],
)
def test_a_document_may_grow_and_not_shrink(value, stored_value, all_there):
    assert has_all(value, stored_value) == all_there


@pytest.mark.parametrize("command", DOCUMENTS)
def test_a_document_keeps_its_form(root, command):
    stored_answer = stored()[command]
    status, text = answer(root, command)
    assert status == stored_answer["status"]
    assert has_all(json.loads(text), stored_answer["document"])


@pytest.mark.parametrize("command", [one for one in DOCUMENTS if one.startswith("describe")])
def test_what_describe_says_of_a_network_keeps_its_values(root, command):
    assert has_all(json.loads(answer(root, command)[1]), stored()[command]["document"], values=True)


@pytest.mark.parametrize("command", [one for one in DOCUMENTS if one.startswith(("estimate", "placement"))])
def test_layers_are_named_as_they_were(root, command):
    document = json.loads(answer(root, command)[1])
    assert named(document) == named(stored()[command]["document"])


@pytest.mark.parametrize("command", STATUSES)
def test_an_exit_status_stays(root, command):
    assert answer(root, command)[0] == stored()[command]["status"]
