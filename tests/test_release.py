"""What a user installs: the wheel and the source archive, in an environment that has nothing else."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import hatchling.build as backend, sys; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def built(kind, folder):
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return folder / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def empty_python(tmp_path_factory, wheel):
    """An environment with the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wheel], check=True, cwd=folder)
    return python


def test_the_wheel_has_the_licence_the_types_and_the_shipped_models(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "sitecnn/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    shipped = {path.name for path in (ROOT / "workflow/sitecnn/models/shipped").glob("*.json")}
    assert shipped <= {Path(name).name for name in names}


def test_the_source_archive_builds_the_same_wheel(tmp_path, wheel):
    archive = built("sdist", tmp_path)
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    command = [sys.executable, "-c", BUILD, "build_wheel", str(tmp_path)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert set(zipfile.ZipFile(tmp_path / wheel.name).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_a_wheel_alone_estimates_a_network_on_a_shipped_board(empty_python, tmp_path):
    network = ROOT / "config" / "networks" / "alexnet.prototxt"
    command = [empty_python, "-m", "sitecnn", "estimate", network, "--board", "tx1", "--processor", "gpu", "--json"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["forward_ms"]["estimate"] > 0
