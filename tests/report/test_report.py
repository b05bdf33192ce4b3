"""The report comes out whatever is there, shows any name as text, and says what is missing."""

import json
import re
import shutil

import pytest

from sitecnn.cli import main
from sitecnn.report.page import plus_minus, significant
from tests.report.made import configure, convert, make, records, stages, write_records
from tests.report.page import read

HOSTILE = "</script><script>alert(1)</script> \"'&<b> ünï–cødé 中文 {{ 7*7 }} =1+1 \u2028" + "x" * 300


def write(root, *options):
    assert main(["--root", str(root), "report", *options]) == 0
    return root / "results" / "report" / "report.html"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("whole"), {"small": 24, "middle": 32})


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
    found = read(page)
    assert "Refused: out of <memory>" in found.tables["bad"].words("reason")
    assert len(found.tables["refused"].rows) == 1
    assert "3 of 9 measurements are still owed" in missing(page)


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


def test_hostile_names_are_text(tmp_path):
    make(tmp_path, {"small": 24, "middle": 32}, first_layer=HOSTILE)
    path = write(tmp_path)
    found = read(path)
    assert HOSTILE in found.tables["layers-bench-cpu"].words("layer")
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert len(scripts) == 3
    page = path.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    specs = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    points = [row for rows in specs["layers-bench-cpu"]["datasets"].values() for row in rows]
    assert HOSTILE in {row.get("layer") for row in points}


def test_cells_of_a_csv_are_no_formulas(tmp_path):
    make(tmp_path, {"small": 24, "middle": 32}, first_layer="=cmd()")
    write(tmp_path)
    table = (tmp_path / "results" / "report" / "tables" / "layers-bench-cpu.csv").read_text()
    assert "'=cmd()" in table
    assert ",=cmd()" not in table


def test_the_page_is_one_file(whole):
    page = write(whole).read_text(encoding="utf-8")
    tags = read(whole / "results" / "report" / "report.html").tags
    for tag, attributes in tags:
        assert tag not in ("link", "iframe", "object", "embed", "img")
        assert not str(attributes.get("src", "")) and not str(attributes.get("href", "#")).startswith("http")
    assert "default-src 'none'" in page


def test_every_figure_lies_beside_it_in_three_formats_and_every_table_as_csv(whole):
    write(whole)
    folder = whole / "results" / "report"
    page = (folder / "report.html").read_text(encoding="utf-8")
    figures = re.findall(r'<figure id="figure-([^"]+)"', page)
    assert len(figures) >= 8
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for name in figures:
        for suffix, start in starts.items():
            assert (folder / "figures" / f"{name}.{suffix}").read_bytes().startswith(start)
    assert {path.stem for path in (folder / "figures").iterdir()} == set(figures)
    tables = set(re.findall(r'<table id="table-([^"]+)"', page))
    assert {path.stem for path in (folder / "tables").iterdir()} == tables


def test_an_unchanged_chart_is_not_drawn_again(whole):
    write(whole)
    folder = whole / "results" / "report"
    before = {path: path.stat().st_mtime_ns for path in [*folder.glob("figures/*"), *folder.glob(".drawn/*")]}
    write(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_before_and_after_an_upgrade(whole, tmp_path):
    """Everything 30 % slower is said to be so; against itself nothing has changed."""
    slower = make(tmp_path / "slower", {"small": 24, "middle": 32}, factor=1.3)
    text = " ".join(read(write(slower, "--before", str(whole))).text)
    said = re.search(r"the older folder to this one: (\d+\.\d) % slower in the median", text)
    assert said and 28 <= float(said[1]) <= 32
    shutil.copytree(whole, tmp_path / "same")
    text = " ".join(read(write(tmp_path / "same", "--before", str(whole))).text)
    assert "no change overall; 0 things slower, 0 faster" in text


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
