"""A board behind a link of its own (two network namespaces) that delays, loses packets and is cut without a word."""

import socket
import time

import pytest

from sitecnn.boards import campaign
from sitecnn.boards.transports import ssh
from tests.boards.lossy_link import THERE, behind_link, can_make_links
from tests.boards.sshd import SSHD, make_sshd
from tests.boards.test_ssh import assert_whole, at_some_progress, board, plan, records_of

DELAY_S, LOSS = 0.02, 0.02

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(SSHD is None or not can_make_links(), reason="needs sshd, network namespaces and TUN (root)"),
]


@pytest.fixture
def link(tmp_path, monkeypatch):
    """An sshd in a namespace, and the link to it."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sockets = tmp_path.parent / "s"
    sockets.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
    ssh.control_folder.cache_clear()
    with behind_link(DELAY_S, LOSS) as (lossy, prefix):
        server = make_sshd(folder, address=THERE, prefix=prefix)
        server.start()
        try:
            yield server, lossy
        finally:
            server.kill()
            ssh.control_folder.cache_clear()


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

    with at_some_progress(tmp_path, 20, cut):
        campaign.profile(tmp_path, board(server), plan(tmp_path, 150))
    assert_whole(tmp_path, 150)
    assert lossy.lost > 0
    assert sum(record["record"] == "run" for record in records_of(tmp_path)) == 2
    assert "trying again" in capfd.readouterr().err
