"""Aggregation killed at random moments and on full disks: the dataset opens, is sound, and counts nothing twice.

SITECNN_KILLS=200 .venv/bin/pytest tests/dataset/test_kill.py -s    kills 200 runs and prints what became of them
"""

import multiprocessing
import os
import random
import subprocess
import sys
import time

import pytest

from sitecnn.dataset import aggregate, read_measurements, store
from sitecnn.dataset.verify import problems
from sitecnn.errors import SiteCNNError
from tests.dataset.records import gemm_record, network_record, run_record, write

KILLS = int(os.environ.get("SITECNN_KILLS", "30"))
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["sitecnn.dataset"])


def counted(root):
    """How many measurements there are; every key must be there once, and the dataset sound."""
    if store.current(root) is None:
        return 0
    assert list(problems(root)) == []
    kernels = read_measurements(root, "b", "cpu", columns=["key"], subjects=["kernel"])["key"]
    assert kernels.is_unique
    return len(kernels)


def killed(root, seconds):
    """Aggregate in a process of its own and kill it after so long; whether it died of that."""
    process = CONTEXT.Process(target=aggregate, args=(root,))
    process.start()
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode != 0


def test_killed_at_random_moments(tmp_path):
    draw = random.Random(2017)
    write(tmp_path, [run_record(), network_record()])
    killed(tmp_path / "empty", 2)  # starts the server that forks
    began = time.perf_counter()
    whole = CONTEXT.Process(target=aggregate, args=(tmp_path,))
    whole.start()
    whole.join()
    duration = time.perf_counter() - began
    before, written, died, advanced = counted(tmp_path), 0, 0, 0
    for _ in range(KILLS):
        new = draw.randrange(1, 30)
        # Some keys come again, so that files are rewritten, too.
        numbers = [*range(written, written + new), *draw.sample(range(written), min(written, 2))]
        write(tmp_path, map(gemm_record, numbers))
        dead = killed(tmp_path, draw.uniform(0, 1.2 * duration))
        died += dead
        # Follows the growing dataset, so that about one run in five ends: kills then come at every stage.
        duration *= 1.05 if dead else 0.8
        now = counted(tmp_path)
        assert before <= now <= written + new
        advanced += now > before
        before, written = now, written + new
    assert died >= KILLS // 4
    aggregate(tmp_path)
    assert counted(tmp_path) == written
    print(f"\n{KILLS} runs: {died} killed before they ended; the dataset grew in {advanced}, and was sound after each")
    print(f"in the end {written:,} measurements of {written:,} written, each once")


def test_a_generation_is_the_old_or_the_new_at_every_step(tmp_path, monkeypatch):
    """Every call that changes the disk fails in turn: what is read afterwards is the old dataset or the new one."""
    write(tmp_path, [run_record(), *map(gemm_record, range(3))])
    aggregate(tmp_path)
    seen, step, left = set(), 0, [0]
    while left[0] <= 0:
        step += 1
        root = tmp_path / f"step{step}"
        write(root, [run_record(), *map(gemm_record, range(3))])
        aggregate(root)
        write(root, map(gemm_record, range(3, 5)))
        with monkeypatch.context() as patch:
            left = [step]
            for name in ("link", "fsync", "replace", "open"):
                patch.setattr(os, name, failing(getattr(os, name), left))
            try:
                aggregate(root)
            except SiteCNNError as error:
                assert "No space left" in str(error)
        seen.add(counted(root))
        assert seen <= {3, 5}
    assert seen == {3, 5} and step > 10


def failing(function, left):
    """`function`, whose call number left[0] finds the disk full."""

    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        return function(*args, **kwargs)

    return call


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(tmp_path):
    tmp_path.joinpath("disk").mkdir()
    disk = tmp_path / "disk"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        write(disk, [run_record(), *map(gemm_record, range(20))])
        aggregate(disk)
        write(disk, map(gemm_record, range(20, 1500)))
        fill = disk / "fill"
        with fill.open("wb", buffering=0) as out:
            try:
                while out.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        full = 0
        while full < 40:
            command = [sys.executable, "-m", "sitecnn", "--root", str(disk), "aggregate"]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode == 0:
                break
            assert result.returncode == 2 and "No space left" in result.stderr and len(result.stderr.splitlines()) == 1
            assert counted(disk) == 20
            full += 1
            os.truncate(fill, max(fill.stat().st_size - 40_000, 0))
        assert result.returncode == 0 and counted(disk) == 1500
        print(f"\n{full} runs found the disk full and left the old dataset; with room, 1,500 measurements, each once")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
