"""The commands as a person or a script meets them: documents, exit statuses, one-line errors."""

import argparse
import csv
import io
import json
import os
import subprocess
import sys

import pytest

from sitecnn import estimate, load_board, load_network
from sitecnn.cli import main
from sitecnn.cli.colour import paint
from sitecnn.models.model_files import SHIPPED
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, without_kinds, write_board

ALEXNET, VGG = str(NETWORKS / "alexnet.prototxt"), str(NETWORKS / "vgg16.prototxt")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    gpus = [stack_model("gpu", "caffe-cublas"), stack_model("gpu", "caffe-cudnn", speed=1.4)]
    write_board(folder, board_model("cpu", free_bytes=10**9))
    write_board(folder, board_model("gpu", stacks=gpus))
    write_board(folder, board_model("cpu", "lonely", stacks=[without_kinds(stack_model("cpu"), "convolution")]))
    return folder


@pytest.fixture
def sitecnn(root, capsys):
    def run(*arguments):
        status = main(["--root", str(root), *map(str, arguments)])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def check_interval(ms):
    assert list(ms) == ["estimate", "low", "high"]
    assert 0 <= ms["low"] <= ms["estimate"] <= ms["high"]


def test_the_document_keeps_its_contract(sitecnn):
    status, out, err = sitecnn("estimate", ALEXNET, "--board", "tx1", "--processor", "gpu", "--json", "--level", "0.8")
    document = json.loads(out)
    assert (status, err) == (0, "")
    head = {"network": "AlexNet", "board": "tx1", "processor": "gpu", "stack": "caffe-cublas", "batch": 1, "level": 0.8}
    assert {name: document[name] for name in head} == head
    check_interval(document["forward_ms"])
    assert len(document["layers"]) == 24
    for layer in document["layers"]:
        assert list(layer) == ["name", "type", "ms", "modelled", "extrapolated"]
        check_interval(layer["ms"])
    assert list(document["memory_bytes"]) == ["weights", "data", "workspace", "base", "total", "zero_copy_saving"]
    assert document["coverage"]["modelled_fraction"] == 1
    assert document["coverage"]["unmodelled"] == []
    assert document["fits"] == {"time": None, "memory": None}


@pytest.mark.parametrize(
    ("budget", "status", "fits"),
    [
        (("--budget-ms", 1e6), 0, {"time": True, "memory": None}),
        (("--budget-ms", 0.1), 1, {"time": False, "memory": None}),
        (("--budget-fps", 0.1), 0, {"time": True, "memory": None}),
        (("--budget-fps", 1e6), 1, {"time": False, "memory": None}),
        (("--budget-mb", 1000, "--budget-ms", 1e6), 0, {"time": True, "memory": True}),
        (("--budget-mb", 10, "--budget-ms", 1e6), 1, {"time": True, "memory": False}),
    ],
)
def test_budgets_are_answered_by_the_exit_status(sitecnn, budget, status, fits):
    actual, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--json", *budget)
    assert (actual, json.loads(out)["fits"]) == (status, fits)


def test_the_verdict_comes_first_then_types_memory_and_layers_on_request(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--processor", "gpu", "--budget-ms", 50)
    lines = out.splitlines()
    assert lines[0].startswith("AlexNet, batch 1, on tx1 gpu, Caffe, caffe-cublas, fp32")
    assert "fits 50.0 ms (chance >99%)" in lines[1]
    assert "estimated for caffe-cublas; others on this processor: caffe-cudnn" in out
    assert "forward pass" in out
    assert "relu6" not in out
    _, with_layers, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--processor", "gpu", "--layers")
    assert "relu6" in with_layers


def test_the_largest_batch_to_fit_is_told_where_the_boards_memory_is_known(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--processor", "cpu")
    assert "largest batch to fit" in out


def test_without_a_processor_the_fastest_comes_first_and_others_are_named(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--json")
    document = json.loads(out)
    (other,) = document["others"]
    assert (document["processor"], other["processor"]) == ("gpu", "cpu")
    assert document["forward_ms"]["estimate"] < other["forward_ms"]["estimate"]
    _, alone, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--processor", "cpu", "--json")
    assert json.loads(alone) == {**other, "others": []}
    _, text, _ = sitecnn("estimate", ALEXNET, "--board", "tx1")
    assert "estimated for the gpu, the fastest; the cpu: " in text


def test_a_stack_that_one_processor_has_is_found_there(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--stack", "cudnn", "--json")
    assert (json.loads(out)["processor"], json.loads(out)["others"]) == ("gpu", [])
    status, _, err = sitecnn("estimate", ALEXNET, "--board", "tx1", "--stack", "atlas")
    assert (status, err.count("\n")) == (2, 1)


def test_a_budget_that_only_the_slower_processor_keeps_is_kept(sitecnn):
    """The GPU needs AlexNet's weights twice."""
    status, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--budget-mb", 400)
    assert (status, "estimated for the cpu, the one that fits; the gpu" in out) == (0, True)


def test_offload_starts_from_the_fastest_processor(sitecnn):
    link = ("--server", "gtx1080", "--megabits-per-s", 1)
    _, out, _ = sitecnn("offload", ALEXNET, "--board", "tx1", *link, "--json")
    document = json.loads(out)
    assert (document["processor"], [one["processor"] for one in document["others"]]) == ("gpu", ["cpu"])
    assert document["total_ms"]["estimate"] <= document["others"][0]["total_ms"]["estimate"]
    _, text, _ = sitecnn("offload", ALEXNET, "--board", "tx1", *link)
    assert "this is with the gpu, the fastest" in text


def test_compare_sets_apart_what_is_mostly_extrapolated(sitecnn):
    _, out, _ = sitecnn("compare", VGG, "--board", "tx1,lonely")
    founded, _, others = out.partition("do not rank these: more than half of the time is guessed")
    assert "tx1 gpu" in founded and "lonely" not in founded
    assert "lonely" in others and "tx1" not in others
    _, out, _ = sitecnn("compare", VGG, "--board", "tx1,lonely", "--json")
    marked = {document["board"]: document["coverage"]["mostly_extrapolated"] for document in json.loads(out)}
    assert marked == {"tx1": False, "lonely": True}


def test_a_network_that_is_hardly_modelled_gets_no_bare_total(sitecnn):
    _, out, _ = sitecnn("estimate", VGG, "--board", "lonely")
    assert "no total: nothing is known about layers" in out
    status, out, _ = sitecnn("estimate", VGG, "--board", "lonely", "--budget-ms", 1)
    assert (status, "guessing the rest it does not fit 1.00 ms" in out) == (1, True)
    assert "forward pass" not in out
    _, table, _ = sitecnn("estimate", VGG, "--board", "lonely,tx1")
    assert table.splitlines()[2].split()[4] == "?"
    status, out, _ = sitecnn("estimate", VGG, "--board", "lonely", "--json")
    assert status == 0
    assert json.loads(out)["coverage"]["modelled_fraction"] < 0.95


def test_a_sweep_is_a_list_and_one_batch_a_single_document(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--batch", "1,2,4", "--json")
    assert [document["batch"] for document in json.loads(out)] == [1, 2, 4]
    _, out, _ = sitecnn("estimate", ALEXNET, "--board", "tx1", "--batch", "4", "--json")
    assert json.loads(out)["batch"] == 4


def test_csv_has_a_row_for_each_layer_of_each_network(sitecnn):
    _, out, _ = sitecnn("estimate", ALEXNET, VGG, "--board", "tx1", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len([row for row in rows if row["processor"] == "gpu"]) == 24 + 40
    assert len(rows) == 2 * (24 + 40)
    assert all(float(row["low_ms"]) <= float(row["ms"]) <= float(row["high_ms"]) for row in rows)


def test_compare_has_every_stack_of_every_board_the_fastest_first(sitecnn):
    _, out, _ = sitecnn("compare", ALEXNET, "--json")
    documents = json.loads(out)
    times = [document["forward_ms"]["estimate"] for document in documents]
    assert times == sorted(times)
    stacks = {(document["board"], document["stack"]) for document in documents}
    own = {("tx1", "caffe-cublas"), ("tx1", "caffe-cudnn"), ("tx1", "synthetic-cpu"), ("lonely", "synthetic-cpu")}
    # A board's own model hides the one that ships with SiteCNN; boards without one show theirs.
    assert {(board, stack) for board, stack in stacks if board in ("tx1", "lonely")} == own
    shipped = {path.stem.rpartition("-")[0] for path in SHIPPED.glob("*.json")}
    assert {board for board, _ in stacks} == {"tx1", "lonely"} | shipped


def test_placement_says_where_each_layer_goes(sitecnn):
    _, out, _ = sitecnn("placement", ALEXNET, "--board", "tx1", "--json", "--zero-copy")
    document = json.loads(out)
    assert {layer["processor"] for layer in document["layers"]} == {"cpu", "gpu"}
    assert document["placed_ms"]["estimate"] <= min(document["all_cpu_ms"], document["all_gpu_ms"])
    _, text, _ = sitecnn("placement", ALEXNET, "--board", "tx1")
    assert "not worth it" in text
    assert "no copy was measured on this board" in text


def test_placement_without_the_other_processor_says_so_in_one_line(sitecnn):
    status, out, err = sitecnn("placement", ALEXNET, "--board", "lonely")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "only its cpu has one" in err
    _, out, _ = sitecnn("advise", ALEXNET, "--board", "lonely")
    assert "other processor and placement: only the cpu of lonely has a model" in out


def test_offload_has_a_table_and_a_curve(sitecnn):
    link = ("--server", "tx1", "--megabits-per-s", 100, "--round-trip-ms", 5)
    _, out, _ = sitecnn("offload", ALEXNET, "--board", "tx1", *link, "--json")
    document = json.loads(out)
    curve = [one["total_ms"] for one in document["by_bandwidth"]]
    assert curve == sorted(curve, reverse=True)
    assert document["best"]["total_ms"] <= min(one["total_ms"] for one in document["by_depth"])
    _, out, _ = sitecnn("offload", ALEXNET, "--board", "tx1", *link, "--csv")
    assert len(list(csv.DictReader(io.StringIO(out)))) == len(document["by_depth"])
    _, text, _ = sitecnn("offload", ALEXNET, "--board", "tx1", *link)
    assert "█" in text


def test_advice_is_ranked_and_says_what_it_could_not_consider(sitecnn):
    _, out, _ = sitecnn("advise", ALEXNET, "--board", "tx1", "--json")
    document = json.loads(out)
    gains = [one["gain_ms"]["estimate"] for one in document["advice"] if one["gain_ms"] and one["sure"]]
    assert gains == sorted(gains, reverse=True)
    assert any("offload" in what for what in document["notes"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("estimate", ALEXNET, "--board", "tx2"), "no board 'tx2': did you mean 'tx1'?"),
        (("estimate", "nowhere.prototxt", "--board", "tx1"), "nowhere.prototxt"),
        (("estimate", ALEXNET, "--board", "lonely", "--processor", "gpu"), "it has: cpu"),
        (("estimate", ALEXNET, "--board", "tx1", "--stack", "atlas"), "its model has: 'synthetic-cpu'"),
        (("estimate", "-", "--board", "tx1", "--batch", "1,2"), "standard input can be read only once"),
        (("advise", ALEXNET, "--board", "tx1", "--server", "tx1"), "both --server and --megabits-per-s"),
        (("compare", ALEXNET, "--board", "tx1,lonley"), "did you mean 'lonely'?"),
        (("estimate", ALEXNET, "--board", __file__.replace(".py", ".json")), "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_status_2(sitecnn, arguments, said):
    status, out, err = sitecnn(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--batch", "0"),
        ("--batch", "1,x"),
        ("--level", "1"),
        ("--level", "0"),
        ("--budget-ms", "0"),
        ("--budget-mb", "nan"),
        ("--budget-fps", "many"),
    ],
)
def test_bad_usage_is_status_2(root, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["--root", str(root), "estimate", ALEXNET, "--board", "tx1", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert arguments[0] in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("estimat", ALEXNET), "estimate"),
        (("estimate", ALEXNET, "--board", "tx1", "--proccesor", "gpu"), "--processor"),
        (("estimate", ALEXNET, "--board", "tx1", "--processor", "cpuu"), "cpu"),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(capsys, arguments, meant):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"did you mean {meant!r}?" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["estimate", "compare", "advise", "placement", "offload"])
def test_help_has_an_example_that_parses(command, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    examples = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  sitecnn ")]
    assert examples
    ran = []
    monkeypatch.setattr(f"sitecnn.cli.{command}.run", lambda args: ran.append(args) or 0)
    for example in examples:
        assert main(example.split("   ")[0].split()[1:]) == 0
    assert all(isinstance(args, argparse.Namespace) for args in ran)


def test_colours_are_for_terminals_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("yes", "green") == "yes"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert paint("yes", "green") == "\x1b[32myes\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("yes", "green") == "yes"


def test_the_shell_completes_boards(root, tmp_path):
    pytest.importorskip("argcomplete")
    line = f"sitecnn --root {root} estimate --board t"
    completion = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    completion["_ARGCOMPLETE_STDOUT_FILENAME"] = str(tmp_path / "completions")
    subprocess.run([sys.executable, "-m", "sitecnn"], env={**os.environ, **completion}, check=True)
    assert (tmp_path / "completions").read_text().split() == ["tk1", "tx1"]


def test_a_faster_stack_of_the_other_processor_is_named(capsys):
    source = NETWORKS / "mobilenet-v2.onnx"
    network, boards = load_network(source), [load_board("tx1", one) for one in ("cpu", "gpu")]
    times = {
        (board.processor, stack.stack): estimate(network, board, stack=stack.stack).forward_ms.estimate
        for board in boards
        for stack in board.stacks
    }
    (processor, stack), ms = min(times.items(), key=lambda one: one[1])
    assert main(["estimate", str(source), "--board", "tx1"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("processors"))
    assert f"the {processor}: " in line and line.endswith(f"; faster there: {stack}, {ms:.1f} ms")
