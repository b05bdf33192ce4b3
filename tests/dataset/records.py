"""Synthetic records, as the agent writes them."""

import json

from sitecnn.network import parse_prototxt

PROTOTXT = """
name: "toy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""
LAYERS = parse_prototxt(PROTOTXT, "test").layers


def run_record(run="r1", **changes):
    board = {"cpu": "test", "machine": "x86_64", "engine": {"name": "caffe", "version": "1.0"}, "blas": "OpenBLAS"}
    conditions = {"time": "2026-11-23T10:00:00Z", "load": 0.5, "cpu_mhz": [1000.0, 2000.0]}
    named = {"record": "run", "run": run, "protocol": 1, "processor": "cpu", "stack": "caffe+1", "threads": 1}
    return {**named, "agent_sha256": "0" * 64, "board": board, "conditions": conditions, **changes}


FLAGS = {"trans_a": 0, "trans_b": 0, "accumulate": 0}


def gemm_record(number, run="r1", **changes):
    kernel = {
        "kind": "gemm",
        "variant": "",
        "m": number + 1,
        "n": 2,
        "k": 3,
        "trans_a": 0,
        "trans_b": 0,
        "accumulate": 0,
    }
    samples = [10.0 + number, 11.0 + number, 13.5 + number]
    timed = {
        "samples_ns": samples,
        "median_ns": samples[1],
        "spread_ns": 1.0,
        "low_ns": samples[0],
        "high_ns": samples[2],
    }
    said = {
        "status": "ok",
        "reason": "",
        "mode": "cold",
        "iterations": 1,
        "warm_up": 1,
        "stop": "noise",
        "seconds": 0.1,
    }
    task = {
        "record": "measurement",
        "task": "gemm",
        "key": f"{number:032x}",
        "run": run,
        "kernel": kernel,
    }
    return {**task, **said, **timed, **changes}


def block_record(name="b1", run="r1", **changes):
    after = {"time": "2026-11-23T10:01:00Z", "load": 0.7, "cpu_mhz": [1000.0, 2000.0], "temperature_c": [40.0, 50.5]}
    sentinels = {"sentinel_before_ns": 5.0, "sentinel_after_ns": 5.1}
    named = {"record": "block", "block": name, "run": run, "attempt": 1, **sentinels}
    return {**named, "before": {}, "after": after, **changes}


def network_record(run="r1", key="f" * 32, **changes):
    layers = [{"name": layer.name, "type": layer.type, "samples_ns": [1, 2, 4]} for layer in LAYERS]
    passes = {"layers": layers, "layerwise_ns": [3, 6, 12], "forward_ns": [3, 5, 7], "status": "ok", "reason": ""}
    what = {"record": "measurement", "task": "network", "network": "toy", "batch": 2, "prototxt": PROTOTXT}
    return {**what, "key": key, "run": run, "seconds": 1.0, **passes, **changes}


def write(root, records, board="b", name="cpu.jsonl", mode="a"):
    path = root / "results" / "records" / board / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as out:
        out.writelines((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)
    return path
