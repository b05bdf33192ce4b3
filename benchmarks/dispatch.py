"""What dispatch over SSH costs: the same plan by the same agent on this machine, started locally and by a real sshd.

    .venv/bin/python -m benchmarks.dispatch [MEASUREMENTS]

In turn, three times each; prints the medians, and their difference against the goal of 5 % + 5 s.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from sitecnn.boards.campaign import profile
from sitecnn.boards.config import Board
from sitecnn.cli.tables import table
from tests.boards.agents import gemm_task, lines
from tests.boards.sshd import make_sshd

TURNS = 3


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "sshd").mkdir()
        server = make_sshd(folder / "sshd")
        server.start()
        (folder / "plan.jsonl").write_text(lines(gemm_task(m, 256, 256) for m in range(1, count + 1)))
        common = {"name": "far", "python": sys.executable, "processors": {"cpu": {}}}
        ssh = {"transport": "ssh", "ssh": {"host": "board", "config_file": str(server.config_file)}}
        boards = {"local": Board.model_validate(common), "ssh": Board.model_validate({**common, **ssh})}
        seconds: dict[str, list[float]] = {transport: [] for transport in boards}
        try:
            for turn in range(TURNS):
                for transport, board in boards.items():
                    start = time.perf_counter()
                    profile(folder / f"{transport}{turn}", board, folder / "plan.jsonl")
                    seconds[transport].append(time.perf_counter() - start)
        finally:
            server.kill()
    local, far = (median(seconds[transport]) for transport in ("local", "ssh"))
    cells = [f"{local:.2f}", f"{far:.2f}", f"{far - local:+.2f} s", f"{0.05 * local + 5:.2f} s"]
    print(table(("measurements", "local s", "ssh s", "difference", "goal"), [(str(count), *cells)], right=range(5)))


if __name__ == "__main__":
    main()
