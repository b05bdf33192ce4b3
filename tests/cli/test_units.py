"""What a number on the command line means: its unit, and what stands there where none is given."""

import csv
import json

import pytest

from sitecnn.boards import plan as plans
from sitecnn.cli import build_parser, main
from sitecnn.cli.arguments import copy_of
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, write_board

NET = str(NETWORKS / "squeezenet1.0.prototxt")


@pytest.fixture
def answer(tmp_path, capsys):
    """What a command says of a board with both processors and a server, and its exit status."""
    for processor in ("cpu", "gpu"):
        write_board(tmp_path, board_model(processor, "here"))
        write_board(tmp_path, board_model(processor, "there", stacks=[stack_model(processor, speed=1e4)]))

    def run(command, *options):
        status = main(["--root", str(tmp_path), command, NET, "--board", "here", *map(str, options)])
        return status, capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("options", "ns"),
    [
        (["--copy-gb-per-s", "4", "--copy-us", "7"], 7_000 + 1000 / 4),
        (["--copy-gb-per-s", "4"], 1000 / 4),
        (["--copy-us", "7"], 7_000),
        (["--zero-copy"], 0),
    ],
)
def test_a_copy_takes_microseconds_and_gigabytes_per_second(options, ns):
    args = build_parser().parse_args(["placement", NET, "--board", "here", *options])
    copy, _ = copy_of(args, stack_model("gpu"))
    assert copy.ns(1000) == pytest.approx(ns)


def test_a_memory_budget_is_in_millions_of_bytes(answer):
    total = json.loads(answer("estimate", "--processor", "cpu", "--json")[1])["memory_bytes"]["total"]
    statuses = [
        answer("estimate", "--processor", "cpu", "--budget-mb", (total + more) / 1e6)[0] for more in (0.5, -0.5)
    ]
    assert statuses == [0, 1]
    # Of several all have to keep it, and the order of the answers does not matter.
    for batches, status in (("1", 0), ("1,64", 1), ("64,1", 1)):
        budget = ("--budget-mb", (total + 0.5) / 1e6)
        assert answer("estimate", "--processor", "cpu", "--batch", batches, *budget)[0] == status


def test_a_plans_memory_is_in_millions_of_bytes(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(plans, "plan", lambda engines, amount, sweep: asked.append(amount) or [])
    assert main(["plan", NET, "--memory-mb", "123.5", "-o", str(tmp_path / "plan.jsonl")]) == 0
    assert asked[0].memory_bytes == 123_500_000


def test_a_link_takes_its_round_trip_in_ms_and_millions_of_bits_a_second(answer):
    link = ("--server", "there", "--megabits-per-s", 1000, "--round-trip-ms", 3)
    best = json.loads(answer("offload", *link, "--processor", "cpu", "--json")[1])["best"]
    assert best["sent_bytes"] > 0
    assert best["link_ms"] == pytest.approx(3 + (best["sent_bytes"] + best["returned_bytes"]) * 8 / 1000e6 * 1e3)
    text = answer("offload", *link)[1]
    assert "server there gpu (synthetic-gpu), 1000 Mbit/s, round trip 3 ms" in text
    sent, returned = (f"{best[name] / 1e6:,.2f} MB" for name in ("sent_bytes", "returned_bytes"))
    assert f"{sent} up, {returned} back" in answer("offload", *link, "--processor", "cpu")[1]


@pytest.mark.parametrize("command", ["estimate", "compare", "placement", "advise"])
def test_a_level_is_that_of_the_intervals(answer, command):
    """Half as wide a probability makes an interval that is inside the other."""
    key = {"placement": "placed_ms", "advise": "advice"}.get(command, "forward_ms")
    intervals = []
    for level in (0.95, 0.5):
        document = json.loads(answer(command, "--level", level, "--json")[1])
        document = document[0] if isinstance(document, list) else document
        assert document["level"] == level
        intervals.append(document[key][0]["gain_ms"] if command == "advise" else document[key])
    wide, narrow = intervals
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
    assert wide["estimate"] == narrow["estimate"]


def test_an_interval_is_of_ninety_percent_and_stands_from_low_to_high(answer):
    document = json.loads(answer("estimate", "--json")[1])
    assert document["level"] == 0.9
    rows = list(csv.DictReader(answer("estimate", "--csv")[1].splitlines()))
    of_best = rows[: len(document["layers"])]
    for row, layer in zip(of_best, document["layers"], strict=True):
        times = (row["layer"], float(row["ms"]), float(row["low_ms"]), float(row["high_ms"]))
        assert times == (layer["name"], *(layer["ms"][name] for name in ("estimate", "low", "high")))
