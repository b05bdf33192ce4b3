"""What the page shows is what `sitecnn estimate --json` says."""

import json
from pathlib import Path

import pytest

from sitecnn.cli import main
from sitecnn.models.board_model import load
from sitecnn.models.model_files import SHIPPED
from tests.explore.chromium import CHROMIUM, NETWORKS, chromium, copy_networks, definitions, open_page, rows, served

pytest.importorskip("nicegui")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

STACKS = [
    (model.board, model.processor, stack.stack, stack.threads)
    for model in map(load, sorted(SHIPPED.glob("*.json")))
    for stack in model.stacks
]


def said_by_the_command(root, network, stack, capsys) -> list[float]:
    board, processor, name, threads = stack
    command = ["--root", str(root), "estimate", str(network), "--board", board, "--processor", processor, "--json"]
    assert main([*command, "--stack", name, *(["--threads", str(threads)] if threads else [])]) == 0
    document = json.loads(capsys.readouterr().out)
    ms = document["forward_ms"]
    total = document["memory_bytes"]["total"]
    return [ms["estimate"], ms["low"], ms["high"], document["images_per_second"], total]


def test_every_network_on_every_shipped_board_is_as_the_command_says(tmp_path, capsys):
    root = copy_networks(tmp_path)
    names = sorted(file.name for file in (root / "config" / "networks").iterdir())
    assert names == [file.name for file in definitions()]
    assert {Path(name).suffix for name in names} == {".prototxt", ".onnx"}
    with served(root) as address, chromium() as browser:
        page = open_page(browser, address)
        shown = {names[0]: rows(page)}
        for name in names[1:]:
            before = page.evaluate("document.querySelector('table.answers').textContent")
            page.get_by_label("network").first.click()
            page.get_by_role("option", name=name, exact=True).click()
            # Once it is another: a busy machine may be met while there is none.
            other = "(old) => (document.querySelector('table.answers')?.textContent ?? old) !== old"
            page.wait_for_function(other, arg=before)
            shown[name] = rows(page)
    for name, shown_numbers in shown.items():
        network = NETWORKS / name
        expected = {"|".join(map(str, one)): said_by_the_command(root, network, one, capsys) for one in STACKS}
        assert shown_numbers.keys() == expected.keys(), name
        for key, numbers in shown_numbers.items():
            # A sum's last digits depend on how many threads its BLAS has.
            assert numbers == pytest.approx(expected[key], rel=1e-12), (name, key)
