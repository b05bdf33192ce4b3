"""The current generation is never taken for a leftover, however the root is spelled, and a lost one is made anew.

Who reads a generation can finish after the next became current.
"""

import shutil
from pathlib import Path

from sitecnn.dataset import store


def make_generation(root):
    with store.locked(root), store.new_generation(root) as generation:
        (generation / "refused.jsonl").write_text("")
        store.commit(root, generation, store.Manifest())
    return generation


def test_a_relative_root_keeps_its_current_generation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path()
    make_generation(root)
    with store.locked(root), store.new_generation(root):
        assert store.current(root).is_dir()
    assert make_generation(root).name == "000002"
    assert store.current(root).name == "000002"


def test_a_lost_generation_is_made_anew(tmp_path):
    shutil.rmtree(make_generation(tmp_path))
    assert store.current(tmp_path) is None
    make_generation(tmp_path)
    assert (store.current(tmp_path) / "manifest.json").is_file()


def test_a_reader_can_finish_after_the_switch_and_old_generations_go(tmp_path):
    first = make_generation(tmp_path)
    second = make_generation(tmp_path)
    assert (first / "manifest.json").is_file() and store.current(tmp_path) == second
    third = make_generation(tmp_path)
    assert {path.name for path in third.parent.iterdir()} == {second.name, third.name}
