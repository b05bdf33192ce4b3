"""A board behind a link of its own (two network namespaces), that is slow and then cut without a word."""

import contextlib
import os
import subprocess
import time

import pytest

from sitecnn.boards import campaign
from sitecnn.boards.transports import ssh
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_ssh import assert_whole, at_some_progress, board, kept, plan

NAMESPACE, HERE, THERE = f"sitecnn{os.getpid()}", "10.213.77.1", "10.213.77.2"


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


def can_make_namespaces():
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        ip("netns", "add", NAMESPACE + "x")
        ip("netns", "delete", NAMESPACE + "x")
        return True
    return False


pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(SSHD is None or not can_make_namespaces(), reason="needs sshd and network namespaces (root)"),
]


@pytest.fixture
def link(tmp_path, monkeypatch):
    """An sshd in a namespace; the name of this end of the link, which `ip link set` cuts and mends."""
    near, far = f"sc{os.getpid()}a", f"sc{os.getpid()}b"
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", NAMESPACE)
        ip("addr", "add", f"{HERE}/30", "dev", near)
        ip("link", "set", near, "up")
        for words in (
            ["addr", "add", f"{THERE}/30", "dev", far],
            ["link", "set", far, "up"],
            ["link", "set", "lo", "up"],
        ):
            ip("-n", NAMESPACE, *words)
        # This kernel may lack netem; a shaped link delays by its queue.
        subprocess.run(
            ["tc", "qdisc", "add", "dev", near, "root", "tbf", "rate", "2mbit", "burst", "16kb", "latency", "300ms"],
            check=False, capture_output=True,
        )  # fmt: skip
        folder = tmp_path / "sshd"
        folder.mkdir()
        server = make_sshd(folder, address=THERE, prefix=("ip", "netns", "exec", NAMESPACE))
        server.start()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        sockets = tmp_path.parent / "s"
        sockets.mkdir(exist_ok=True)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
        ssh.control_folder.cache_clear()
        yield server, near
        server.kill()
    finally:
        ssh.control_folder.cache_clear()
        ip("netns", "delete", NAMESPACE)
        ip("link", "delete", near, check=False)


def test_a_link_that_is_cut_without_a_word_costs_what_was_in_hand(link, tmp_path, capfd):
    server, near = link

    def cut():
        ip("link", "set", near, "down")
        time.sleep(25)
        ip("link", "set", near, "up")

    thread = at_some_progress(tmp_path, 20, cut)
    campaign.profile(tmp_path, board(server), plan(tmp_path, 150))
    thread.join()
    assert_whole(tmp_path, 150)
    assert sum(record["record"] == "run" for record in kept(tmp_path)) == 2
    assert "trying again" in capfd.readouterr().err
