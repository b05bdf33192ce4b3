"""Every command over datasets that have only one kind of thing: no traceback, and chapters say what is missing."""

import re

import pytest

from sitecnn.cli import main
from tests.dataset.records import block_record, gemm_record, network_record, run_record, write
from tests.estimation.fixtures import NETWORKS
from tests.report.fixtures import TOY, configure

pytestmark = pytest.mark.usefixtures("drawing_processes")
BENCH = ["--board", "bench", "--processor", "cpu"]
TOTALS = "network,batch,what,ms,mib\n"


def import_totals(root, rows):
    (root / "totals.csv").write_text(TOTALS + rows)
    imported(root, "totals", "totals.csv")


def imported(root, form, name, *more):
    arguments = ["--root", str(root), "import", form, str(root / name), *BENCH, "--stack", "some"]
    assert main([*arguments, "--networks", str(root / "config" / "networks"), *more]) == 0


def only_forward(root):
    import_totals(root, "small,1,forward,5,\nmiddle,1,forward,9,\n")


def only_layerwise(root):
    import_totals(root, "small,1,layerwise,5,\n")


def only_types(root):
    import_totals(root, "small,1,Convolution,5,\nsmall,1,Pooling,1,\n")


def only_memory(root):
    import_totals(root, "small,1,memory,,120\nmiddle,1,memory,,140\n")


def only_layers(root):
    rows = "".join(f"small,1,{layer},{ms}\n" for layer, ms in (("conv1", 2.0), ("pool", 0.5), ("fc", 0.1)))
    (root / "table.csv").write_text("network,batch,layer,layer_ms\n" + rows)
    imported(root, "table", "table.csv")


def agents(root, *lines):
    write(root, [run_record(), block_record(), *lines], board="bench", name="cpu-1-threads.jsonl")


def only_kernels(root):
    agents(root, *(gemm_record(number, block="b1") for number in range(6)))


def only_passes(root):
    agents(root, network_record(layers=[], block="b1"))


def only_failures(root):
    gone = {"samples_ns": None, "median_ns": None, "spread_ns": None, "low_ns": None, "high_ns": None}
    agents(
        root, *({**gemm_record(n, block="b1"), **gone, "status": "failed", "reason": "out of luck"} for n in range(4))
    )


def one_board_of_two_failed(root):
    only_layers(root)
    (root / "config" / "boards" / "other.yaml").write_text("name: other\nprocessors: {cpu: {threads: [1]}}\n")
    config = root / "config" / "config.yaml"
    config.write_text(config.read_text().replace("[bench]", "[bench, other]"))
    failed = {**gemm_record(1), "samples_ns": None, "median_ns": None, "status": "failed", "reason": "no BLAS"}
    write(root, [run_record(), failed], board="other", name="cpu-1-threads.jsonl")
    note = root / "results" / "campaigns" / "other" / "interrupted.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"board": "other", "stack": "cpu-1-threads", "owed": 3, "planned": 4, "reason": "lost"}')


def nothing(root):
    pass


DATASETS = (
    nothing, only_forward, only_layerwise, only_types, only_memory, only_layers, only_kernels, only_passes,
    only_failures, one_board_of_two_failed,
)  # fmt: skip

NET = str(NETWORKS / "squeezenet1.0.prototxt")
COMMANDS = (
    ["aggregate"],
    ["dataset", "summary"],
    ["dataset", "summary", "--json"],
    ["dataset", "export", "-o", "ROOT/all.csv"],
    ["dataset", "verify"],
    ["dataset", "diff", *BENCH],
    ["fit", *BENCH],
    ["fit", *BENCH, "--like", "tx1", "--networks", "ROOT/config/networks"],
    ["evaluate", *BENCH, "-o", "ROOT/results/evaluation/bench-cpu"],
    ["board", "list"],
    ["config"],
    ["estimate", NET, "--board", "bench"],
    ["estimate", NET, "--board", "bench", "--layers"],
    ["estimate", NET, "--board", "bench", "--json"],
    ["compare", NET, "--board", "bench"],
    ["advise", NET, "--board", "bench", "--budget-ms", "10"],
    ["placement", NET, "--board", "bench"],
    ["offload", NET, "--board", "bench", "--server", "gtx1080", "--megabits-per-s", "10"],
    ["report"],
    ["report", "--before", "ROOT"],
)


@pytest.fixture(params=DATASETS, ids=lambda one: one.__name__)
def root(request, tmp_path):
    configure(tmp_path, {"small": 24, "middle": 32})
    (tmp_path / "config" / "networks" / "toy.prototxt").write_text(TOY.format(size=24, first='"conv1"'))
    request.param(tmp_path)
    return tmp_path


def test_no_command_ends_in_a_traceback(root, capsys):
    """`main` lets everything through that is no message: a fault here is the command's own."""
    for command in COMMANDS:
        arguments = [argument.replace("ROOT", str(root)) for argument in command]
        status = main(["--root", str(root), *arguments])
        said = capsys.readouterr()
        assert status in (0, 1, 2), command
        assert status != 2 or (said.out == "" and said.err.count("\n") == 1 and said.err.startswith("sitecnn: ")), said
        assert status != 0 or said.out or said.err or command[0] == "config", command


def test_every_chapter_says_what_is_not_there(root, capsys):
    main(["--root", str(root), "aggregate"])
    assert main(["--root", str(root), "report"]) == 0
    page = (root / "results" / "report" / "report.html").read_text(encoding="utf-8")
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert len(sections) == 10
    for section in sections:
        text = re.sub(r"<[^>]+>", " ", section)
        assert "nan" not in re.findall(r"\b\w+\b", text.lower()), text[:300]
        has_data = "<table" in section or "<svg" in section
        assert has_data or "missing" in section or len(text.split()) > 8, text
