"""The report comes out whatever is there, shows any name as text, and says what is missing."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.report.chapters.matrix_multiplication import tile_step
from sitecnn.report.page import plus_minus, significant
from tests.report.fixtures import SYNCHRONISING_NS, TILE, configure, convert, make, records, stages, write_records
from tests.report.page import read

HOSTILE = "</script><script>alert(1)</script> \"'&<b> ünï–cødé 中文 {{ 7*7 }} =1+1 \u2028" + "x" * 300


def write(root, *options):
    assert main(["--root", str(root), "report", *options]) == 0
    return root / "results" / "report" / "report.html"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("whole"), {"small": 24, "middle": 32})


@pytest.fixture(scope="module")
def written(whole):
    """The report of it."""
    return write(whole)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Every name that comes from outside is markup, a quote or a formula."""
    root = make(
        tmp_path_factory.mktemp("hostile"),
        {"small": 24, "middle": 32},
        first_layer={"small": HOSTILE, "middle": "=cmd()"},
        stack=HOSTILE,
    )
    board = {"name": "bench", "description": HOSTILE, "processors": {"cpu": {"threads": [1]}}}
    (root / "config" / "boards" / "bench.yaml").write_text(json.dumps(board))
    folder = root / "results" / "evaluation" / "bench-cpu"
    baselines = pd.read_parquet(folder / "baselines.parquet")
    baselines.assign(method=HOSTILE, split=HOSTILE).to_parquet(folder / "baselines.parquet")
    (root / "results" / "campaigns" / "bench").mkdir(parents=True)
    (root / "results" / "campaigns" / "bench" / "interrupted.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    path = root / "results" / "records" / "bench" / "cpu-1-threads.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    unstable = next(line for line in lines if line.get("task") == "gemm") | {"key": "e" * 32}
    with path.open("a") as out:
        out.write(json.dumps(unstable | {"block": lines[-2]["block"], "status": "unstable", "reason": HOSTILE}) + "\n")
    assert main(["--root", str(root), "aggregate"]) == 0
    return write(root)


def missing(path):
    """What the page says is missing."""
    return " ".join(re.findall(r'<p class="missing">(.*?)</p>', path.read_text(encoding="utf-8")))


def test_nothing_measured(tmp_path):
    configure(tmp_path, {"small": 24})
    page = write(tmp_path)
    text = " ".join(read(page).text)
    assert "Nothing was measured on bench cpu" in text
    assert "No run was recorded." in missing(page)
    assert len(re.findall(r"<section", page.read_text(encoding="utf-8"))) == 10


def test_one_network_one_board_no_gpu(tmp_path):
    make(tmp_path, {"small": 24})
    text = " ".join(read(write(tmp_path)).text)
    assert "With one network nothing can be held out on bench cpu" in text
    assert "No GPU was measured" in text


def test_a_failed_campaign(tmp_path):
    """Every second measurement failed, one record is torn, and the plan is not finished."""
    configure(tmp_path, {"small": 24, "middle": 32})
    convert(tmp_path, ["small", "middle"])
    lines = records(tmp_path, ["small", "middle"])
    tasks = {"network", "memory"}
    for line in [line for line in lines if line.get("task") not in tasks and line["record"] == "measurement"][::2]:
        for name in ("samples_ns", "median_ns", "spread_ns", "low_ns", "high_ns"):
            del line[name]
        line.update(status="failed", reason="Refused: out of <memory>")
    path = write_records(tmp_path, lines[:-1])
    with path.open("a") as out:
        out.write('{"record":"measurement","key":\n')
    done = tmp_path / "results" / "campaigns" / "bench" / "done.json"
    done.parent.mkdir(parents=True)
    done.write_text(json.dumps({"cpu-1-threads": {"owed": 3, "planned": 9}}))
    stages(tmp_path)
    page = write(tmp_path)
    shown = read(page)
    assert "Refused: out of <memory>" in shown.tables["bad"].words("reason")
    assert len(shown.tables["refused"].rows) == 1
    assert "3 of 9 measurements remain" in missing(page)


def test_a_campaign_where_everything_failed(tmp_path):
    configure(tmp_path, {"small": 24})
    convert(tmp_path, ["small"])
    lines = records(tmp_path, ["small"])
    for line in lines:
        if line["record"] == "measurement":
            for name in ("samples_ns", "median_ns", "spread_ns", "low_ns", "high_ns", "layers", "layerwise_ns",
                         "forward_ns", "memory_bytes"):  # fmt: skip
                line.pop(name, None)
            line.update(status="failed", reason="no such engine")
    write_records(tmp_path, lines)
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    assert "no such engine" in " ".join(read(write(tmp_path)).text)


def test_hostile_names_are_text(hostile):
    shown = read(hostile)
    assert HOSTILE in shown.tables["layers-bench-cpu"].words("layer")
    scripts = [attributes for tag, attributes in shown.tags if tag == "script"]
    assert len(scripts) == 3
    page = hostile.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    specs = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    points = [row for rows in specs["layers-bench-cpu"]["datasets"].values() for row in rows]
    assert HOSTILE in {row.get("layer") for row in points}


def test_hostile_words_of_stacks_boards_methods_and_reasons_are_text(hostile):
    page = read(hostile)
    assert page.tables["overview"].words("what it is") == [HOSTILE]
    assert page.tables["runs"].words("stack") == [HOSTILE]
    assert set(page.tables["baselines-bench-cpu"].words("method")) == {HOSTILE}
    assert HOSTILE in page.tables["bad"].words("reason")
    assert f"{HOSTILE}: {HOSTILE}" in " ".join(page.text)
    assert "b" not in {tag for tag, _ in page.tags}


def test_cells_of_a_csv_are_no_formulas(hostile):
    table = (hostile.parent / "tables" / "layers-bench-cpu.csv").read_text()
    assert "'=cmd()" in table
    assert ",=cmd()" not in table


def test_the_page_is_one_file(written):
    page = written.read_text(encoding="utf-8")
    for tag, attributes in read(written).tags:
        assert tag not in ("link", "iframe", "object", "embed", "img")
        assert not str(attributes.get("src", "")) and not str(attributes.get("href", "#")).startswith("http")
    assert "default-src 'none'" in page


def test_every_figure_lies_beside_it_in_three_formats_and_every_table_as_csv(written):
    folder, page = written.parent, written.read_text(encoding="utf-8")
    figures = re.findall(r'<figure id="figure-([^"]+)"', page)
    assert len(figures) >= 8
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for name in figures:
        for suffix, start in starts.items():
            assert (folder / "figures" / f"{name}.{suffix}").read_bytes().startswith(start)
    assert {path.stem for path in (folder / "figures").iterdir()} == set(figures)
    tables = set(re.findall(r'<table id="(?:table|grid)-([^"]+)"', page))
    assert {path.stem for path in (folder / "tables").iterdir()} == tables


def slower(lines, factor, chosen):
    """Records with the layers that `chosen` takes `factor` times as slow, and passes accordingly; keys of their own."""
    for line in lines:
        if line.get("task") == "network":
            for layer in line["layers"]:
                if chosen(layer["type"]):
                    layer["samples_ns"] = [factor * ns for ns in layer["samples_ns"]]
            columns = zip(*(layer["samples_ns"] for layer in line["layers"]), strict=True)
            line["layerwise_ns"] = [sum(column) for column in columns]
            line["forward_ns"] = [0.98 * ns for ns in line["layerwise_ns"]]
    return lines


def test_before_and_after_an_upgrade(tmp_path):
    """Convolutions 30 % slower, and nothing else, are said to be; the measurements are others, by other dice."""
    sizes = {f"network{size}": size for size in (20, 24, 28, 32, 36, 40)}
    before = make(tmp_path / "before", sizes, evaluated=False)
    after = tmp_path / "after"
    shutil.copytree(before, after, symlinks=True)
    lines = slower(records(after, list(sizes), seed=7), 1.3, lambda kind: kind == "Convolution")
    write_records(after, lines)
    assert main(["--root", str(after), "aggregate"]) == 0
    page = read(write(after, "--before", str(before)))
    text = " ".join(page.text)
    said = re.search(r"the older folder to this one: (.*?) of \d+ types of work", text)
    assert said and re.fullmatch(r"Convolution layers (29|30|31)\.\d % slower", said[1])
    (name,) = (name for name in page.tables if name.startswith("shift-"))
    table = page.tables[name]
    verdicts = dict(
        zip(zip(table.words("what"), table.words("type"), strict=True), table.words("verdict"), strict=True)
    )
    assert verdicts["layer", "Convolution"] == "slower"
    assert {verdicts["layer", kind] for kind in ("ReLU", "Pooling", "LRN", "InnerProduct")} == {"same"}
    assert verdicts["kernel", "gemm"] == "same"


def test_a_folder_against_itself_has_not_changed(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy", symlinks=True)
    text = " ".join(read(write(tmp_path / "copy", "--before", str(whole))).text)
    assert "the older folder to this one: no type of work changed for certain; of" in text
    assert "0 became slower and 0 faster" in text


def test_stacks_of_one_processor_are_compared_in_the_order_they_were_measured(tmp_path):
    """An upgrade that makes everything 20 % faster, measured an hour later under a stack of its own."""
    make(tmp_path, {"small": 24, "middle": 32}, evaluated=False)
    lines = records(tmp_path, ["small", "middle"], 0.8, run="r2", seed=11)
    lines[0]["stack"] = "an upgraded stack"
    for line in lines:
        if line["record"] == "block":
            line["after"] = {**line["after"], "time": line["after"]["time"].replace("T10", "T11")}
    path = tmp_path / "results" / "records" / "bench" / "cpu-1-threads.jsonl"
    with path.open("a") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    text = " ".join(read(write(tmp_path)).text)
    said = re.search(r"\+performance to an upgraded stack: matrix multiplication kernels (\d+\.\d) % faster", text)
    assert said and 17 <= float(said[1]) <= 23


def test_two_boards_side_by_side(tmp_path):
    """The second is twice as slow in everything."""
    make(tmp_path, {"small": 24, "middle": 32}, evaluated=False)
    rewritten = (tmp_path / "config" / "config.yaml").read_text().replace("[bench]", "[bench, slow]")
    (tmp_path / "config" / "config.yaml").write_text(rewritten)
    (tmp_path / "config" / "boards" / "slow.yaml").write_text("name: slow\nprocessors: {cpu: {threads: [1]}}\n")
    write_records(tmp_path, records(tmp_path, ["small", "middle"], 2.0, run="r2", seed=5), "slow")
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    page = read(write(tmp_path))
    assert "bench cpu is the fastest in 2 of 2 passes." in " ".join(page.text)
    table = page.tables["boards"]
    assert table.column("slow cpu ÷ bench cpu") == pytest.approx([2.0, 2.0], rel=0.03)
    assert {"bench cpu", "slow cpu"} == set(page.tables["time"].words("board"))
    assert "No model was fitted for slow cpu" in " ".join(page.text)
    grid = page.grids["answer"]
    slow = next(head for head in grid.head if head.startswith("slow cpu"))
    assert all(text.split("\n")[1] == "measured" for text in grid.words(slow))


def test_a_campaign_that_was_interrupted(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole, root, symlinks=True)
    (root / "results" / "campaigns" / "bench").mkdir(parents=True)
    why = {"reason": "the <link> was cut", "owed": 17}
    (root / "results" / "campaigns" / "bench" / "interrupted.json").write_text(json.dumps(why))
    text = " ".join(read(write(root)).text)
    assert "bench: the campaign was interrupted (reason: the <link> was cut, owed: 17); run it again" in text
    assert "The campaign on bench was interrupted" in text


def test_the_step_of_tiles_and_the_cost_of_waiting_are_found(written):
    """The law that made the records: whole tiles of 16 rows, and 50 µs shared by the calls of a sample."""
    text = " ".join(read(written).text)
    assert f"bench cpu: time rises in steps of {TILE} in m" in text
    said = re.search(r"waiting for a call costs ([\d.]+) µs beside its own ([\d.]+) µs; shared by (\d+) calls", text)
    waiting, call = SYNCHRONISING_NS / 1e3, (1000 + 0.1 * 64 * 49 * 64) / 1e3
    assert float(said[1]) == pytest.approx(waiting, rel=0.05)
    assert float(said[2]) == pytest.approx(call, rel=0.05)
    assert int(said[3]) == pytest.approx(waiting / (0.01 * call), rel=0.1)


def test_a_straight_line_has_no_steps():
    sizes = np.arange(4.0, 161.0, 4.0)
    noise = np.random.default_rng(2017).normal(1, 0.02, len(sizes))
    assert tile_step(sizes, (5 + 0.3 * sizes) * noise) is None
    assert tile_step(sizes, (5 + 0.3 * np.ceil(sizes / 24) * 24) * noise) == 24


def test_baselines_stand_beside_the_model(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole, root, symlinks=True)
    folder = root / "results" / "evaluation" / "bench-cpu"
    networks = pd.read_parquet(folder / "networks.parquet")
    ours = networks.assign(split="network", method="sitecnn")
    others = [
        ours.assign(method=method, estimate_ms=ours["measured_ms"] * ratio, error=ratio - 1)
        for method, ratio in (("MACs alone", 1.75), ("roofline", 0.5), ("sitecnn, priors of other boards", 1.1))
    ]
    names = ["stack", "split", "method", "network", "batch", "measured_ms", "estimate_ms", "error"]
    pd.concat([ours, *others])[names].to_parquet(folder / "baselines.parquet")
    page = read(write(root))
    table = page.tables["baselines-bench-cpu"]
    medians = dict(zip(table.words("method"), table.column("median absolute error"), strict=True))
    simpler = {"MACs alone": 0.75, "roofline": 0.5}
    ours_again = {"sitecnn": networks["error"].abs().median(), "sitecnn, priors of other boards": 0.1}
    assert medians == pytest.approx(simpler | ours_again)
    assert "the best simpler method, roofline, by 50.0 %" in " ".join(page.text)
    (folder / "baselines.parquet").unlink()
    assert "no baselines were evaluated" in missing(write(root))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00001234, "0.000012"), (0.0123, "0.0123"), (1.2345, "1.23"), (999.6, "1,000"), (12345.6, "12,346"),
     (-5.678, "-5.68")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [(13.66, 0.115, "13.7 ± 0.1"), (388, 0.31, "388.0 ± 0.3"), (0.2, 0.005, "0.200 ± 0.005"), (5, 0, "5.00 ± 0.00")],
)
def test_a_value_and_its_spread_share_their_decimals(value, spread, text):
    assert plus_minus(value, spread) == text
