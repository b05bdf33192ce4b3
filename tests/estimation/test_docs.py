"""What the documentation shows is what the code does."""

import re
import runpy
import sys
from pathlib import Path

import pytest

import sitecnn
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, write_board

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_script_runs(tmp_path, monkeypatch, capsys):
    write_board(tmp_path, board_model("gpu"))
    monkeypatch.setattr(sys, "argv", ["api.py", str(NETWORKS / "alexnet.prototxt"), "tx1", str(tmp_path)])
    runpy.run_path(str(DOCS / "examples" / "api.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AlexNet on tx1 gpu, stack synthetic-gpu"
    assert "fc6" in "".join(lines)
    assert lines[-2].startswith("batch 8")


def test_every_call_in_the_table_exists():
    calls = re.findall(r"^\| `(\w+)\(", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert set(calls) == {name for name in sitecnn.__all__ if name[0].islower()}


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z][a-z-]+", (DOCS / "estimate.md").read_text()))))
def test_every_option_in_the_guide_exists(option):
    commands = Path(sitecnn.__file__).parent / "cli"
    assert f'"{option}"' in "".join(path.read_text() for path in commands.glob("*.py"))


def test_the_posters_tables_are_printed_beside_ours(tmp_path, monkeypatch, capsys):
    write_board(tmp_path, board_model("cpu"))
    write_board(tmp_path, board_model("gpu", stacks=[stack_model("gpu", "cublas"), stack_model("gpu", "cudnn")]))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "networks").symlink_to(NETWORKS)
    monkeypatch.setattr(sys, "argv", ["poster.py", str(tmp_path)])
    runpy.run_path(str(DOCS / "examples" / "poster.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert "| TX1 gpu, the poster | 136.3 | 3.4 | 9.9 | 32.8 | 175.3 |" in lines
    assert sum(line.startswith("| TX1 gpu, cudnn |") for line in lines) == 2
    memory = [line for line in lines if line.startswith("| AlexNet |")]
    assert memory[0].startswith("| AlexNet | 233 (233) | 8 (8) | 11 (11) |")
