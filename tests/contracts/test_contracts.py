"""What people's scripts read stays: every document against one that was stored, and every exit status."""

import json

import pytest

from tests.contracts.commands import DOCUMENTS, STATUSES, answer, make_root, stored

FROM_THE_FILE = ("name", "network", "type", "batch", "inputs", "outputs", "macs", "params", "gemms", "kernels")
"""Keys whose values a network's file decides; all others may change with a board's model."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contracts")
    make_root(folder)
    return folder


def form(value):
    """A document without its values: keys and kinds of values; of a list all forms of its members."""
    if isinstance(value, dict):
        return {key: form(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(form(inner), sort_keys=True) for inner in value})
    return type(value).__name__


def named(value, key=""):
    """Every value that the network's file decides, in order."""
    if isinstance(value, dict):
        return [one for inner_key, inner in value.items() for one in named(inner, inner_key)]
    if isinstance(value, list) and key not in FROM_THE_FILE:
        return [one for inner in value for one in named(inner, key)]
    return [(key, value)] if key in FROM_THE_FILE else []


@pytest.mark.parametrize("command", DOCUMENTS)
def test_a_document_keeps_its_form(root, command):
    kept = stored()[command]
    status, text = answer(root, command)
    assert status == kept["status"]
    assert form(json.loads(text)) == form(kept["document"])


@pytest.mark.parametrize("command", [one for one in DOCUMENTS if one.startswith("describe")])
def test_what_describe_says_of_a_network_keeps_its_values(root, command):
    assert json.loads(answer(root, command)[1]) == stored()[command]["document"]


@pytest.mark.parametrize("command", [one for one in DOCUMENTS if one.startswith(("estimate", "placement"))])
def test_layers_are_named_as_they_were(root, command):
    document = json.loads(answer(root, command)[1])
    assert named(document) == named(stored()[command]["document"])


@pytest.mark.parametrize("command", STATUSES)
def test_an_exit_status_stays(root, command):
    assert answer(root, command)[0] == stored()[command]["status"]
