"""Aggregation of synthetic measurements beside DuckDB's bare read-and-write of the same lines; import of tables.

    .venv/bin/python benchmarks/dataset.py --measurements 10000000
    .venv/bin/python benchmarks/dataset.py --measurements 10000000 --keep DIR      the lines are written there once
    .venv/bin/python benchmarks/dataset.py --tables ../shared/boards-data ../shared/networks

Half of the measurements are GEMMs, half are layers; ten boards share them evenly. Lines have the agent's fields and
as many samples as the median line of a campaign on two Xeon cores.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sitecnn.dataset import read_measurements, store

BOARDS, BLOCK, GEMM_SAMPLES, LAYER_SAMPLES = 10, 13, 25, 48


def write_records(root, count):
    """`count` measurements in the record files of BOARDS boards."""
    random = np.random.default_rng(2017)
    for board in range(BOARDS):
        path = root / "results" / "records" / f"board{board}" / "cpu.jsonl"
        path.parent.mkdir(parents=True)
        run = {"record": "run", "run": f"{board:032x}", "processor": "cpu", "stack": "synthetic", "threads": 1}
        with path.open("w") as out:
            out.write(json.dumps(run) + "\n")
            for start in range(0, count // BOARDS, 100_000):
                out.writelines(lines(random, f"{board:032x}", start, min(100_000, count // BOARDS - start)))


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


BARE = """
import sys, duckdb
from sitecnn.dataset.shapes import KERNEL, MEASUREMENT
def sql(kind):
    if isinstance(kind, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {sql(inner)}' for name, inner in kind.items()) + ")"
    return f"{sql(kind[0])}[]" if isinstance(kind, list) else kind
columns = {name: sql(kind) for name, kind in {**MEASUREMENT, "kernel": KERNEL}.items()}
root = sys.argv[1]
duckdb.execute(f"SET memory_limit = '1GB'; SET temp_directory = '{root}/spill'")
duckdb.execute(f"COPY (SELECT * FROM read_json('{root}/results/records/*/*.jsonl', columns = {columns}, "
    f"format = 'newline_delimited')) TO '{root}/bare.parquet' (FORMAT parquet, COMPRESSION zstd)")
"""


def usage(command):
    """(seconds, CPU seconds, GiB at most) of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def show(name, count, taken):
    seconds, cpu, memory = taken
    print(f"{name:50} {seconds:8.2f} s {count / seconds:10,.0f} /s {cpu:8.2f} s of CPU {memory:6.2f} GiB", flush=True)


def aggregate_many(root, count, repeats):
    if not (root / "results" / "records").exists():
        timed("write synthetic records", count, lambda: write_records(root, count))
    size = sum(path.stat().st_size for path in root.glob("results/records/*/*.jsonl"))
    print(f"{size / 1e9:.2f} GB of records, {size / count:.0f} bytes each")
    command = [sys.executable, "-m", "sitecnn", "--root", str(root), "aggregate"]
    bare = [sys.executable, "-c", BARE, str(root)]
    runs = [(usage(bare), usage(command), shutil.rmtree(store.folder(root))) for _ in range(repeats - 1)]
    runs.append((usage(bare), usage(command), None))
    for plain, ours, _ in runs:
        show("DuckDB alone reads and writes the lines", count, plain)
        show("aggregate", count, ours)
        print(f"{'in units of that: time, CPU':50} {ours[0] / plain[0]:8.2f} {ours[1] / plain[1]:8.2f}")
    timed("aggregate again, nothing new", count, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    columns = ["kind", "m", "n", "k", "median_ns"]
    gemms, _ = timed(
        "one board's GEMMs (sizes, median), pandas",
        count // BOARDS // 2,
        lambda: read_measurements(root, "board3", "cpu", columns=columns, kinds=["gemm"]),
    )
    assert len(gemms) == count // BOARDS // 2 and (gemms["kind"] == "gemm").all()


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
    parser.add_argument("--repeats", type=int, default=1, help="of both, in turn")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="the records stay in DIR/MEASUREMENTS")
    parser.add_argument("--tables", nargs=2, type=Path, metavar=("TABLES", "NETWORKS"))
    arguments = parser.parse_args()
    kept = arguments.keep and arguments.keep / str(arguments.measurements)
    root = kept or Path(tempfile.mkdtemp(prefix="sitecnn-benchmark-"))
    try:
        shutil.rmtree(store.folder(root), ignore_errors=True)
        if arguments.tables:
            rows = sum(len(pq.read_table(path)) for path in arguments.tables[0].glob("*.parquet"))
            timed("import of all tables", rows, lambda: import_tables(root, *arguments.tables))
        else:
            aggregate_many(root, arguments.measurements, arguments.repeats)
        assert store.existing(root)
    finally:
        if not kept:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
