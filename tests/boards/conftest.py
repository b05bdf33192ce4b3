"""Agents of these tests do not wait for one that measures on this machine meanwhile, nor it for them."""

import pytest


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """An agent's lock lies in the folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
