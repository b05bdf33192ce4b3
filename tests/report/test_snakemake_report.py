"""Snakemake's own report: made without a network, with our figures and tables by category, each with its caption."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.fixtures import make

PROJECT = Path(__file__).parents[2]


def snakemake(root, *arguments):
    """Only the report's rule: what it reads is there already. Whatever asks the network is refused."""
    command = [Path(sys.executable).with_name("snakemake"), "--snakefile", PROJECT / "Snakefile", "--directory", root]
    command += ["results/report/report.html", "--cores", "1", "--allowed-rules", "write_report", *arguments]
    nowhere = dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **nowhere})
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("snakemake"), {"small": 24, "middle": 32})
    snakemake(root)
    snakemake(root, "--report", "snakemake-report.html")
    return root


def listed(root, name):
    """A list of the page: `results`, by path, or `categories`, paths by category and subcategory."""
    page = (root / "snakemake-report.html").read_text(encoding="utf-8")
    return json.loads(re.search(rf"var {name} = (\{{.*?\}});?\s*\n", page, re.S)[1])


def test_it_holds_the_report_its_figures_and_its_tables_by_category_with_captions(root):
    folder = root / "results" / "report"
    wanted = {
        "Report": [folder / "report.html"],
        "Figures": sorted(folder.glob("figures/*.png")),
        "Tables": sorted(folder.glob("tables/*.csv")),
    }
    assert len(wanted["Figures"]) >= 8 and len(wanted["Tables"]) >= 15
    below = listed(root, "categories").items()
    shown = {name: sorted(path for paths in parts.values() for path in paths) for name, parts in below}
    assert shown == {name: sorted(str(path.relative_to(root)) for path in paths) for name, paths in wanted.items()}
    assert all(len(entry["caption"]) > 20 for entry in listed(root, "results").values())


def test_it_is_one_file_that_asks_for_nothing(root):
    page = (root / "snakemake-report.html").read_text(encoding="utf-8")
    assert not re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="(?!data:)[^"]*"', page)
    assert not re.findall(r'<link[^>]*\bhref="(?!data:|#)[^"]*"', page)
