"""The documentation as a site: it builds without a warning, its examples run, and it asks nothing of the net."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
MKDOCS = Path(sys.executable).with_name("mkdocs")
NOWHERE = dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")

needs_mkdocs = pytest.mark.skipif(not MKDOCS.exists(), reason="the documentation's packages come with ./run docs")


def build(site, config="mkdocs.yml"):
    command = [MKDOCS, "build", "--strict", "--site-dir", site, "--config-file", config]
    environment = {**os.environ, **NOWHERE, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)


@needs_mkdocs
def test_it_builds_offline_and_its_pages_fetch_nothing(tmp_path):
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="(?:https?:)?//', text), page
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="(?:https?:)?//', text), page
    assert "&lt;Estimate of MobileNet-v1 on tx1 gpu" in (tmp_path / "index.html").read_text(encoding="utf-8")


@needs_mkdocs
@pytest.mark.parametrize(
    "fault", ["```python exec='true'\nraise SystemError('no')\n```", "[lost](nowhere.md)", "::: sitecnn.nothing"]
)
def test_a_fault_in_a_page_is_an_error(tmp_path, fault):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{fault}\n")
    config = (PROJECT / "mkdocs.yml").read_text().partition("nav:")[0]
    (tmp_path / "mkdocs.yml").write_text(config.replace("docs_dir: docs", f"docs_dir: {tmp_path}/docs"))
    assert build(tmp_path / "site", str(tmp_path / "mkdocs.yml")).returncode != 0


def test_every_page_is_in_the_navigation():
    text = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text.partition("nav:")[2]))
    docs = PROJECT / "docs"
    assert listed == {str(page.relative_to(docs)) for page in docs.rglob("*.md")}


def test_every_place_of_the_tour_is_there():
    tour = (PROJECT / "docs" / "development" / "tour.md").read_text(encoding="utf-8").partition("## Names")[0]
    places = [place for place in re.findall(r"`((?:workflow|config)/[^`]+)`", tour) if "NAME" not in place]
    assert len(places) >= 10
    assert [place for place in places if not (PROJECT / place).exists()] == []


def test_the_catalogue_is_told_what_there_is():
    told = yaml.safe_load((PROJECT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert told["report"] is True
    named = "conda:" in "".join(path.read_text() for path in (PROJECT / "rules").glob("*.smk"))
    assert told["software-stack-deployment"]["conda"] == named
