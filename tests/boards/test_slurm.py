"""Boards that are nodes of a real Slurm cluster: campaigns, dead nodes, a controller that is away."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from sitecnn.boards import campaign
from sitecnn.boards.config import Board
from sitecnn.errors import SiteCNNError
from tests.boards.agents import lock_name
from tests.boards.slurm import AWAY_SECONDS, FORGETFUL, MISSING, make_slurm
from tests.boards.test_ssh import assert_whole, at_some_progress, plan, records_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        bool(MISSING) or os.getuid() != 0, reason=f"a cluster needs root and {MISSING or 'nothing else'}"
    ),
]


WAITS_S = campaign.WAITS_S


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = make_slurm(tmp_path_factory.mktemp("slurm"), settings=FORGETFUL)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(autouse=True)
def reachable(cluster, tmp_path, monkeypatch):
    """Slurm's commands find the cluster, and a campaign does not wait long before it tries again."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(campaign, "WAITS_S", (1, 2, 4, 8))
    monkeypatch.setattr(campaign, "SILENT_SECONDS", 12)


def board(feature="tk1", **changes):
    settings = {"name": "far", "transport": "slurm", "slurm": {"constraint": feature, "gres": "board:1"}}
    return Board.model_validate({**settings, "python": sys.executable, "processors": {"cpu": {}}, **changes})


def test_a_campaign_on_a_node(tmp_path):
    done = campaign.profile(tmp_path, board(), plan(tmp_path, 20))
    assert done["cpu-1-threads"]["owed"] == 0
    assert_whole(tmp_path, 20)


def test_a_node_that_dies_in_mid_campaign_is_no_success(cluster, tmp_path):
    def die():
        cluster.kill("board1")
        time.sleep(1)
        cluster.start_node("board1")

    with at_some_progress(tmp_path, 20, die):
        campaign.profile(tmp_path, board(), plan(tmp_path, 80))
    assert_whole(tmp_path, 80)
    assert sum(record["record"] == "run" for record in records_of(tmp_path)) >= 2
    cluster.wait_idle(3)


def test_a_controller_that_is_away_when_a_campaign_begins(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "WAITS_S", WAITS_S)
    cluster.kill("slurmctld")
    back = threading.Timer(AWAY_SECONDS, cluster.start_controller)
    back.start()
    try:
        campaign.profile(tmp_path, board(), plan(tmp_path, 10))
    finally:
        back.join()
    assert_whole(tmp_path, 10)
    cluster.wait_idle(3)


def test_a_controller_that_is_away_in_mid_campaign(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "WAITS_S", WAITS_S)

    def away():
        cluster.kill("slurmctld")
        time.sleep(AWAY_SECONDS)
        cluster.start_controller()

    with at_some_progress(tmp_path, 20, away):
        campaign.profile(tmp_path, board(), plan(tmp_path, 150))
    assert_whole(tmp_path, 150)
    cluster.wait_idle(3)


def test_two_boards_measure_side_by_side(tmp_path):
    roots = [tmp_path / feature for feature in ("tk1", "tx1")]
    runs = []
    for root in roots:
        root.mkdir()
        far = board(root.name, python=str(python_of_its_own(root)))
        runs.append(threading.Thread(target=campaign.profile, args=(root, far, plan(root, 100))))
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    spans = []
    for root in roots:
        assert_whole(root, 100)
        spans.append([record["conditions"]["time"] for record in (records_of(root)[0], records_of(root)[-1])])
    assert max(begin for begin, _ in spans) < min(end for _, end in spans)


def python_of_its_own(root):
    """These nodes are one machine: only with a lock of its own is each a board of its own."""
    path = root / "python"
    path.write_text(f'#!/bin/sh\nSITECNN_AGENT_LOCK={lock_name(root)} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_a_feature_that_no_node_has_is_one_line(tmp_path):
    with pytest.raises(SiteCNNError, match="no node has what") as caught:
        campaign.profile(tmp_path, board("nano"), plan(tmp_path, 1))
    assert "\n" not in str(caught.value)
    note = json.loads((tmp_path / "results/campaigns/far/interrupted.json").read_text())
    assert note["owed"] == 1
    assert not Path("results/campaigns/far").exists()
