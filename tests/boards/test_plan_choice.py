"""`sitecnn plan --select` and `--minutes`: the truth always, then the kernels that tell most."""

import json

import pytest

from sitecnn.cli import main
from sitecnn.models.design import expected_cost_s
from tests.estimation.boards import NETWORKS, board_model, write_board


@pytest.fixture
def planned(tmp_path):
    write_board(tmp_path, board_model("cpu"))

    def run(*options):
        path = tmp_path / "plan.jsonl"
        networks = [str(NETWORKS / f"{name}.prototxt") for name in ("alexnet", "googlenet")]
        assert main(["--root", str(tmp_path), "plan", *networks, "--like", "tx1", *options, "-o", str(path)]) == 0
        return [json.loads(line) for line in path.read_text().splitlines()]

    return run


def kernels(tasks):
    return [task["kernel"] for task in tasks if "kernel" in task]


def test_so_many_kernels_and_all_passes(planned):
    tasks = planned("--select", "12")
    assert len(kernels(tasks)) == 12
    assert sum(task["task"] == "network" for task in tasks) == sum(task["task"] == "network" for task in planned())
    assert not {"gemm", "im2col"} & {kernel["kind"] for kernel in kernels(tasks)}


def test_fewer_are_the_first_of_more(planned):
    assert kernels(planned("--select", "30"))[:7] == kernels(planned("--select", "7"))


def test_the_first_few_are_of_several_kinds(planned):
    assert len({kernel["kind"] for kernel in kernels(planned("--select", "10"))}) >= 4


def test_minutes_are_kept(planned):
    few, more = kernels(planned("--minutes", "0.1")), kernels(planned("--minutes", "0.2"))
    assert 0 < len(few) < len(more) <= 0.2 * 60 / expected_cost_s(0.0)
