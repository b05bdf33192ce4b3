# -*- coding: utf-8 -*-
"""Who asks, and where records go."""

from __future__ import absolute_import, division, print_function

import json
import os
import select
import time

from .errors import HostGone, Refused
from .keys import canonical
from .private import open_own

# A host renews its lease every 5 s at least; a cut link is noticed by its silence.
LEASE_SECONDS = 20
SAY_SECONDS = 5


class RecordFile(object):
    """A plan and an append-only record file: a torn last line is cut off, finished keys are known."""

    def __init__(self, plan, path):
        self.tasks = self._read_plan(plan)
        self.parent = os.getppid()
        try:
            self.file = os.fdopen(open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666), "a+b")
        except (IOError, OSError) as error:
            raise Refused("--records: %s: %s" % (path, error.strerror))
        self.finished = set()
        self.file.seek(0)
        good = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            good += len(line)
            try:
                record = json.loads(line.decode("utf-8"))
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("record") == "measurement":
                self.finished.add(record["key"])
        self.file.truncate(good)

    def _read_plan(self, path):
        try:
            with open(path, "rb") as lines:
                return [json.loads(line.decode("utf-8")) for line in lines if line.strip()]
        except (IOError, OSError) as error:
            raise Refused("--plan: %s: %s" % (path, error.strerror))
        except ValueError as error:
            raise Refused("--plan: %s: not JSON lines: %s" % (path, error))

    def append(self, record):
        """One line, on the disk before this returns."""
        self.file.write(canonical(record).encode("utf-8") + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def check(self):
        """HostGone when the process that started this one has ended."""
        if os.getppid() != self.parent:
            raise HostGone("the process that started it has ended")


class Stream(object):
    """A host at the other end of stdin and stdout: its plan, what it has, and its lease.

    stdin: `{"finished": [key...]}`, a task per line, an empty line; then a newline every few seconds.
    """

    def __init__(self):
        self.renewed, self.buffer, self.out = time.time(), b"", None
        lines = []
        while not lines or lines[-1]:
            while b"\n" not in self.buffer:
                self.check(0.5)
            line, self.buffer = self.buffer.split(b"\n", 1)
            lines.append(line.strip())
        read = [json.loads(line.decode("utf-8")) for line in lines[:-1]]
        self.finished, self.tasks = set(read[0]["finished"]), read[1:]
        self.out, self.said = os.fdopen(os.dup(1), "wb"), time.time()
        os.dup2(2, 1)

    def append(self, record):
        """One line, handed to the host, which keeps it."""
        self.say(canonical(record).encode("utf-8") + b"\n")

    def say(self, line):
        """Send a line; an empty one every few seconds tells the host that this process lives."""
        try:
            self.out.write(line)
            self.out.flush()
        except (IOError, OSError) as error:
            raise HostGone("it does not take records any more: %s" % error.strerror)
        self.said = time.time()

    def check(self, wait=0):
        """HostGone when stdin is closed or silent for longer than the lease."""
        if select.select([0], [], [], wait)[0]:
            part = os.read(0, 1 << 16)
            if not part:
                raise HostGone("it closed the connection")
            self.buffer += part
            self.renewed = time.time()
        elif time.time() - self.renewed > LEASE_SECONDS:
            raise HostGone("it was silent for %d s" % LEASE_SECONDS)
        if self.out and time.time() - self.said > SAY_SECONDS:
            self.say(b"\n")
