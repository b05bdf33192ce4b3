"""The page in Chromium, driven as a person would.

Needs Chromium, Playwright and, for the accessibility tests, `npm ci --prefix tests/report`.
"""

import json
import re
import shlex

import pytest

from sitecnn.cli import main
from tests.explore.chromium import (
    AXE,
    CHROMIUM,
    NETWORKS,
    chromium,
    copy_networks,
    first_ms,
    open_page,
    replace_text,
    rows,
    served,
    settle,
    text_of,
    wait_for_other,
)

pytest.importorskip("nicegui")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    root = copy_networks(tmp_path_factory.mktemp("explore"), "alexnet", "squeezenet1.0", "googlenet")
    with served(root) as one:
        yield one


@pytest.fixture
def page(browser, address):
    one = open_page(browser, address)
    yield one
    one.context.close()


def drop(page, name: str, content: bytes) -> None:
    """Drop a file somewhere on the page."""
    script = """([name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name));
        const event = {bubbles: true, cancelable: true, dataTransfer: data};
        document.querySelector("main").dispatchEvent(new DragEvent("dragover", event));
        document.querySelector("main").dispatchEvent(new DragEvent("drop", event));
    }"""
    page.evaluate(script, [name, list(content)])


def test_the_console_is_silent_and_nothing_is_fetched_from_elsewhere(page):
    assert page.log == []


def test_each_network_that_is_chosen_has_its_own_numbers(page):
    before = first_ms(page)
    page.get_by_label("network").first.click()
    page.get_by_role("option", name="googlenet.prototxt").click()
    assert wait_for_other(page, before) > 0
    page.wait_for_function("document.querySelectorAll('svg.graph .node').length > 100")
    assert page.locator(".editor").get_by_text("googlenet.prototxt", exact=True).is_visible()


def test_a_convolution_with_more_outputs_costs_more_on_every_board(page):
    before = rows(page)
    replace_text(page, "num_output: 96", "num_output: 192")
    wait_for_other(page, next(iter(before.values()))[0])
    after = rows(page)
    assert before.keys() == after.keys()
    assert all(after[key][0] > before[key][0] for key in before)
    assert all(after[key][4] > before[key][4] for key in before)


def test_broken_text_has_its_error_at_its_line_and_keeps_the_numbers(page):
    before = rows(page)
    replace_text(page, "num_output: 96", "num_outptu: 96")
    page.wait_for_selector(".cm-line.error-line")
    marked = page.locator(".cm-line.error-line").inner_text()
    assert "num_outptu" in marked
    said = page.locator(".error").inner_text()
    line = next(
        index
        for index, text in enumerate((NETWORKS / "alexnet.prototxt").read_text().split("\n"), 1)
        if "num_output: 96" in text
    )
    assert f"Line {line}:" in said
    assert "num_output" in said
    assert rows(page) == before
    replace_text(page, "num_outptu: 96", "num_output: 96")
    page.wait_for_function("document.querySelector('.error')?.textContent.trim() === ''")
    assert page.locator(".cm-line.error-line").count() == 0
    assert rows(page) == before


def test_an_onnx_file_that_is_dropped_is_shown_and_not_edited(page):
    before = first_ms(page)
    drop(page, "tiny.onnx", onnx_network())
    wait_for_other(page, before)
    assert page.locator(".shown").inner_text().startswith("tiny.onnx")
    assert not page.locator(".nicegui-codemirror").is_visible()
    settle(page)
    assert "Conv" in page.locator("svg.graph .node").nth(1).get_attribute("aria-label")


def onnx_network() -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c"), helper.make_node("Relu", ["y"], ["z"], name="r")],
        "tiny",
        [helper.make_tensor_value_info("x", kind, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("z", kind, None)],
        [helper.make_tensor("w", kind, [8, 3, 3, 3], [0.5] * 216)],
    )
    return helper.make_model(graph).SerializeToString()


def test_a_file_that_is_neither_leaves_the_page_as_it_is(page):
    before = rows(page)
    drop(page, "weights.caffemodel", b"\x0a\x00\x07" * 50)
    page.wait_for_function("document.querySelector('.error')?.textContent.includes('.caffemodel')")
    assert rows(page) == before


def test_names_from_files_are_text(page):
    hostile = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    text = (
        (NETWORKS / "alexnet.prototxt")
        .read_text()
        .replace("conv1", hostile.replace('"', "'"))
        .replace('"AlexNet"', json.dumps(hostile))
    )
    before = first_ms(page)
    drop(page, "<b>x.prototxt", text.replace("dim: 227", "dim: 231").encode())
    wait_for_other(page, before)
    settle(page)
    page.locator("svg.graph .node").nth(1).click()
    page.wait_for_function("document.querySelector('#layer-card')?.textContent.includes('<img')")
    page.get_by_role("button", name="Pin this state").click()
    page.wait_for_selector(".pinned p")
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0


def test_choosing_a_layer_marks_its_text_its_row_and_its_box(page):
    page.locator("svg.graph .node", has_text="conv2").first.click()
    # Each of them is drawn in its own time, and the grid's row anew when layers come once more.
    for where, what in (
        (".cm-line.layer-line", 'name: "conv2"'),
        (".node.chosen", "conv2"),
        (".ag-row-selected", "conv2"),
    ):
        page.locator(where, has_text=what).first.wait_for()


def test_a_row_of_the_layers_marks_the_box_too(page):
    page.locator(".ag-center-cols-container .ag-row").nth(1).click()
    page.wait_for_selector("svg.graph .node.chosen")
    assert "conv1" in page.locator("svg.graph .node.chosen").get_attribute("data-layers")


def test_arrow_keys_walk_the_drawing_and_say_all_of_a_layer(page):
    page.locator("svg.graph .node").first.focus()
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.dataset.layers")
    assert json.loads(focused) == ["conv1"]
    card = page.locator("#layer-card").inner_text()
    for word in ("Convolution", "multiply-accumulates", "105,415,200", "96 × 55 × 55"):
        assert word in card
    page.keyboard.press("Enter")
    page.wait_for_selector("svg.graph .node.chosen")


def test_layers_are_sorted_and_searched(page):
    page.get_by_role("columnheader", name="% of time").click()
    page.get_by_role("columnheader", name="% of time").click()
    page.wait_for_function("document.querySelector('.ag-row[row-index=\"0\"]')?.textContent.match(/fc|conv/)")
    page.get_by_label("search layers").fill("LRN")
    page.wait_for_function("document.querySelectorAll('.ag-center-cols-container .ag-row').length === 2")


def test_advice_that_is_tried_is_in_the_text_and_in_the_numbers(page):
    before = first_ms(page)
    text = page.locator("table.trials tr", has_text="halve the outputs").first.inner_text()
    layer, outputs = re.search(r"halve the outputs of (\S+) \((\d+)\)", text).groups()
    page.locator("table.trials tr", has_text="halve the outputs").first.get_by_role("button").click()
    wait_for_other(page, before)
    assert re.search(rf'"{layer}" type.*\n?.*num_output: {int(outputs) // 2}\b', text_of(page))


def test_a_pinned_state_is_compared_with(page):
    before = rows(page)
    page.get_by_role("button", name="Pin this state").click()
    page.wait_for_selector("table.answers .change")
    assert {float(one) for one in changes(page)} == {0.0}
    replace_text(page, "num_output: 96", "num_output: 64")
    wait_for_other(page, next(iter(before.values()))[0])
    after = rows(page)
    key = page.locator("table.answers tbody tr").first.get_attribute("data-key")
    assert float(changes(page)[0]) == pytest.approx(after[key][0] - before[key][0], rel=1e-6)
    page.wait_for_selector("table.types .change")
    page.get_by_role("button", name="Unpin").click()
    page.wait_for_function("!document.querySelector('table.answers .change')")


def changes(page) -> list[str]:
    return page.eval_on_selector_all("table.answers .change", "all => all.map((one) => one.dataset.v)")


def test_budgets_say_what_fits(page):
    page.get_by_label("at most ms").fill("30")
    page.get_by_label("at most MB").fill("300")
    page.wait_for_selector("td.fits .badge.no")
    script = """() => [...document.querySelectorAll("table.answers tbody tr")].map((row) => {
        const numbers = row.querySelectorAll("td[data-v]");
        return [Number(numbers[0].dataset.v), Number(numbers[2].dataset.v), row.querySelector(".fits").textContent];
    })"""
    page.wait_for_function("/in memory|too large/.test(document.querySelector('td.fits')?.textContent)")
    for ms, memory_bytes, words in page.evaluate(script):
        assert ("✓ in time" in words) == (ms <= 30)
        assert ("✓ in memory" in words) == (memory_bytes <= 300e6)


def test_two_tabs_share_nothing(browser, address, page):
    other = open_page(browser, address)
    before = rows(other)
    replace_text(page, "num_output: 96", "num_output: 256")
    wait_for_other(page, next(iter(before.values()))[0])
    # An answer to the other tab comes after whatever the change of this one would have sent there.
    other.get_by_label("at most ms").fill("30")
    other.wait_for_selector("td.fits .badge")
    assert rows(other) == before
    other.context.close()


def take(page, what: str) -> tuple[str, str]:
    """(file name, text) of an entry of the menu."""
    page.get_by_role("button", name="Take away").click()
    with page.expect_download() as download:
        page.get_by_role("menu").get_by_text(what, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_text(encoding="utf-8")


def test_the_page_to_take_away_needs_no_server(page, browser, tmp_path):
    before = rows(page)
    name, html = take(page, "this page as one HTML file")
    assert name == "alexnet.html"
    file = tmp_path / name
    file.write_text(html, encoding="utf-8")
    alone = browser.new_context(offline=True).new_page()
    log = []
    alone.on("console", lambda message: log.append(message.text))
    alone.on("pageerror", lambda error: log.append(str(error)))
    alone.goto(file.as_uri())
    assert rows(alone) == before
    alone.locator("svg.graph .node").nth(1).focus()
    assert "Convolution" in alone.locator("#layer-card").inner_text()
    alone.get_by_role("button", name="MACs").click()
    macs = alone.eval_on_selector_all(
        "table.sortable tbody tr", "all => all.map((one) => Number(one.cells[7].dataset.v))"
    )
    assert macs == sorted(macs)
    assert log == []


def test_csv_and_network_are_what_the_page_shows(page):
    name, csv = take(page, "boards as CSV")
    assert name == "alexnet-boards.csv"
    head, *lines = csv.strip().split("\n")
    assert len(lines) == len(rows(page))
    assert head.startswith("network,batch,board,processor")
    _, layers = take(page, "layers as CSV")
    assert layers.startswith("network,board,")
    assert len(layers.strip().split("\n")) == 1 + 24
    name, text = take(page, "the network")
    assert (name, text) == ("alexnet.prototxt", (NETWORKS / "alexnet.prototxt").read_text())


def test_the_command_line_gives_the_same_answer(page, monkeypatch, capsys):
    before = first_ms(page)
    page.get_by_label("batch", exact=True).fill("3")
    ms = wait_for_other(page, before)
    page.get_by_label("at most ms").fill("1234.56789")
    page.wait_for_selector("td.fits .badge")
    settle(page)
    page.wait_for_function("document.querySelector('table.trials')")
    _, layers = take(page, "layers as CSV")
    page.get_by_role("button", name="Take away").click()
    page.get_by_role("menu").get_by_text("the command line", exact=False).click()
    command = page.locator(".command").inner_text()
    assert "--budget-ms 1234.56789" in command and "--batch 3" in command
    monkeypatch.chdir(NETWORKS)
    sitecnn, *words = shlex.split(command)
    assert sitecnn == "sitecnn"
    assert main([*words, "--csv"]) in (0, 1)
    assert capsys.readouterr().out == layers
    main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["forward_ms"]["estimate"] == ms


def test_a_batch_and_inputs_can_be_given_with_the_command(browser, tmp_path, capsys):
    given = ["--batch", "2", "--input", "data:1x3x259x259"]
    network = str(NETWORKS / "alexnet.prototxt")
    with served(tmp_path, network, "--board", "tx1", *given) as address:
        page = open_page(browser, address)
        shown = rows(page)
        assert page.get_by_label("batch", exact=True).input_value() == "2"
    for key, (ms, *_) in shown.items():
        board, processor, stack, _ = key.split("|")
        who = ["--board", board, "--processor", processor, "--stack", stack]
        assert main(["estimate", network, *given, *who, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["forward_ms"]["estimate"] == ms


TRANSITIONS = """Promise.allSettled(document.getAnimations()
    .filter((one) => Number.isFinite(one.effect.getComputedTiming().endTime)).map((one) => one.finished))"""
"""Until everything that moves or fades is where it will be, but for what turns for ever."""


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm ci --prefix tests/report")
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser, address, width, scheme):
    page = open_page(browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.get_by_role("button", name="Pin this state").click()
    page.wait_for_selector("table.types .change")
    page.locator("svg.graph .node").nth(1).focus()
    page.evaluate(TRANSITIONS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text(encoding="utf-8"))
    run = """axe.run(document, {resultTypes: ["violations"]}).then((found) => ({passes: found.passes.length,
        violations: found.violations.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html)])}))"""
    axe_result = page.evaluate(run)
    assert axe_result["violations"] == []
    assert axe_result["passes"] > 20
    page.context.close()


def test_dark_mode_can_be_chosen(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function(f"{colour} !== '{before}'")
