"""Aggregation of synthetic measurements, and pyarrow alone writing and reading the same columns; import of tables.

    .venv/bin/python benchmarks/dataset.py --measurements 10000000
    .venv/bin/python benchmarks/dataset.py --tables ../shared/boards-data ../shared/networks

Half of the measurements are GEMMs, half are layers; ten boards share them evenly. Lines have the agent's fields and
as many samples as the median line of a campaign on two Xeon cores.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sitecnn.dataset import read_measurements, store
from sitecnn.dataset.summary import files

BOARDS, BLOCK, GEMM_SAMPLES, LAYER_SAMPLES = 10, 13, 25, 48


def write_records(root, count):
    """`count` measurements in the record files of BOARDS boards; returns their bytes."""
    random = np.random.default_rng(2017)
    total = 0
    for board in range(BOARDS):
        path = root / "results" / "records" / f"board{board}" / "cpu.jsonl"
        path.parent.mkdir(parents=True)
        run = {"record": "run", "run": f"{board:032x}", "processor": "cpu", "stack": "synthetic", "threads": 1}
        with path.open("w") as out:
            out.write(json.dumps(run) + "\n")
            for start in range(0, count // BOARDS, 100_000):
                out.writelines(lines(random, f"{board:032x}", start, min(100_000, count // BOARDS - start)))
        total += path.stat().st_size
    return total


def lines(random, run, start, count):
    keys = random.bytes(16 * count).hex()
    samples = random.integers(1_000_000, 2_000_000, (count, LAYER_SAMPLES)).tolist()
    sizes = random.integers(1, 4096, (count, 3)).tolist()
    conditions = '{"affinity":[0,1],"cpu_mhz":[2599.998,2599.998],"load":0.5,"time":"2026-11-23T15:58:58Z"}'
    sentinels = '"sentinel_after_ns":186352.375,"sentinel_before_ns":181889.5'
    named = f'"record":"block","run":"{run}",{sentinels}'
    for number in range(count):
        block = f"{start + number - number % BLOCK:012x}"
        if number % BLOCK == 0:
            yield f'{{"after":{conditions},"attempt":1,"before":{conditions},"block":"{block}",{named}}}\n'
        m, n, k = sizes[number]
        key = keys[32 * number : 32 * number + 32]
        if (start + number) % 2:
            # In the agent's lines a GEMM's times are floats, a layer's integers.
            taken, mode, task = [float(ns) for ns in samples[number][:GEMM_SAMPLES]], "warm", '"task":"gemm"'
            kernel = f'{{"accumulate":0,"k":{k},"kind":"gemm","m":{m},"n":{n},"trans_a":0,"trans_b":0,"variant":""}}'
            evicted = ""
        else:
            taken, mode, task = samples[number], "cold", '"task":"layer"'
            kernel = (
                f'{{"channels":{m},"height":{n},"images":1,"in_elements":{m * n},"inputs":1,"kind":"relu",'
                f'"out_channels":{m},"out_elements":{m * n},"out_height":{n},"out_width":1,"outputs":1,"parameters":0,'
                f'"variant":"","width":1}}'
            )
            evicted = '"evict_bytes":2823994272,'
        ordered = sorted(taken)
        yield (
            f'{{"block":"{block}",{evicted}"high_ns":{ordered[-2]},"iterations":1,"kernel":{kernel},"key":"{key}",'
            f'"low_ns":{ordered[1]},"median_ns":{ordered[len(ordered) // 2]},"mode":"{mode}","reason":"",'
            f'"record":"measurement","run":"{run}","samples_ns":{json.dumps(taken, separators=(",", ":"))},'
            f'"seconds":0.45371013879776,"spread_ns":{(ordered[-3] - ordered[2]) / 2},"status":"ok","stop":"noise",'
            f'{task},"warm_up":1}}\n'
        )


def timed(name, count, function):
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    print(f"{name:58} {seconds:8.2f} s   {count / seconds:12,.0f} /s", flush=True)
    return result, seconds


def alone(root, folder):
    """Seconds that pyarrow takes to write and to read the dataset's columns, on two threads, a few files at a time."""
    seconds, names = [0.0, 0.0], files(root)
    for start in range(0, len(names), 4):
        tables = [pq.read_table(path, partitioning=None) for path in names[start : start + 4]]
        paths = [folder / f"{number}.parquet" for number in range(len(tables))]
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda table, path: pq.write_table(table, path, compression="zstd"), tables, paths))
        written = time.perf_counter()
        rows = len(ds.dataset(paths).to_table())
        seconds = [seconds[0] + written - began, seconds[1] + time.perf_counter() - written]
        assert rows == sum(map(len, tables))
        for path in paths:
            path.unlink()
    return seconds


def aggregate_many(root, count):
    size = timed("write synthetic records", count, lambda: write_records(root, count))[0]
    print(f"{size / 1e9:.2f} GB of records, {size / count:.0f} bytes each")
    command = [sys.executable, "-m", "sitecnn", "--root", str(root), "aggregate"]
    _, taken = timed("aggregate", count, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{'its memory at most (it is one process)':58} {used.ru_maxrss / 2**20:8.2f} GiB")
    print(f"{'its time on all cores':58} {used.ru_utime + used.ru_stime:8.2f} s")
    timed("aggregate again, nothing new", count, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    columns = ["kind", "m", "n", "k", "median_ns"]
    gemms, _ = timed(
        "one board's GEMMs (sizes, median), pandas",
        count // BOARDS // 2,
        lambda: read_measurements(root, "board3", "cpu", columns=columns, kinds=["gemm"]),
    )
    assert len(gemms) == count // BOARDS // 2 and (gemms["kind"] == "gemm").all()
    (root / "plain").mkdir()
    for what, seconds in zip(("writes", "reads"), (both := alone(root, root / "plain")), strict=True):
        print(f"{f'pyarrow alone {what} the same columns':58} {seconds:8.2f} s   {count / seconds:12,.0f} /s")
    print(f"{'aggregation, in units of both':58} {taken / sum(both):8.2f}")


def import_tables(root, tables, networks):
    """Every table of a folder, for both processors; what the command says of each."""
    for table in sorted(tables.glob("*.parquet")):
        for processor in ("cpu", "gpu"):
            named = [
                "--board",
                table.stem,
                "--processor",
                processor,
                "--stack",
                "published",
                "--networks",
                str(networks),
            ]
            command = [sys.executable, "-m", "sitecnn", "--root", str(root), "import", "table", str(table), *named]
            said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
            print(f"{processor}: {said.splitlines()[0].split('/')[-1]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--measurements", type=int, default=1_000_000)
    parser.add_argument("--tables", nargs=2, type=Path, metavar=("TABLES", "NETWORKS"))
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="sitecnn-benchmark-"))
    try:
        if arguments.tables:
            rows = sum(len(pq.read_table(path)) for path in arguments.tables[0].glob("*.parquet"))
            timed("import of all tables", rows, lambda: import_tables(root, *arguments.tables))
        else:
            aggregate_many(root, arguments.measurements)
        assert store.existing(root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
