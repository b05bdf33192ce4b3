"""A file is written whole or not at all, and a failure names the file that a person knows."""

import pytest

from sitecnn.files import atomic_path


def test_a_failed_write_names_the_target_and_leaves_nothing(tmp_path):
    target = tmp_path / "out.csv"
    with pytest.raises(OSError, match="No space left") as failed, atomic_path(target):
        raise OSError(28, "No space left on device")
    assert failed.value.filename == str(target)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_block_reads_keeps_its_name(tmp_path):
    missing = tmp_path / "gone.txt"
    with pytest.raises(FileNotFoundError) as failed, atomic_path(tmp_path / "out.csv"):
        missing.read_text()
    assert failed.value.filename == str(missing)
    assert list(tmp_path.iterdir()) == []
