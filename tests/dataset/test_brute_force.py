"""Drawn records, read by the SQL and by loops in plain Python: every column of every row and run is the same."""

import json
import random
from datetime import datetime
from math import prod

import pandas as pd
import pytest
from scipy.stats import binom

from sitecnn.dataset import aggregate, read_measurements, reading, store
from sitecnn.dataset.schema import GPU_MEMORY, MEASUREMENTS, MEMORY, RUNS
from sitecnn.workload.kernels import layer_kernel
from tests.dataset.records import LAYERS, block_record, gemm_record, network_record, run_record, write

TIMES = [f"2026-11-23T10:0{minute}:00Z" for minute in range(4)]
STATUSES = ["ok", "unstable", "failed"]
MEMORY_NAMES = [name.removesuffix("_bytes") for name in (*MEMORY, *GPU_MEMORY)]
PARTS = {"weights": "engine_weights_bytes", "activations": "engine_activations_bytes", "kernels": "engine_kernels"}
STACKS = {
    "caffe-1.0+openblas": ("caffe", None),
    "onnxruntime-1.27+nchwc-16+fp32+1-threads": ("onnxruntime", "fp32"),
    "tx1 fp16 cudnn": ("caffe", "fp16"),
    "tflite-gpu": ("tflite-gpu", None),
}
"""What the stacks' names say of engine and precision."""


def drawn_run(draw, name):
    conditions = {"time": draw.choice(TIMES), "load": draw.random(), "governor": draw.choice(["fixed", "ondemand"])}
    conditions |= {"cpu_mhz": [draw.random() for _ in range(3)], "temperature_c": [draw.random(), draw.random()]}
    board = {"cpu": f"c{draw.random()}", "machine": "x86_64", "kernel": "6.1", "python": "3.5", "blas": "OpenBLAS"}
    board["engine"] = {"name": draw.choice([None, "caffe"]), "version": f"v{draw.random()}"}
    told = {"stack": draw.choice(list(STACKS)), "processor": draw.choice(["cpu", "gpu"]), "conditions": conditions}
    told |= {"threads": draw.randrange(4), "library": draw.choice([None, "blas"]), "source": draw.choice([None, "x"])}
    told |= {"engine": draw.choice([None, "tensorrt"]), "precision": draw.choice([None, "int8"]), "commit": name[::-1]}
    return run_record(name, user=f"u{draw.random()}", board=board, host=f"h{draw.random()}", **told)


def drawn_block(draw, name):
    after = {"time": draw.choice([*TIMES, "yesterday"]), "load": draw.random(), "gpu_mhz": draw.random(),
             "memory_mhz": draw.random(), "cpu_mhz": [draw.random(), draw.random()],
             "temperature_c": [draw.random(), draw.random()]}  # fmt: skip
    sentinels = {"sentinel_before_ns": draw.random(), "sentinel_after_ns": draw.random()}
    return block_record(name, attempt=draw.randrange(9), after=after, **sentinels)


def drawn_kernel(draw, number, common):
    timed = {"seconds": draw.random(), "iterations": draw.randrange(1, 9), "warm_up": draw.randrange(9)}
    timed |= {"mode": draw.choice(["warm", "cold"]), "stop": draw.choice(["noise", "limit"])}
    rails = {"power_rails": ["a", "b"], "power_mw": [draw.random(), draw.random()]} if draw.random() < 0.5 else {}
    return gemm_record(number, **timed, **rails, **common, task=draw.choice(["gemm", "layer"]))


def samples(draw):
    return [float(draw.randrange(1, 1000)) for _ in range(draw.choice([1, 2, 5, 8, 9, 30]))]


def drawn_pass(draw, common):
    common = {**common, "batch": 2, "round": draw.randrange(3), "iterations": draw.randrange(1, 9)}
    common |= {"seconds": draw.random(), "forward_ns": samples(draw), "layerwise_ns": draw.choice([[], samples(draw)])}
    common["task"] = draw.choice(["network", "probe"])
    if draw.random() < 0.5:
        kernels = [{"kind": "x", "variant": "v", "m": draw.randrange(9), "samples_ns": samples(draw)} for _ in range(2)]
        engine = draw.choice(["onnxruntime", "caffe"])
        return network_record(**common, engine=engine, precision="bf16", kernels=kernels, layers=None, prototxt=None)
    layers = [{"name": layer.name, "index": index, "fused": draw.choice([None, ["a", "b"]]),
               "on_zeros": draw.choice([None, False, True]), "samples_ns": samples(draw)}
              for index, layer in enumerate(LAYERS)]  # fmt: skip
    types = [{"type": "ReLU", "samples_ns": samples(draw)}, {"type": "LRN", "samples_ns": samples(draw)}]
    return network_record(**common, layers=draw.sample(layers, 2), types=draw.choice([None, types]))


def drawn_memory(draw, common):
    told = {"task": "memory", "memory_bytes": {name: draw.randrange(1000) for name in MEMORY_NAMES}, "round": 1}
    parts = draw.choice([None, {name: draw.randrange(1000) for name in PARTS}])
    return network_record(**common, **told, parts=parts, batch=2, layers=None, forward_ns=None, layerwise_ns=None)


def drawn_lines(draw, file):
    """A file's records; keys and runs come in several files, a file's blocks in no other."""
    yield drawn_run(draw, f"run-{draw.randrange(4)}")
    block = None
    for number in range(60):
        if draw.random() < 0.2:
            block = f"{file}-{number}"
            yield drawn_block(draw, block)
        if draw.random() < 0.1:
            run = drawn_run(draw, f"run-{draw.randrange(4)}")
            cost = {name: draw.random() for name in ("timed", "warm_up", "inputs", "files", "other")}
            yield run
            end = {"record": "done", "run": run["run"], "planned": draw.randrange(9), "owed": draw.randrange(9)}
            yield {**end, "seconds": draw.random(), "cost_s": cost}
        kind = draw.choice([drawn_kernel, drawn_pass, drawn_memory])
        key = f"{kind.__name__}-{draw.randrange(25):x}"
        common = {"key": key, "run": f"run-{draw.randrange(4)}", "block": block if draw.random() < 0.8 else None}
        common |= {"status": draw.choice(STATUSES), "reason": f"{file} {number}"}
        yield kind(draw, draw.randrange(25), common) if kind is drawn_kernel else kind(draw, common)


PASS_BYTES = 4 * int(
    sum(parameter.count for layer in LAYERS for parameter in layer.parameters)
    + sum(prod(shape) for layer in LAYERS for shape in layer.outputs) // 2
)
"""All weights and half of what is written."""


def statistics_of(values):
    """Median, half interquartile range and 95 % interval of the median, by ranks."""
    ordered, count = sorted(values), len(values)
    rank = max([k for k in range(1, count // 2 + 1) if binom.cdf(k - 1, count, 0.5) <= 0.025], default=1)
    return {
        "samples_ns": values,
        "median_ns": (ordered[(count - 1) // 2] + ordered[count // 2]) / 2,
        "spread_ns": (ordered[3 * count // 4] - ordered[count // 4]) / 2,
        "low_ns": ordered[rank - 1],
        "high_ns": ordered[count - rank],
    }


def rows_of(record):
    """What a measurement's record tells: a dict for each of its rows."""
    if record["task"] in ("gemm", "layer"):
        names = ("iterations", "warm_up", "stop", "mode", "power_rails", "power_mw", *statistics_of([1.0]))
        yield {"subject": "kernel", **record["kernel"], **{name: record.get(name) for name in names}}
        return
    common = {name: record.get(name) for name in ("network", "batch", "round", "iterations")}
    if record["task"] == "memory":
        sizes = {f"{name}_bytes": value for name, value in record["memory_bytes"].items()}
        parts = {column: record["parts"][name] for name, column in PARTS.items()} if record["parts"] else {}
        yield {**common, "subject": "memory", **sizes, **parts}
        return
    common["mode"] = "network"
    if record["status"] == "failed":
        yield {**common, "subject": "forward"}
        return
    for told in record.get("layers") or []:
        layer = LAYERS[told["index"]]
        kernel = layer_kernel(layer)
        named = {"layer": layer.name, "layer_type": layer.type, "layer_index": told["index"], "fused": told["fused"]}
        sizes = {"kind": kernel.kind, "variant": kernel.variant, **dict(kernel.sizes), "pass_bytes": PASS_BYTES}
        yield {**common, "subject": "layer", **named, **sizes, **statistics_of(told["samples_ns"])}
    for kernel in record.get("kernels") or []:
        yield {**common, "subject": "kernel", **kernel, **statistics_of(kernel["samples_ns"])}
    for told in record.get("types") or []:
        yield {**common, "subject": "type", "layer_type": told["type"], **statistics_of(told["samples_ns"])}
    for subject in ("forward", "layerwise"):
        if record[f"{subject}_ns"]:
            yield {**common, "subject": subject, **statistics_of(record[f"{subject}_ns"])}


def moment(text):
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def conditions_of(block):
    """What a row says of its block."""
    if block is None:
        return {}
    after = block["after"]
    told = {name: after[name] for name in ("load", "gpu_mhz", "memory_mhz")}
    told |= {name: block[name] for name in ("attempt", "sentinel_before_ns", "sentinel_after_ns")}
    clocks, degrees = after["cpu_mhz"], after["temperature_c"]
    return {
        **told,
        "measured_at": moment(after["time"]),
        "cpu_mhz": sum(clocks) / len(clocks),
        "temperature_c": max(degrees),
    }


def rows_by_hand(files):
    """Rows of these files in plain Python, with `processor`."""
    runs = {record["run"]: record for records in files.values() for record in records if record["record"] == "run"}
    candidates = {}
    for file, records in files.items():
        block = None
        for line, record in enumerate(records, 1):
            block = record if record["record"] == "block" else block
            if record["record"] != "measurement":
                continue
            run = runs[record["run"]]
            conditions = conditions_of(block if record.get("block") else None)
            engine, precision = STACKS[run["stack"]]
            told = {name: record[name] for name in ("key", "run", "status", "reason", "seconds")}
            told |= {name: run[name] for name in ("processor", "stack", "threads", "library")}
            told |= {"source": run["source"] or "agent", "origin": f"b/{file}.jsonl", "line": line, **conditions}
            told["engine"] = record.get("engine") or run["engine"] or run["board"]["engine"]["name"] or engine
            told["precision"] = record.get("precision") or run["precision"] or precision
            taken = conditions.get("measured_at")
            order = (-STATUSES.index(record["status"]), taken is not None, taken or 0, told["origin"], line)
            candidates.setdefault(record["key"], []).append((order, [{**told, **row} for row in rows_of(record)]))
    return [row for records in candidates.values() for row in max(records, key=lambda one: one[0])[1]]


def comparable(rows, columns):
    """Rows in one order, values as they print: lists as tuples, what is missing as None."""

    def plain(value):
        if hasattr(value, "tolist") and not isinstance(value, str):
            value = value.tolist()
        if isinstance(value, list):
            return tuple(round(one, 9) if isinstance(one, float) else one for one in value)
        if value is None or value is pd.NA or value is pd.NaT or value != value:
            return None
        if isinstance(value, datetime):
            return value.isoformat()
        return round(value, 9) if isinstance(value, float) else value

    return sorted((tuple((name, plain(row.get(name))) for name in columns) for row in rows), key=str)


@pytest.fixture(scope="module", params=[1, 2])
def drawn(request, tmp_path_factory):
    """(root, records by file)."""
    draw = random.Random(request.param)
    root = tmp_path_factory.mktemp("drawn")
    head = [drawn_run(draw, f"run-{number}") for number in range(4)]
    files = {"a": [*head, *drawn_lines(draw, "a")]} | {file: list(drawn_lines(draw, file)) for file in "bc"}
    for file, records in files.items():
        write(root, records, name=f"{file}.jsonl")
    aggregate(root)
    return root, files


def test_every_column_of_every_row_is_what_loops_over_the_lines_say(drawn):
    root, files = drawn
    assert not (store.existing(root) / "refused.jsonl").read_text()
    frames = [read_measurements(root, "b", processor) for processor in ("cpu", "gpu")]
    measured = pd.concat(frames).astype(object).to_dict("records")
    expected = rows_by_hand(files)
    columns = ["processor", *MEASUREMENTS.names]
    assert {row["subject"] for row in expected} == {"kernel", "layer", "type", "forward", "layerwise", "memory"}
    for row, by_hand in zip(comparable(measured, columns), comparable(expected, columns), strict=True):
        assert row == by_hand
    kept = {(row["origin"], row["line"]) for row in expected}
    told = sum(record["record"] == "measurement" for records in files.values() for record in records)
    assert store.read_manifest(store.existing(root)).superseded == told - len(kept)


def test_every_column_of_every_run_is_what_loops_over_the_lines_say(drawn):
    root, files = drawn
    runs, ends = {}, {}
    for file, records in files.items():
        for record in records:
            if record["record"] == "run":
                runs[record["run"]] = {**record, "origin": f"b/{file}.jsonl"}
            elif record["record"] == "done":
                ends[record["run"]] = record
    expected = []
    for name, run in runs.items():
        board, conditions, end = run["board"], run["conditions"], ends.get(name, {})
        row = {column: run.get(column) for column in RUNS.names} | {"board": "b", "source": run["source"] or "agent"}
        row |= {"os": board["kernel"], **{column: board[column] for column in ("cpu", "machine", "blas", "python")}}
        row |= {"engine": run["engine"] or board["engine"]["name"], "engine_version": board["engine"]["version"]}
        row |= {
            "started_at": moment(conditions["time"]),
            "load": conditions["load"],
            "governor": conditions["governor"],
        }
        row |= {"cpu_mhz": sum(conditions["cpu_mhz"]) / 3, "temperature_c": max(conditions["temperature_c"])}
        row |= {column: end.get(column) for column in ("planned", "owed", "seconds")}
        row |= {f"cost_{purpose}_s": value for purpose, value in end.get("cost_s", {}).items()}
        record = {column: value for column, value in run.items() if column != "origin"}
        expected.append({**row, "record_json": json.dumps(record)})
    rows = reading.read_table(root, "runs").to_pylist()
    stripped = [{**row, "record_json": row["record_json"].strip()} for row in rows]
    assert comparable(stripped, RUNS.names) == comparable(expected, RUNS.names)
