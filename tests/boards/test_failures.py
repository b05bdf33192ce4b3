"""A campaign of which something failed says so, everywhere; one of which nothing is usable is no success."""

import json
import sys
from functools import cache

import pytest

from sitecnn.boards.plan import PROBES
from sitecnn.boards.probes import caffe_probes
from sitecnn.cli import main
from sitecnn.network import parse_prototxt
from sitecnn.workload.kernels import layer_kernel
from tests.boards.agents import gemm_task, lines, network_task
from tests.boards.test_agent_process import RELU

ACTIVATIONS = ("sigmoid", "tanh", "elu", "prelu", "power", "pow", "exp", "log", "abs_val", "bnll", "relu6")
OTHERS = ("deconvolution", "upsample", "permute", "slice", "reduction", "hard_swish", "eltwise", "softmax", "relu")


@cache
def kernels_of_probes():
    texts = caffe_probes(1, PROBES["caffe"])
    return {layer_kernel(layer) for name, text in texts.items() for layer in parse_prototxt(text, name).layers}


def campaign(root, tasks):
    """A campaign of this machine's Python, which has no Caffe: only multiplications can be measured."""
    (root / "config" / "boards").mkdir(parents=True)
    board = f"name: bench\npython: {sys.executable}\nprocessors: {{cpu: {{threads: [1]}}}}\n"
    (root / "config" / "boards" / "bench.yaml").write_text(board)
    (root / "plan.jsonl").write_text(lines(tasks))
    done = root / "results" / "campaigns" / "bench" / "done.json"
    done.parent.mkdir(parents=True)
    arguments = [
        "--root",
        str(root),
        "profile",
        "--board",
        "bench",
        "--plan",
        str(root / "plan.jsonl"),
        "-o",
        str(done),
    ]
    status = main(arguments)
    return status, json.loads(done.read_text())["cpu-1-threads"]


def failing(number):
    return [network_task(RELU, f"net{count}") for count in range(number)]


def test_a_campaign_that_failed_in_part_says_how_many_and_why(tmp_path, capsys):
    status, done = campaign(tmp_path, [*failing(3), gemm_task(16), gemm_task(32)])
    said = capsys.readouterr()
    assert (status, done["failed"], done["usable"], done["owed"]) == (0, 3, 2, 0)
    assert sum(done["reasons"].values()) == 3
    assert "3 of 5 measurements failed: " in said.err
    assert next(iter(done["reasons"])) in said.err
    assert main(["--root", str(tmp_path), "aggregate"]) == 0


def test_a_campaign_of_which_all_failed_is_status_1_and_fit_says_why(tmp_path, capsys):
    status, done = campaign(tmp_path, failing(2))
    assert (status, done["failed"], done["usable"]) == (1, 2, 0)
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    capsys.readouterr()
    assert main(["--root", str(tmp_path), "fit", "--board", "bench", "--processor", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "of 2 measurements on board 'bench'" in said and next(iter(done["reasons"])) in said


@pytest.mark.parametrize("kind", [*ACTIVATIONS, *OTHERS])
def test_probes_have_what_cnns_use_at_several_sizes(kind):
    assert len([kernel for kernel in kernels_of_probes() if kernel.kind == kind]) >= 4
