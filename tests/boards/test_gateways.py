"""The workflow by Snakemake's Slurm executor and workflow/profiles/slurm: jobs run on nodes, gateways to a board."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.boards.slurm import MISSING, make_slurm, seen_at_etc
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_ssh import assert_whole, at_some_progress, board, plan, records_of
from tests.test_workflow import SMALL

PROJECT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


def can_mount():
    with contextlib.suppress(OSError):
        return subprocess.run([*seen_at_etc(Path("/tmp")), "true"], capture_output=True, check=False).returncode == 0
    return False


pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING) or SSHD is None, reason=f"needs {MISSING or 'sshd'}"),
    pytest.mark.skipif(not can_mount(), reason="needs /etc/slurm and a mount namespace (root)"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateways")
    cluster = make_slurm(folder, seen_at_etc(folder))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = make_sshd(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def root(server, tmp_path):
    """A project with one small network and the board behind the gateways."""
    (tmp_path / "config/networks").mkdir(parents=True)
    (tmp_path / "config/boards").mkdir()
    (tmp_path / "config/networks/small.prototxt").write_text(SMALL.format(name="small", size=32, outputs=8))
    (tmp_path / "config/config.yaml").write_text(json.dumps({"networks": ["small"], "boards": ["far"], "sweep": False}))
    far = json.loads(board(server).model_dump_json(exclude_none=True))
    (tmp_path / "config/boards/far.yaml").write_text(json.dumps(far))
    return tmp_path


@contextlib.contextmanager
def workflow(cluster, root, *targets):
    """Snakemake as a user of the profile starts it, but in less of a hurry to ask how its jobs are."""
    command = [*seen_at_etc(cluster.folder), SNAKEMAKE, "--profile", PROJECT / "workflow/profiles/slurm"]
    command += ["--snakefile", PROJECT / "Snakefile", "--directory", root, *targets]
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets, (root / "snakemake.log").open("w") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        environment |= {"XDG_CACHE_HOME": str(root / "cache"), "XDG_RUNTIME_DIR": sockets}
        started = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def assert_ended_well(started, root):
    # A Snakemake that has lost its jobs waits for ever: the plugin's way to fail.
    status = started.wait(timeout=300)
    assert status == 0, (root / "snakemake.log").read_text()


def test_a_workflow_on_gateways(cluster, root):
    with workflow(cluster, root, "profile") as started:
        assert_ended_well(started, root)
    done = json.loads((root / "results/campaigns/far/done.json").read_text())
    planned = (root / "results/campaigns/far/plan.jsonl").read_text().splitlines()
    measured = [record for record in records_of(root) if record["record"] == "measurement"]
    assert len({record["key"] for record in measured}) == len(measured) == len(planned) > 0
    assert done["cpu-1-threads"]["owed"] == 0
    said = (root / "snakemake.log").read_text()
    # The plan, from the definitions, and the campaign.
    assert said.count("has been submitted with SLURM jobid") == 2, said


def test_a_board_that_is_whatever_machine_the_job_gets_is_refused(cluster, root):
    (root / "config/boards/far.yaml").write_text('{"name": "far", "processors": {"cpu": {}}}')
    with workflow(cluster, root, "profile") as started:
        assert started.wait(timeout=60) != 0
    assert "boards: far is `transport: local`" in (root / "snakemake.log").read_text()
    assert not (root / "results").exists()


CAMPAIGN = ("results/campaigns/far/done.json", "--allowed-rules", "campaign")


@pytest.fixture
def given_plan(root):
    """A plan that is there, so that its campaign alone is left to run; how many measurements it asks for."""
    folder = root / "results/campaigns/far"
    folder.mkdir(parents=True)
    plan(root, 150).rename(folder / "plan.jsonl")
    return 150


def busy_node(cluster):
    command = ["squeue", "--noheader", "--states=RUNNING", "--format=%N"]
    environment = os.environ | cluster.environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_gateway_that_dies_in_mid_campaign_is_retried_by_snakemake(cluster, root, given_plan):
    died = []

    def die():
        died.append(busy_node(cluster))
        cluster.kill(died[0])

    with workflow(cluster, root, *CAMPAIGN) as started, at_some_progress(root, 20, die):
        assert_ended_well(started, root)
    assert_whole(root, given_plan)
    assert sum(record["record"] == "run" for record in records_of(root)) == 2
    said = (root / "snakemake.log").read_text()
    assert "NODE_FAIL" in said and said.count("has been submitted with SLURM jobid") == 2, said
    cluster.start_node(died[0])
    cluster.wait_idle(3)


def test_a_snakemake_that_the_plugin_left_waiting_is_ended_and_started_again(cluster, root, given_plan):
    with workflow(cluster, root, *CAMPAIGN) as started, at_some_progress(root, 20, started.kill):
        started.wait(timeout=300)
    with workflow(cluster, root, *CAMPAIGN, "--unlock") as unlocking:
        assert_ended_well(unlocking, root)
    with workflow(cluster, root, *CAMPAIGN, "--rerun-incomplete") as again:
        assert_ended_well(again, root)
    assert_whole(root, given_plan)
    cluster.wait_idle(3)
