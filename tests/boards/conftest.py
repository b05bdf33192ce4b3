"""Agents of these tests do not wait for one that measures on this machine meanwhile, nor it for them."""

import pytest

from tests.boards.agents import lock_name


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """Locks, state and temporary files of a test's own."""
    monkeypatch.setenv("SITECNN_AGENT_LOCK", lock_name(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
