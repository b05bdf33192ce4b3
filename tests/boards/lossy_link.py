"""A link between two network namespaces that delays and loses packets and can be cut: netem is not in every kernel."""

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU_BYTES = 1500
HERE, THERE = "10.213.77.1", "10.213.77.2"


class LossyLink:
    """Two TUN interfaces, made here, and a thread that carries packets between them; either may change namespace."""

    def __init__(self, near, far, delay_s, loss):
        self.ends = open_tun(near), open_tun(far)
        self.delay_s, self.loss, self.cut = delay_s, loss, False
        self.carried = self.lost = self.cut_off = 0
        self._dice, self._over = random.Random(2017), threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self):
        """Both interfaces vanish with their descriptors."""
        self._over.set()
        self._thread.join()
        for end in self.ends:
            os.close(end)

    def _carry(self):
        near, far = self.ends
        under_way = []  # (when it arrives, its number, where, packet)
        while not self._over.is_set():
            wait = max(0, under_way[0][0] - time.monotonic()) if under_way else 0.1
            for end in select.select(self.ends, [], [], min(wait, 0.1))[0]:
                # An end that is not up yet, or no more, refuses; so does a cable that is not plugged in.
                with contextlib.suppress(OSError):
                    packet = os.read(end, MTU_BYTES)
                    if self.cut:
                        self.cut_off += 1
                        continue
                    if self._dice.random() < self.loss:
                        self.lost += 1
                        continue
                    self.carried += 1
                    target = far if end == near else near
                    heapq.heappush(under_way, (time.monotonic() + self.delay_s, self.carried, target, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(under_way)
                with contextlib.suppress(OSError):
                    os.write(target, packet)


def open_tun(name):
    """The descriptor of a new interface; what is written to it arrives, what is sent over it can be read."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


@contextlib.contextmanager
def behind_link(delay_s, loss):
    """A network namespace at the other end of a link, address THERE: (the link, what starts a command there)."""
    name, near, far = (f"sitecnn{os.getpid()}", f"sc{os.getpid()}a", f"sc{os.getpid()}b")
    ip("netns", "add", name)
    link = LossyLink(near, far, delay_s, loss)
    try:
        ip("link", "set", far, "netns", name)
        ip("addr", "add", HERE, "peer", THERE, "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", THERE, "peer", HERE, "dev", far)
        ip("-n", name, "link", "set", far, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield link, ("ip", "netns", "exec", name)
    finally:
        link.close()
        ip("netns", "delete", name)


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def can_make_links():
    """Whether this user may make namespaces and TUN interfaces."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        ip("netns", "add", f"sitecnn{os.getpid()}x")
        ip("netns", "delete", f"sitecnn{os.getpid()}x")
        return os.access("/dev/net/tun", os.R_OK | os.W_OK)
    return False
