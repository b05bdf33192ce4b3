"""What holds for every test: who may skip, and what runs side by side."""

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several workers the tests of a file stay together, and those of boards, which measure, are one after the
    other.
    """
    for item in items:
        place = item.path.relative_to(TESTS) if item.path.is_relative_to(TESTS) else item.path
        item.add_marker(pytest.mark.xdist_group("boards" if place.parts[0] == "boards" else str(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where CI has the public definitions, a test that needs them may not skip."""
    report = yield
    if report.skipped and item.get_closest_marker("shared") and os.environ.get("SITECNN_REQUIRE_SHARED") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped although ../shared is there: {call.excinfo.value}"
    return report
