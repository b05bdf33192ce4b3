"""The agent under Python 2.7, which TK1 and TX1 have: the same campaign, by file and for a host."""

import json
import os
import shutil
import subprocess

import pytest

from tests.boards.agents import AGENT, gemm_task, lines, lock_name, measurements, read
from tests.boards.test_agent_process import whole_campaign


def python2():
    """The one that is asked for, or the machine's own if it runs: pyenv puts commands in the path that do not."""
    asked = os.environ.get("SITECNN_PYTHON2")
    python = shutil.which("python2.7") if asked is None else asked
    if asked is None and python and subprocess.run([python, "-V"], check=False).returncode:
        return None
    return python


PYTHON2 = python2()

pytestmark = pytest.mark.skipif(
    not PYTHON2, reason="no Python 2.7: tests/boards/fetch_python2.sh DIR, then SITECNN_PYTHON2=DIR/python2.7"
)


def test_a_campaign_under_python_2(tmp_path):
    status, errors, records = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 20)], python=PYTHON2)
    assert status == 0, errors
    assert records[0]["board"]["python"].startswith("2.7")
    assert len(measurements(records)) == 19 and records[-1]["owed"] == 0
    # Keys are the same whatever Python wrote them: a board that gets a newer one goes on.
    status, _, again = whole_campaign(tmp_path, [gemm_task(m) for m in range(1, 21)])
    assert len(measurements(again)) == 20


def test_a_host_of_an_agent_under_python_2(tmp_path):
    command = [PYTHON2, str(AGENT), "--plan", "-", "--records", "-", "--lock", lock_name(tmp_path)]
    agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    agent.stdin.write((lines([{"finished": []}, *(gemm_task(m) for m in range(1, 6))]) + "\n").encode())
    agent.stdin.flush()
    (tmp_path / "records.jsonl").write_bytes(
        b"".join(line for line in iter(agent.stdout.readline, b"") if line.strip())
    )
    assert agent.wait(timeout=30) == 0
    agent.stdin.close()
    assert len(measurements(read(tmp_path))) == 5


def test_a_probe_under_python_2():
    probed = subprocess.run([PYTHON2, str(AGENT), "--probe"], capture_output=True, check=True)
    assert json.loads(probed.stdout)["python"].startswith("2.7")
