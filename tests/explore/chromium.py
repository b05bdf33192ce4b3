"""Chromium over a page that `sitecnn explore` serves in a process of its own."""

import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parents[1] / "report" / "node_modules" / "axe-core" / "axe.min.js"
NETWORKS = Path(__file__).parents[2] / "config" / "networks"
WAIT_MS = 90_000


@contextmanager
def served(root: Path, *arguments: str) -> Iterator[str]:
    """The address of a page with the models that ship with SiteCNN and those of `root`."""
    command = [sys.executable, "-m", "sitecnn", "--root", str(root), "explore", "--no-browser", "--port", "0"]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first = process.stderr.readline() if select.select([process.stderr], [], [], WAIT_MS / 1e3)[0] else "no address"
        address = re.search(r"http://127\.0\.0\.1:\d+/", first)
        if not address:
            process.kill()
        assert address, first + process.stderr.read()
        yield address[0]
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that is driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def copy_networks(root: Path, *names: str) -> Path:
    """A root whose config/networks holds these networks, or all that there are."""
    folder = root / "config" / "networks"
    folder.mkdir(parents=True)
    for file in definitions():
        if not names or file.stem in names:
            shutil.copy(file, folder)
    return root


def definitions() -> list[Path]:
    """The networks that ship with SiteCNN, in the order of their names."""
    return sorted(file for file in NETWORKS.iterdir() if file.suffix in (".prototxt", ".onnx"))


def open_page(browser: Any, address: str, **context: Any) -> Any:
    """A new tab over the page, with its first numbers; what its console says is in `page.log`."""
    page = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context}).new_page()
    page.set_default_timeout(WAIT_MS)
    page.log = []
    page.on("console", lambda message: page.log.append(message.text))
    page.on("pageerror", lambda error: page.log.append(str(error)))
    page.on("request", lambda request: page.log.append(request.url) if "127.0.0.1" not in request.url else None)
    page.goto(address)
    settle(page)
    return page


def settle(page: Any) -> None:
    """Wait until numbers, drawing and advice are there."""
    page.wait_for_selector("table.answers td[data-v]")
    page.wait_for_selector("svg.graph .node")
    page.wait_for_selector("table.trials")


def rows(page: Any) -> dict[str, list[float]]:
    """key → the numbers of a row of the boards' table: ms, low, high, images/s, bytes."""
    script = """() => Object.fromEntries([...document.querySelectorAll("table.answers tbody tr")].map((row) => {
        const [ms, rate, bytes] = row.querySelectorAll("td[data-v]");
        const interval = [ms.dataset.v, ms.dataset.low, ms.dataset.high];
        return [row.dataset.key, [...interval, rate.dataset.v, bytes.dataset.v].map(Number)];
    }))"""
    return page.evaluate(script)


def first_ms(page: Any) -> float:
    """The time of the fastest board."""
    return next(iter(rows(page).values()))[0]


def wait_for_other(page: Any, before: float) -> float:
    """The time of the fastest board once it is another than `before`."""
    # A busy machine may be met between two drawings of the table.
    script = "(ms) => Math.abs(document.querySelector('table.answers td[data-v]')?.dataset.v - ms) > 0"
    page.wait_for_function(script, arg=before)
    return first_ms(page)


EDITOR = 'getElement(Number(document.querySelector(".nicegui-codemirror").id.slice(1))).editor'


def text_of(page: Any) -> str:
    """The editor's text."""
    return page.evaluate(f"{EDITOR}.state.doc.toString()")


def replace_text(page: Any, old: str, new: str) -> None:
    """Select `old` in the editor and put `new` in its place, as a person would paste it."""
    script = f"""([old]) => {{
        const view = {EDITOR};
        const start = view.state.doc.toString().indexOf(old);
        view.dispatch({{selection: {{anchor: start, head: start + old.length}}, scrollIntoView: true}});
        view.focus();
        return start;
    }}"""
    assert page.evaluate(script, [old]) >= 0
    page.keyboard.insert_text(new)
