"""A board behind a link of its own (two network namespaces) that delays, loses packets and is cut without a word."""

import contextlib
import os
import socket
import subprocess
import time

import pytest

from sitecnn.boards import campaign
from sitecnn.boards.transports import ssh
from tests.boards.lossy_link import LossyLink
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_ssh import assert_whole, at_some_progress, board, kept, plan

NAMESPACE, HERE, THERE = f"sitecnn{os.getpid()}", "10.213.77.1", "10.213.77.2"
DELAY_S, LOSS = 0.02, 0.02


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def can_make_links():
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        ip("netns", "add", NAMESPACE + "x")
        ip("netns", "delete", NAMESPACE + "x")
        return os.access("/dev/net/tun", os.R_OK | os.W_OK)
    return False


pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(SSHD is None or not can_make_links(), reason="needs sshd, network namespaces and TUN (root)"),
]


@pytest.fixture
def link(tmp_path, monkeypatch):
    """An sshd in a namespace, and the link to it."""
    near, far = f"sc{os.getpid()}a", f"sc{os.getpid()}b"
    ip("netns", "add", NAMESPACE)
    lossy = LossyLink(near, far, DELAY_S, LOSS)
    try:
        ip("link", "set", far, "netns", NAMESPACE)
        ip("addr", "add", HERE, "peer", THERE, "dev", near)
        ip("link", "set", near, "up")
        ip("-n", NAMESPACE, "addr", "add", THERE, "peer", HERE, "dev", far)
        ip("-n", NAMESPACE, "link", "set", far, "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        folder = tmp_path / "sshd"
        folder.mkdir()
        server = make_sshd(folder, address=THERE, prefix=("ip", "netns", "exec", NAMESPACE))
        server.start()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        sockets = tmp_path.parent / "s"
        sockets.mkdir(exist_ok=True)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
        ssh.control_folder.cache_clear()
        yield server, lossy
        server.kill()
    finally:
        ssh.control_folder.cache_clear()
        lossy.close()
        ip("netns", "delete", NAMESPACE)


def test_the_link_delays_and_cuts_as_it_is_told(link):
    server, lossy = link
    start = time.perf_counter()
    socket.create_connection((THERE, server.port), timeout=10).close()
    assert time.perf_counter() - start >= 2 * DELAY_S
    lossy.cut = True
    with pytest.raises(TimeoutError):
        socket.create_connection((THERE, server.port), timeout=1)


def test_a_link_that_is_cut_without_a_word_costs_what_was_in_hand(link, tmp_path, capfd):
    server, lossy = link

    def cut():
        lossy.cut = True
        time.sleep(25)
        lossy.cut = False

    thread = at_some_progress(tmp_path, 20, cut)
    campaign.profile(tmp_path, board(server), plan(tmp_path, 150))
    thread.join()
    assert_whole(tmp_path, 150)
    assert lossy.lost > 0
    assert sum(record["record"] == "run" for record in kept(tmp_path)) == 2
    assert "trying again" in capfd.readouterr().err
