"""The agent's file: the same bytes for the same sources, and nothing in it but small modules."""

import ast
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sitecnn.boards import agent
from sitecnn.boards.agent.install import install
from sitecnn.boards.archive import agent_archive, agent_name
from tests.boards.agents import AGENT

SOURCES = sorted(Path(agent.__path__[0]).glob("*.py"))


def test_equal_sources_give_equal_bytes_wherever_and_whenever_they_lie(tmp_path):
    package = tmp_path / "sitecnn/boards"
    shutil.copytree(Path(agent.__path__[0]).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "sitecnn/__init__.py").touch()
    for path in package.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    code = "import sys; from sitecnn.boards.archive import agent_archive; sys.stdout.buffer.write(agent_archive())"
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), PYTHONHASHSEED="7", TZ="Asia/Tokyo")
    elsewhere = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert elsewhere == agent_archive()


def test_the_archive_holds_the_modules_of_the_house():
    with zipfile.ZipFile(io.BytesIO(agent_archive())) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert inside.pop("__main__.py")
    assert inside == {f"sitecnn_agent/{path.name}": path.read_bytes() for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_module_of_the_agent_is_small_and_as_old_as_its_boards_pythons(path):
    text = path.read_text()
    ast.parse(text, feature_version=(3, 4))
    assert text.count("\n") <= 350
    assert "sitecnn." not in "".join(line for line in text.splitlines() if "import" in line)


def test_the_archive_starts_as_it_is(tmp_path):
    said = subprocess.run([sys.executable, str(AGENT), "--help"], capture_output=True, text=True, check=True)
    assert "--plan" in said.stdout


def test_a_file_that_is_not_what_it_is_called_is_replaced(tmp_path):
    path = Path(install(agent_name(), agent_archive()))
    assert path == tmp_path / "cache/sitecnn/agent" / agent_name()
    path.write_bytes(b"print('half")
    assert install(agent_name(), agent_archive()) == str(path) and path.read_bytes() == agent_archive()
    assert [path.name for path in path.parent.iterdir()] == [agent_name()]
