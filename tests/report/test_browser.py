"""The report in headless Chromium: drawn, quiet, sortable, fit for phones, print and axe-core.

Needs Chromium and, for the accessibility test, `npm ci --prefix tests/report`.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from sitecnn.cli import main
from tests.report.datasets import imported
from tests.report.fixtures import make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BOARD = {"name": "bench", "processors": {"cpu": {"threads": [1]}}}
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
    *("--enable-logging=stderr", "--virtual-time-budget=20000"),
]


def run(page: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Chromium over a page, with a profile of its own and a log of every request."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}"]
    return subprocess.run([*command, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)


def in_view(page: Path) -> str:
    """A page that takes all of itself to be in view: in virtual time not everything is painted that would be."""
    stub = """<head><script>IntersectionObserver = class {
        constructor(tell) { this.tell = tell; }
        observe(target) { queueMicrotask(() => this.tell([{isIntersecting: true, target}])); }
        unobserve() {}
    };</script>"""
    return page.read_text(encoding="utf-8").replace("<head>", stub, 1)


def ask(report: Path, folder: Path, script: str, *flags: str, first: str = "") -> tuple[dict, str]:
    """What `script` (the body of an async function) returns once all figures are drawn, and Chromium's log."""
    asking = (
        "<script>window.addEventListener('load', () => setTimeout(async () => {"
        "for (let tries = 0; tries < 50 && document.querySelector('figure:not(.drawn)'); tries++)"
        " await new Promise((done) => setTimeout(done, 300));"
        f"const answer = await (async () => {{{script}}})();"
        "const place = document.createElement('pre'); place.id = 'answer';"
        "place.textContent = JSON.stringify(answer); document.body.append(place);}, 100));</script>"
    )
    page = folder / "page.html"
    # Vega-Embed has a page's end in one of its strings.
    text, _, end = in_view(report).rpartition("</body>")
    page.write_text(f"{text}{first}{asking}</body>{end}", encoding="utf-8")
    size = [] if any(flag.startswith("--window-size") for flag in flags) else ["--window-size=1280,30000"]
    done = run(page, folder, "--dump-dom", *size, *flags)
    printed = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.S)
    assert printed, done.stderr[-2000:]
    unescaped = printed[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(unescaped), done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    hostile = "<b>\"'&" + "x" * 300
    root = make(tmp_path_factory.mktemp("browser"), {"small": 24, "middle": 32}, first_layer=hostile, stack=hostile)
    (root / "config" / "boards" / "bench.yaml").write_text(json.dumps({**BOARD, "description": hostile}))
    assert main(["--root", str(root), "report"]) == 0
    return root / "results" / "report" / "report.html"


def test_every_figure_is_drawn_and_the_console_is_silent(report, tmp_path):
    count = "return {figures: document.querySelectorAll('figure').length,"
    count += "drawn: document.querySelectorAll('figure.drawn .live svg').length};"
    answer, log = ask(report, tmp_path, count)
    assert answer["figures"] >= 8
    assert answer["drawn"] == answer["figures"]
    assert not [line for line in log.splitlines() if "CONSOLE" in line]


def origins(folder: Path) -> set[str]:
    """Whose requests the log of the last run holds."""
    return set(re.findall(r'"initiator":"([^"]*)"', (folder / "net.json").read_text(encoding="utf-8")))


def test_no_request_leaves_the_file(report, tmp_path):
    """Chromium's own requests have no origin; a page's have, as the second page shows, whose image is elsewhere."""
    ask(report, tmp_path, "return {};")
    assert origins(tmp_path) <= {"not an origin"}
    page = tmp_path / "other.html"
    page.write_text('<img src="http://localhost:9/nothing.png">')
    run(page, tmp_path, "--dump-dom")
    assert not origins(tmp_path) <= {"not an origin"}


def test_tables_sort_by_value_and_search(report, tmp_path):
    script = """
        const table = document.getElementById("table-layers-bench-cpu");
        const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "ms");
        const button = table.tHead.rows[0].cells[column].querySelector("button");
        const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.v));
        button.click();
        const up = values();
        button.click();
        const down = values();
        const field = document.querySelector("details:has(#table-layers-bench-cpu) input[type=search]");
        field.value = "pool";
        field.dispatchEvent(new Event("input"));
        const left = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.textContent);
        return {up, down, left};
    """
    answer, _ = ask(report, tmp_path, script)
    assert answer["up"] == sorted(answer["up"])
    assert answer["down"] == sorted(answer["up"], reverse=True)
    assert len(answer["left"]) == 2
    assert all("pool" in row for row in answer["left"])


CLIPPED = """[...svg.querySelectorAll('text')].filter((text) => {
    const [inner, outer] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
    return inner.width > 0 && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
}).map((text) => text.textContent)"""
"""The texts of an SVG that reach beyond it."""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_scrolls_sideways_and_no_text_of_a_figure_is_clipped(report, tmp_path, width):
    """In a frame of this width, because a window of headless Chromium is 500 pixels wide at least."""
    script = f"const clipped = (svg) => {CLIPPED};"
    script += """
        const inside = document.querySelector("iframe").contentDocument;
        for (let tries = 0; tries < 100 && inside.querySelectorAll("figure:not(.drawn)").length; tries++) {
            await new Promise((done) => setTimeout(done, 100));
        }
        return {
            wide: inside.documentElement.scrollWidth,
            figures: inside.querySelectorAll("figure.drawn").length,
            clipped: [...inside.querySelectorAll(".live svg")].flatMap(clipped),
        };
    """
    inner = tmp_path / "inner.html"
    inner.write_text(in_view(report), encoding="utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text(f'<body><iframe src="inner.html" width="{width}" height="29000" style="border:0"></iframe></body>')
    answer, _ = ask(outer, tmp_path, script, "--allow-file-access-from-files", "--window-size=1400,30000")
    assert answer["figures"] >= 8
    assert answer["wide"] <= width
    assert answer["clipped"] == []


@pytest.fixture(scope="module")
def of_two_boards(tmp_path_factory):
    """Imported for `desk`, under two stacks of its CPU, estimated for others."""
    root = imported(tmp_path_factory.mktemp("boards"))
    who = ["--board", "desk", "--processor", "cpu", "--stack", "onnxruntime-1.32.0+cpu+fp32+1-threads"]
    assert main(["--root", str(root), "import", "table", str(root / "cpu.csv"), *who, "--networks",
                 str(root / "config" / "networks")]) == 0  # fmt: skip
    assert main(["--root", str(root), "fit", "--board", "desk", "--processor", "cpu"]) == 0
    assert main(["--root", str(root), "report"]) == 0
    return root / "results" / "report" / "report.html"


def test_a_board_is_shown_alone_with_its_figures_and_tables(of_two_boards, tmp_path):
    script = """
        const choice = document.querySelector("#filter select[name=board]");
        const seen = (one) => one.getBoundingClientRect().height > 0;
        const marks = {};
        const shown = async (board) => {
            choice.value = board;
            choice.dispatchEvent(new Event("change", {bubbles: true}));
            await new Promise((done) => setTimeout(done, 300));
            const svg = document.querySelector("#figure-answer .live svg");
            marks[board] = [svg.querySelectorAll(".mark-symbol.role-mark path").length,
                svg.getBoundingClientRect().height];
            const blocks = [...document.querySelectorAll("figure, p.title")].filter(seen);
            return blocks.map((one) => one.id || one.textContent);
        };
        const [all, desk, tx1] = [await shown(""), await shown("desk"), await shown("tx1")];
        return {all, desk, tx1, again: await shown(""), marks};
    """
    answer, _ = ask(of_two_boards, tmp_path, script)
    of_desk = {"figure-time-desk-cpu", "figure-layers-desk-gpu", "Forward passes, measured and estimated"}
    assert of_desk <= set(answer["all"])
    assert of_desk <= set(answer["desk"])
    assert not of_desk & set(answer["tx1"])
    assert "figure-answer" in answer["tx1"]
    assert answer["again"] == answer["all"]
    rows = pd.read_csv(of_two_boards.parent / "tables" / "answer.csv")
    assert {board: count for board, (count, _) in answer["marks"].items()} == {
        "": len(rows), "desk": (rows["board"] == "desk").sum(), "tx1": (rows["board"] == "tx1").sum()
    }  # fmt: skip
    assert answer["marks"]["tx1"][1] < answer["marks"][""][1]


def test_names_and_numbers_of_the_answer_are_whole_on_a_phone(of_two_boards, tmp_path):
    script = """
        const inside = document.querySelector("iframe").contentDocument;
        for (let tries = 0; tries < 100 && !inside.querySelector("#figure-answer.drawn"); tries++) {
            await new Promise((done) => setTimeout(done, 100));
        }
        const svg = inside.querySelector("#figure-answer .live svg");
        return [...svg.querySelectorAll("text")].map((text) =>
            [...(text.children.length ? text.children : [text])].map((line) => line.textContent));
    """
    inner = tmp_path / "inner.html"
    inner.write_text(in_view(of_two_boards), encoding="utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text('<body><iframe src="inner.html" width="390" height="29000" style="border:0"></iframe></body>')
    answer, _ = ask(outer, tmp_path, script, "--allow-file-access-from-files", "--window-size=1400,30000")
    assert ["desk cpu", "ONNX Runtime 1.32"] in answer
    assert not [text for text in answer if "…" in "".join(text)]


def test_no_text_of_an_exported_figure_is_clipped(report, tmp_path):
    """In whatever font this machine has for sans-serif, beside the one that Vega measures with."""
    files = sorted((report.parent / "figures").glob("*.svg"))
    page = tmp_path / "figures.html"
    asking = (
        f"document.body.textContent = JSON.stringify([...document.querySelectorAll('svg')].map((svg) => {CLIPPED}));"
    )
    page.write_text("\n".join(file.read_text(encoding="utf-8") for file in files) + f"<script>{asking}</script>")
    body = re.search(r"<body>(.*?)</body>", run(page, tmp_path, "--dump-dom", "--window-size=1280,30000").stdout, re.S)
    clipped = json.loads(body[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert len(clipped) == len(files) > 5
    assert [text for texts in clipped for text in texts] == []


def test_without_javascript_tables_and_figures_are_there(report, tmp_path):
    page = tmp_path / "plain.html"
    text = re.sub(r"<script.*?</script>", "", report.read_text(encoding="utf-8"), flags=re.S)
    asking = """<script>addEventListener("load", () => {
        const seen = (one) => one.getBoundingClientRect().height > 20;
        const figures = [...document.querySelectorAll("figure")];
        document.title = JSON.stringify({figures: figures.length,
            drawn: figures.filter((one) => seen(one.querySelector(".static svg"))).length,
            live: figures.filter((one) => seen(one.querySelector(".live"))).length,
            tables: document.querySelectorAll("table td").length});
    });</script>"""
    page.write_text(text.replace("</body>", f"{asking}</body>"), encoding="utf-8")
    answer = json.loads(re.search(r"<title>(.*?)</title>", run(page, tmp_path, "--dump-dom").stdout)[1])
    assert answer["drawn"] == answer["figures"] >= 8
    assert answer["live"] == 0
    assert answer["tables"] > 500


def test_it_prints(report, tmp_path):
    """All of the static figures, on pages."""
    target = tmp_path / "report.pdf"
    run(report, tmp_path, f"--print-to-pdf={target}")
    assert target.read_bytes().startswith(b"%PDF")
    assert target.stat().st_size > 100_000


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm ci --prefix tests/report")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(report, tmp_path, dark):
    script = """
        document.querySelectorAll("details").forEach((one) => { one.open = true; });
        const answer = await axe.run(document, {resultTypes: ["violations"]});
        return {dark: matchMedia("(prefers-color-scheme: dark)").matches, passes: answer.passes.length,
            violations: answer.violations.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html)])};
    """
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    library = AXE.read_text(encoding="utf-8").replace("</script", "<\\/script")
    answer, _ = ask(report, tmp_path, script, *flags, first=f"<script>{library}</script>")
    assert answer["dark"] == dark
    assert answer["passes"] > 10
    assert answer["violations"] == []
