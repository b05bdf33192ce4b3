# -*- coding: utf-8 -*-
"""The supervisor's view of a worker."""

from __future__ import absolute_import, division, print_function

import json
import os
import re
import select
import subprocess
import sys
import tempfile

from .errors import Refused

# Rails are read ten times a second (the INA3221 averages over that long) while a kernel runs on end for a second.
POWER_INTERVAL_S = 0.1


def archive():
    """The file that this agent is; its workers are processes of the same file."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class WorkerDied(Exception):
    """The process that measured is gone; its text says how it ended."""


class Worker(object):
    """A process of this file that measures. Only one exists at a time but for a network's own."""

    def __init__(self, arguments, engine):
        command = [sys.executable, archive(), "--worker"]
        command += ["--threads", str(arguments.threads), "--processor", arguments.processor, "--engine", engine]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, close_fds=False
        )
        self.buffer = b""

    def ask(self, request, tick):
        """Send a request and yield (index, result) until its end; `tick()` is called ten times a second."""
        try:
            self.process.stdin.write(json.dumps(request).encode("utf-8") + b"\n")
            self.process.stdin.flush()
        except (IOError, OSError):
            raise self.died()
        while True:
            reply = json.loads(self.read_line(tick).decode("utf-8"))
            if isinstance(reply["result"], dict) and "refused" in reply["result"]:
                raise Refused(reply["result"]["refused"])
            yield reply["index"], reply["result"]
            if reply["index"] == "end":
                return

    def read_line(self, tick):
        """One line of replies."""
        source = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            tick()
            if select.select([source], [], [], POWER_INTERVAL_S)[0]:
                part = os.read(source, 1 << 16)
                if not part:
                    raise self.died()
                self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def died(self):
        """The exception that says how this process ended."""
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        # Of a failed CHECK the line that names it counts, not the stack trace below it.
        said = [line for line in lines if re.match(r"F\d+ |\w*Error", line)] or lines[-1:] or ["it said nothing"]
        how = "ended by signal %d" % -status if status < 0 else "ended with status %d" % status
        return WorkerDied("the process that measured it %s: %s" % (how, said[-1].strip()))

    def close(self):
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            try:
                pipe.close()
            except (IOError, OSError):  # what was buffered for a dead process
                continue
