"""What commands print for a person, number by number and word by word, against the estimates behind it."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from sitecnn.cli import evaluate, main
from sitecnn.cli.estimate_text import amount, verdict
from sitecnn.cli.tables import table
from sitecnn.estimation.budget_check import Budget, check_budget
from sitecnn.network import load_network
from sitecnn.workload.kernels import macs
from tests.estimation.fixtures import NETWORKS, board_model, board_of, stack_model, write_board

NET = NETWORKS / "alexnet.prototxt"


@pytest.fixture(scope="module")
def network():
    return load_network(NET)


@pytest.fixture
def said(tmp_path, capsys):
    """What a command says of a board with both processors, of which the GPU has two stacks."""
    write_board(tmp_path, board_model("cpu", "here"))
    stacks = [stack_model("gpu", "first"), stack_model("gpu", "second", speed=0.9)]
    write_board(tmp_path, board_model("gpu", "here", stacks=stacks))

    def run(command, *options):
        main(["--root", str(tmp_path), command, str(NET), *map(str, options)])
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("ms", "like", "text"),
    [
        (0.1234, None, "0.123"),
        (1.234, None, "1.23"),
        (12.34, None, "12.3"),
        (1234.56, None, "1,234.6"),
        (0.5, 20, "0.5"),
    ],
)
def test_a_time_has_three_digits(ms, like, text):
    assert amount(ms, like) == text


@pytest.mark.parametrize(
    ("deviations", "words"),
    [
        (3.0, r"fits [\d.]+ ms \(chance >99%\)"),
        (0.5, r"probably fits [\d.]+ ms \(chance 69%\)"),
        (-0.5, r"probably does not fit [\d.]+ ms \(chance 31%\)"),
        (-3.0, r"does not fit [\d.]+ ms \(chance <1%\)"),
    ],
)
def test_a_verdict_is_as_sure_as_the_estimate(network, deviations, words):
    ms = check_budget(network, board_model("cpu"), Budget()).estimate.forward_ms
    sd = np.log(ms.high / ms.low) / 2 / norm.ppf(0.95)
    limit = Budget(ms=ms.estimate * np.exp(deviations * sd))
    line = verdict(check_budget(network, board_model("cpu"), limit)).splitlines()[1]
    assert re.search(f": {words}$", line), line


def test_a_board_that_is_mostly_disturbed_says_by_how_much(network):
    busy = check_budget(network, board_of(replace(stack_model("cpu"), usual_ratio=1.25)), Budget())
    assert "a typical pass took 25% longer" in verdict(busy)
    assert "typical" not in verdict(check_budget(network, board_model("cpu"), Budget()))


def test_memory_by_part_is_the_documents_in_mib(network):
    checked = check_budget(network, board_model("gpu"), Budget(memory_bytes=10**9))
    text, parts, plan = verdict(checked), checked.estimate.memory_bytes, checked.plan

    def mib(count):
        return f"{count / 2**20:,.2f} MiB"

    rows = dict(re.findall(r"^(\S.*?)  +(-?[\d,.]+ MiB)", text, re.MULTILINE))
    assert rows == {
        "memory": mib(parts.total),
        "weights": mib(parts.weights),
        "data": mib(parts.data),
        "workspace": mib(parts.workspace),
        "weights' host copy": mib(parts.weights),
        "base": mib(parts.base),
        "counted twice": mib(parts.total - 2 * parts.weights - parts.data - parts.workspace - parts.base),
        "total": mib(parts.total),
        "while loading": mib(parts.base + 2 * parts.weights),
    }
    assert f"{mib(parts.base + parts.weights + plan.least)} with all of the above" in text
    assert f"fits the budget of {mib(10**9)}" in text
    assert "exceeds the budget of" in verdict(check_budget(network, board_model("gpu"), Budget(memory_bytes=10**6)))


def test_every_type_that_takes_a_thousandth_is_in_the_table(network):
    checked = check_budget(network, board_model("cpu"), Budget())
    rows = {line.split()[0]: line.split() for line in verdict(checked).splitlines() if line}
    whole = sum(one.ms.estimate for one in checked.estimate.types)
    for one in checked.estimate.types:
        assert (one.type in rows) == (one.ms.estimate >= 0.001 * whole)
        if one.type in rows:
            assert rows[one.type][1:3] == [str(one.layers), amount(one.ms.estimate)]
            assert f"{one.ms.estimate / whole:.1%}" in rows[one.type]


def test_advice_is_a_share_of_an_image_and_doubtful_where_it_may_be_none(said):
    options = ("--board", "here", "--budget-fps", 1e4)
    document, text = json.loads(said("advise", *options, "--json")), said("advise", *options)
    lines = text.splitlines()
    assert lines[0].endswith(f" {document['ms_per_image']:,.2f} ms an image")
    assert document["processor"] == json.loads(said("estimate", "--board", "here", "--json"))["processor"]
    gains = [one for one in document["advice"] if one["gain_ms"]]
    assert gains
    for one in gains:
        (line,) = (line for line in lines if f"  {one['change']}" in line)
        gain = one["gain_ms"]["estimate"]
        assert line.split()[:3] == [f"{gain:,.2f}", "ms", f"{gain / document['ms_per_image']:.0%}"]
        assert ("may be none" in line) == (not one["sure"])


def test_what_reaches_a_goal_makes_so_many_images_a_second(said):
    pass_ms = json.loads(said("estimate", "--board", "here", "--processor", "cpu", "--json"))["forward_ms"]["estimate"]
    options = ("--board", "here", "--processor", "cpu", "--budget-fps", 1e3 / pass_ms * 1.02)
    (goal, text) = json.loads(said("advise", *options, "--json"))["goal"], said("advise", *options)
    assert any(one["images"] > 1 for one in goal["reached_by"])
    for one in goal["reached_by"]:
        line = next(line for line in text.splitlines() if line.startswith(one["change"]))
        assert f" {one['images'] / one['forward_ms']['estimate'] * 1e3:,.1f} " in line


def test_a_placement_is_of_the_stacks_that_were_named(said):
    options = ("--board", "here", "--gpu-stack", "second", "--copy-gb-per-s", 4)
    document, text = json.loads(said("placement", *options, "--json")), said("placement", *options)
    assert document["stacks"] == {"cpu": "synthetic-cpu", "gpu": "second"}
    assert f"crossings   {document['copies']} values, {document['copies_ms']:,.2f} ms of copies: as given" in text


def test_a_description_is_in_millions(network, said):
    assert f"MACs         {sum(map(macs, network.layers)) / 1e6:,.0f} M\n" in said("describe")


def test_a_name_is_written_and_a_layer_of_a_fork_is_refused_where_it_must_be_caffes(tmp_path, capsys):
    assert main(["convert", str(NET), "--name", "other", "-o", str(tmp_path / "out.prototxt")]) == 0
    assert 'name: "other"' in (tmp_path / "out.prototxt").read_text()
    net = tmp_path / "fork.prototxt"
    net.write_text(NET.read_text().replace('type: "ReLU"', 'type: "ReLU6"', 1))
    assert [main(["describe", str(net), *more]) for more in ([], ["--strict"])] == [0, 2]
    assert "ReLU6" in capsys.readouterr().err


def test_measured_memory_stands_before_the_estimate():
    mib = 2**20
    case = {"network": "a", "batch": 2, "total_bytes": 100 * mib, "estimate_bytes": 110 * mib, "error": 0.1}
    assert evaluate._memory(pd.DataFrame([case])).splitlines()[-1].split() == ["a", "2", "100.0", "110.0", "+10.0%"]


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(("a", "name"), [("100", "x"), ("7", "y")], right=(0,)) == "  a  name\n---  ----\n100  x\n  7  y"
