"""Worker processes as the page sees them: asked one question at a time, stopped where an answer does not come."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sitecnn.errors import SiteCNNError

LONGEST_S = 30.0
"""An answer that takes longer does not come: the largest networks that people publish take a second."""

READ_LIMIT_BYTES = 64 << 20
"""The longest line that a worker may answer: thousands of layers take a few MiB."""


class Refused(SiteCNNError):
    """What the worker says is wrong with a network, with the line of the text that it is about."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Worker:
    """A process of a tab's own, started with the first question, and anew when it had to be stopped."""

    def __init__(self, root: Path, boards: Sequence[str] = (), longest_s: float = LONGEST_S) -> None:
        self.root, self.boards, self.longest_s = root, tuple(boards), longest_s
        self.process: subprocess.Popen[bytes] | None = None
        self.turn = asyncio.Lock()

    def start(self) -> None:
        """Start the process if none is running; the first question waits until it is ready."""
        if self.process is None:
            command = [sys.executable, "-m", "sitecnn.explore.worker", str(self.root), *self.boards]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
            )

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    # What a dead process had not read yet cannot be written any more.
                    with contextlib.suppress(OSError):
                        stream.close()
            self.process = None

    async def ask(self, do: str, **request: Any) -> Any:
        """The worker's answer; Refused for a network that is wrong, or where the answer takes too long."""
        async with self.turn:
            self.start()
            process = self.process
            assert process is not None
            try:
                line = json.dumps({"do": do, **request}).encode() + b"\n"
                reply = await asyncio.wait_for(asyncio.to_thread(_exchange, process, line), self.longest_s)
            except TimeoutError:
                self.stop()
                raise Refused(f"no answer within {self.longest_s:g} s, so reading this network was stopped") from None
        if not reply:
            self.stop()
            raise Refused(
                "the process that reads this network crashed or ran out of memory, so the network is left out"
            )
        document = json.loads(reply)
        if "error" in document:
            raise Refused(document["error"], document["line"])
        return document["answer"]


def _exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """The line that answers a line; nothing where the process has ended, was stopped, or answers without end."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
        reply = process.stdout.readline(READ_LIMIT_BYTES)
    except (OSError, ValueError):
        return b""
    # Of an answer that is too long the rest would be taken for the next one.
    return reply if reply.endswith(b"\n") else b""
