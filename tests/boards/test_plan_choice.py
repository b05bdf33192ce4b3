"""`sitecnn plan --select` and `--minutes`: the passes always, then the probes that tell most."""

import json

import pytest

from sitecnn.cli import main
from tests.estimation.fixtures import NETWORKS, board_model, write_board


@pytest.fixture
def planned(tmp_path):
    write_board(tmp_path, board_model("cpu"))

    def run(*options):
        path = tmp_path / "plan.jsonl"
        networks = [str(NETWORKS / f"{name}.prototxt") for name in ("alexnet", "googlenet")]
        assert main(["--root", str(tmp_path), "plan", *networks, "--like", "tx1", *options, "-o", str(path)]) == 0
        return [json.loads(line) for line in path.read_text().splitlines()]

    return run


def probes(tasks):
    return {task["network"] for task in tasks if task["task"] == "probe"}


def test_so_many_probes_and_all_passes(planned):
    tasks = planned("--select", "12", "--probes", "20")
    assert len(probes(tasks)) == 12
    assert [sum(task["task"] == word for task in tasks) for word in ("network", "memory")] == [8, 2]


def test_fewer_are_the_first_of_more(planned):
    few, more = (probes(planned("--select", count, "--probes", "20")) for count in ("4", "9"))
    assert few < more


def test_the_first_few_have_the_kinds_of_the_networks(planned):
    tasks = planned("--select", "4", "--probes", "20")
    text = " ".join(task["prototxt"] for task in tasks if task["task"] == "probe")
    assert all(f'"{kind}"' in text for kind in ("Convolution", "InnerProduct", "Pooling", "ReLU", "Concat"))


def test_minutes_are_kept(planned):
    few, more = (len(probes(planned("--minutes", minutes, "--probes", "20"))) for minutes in ("0.1", "0.3"))
    assert 0 < few < more < 26
