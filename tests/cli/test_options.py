"""Options mean the same in every command."""

import argparse
import re
from pathlib import Path

import pytest

from sitecnn.cli import build_parser, main
from sitecnn.cli.parser import below

OPEN = """
layer { name: "data" type: "Data" top: "data" data_param { batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 } }
"""


def leaves():
    """Every command and action that a person can type, by its name."""
    parsers = below(build_parser())
    return {
        one.prog: one for one in parsers if not any(isinstance(a, argparse._SubParsersAction) for a in one._actions)
    }


def options(parser):
    return {option for action in parser._actions for option in action.option_strings}


def reads_network(parser):
    return bool({"network", "networks"} & {action.dest for action in parser._actions if action.dest})


# `dataset export` takes names; a page is asked for its batch in the page, and its network is edited there.
ELSEWHERE = ("export", "explore")
READERS = sorted(
    name for name, parser in leaves().items() if reads_network(parser) and not any(map(name.count, ELSEWHERE))
)
FILES_WITH_BATCHES = ("sitecnn import table", "sitecnn import totals", "sitecnn fit")


def test_all_commands_that_read_networks_are_looked_at():
    named = " ".join(READERS)
    for command in ("describe", "estimate", "compare", "advise", "placement", "offload", "convert", "extract", "plan"):
        assert f"sitecnn {command}" in named
    assert "sitecnn import caffe-time" in named and "sitecnn import table" in named


@pytest.mark.parametrize("name", READERS)
def test_every_command_that_reads_a_network_takes_shapes_and_images(name):
    assert "--input" in options(leaves()[name])
    assert "--batch" in options(leaves()[name]) or name in FILES_WITH_BATCHES


@pytest.mark.parametrize("name", sorted(leaves()))
def test_every_command_takes_a_root(name):
    assert "--root" in options(leaves()[name])


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_root_before_or_after_the_commands_name_is_one(tmp_path, capsys, where):
    (tmp_path / "config" / "boards").mkdir(parents=True)
    (tmp_path / "config" / "boards" / "bench.yaml").write_text("name: bench\nprocessors: {cpu: {threads: [1]}}\n")
    root = ["--root", str(tmp_path)]
    assert main([*root, "board", "list"] if where == "before" else ["board", "list", *root]) == 0
    assert "bench" in capsys.readouterr().out


def network_commands(net, root):
    out = str(root / "out")
    return {
        "describe": ["describe", net],
        "estimate": ["estimate", net, "--board", "tx1"],
        "compare": ["compare", net, "--board", "tx1"],
        "advise": ["advise", net, "--board", "tx1"],
        "placement": ["placement", net, "--board", "tx1"],
        "offload": ["offload", net, "--board", "tx1", "--server", "gtx1080", "--megabits-per-s", "9"],
        "convert": ["convert", net, "-o", out],
        "extract": ["extract", net, "-o", out],
        "plan": ["plan", net, "-o", out],
    }


@pytest.mark.parametrize("command", list(network_commands("", Path())))
def test_what_an_error_recommends_can_be_typed(tmp_path, capsys, command):
    """The command asks for a shape and, given what it asks for, answers."""
    net = tmp_path / "net.prototxt"
    net.write_text(OPEN)
    arguments = network_commands(str(net), tmp_path)[command]
    assert main(["--root", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err
    suggestion = re.search(r"(--input) (\S+:[\dx]+)", said)
    assert suggestion, said
    assert main([*arguments, "--root", str(tmp_path), *suggestion.groups()]) == 0


def test_an_import_asks_for_a_shape_that_it_takes(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(OPEN)
    (tmp_path / "log").write_text("  conv forward: 1.0 ms.\nAverage Forward pass: 1.2 ms.\n")
    arguments = ["import", "caffe-time", str(tmp_path / "log"), "--network", str(tmp_path / "net.prototxt")]
    arguments += ["--board", "shelf", "--processor", "cpu", "--stack", "caffe", "--root", str(tmp_path)]
    assert main(arguments) == 2
    suggestion = re.search(r"(--input) (\S+:[\dx]+)", capsys.readouterr().err)
    assert main([*arguments, *suggestion.groups()]) == 0
