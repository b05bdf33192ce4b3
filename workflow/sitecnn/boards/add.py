"""A new board's file, written from the command's options and the agent's probe."""

import json
from pathlib import Path
from typing import Any

from sitecnn.boards.campaign import probe
from sitecnn.boards.config import Board
from sitecnn.config import validate
from sitecnn.errors import ConfigError
from sitecnn.files import write_text


def add(root: Path, settings: dict[str, Any], *, force: bool) -> tuple[Path, dict[str, Any]]:
    """Probe the board that `settings` describe and write config/boards/{name}.yaml; (path, what was found).

    ConfigError, and no file, if a setting is wrong, the board cannot be reached, or the file is there already.
    """
    origin = f"board {settings['name']!r}"
    board = validate({**settings, "processors": {"cpu": {"threads": [1]}}}, Board, origin)
    path = root / "config" / "boards" / f"{board.name}.yaml"
    if path.exists() and not force:
        raise ConfigError(f"{path}: is there already; --force replaces it")
    facts = probe(root, board)
    write_text(path, board_yaml(settings, facts))
    return path, facts


def board_yaml(settings: dict[str, Any], facts: dict[str, Any]) -> str:
    """The file's text: comments say what the board is and what it lacks. JSON's values are YAML's."""
    caffe, blas, gpu = (facts.get(name) for name in ("engine", "blas", "gpu"))
    what = _one_line(facts.get("model") or facts.get("cpu"))
    lines = [f"# {what}, {facts.get('cpus')} cores, {facts.get('machine')}"]
    lines += [f"# Caffe: {_missing(caffe)}", f"# BLAS: {_missing(blas)}", f"# GPU: {_missing(gpu)}"]
    lines += [f"# ONNX Runtime: {_missing(facts.get('onnxruntime'))}"]
    lines += [f"{name}: {json.dumps(value)}" for name, value in settings.items() if value]
    engines = [name for name, part in (("caffe", caffe), ("onnxruntime", facts.get("onnxruntime"))) if _is_there(part)]
    lines += [f"engines: [{', '.join(engines or ['caffe'])}]"]
    threads = sorted({1, int(facts.get("cpus") or 1)})
    lines += ["processors:", f"  cpu: {{threads: {threads}}}"]
    if _is_there(gpu):
        lines += ["  gpu: {threads: [1]}"]
    pinned = facts.get("clocks_to_pin")
    lines += [
        f"clocks: as_found  # pinned holds {len(pinned)} clocks at their highest, as root"
        if pinned
        else "clocks: as_found"
    ]
    return "\n".join([*lines, "budget_minutes: 15", ""])


def _is_there(part: Any) -> bool:
    return isinstance(part, dict) and "missing" not in part


def _missing(part: Any) -> str:
    if isinstance(part, dict):
        text = part.get("missing") or " ".join(str(part[name]) for name in ("name", "version", "cuda") if name in part)
        return _one_line(("none: " if "missing" in part else "") + text)
    return _one_line(part)


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())
