"""What is asked of a board before it measures, and the file that a new one gets, for boards that a test describes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sitecnn.boards import add as adding
from sitecnn.boards import doctor
from sitecnn.boards.add import add, board_yaml
from sitecnn.boards.config import Board, load_board_config
from sitecnn.boards.doctor import Check, examine
from sitecnn.boards.engines import board_engines
from sitecnn.errors import BoardError, ConfigError
from sitecnn.network import parse_prototxt
from sitecnn.workload.engines import Engine

FOUND: dict[str, Any] = {
    "python": "3.5.2", "machine": "aarch64", "cpus": 4, "model": "NVIDIA  Jetson\nTX1",
    "engine": {"name": "caffe", "version": "1.0"}, "blas": {"name": "openblas", "version": "0.2.19"},
    "gpu": {"name": "GM20B", "cuda": "8.0"}, "onnxruntime": {"version": "1.10", "nchwc_block": 0},
    "conditions": {"governor": "performance", "temperature_c": [40.0, 51.0], "load": 0.1},
    "clocks_to_pin": ["a", "b"], "power_rails": ["gpu", "cpu"], "memory": {"MemAvailable": 5000, "MemTotal": 9000},
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    return {**FOUND, **parts}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The checks of a board of which so much is found, whose trial has so many steady kernels of forty."""

    def ask(facts: Any = FOUND, steady: int = 40, free_mb: str = "900", owed: int = 0, **settings: Any):
        board = Board.model_validate({"name": "far", "processors": {"cpu": {}}, **settings})

        def probe(root: Path, of: Board) -> dict[str, Any]:
            if isinstance(facts, Exception):
                raise facts
            return dict(facts)

        def run_agent(root: Path, of: Board, tasks: Any, records: Any, processor: str, threads: int) -> Any:
            for number, task in enumerate(tasks):
                status = "ok" if number < steady else "unstable"
                records.append(
                    json.dumps({"record": "measurement", "key": str(task), "status": status}).encode() + b"\n"
                )
            return {"owed": owed}, 5, "said"

        def df(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            text = f"Filesystem blocks used free\n/dev/x 1000 100 {free_mb} 10% /\n"
            return subprocess.CompletedProcess(command, 0 if free_mb else 1, text if free_mb else "", "df: no such")

        monkeypatch.setattr(doctor, "probe", probe)
        monkeypatch.setattr(doctor, "run_agent", run_agent)
        monkeypatch.setattr(doctor.subprocess, "run", df)
        return {check.what: check for check in examine(tmp_path, board)}

    return ask


def test_a_board_that_is_fit_has_ten_good_answers(asked) -> None:
    checks = asked()
    assert all(check.well for check in checks.values())
    assert {what: check.answer for what, check in checks.items() if what not in ("trial", "connection, host key")} == {
        "Python": "python3, 3.5.2, aarch64",
        "Caffe": "caffe 1.0",
        "BLAS": "openblas 0.2.19",
        "CUDA": "GM20B",
        "ONNX Runtime": "1.10, no blocked layout of convolutions",
        "clocks": "as found, governor performance",
        "temperature": "51 °C",
        "load": "0.10",
        "power": "rails gpu, cpu",
        "disk": "900 MB free",
    }
    assert checks["trial"].answer.startswith("40 of 40 kernels measured steadily in ")
    assert checks["connection, host key"].answer.startswith("local, answered in ")


def test_a_board_that_does_not_answer_is_asked_nothing_more(asked) -> None:
    assert asked(BoardError("no route")) == {
        "connection, host key, Python": Check("connection, host key, Python", False, "no route")
    }


def of_conditions(**conditions: Any) -> dict[str, Any]:
    return changed(conditions=FOUND["conditions"] | conditions)


@pytest.mark.parametrize(
    ("facts", "what", "well", "said"),
    [
        (of_conditions(temperature_c=[74.9]), "temperature", True, "75 °C"),
        (of_conditions(temperature_c=[20.0, 75.0]), "temperature", False, "75 °C, it will throttle: cool it, or wait"),
        (of_conditions(load=0.5), "load", False, "0.50, something else runs there: stop it"),
        (of_conditions(load=0.49), "load", True, "0.49"),
        (of_conditions(governor="ondemand"), "clocks", False, "governor ondemand changes them while measuring"),
        (of_conditions(governor="userspace"), "clocks", True, "as found, governor userspace"),
        (changed(engine={"missing": "no caffe"}), "Caffe", False, "no caffe; only matrix multiplications can be"),
        (changed(blas={"missing": "no blas"}), "BLAS", False, "no blas; install OpenBLAS or point library_path at it"),
        (changed(gpu={"missing": "no gpu"}), "CUDA", True, "none, and none is asked for"),
        (changed(onnxruntime={"missing": "no ort"}), "ONNX Runtime", True, "none: no ort"),
        (
            changed(onnxruntime={"version": "1", "nchwc_block": 8}), "ONNX Runtime", True,
            "1, convolutions in blocks of 8 channels",
        ),
        (changed(power_rails=[]), "power", True, "no rails, so no power is recorded"),
    ],
)  # fmt: skip
def test_each_answer_says_what_was_found_or_how_to_mend_it(asked, facts, what: str, well: bool, said: str) -> None:
    checks = asked(facts)
    assert checks[what].well == well and checks[what].answer.startswith(said)
    assert all(check.well for name, check in checks.items() if name != what)


def test_a_gpu_and_clocks_that_are_asked_for_have_to_be_there(asked) -> None:
    processors = {"cpu": {}, "gpu": {}}
    checks = asked(changed(gpu={"missing": "no libcuda"}), processors=processors)
    assert checks["CUDA"] == Check(
        "CUDA", False, "no libcuda; point library_path at CUDA, or leave gpu out of processors"
    )
    assert asked(clocks="pinned")["clocks"] == Check("clocks", True, "2 are pinned while measuring")
    nothing = asked(changed(clocks_to_pin=[]), clocks="pinned")["clocks"]
    assert not nothing.well and "set clocks: as_found" in nothing.answer
    assert "temperature" not in asked(of_conditions(temperature_c=[]))


@pytest.mark.parametrize(
    ("free_mb", "well", "said"),
    [("10", True, "10 MB free"), ("9", False, "9 MB free, 10 MB are needed"),
     ("", False, "`df` gave no answer: df: no such")],
)  # fmt: skip
def test_a_board_has_room_for_the_agent(asked, free_mb: str, well: bool, said: str) -> None:
    assert asked(free_mb=free_mb)["disk"] == Check("disk", well, said)


@pytest.mark.parametrize(("steady", "well"), [(36, True), (35, False)])
def test_a_trial_wants_nine_in_ten_kernels_steady(asked, steady: int, well: bool) -> None:
    trial = asked(steady=steady)["trial"]
    assert trial.well == well and trial.answer.startswith(f"{steady} of 40 kernels measured steadily")
    assert ("is something else running on the board?" in trial.answer) != well
    assert asked(owed=3)["trial"] == Check("trial", False, "the agent ended with status 5: said")


def test_a_new_boards_file_says_what_was_found_and_is_read_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(adding, "probe", lambda root, board: FOUND)
    settings = {"name": "tx1", "description": 'a "board"', "transport": "ssh", "ssh": {"host": "tx1"}, "python": ""}
    settings |= {"python": "/usr/bin/python3"}
    path, facts = add(tmp_path, settings, force=False)
    assert (path, facts) == (tmp_path / "config/boards/tx1.yaml", FOUND)
    lines = path.read_text().splitlines()
    assert lines[:5] == [
        "# NVIDIA Jetson TX1, 4 cores, aarch64", "# Caffe: caffe 1.0", "# BLAS: openblas 0.2.19", "# GPU: GM20B 8.0",
        "# ONNX Runtime: 1.10",
    ]  # fmt: skip
    board = load_board_config(tmp_path, "tx1")
    assert (board.description, board.python, board.engines) == (
        'a "board"',
        "/usr/bin/python3",
        ["caffe", "onnxruntime"],
    )
    threads = {name: one.threads for name, one in board.processors.items()}
    assert (threads, board.clocks, board.budget_minutes) == ({"cpu": [1, 4], "gpu": [1]}, "as_found", 15)
    assert "as_found  # pinned holds 2 clocks at their highest, as root" in path.read_text()
    with pytest.raises(ConfigError, match=r"tx1\.yaml: is there already; --force replaces it"):
        add(tmp_path, settings, force=False)
    add(tmp_path, settings | {"description": "again"}, force=True)
    assert load_board_config(tmp_path, "tx1").description == "again"


def test_what_a_board_lacks_is_left_out_of_its_file() -> None:
    missing = {name: {"missing": f"no {name}"} for name in ("engine", "blas", "gpu", "onnxruntime")}
    text = board_yaml({"name": "bare"}, {"cpu": "Cortex", "cpus": 1, "machine": "armv7l", **missing})
    assert text.splitlines() == [
        "# Cortex, 1 cores, armv7l", "# Caffe: none: no engine", "# BLAS: none: no blas", "# GPU: none: no gpu",
        "# ONNX Runtime: none: no onnxruntime", 'name: "bare"', "engines: [caffe]", "processors:",
        "  cpu: {threads: [1]}", "clocks: as_found", "budget_minutes: 15",
    ]  # fmt: skip


RELU = parse_prototxt('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 } } }', "relu")


@pytest.mark.parametrize(("block", "expected"), [(16, 16), (None, 0)])
def test_a_boards_engines_are_as_it_says_with_the_memory_that_it_has_free(
    tmp_path, monkeypatch, block, expected
) -> None:
    facts = changed(onnxruntime={"version": "1.20", "nchwc_block": block})
    monkeypatch.setattr("sitecnn.boards.engines.probe", lambda root, board: facts)
    board = Board.model_validate({"name": "x", "engines": ["caffe", "onnxruntime"], "processors": {"cpu": {}}})
    engines, free = board_engines(tmp_path, board, [RELU])
    assert free == 5000
    assert list(engines) == [Engine("caffe"), Engine("onnxruntime", version="1.20", nchwc_block=expected)]
    facts["memory"] = None
    assert board_engines(tmp_path, board, [RELU])[1] is None
