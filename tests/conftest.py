"""What holds for every test: who may skip, and what runs side by side."""

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context

import pytest


@pytest.fixture(scope="session")
def drawing_processes():
    """Two processes draw all reports that tests write by `main`: starting Vega anew takes longer than drawing."""
    from sitecnn.report import build

    with (
        ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool,
        pytest.MonkeyPatch.context() as it,
    ):
        it.setattr(build, "ProcessPoolExecutor", lambda **_: nullcontext(pool))
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several workers the tests of a file stay together, as do all of boards: they measure, one at a time."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "boards" if nodeid.startswith("tests/boards/") else super()._split_scope(nodeid)

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where CI has the public definitions, a test that needs them may not skip."""
    report = yield
    if report.skipped and item.get_closest_marker("shared") and os.environ.get("SITECNN_REQUIRE_SHARED") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped although ../shared is there: {call.excinfo.value}"
    return report
