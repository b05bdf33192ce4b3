"""One report of made-up measurements, whose numbers and sentences several files hold against their sources."""

import json

import pytest

from sitecnn.cli import main
from tests.report.fixtures import NETWORKS, make
from tests.report.page import read


@pytest.fixture(scope="session", autouse=True)
def drawing(drawing_processes):
    """All of these tests' reports are drawn by the same processes."""


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("numbers"), NETWORKS)
    assert main(["--root", str(root), "report"]) == 0
    return root


@pytest.fixture(scope="session")
def tables(root):
    return read(root / "results" / "report" / "report.html").tables


@pytest.fixture(scope="session")
def passes(root):
    """The network records as the agent wrote them."""
    lines = (root / "results" / "records" / "bench" / "cpu-1-threads.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {record["network"]: record for record in records if record.get("task") == "network"}
