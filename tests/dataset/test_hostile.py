"""Records and files that cannot be: each is refused with a reason or ends in one line, and the rest is taken over."""

import copy
import json
import random

import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.dataset import aggregate, read_measurements
from sitecnn.dataset.verify import problems
from tests.dataset.records import PROTOTXT, gemm_record, network_record, run_record, write
from tests.dataset.test_import import LOG, run, toy_table

KEY = "e" * 32
MEMORY = {"task": "memory", "memory_bytes": {"base": 1, "loaded": 2, "load_peak": 3, "total": 4, "peak": 5}}
BEYOND_64_BITS = 2**70


def text(record):
    return json.dumps(record).encode()


REFUSED = {
    "not UTF-8": text(gemm_record(9)).replace(b"noise", b"no\xffise"),
    "not UTF-8, no kernel": b'{"record": "rumour\xff"}',
    "more digits than Python reads": b'{"record": "run", "y": ' + b"1" * 5000 + b"}",
    "deep": b'{"record": "run", "y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "null": b"null",
    "a list": b"[]",
    "two records": text(gemm_record(9)) * 2,
    "a run without a name": text(run_record(None)),
    "a run of text": text(run_record("r2", board="x")),
    "a run with a list": text(run_record("r2", conditions=[1])),
    "threads beyond 64 bits": text(run_record("r2", threads=BEYOND_64_BITS)),
    "an end that counts in words": text({"record": "done", "run": "r1", "planned": "many", "owed": 0, "seconds": 1}),
    "a network without a name": text(network_record(key=KEY, network=None)),
    "another batch than its prototxt": text(network_record(key=KEY, batch=7)),
    "layers that are text": text(network_record(key=KEY, layers=["data"])),
    "a layer twice": text(network_record(key=KEY, layers=[{"name": "data", "index": 0, "samples_ns": [1]}] * 2)),
    "a layer from behind": text(network_record(key=KEY, layers=[{"name": "relu", "index": -1, "samples_ns": [1]}])),
    "a prototxt that is none": text(network_record(key=KEY, prototxt="layer {")),
    "a prototxt that is a number": text(network_record(key=KEY, prototxt=5)),
    "a sample too long for a float": text(network_record(key=KEY, forward_ns=[10**400])),
    "a negative sample": text(gemm_record(9, samples_ns=[-1, 11, 12])),
    "a sample that is no number": text(gemm_record(9, samples_ns=[1, float("nan"), 12])),
    "a missing sample": text(gemm_record(9, samples_ns=[None, 20, 21])),
    "a median of other samples": text(gemm_record(9, median_ns=500)),
    "an interval inside out": text(gemm_record(9, low_ns=500)),
    "a gemm without sizes": text(gemm_record(9, kernel={"kind": "gemm"})),
    "a negative size": text(gemm_record(9, kernel={"kind": "gemm", "m": -3, "n": 1, "k": 1})),
    "memory that is a list": text({**network_record(key=KEY), **MEMORY, "memory_bytes": [1]}),
    "memory without values": text({**network_record(key=KEY), **MEMORY, "memory_bytes": None}),
    "negative memory": text({**network_record(key=KEY), **MEMORY, "memory_bytes": {"base": -1}}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_record_that_cannot_be_is_refused_and_the_rest_taken(tmp_path, what):
    path = write(tmp_path, [run_record(), gemm_record(0), network_record()])
    with path.open("ab") as out:
        out.write(REFUSED[what] + b"\n")
    write(tmp_path, [gemm_record(1), {**network_record(key=KEY), **MEMORY}])
    assert aggregate(tmp_path)["refused"] == 1
    (refused,) = map(json.loads, (tmp_path / "results/dataset/refused.jsonl").read_text().splitlines())
    assert refused["line"] == 4 and refused["reason"]
    found = read_measurements(tmp_path, "b", "cpu")
    assert sorted(found["subject"]) == ["forward", "kernel", "kernel", "layer", "layer", "layer", "layerwise", "memory"]
    assert list(problems(tmp_path)) == []


def test_drawn_damage_never_stops_aggregation(tmp_path):
    """Any value of a record in the place of any other: all lines are rows or refused, and what is there is sound."""
    draw = random.Random(2017)
    odd = [None, "", "x", -1, 0, 1.5, BEYOND_64_BITS, 1e308, [], ["x"], [[1]], {}, {"x": 1}, True, "\u0000", "\ud800"]
    damaged = []
    for number in range(400):
        record = copy.deepcopy(draw.choice([gemm_record(number), network_record(key=f"{number:032x}"), run_record()]))
        places = list(inner(record))
        parent, name = draw.choice(places)
        parent[name] = draw.choice(odd)
        damaged.append(record)
    write(tmp_path, [run_record(), *damaged, gemm_record(1000)])
    aggregate(tmp_path)
    assert list(problems(tmp_path)) == []
    found = read_measurements(tmp_path, "b", "cpu")
    assert (found["m"] == 1001).any()
    lines = {entry["line"] for entry in map(json.loads, (tmp_path / "results/dataset/refused.jsonl").open())}
    runs = {number + 2 for number, record in enumerate(damaged) if record.get("record") == "run"}
    missing = set(range(2, 403)) - lines - runs - set(found["line"])
    assert not missing, [damaged[line - 2] for line in missing]


def inner(value):
    """(container, place) of everything in a JSON value."""
    for name in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, name
        if isinstance(value[name], dict | list):
            yield from inner(value[name])


EVENTS = [
    {"cat": "Session", "name": "model_run", "dur": 2},
    {"cat": "Node", "name": "conv_kernel_time", "dur": 1, "args": {"op_name": "Conv"}},
]
ENTRIES = [{"count": 100}, {"name": "conv", "averageMs": 2e-3}]


def changed(entries, place, **values):
    return json.dumps([{**entry, **values} if number == place else entry for number, entry in enumerate(entries)])


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("caffe-time", LOG.replace("0.0011", "1e5-")),
        ("caffe-time", LOG.replace("0.0011", "-1")),
        ("caffe-time", LOG.replace("0.0015", "1e999")),
        ("onnxruntime", changed(EVENTS, 1, dur=float("nan"))),
        ("onnxruntime", changed(EVENTS, 1, dur=float("inf"))),
        ("onnxruntime", changed(EVENTS, 1, dur=10**400)),
        ("onnxruntime", "[" * 100_000),
        ("tensorrt", changed(ENTRIES, 1, averageMs=10**400)),
        ("tensorrt", changed(ENTRIES, 1, averageMs=float("nan"))),
        ("tensorrt", changed(ENTRIES, 1, name="+" * 100_000)),
    ],
)
def test_a_profile_that_cannot_be_is_one_line_and_2(tmp_path, capsys, kind, content):
    (tmp_path / "toy.prototxt").write_text(PROTOTXT)
    (tmp_path / "profile").write_text(content)
    assert run(tmp_path, kind, tmp_path / "profile", "--network", tmp_path / "toy.prototxt", "--batch", 2) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("caffe-time", LOG.replace("Iteration: 50", "Iteration: " + "9" * 5000)),
        ("onnxruntime", changed(EVENTS, 1, args=[1])),
        ("onnxruntime", changed(EVENTS, 1, args={"provider": ["x"]})),
        ("tensorrt", changed(ENTRIES, 0, count="x")),
        ("tensorrt", changed(ENTRIES, 0, count=None)),
    ],
)
def test_what_is_odd_beside_the_times_does_not_matter(tmp_path, kind, content):
    (tmp_path / "toy.prototxt").write_text(PROTOTXT)
    (tmp_path / "profile").write_text(content)
    assert run(tmp_path, kind, tmp_path / "profile", "--network", tmp_path / "toy.prototxt", "--batch", 2) == 0
    assert list(problems(tmp_path)) == []


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("network", None, "no network"),
        ("layer", None, "no layer"),
        ("network", "x" * 5000, "is no name of a file"),
        ("batch", 1e30, "batch is 1e+30, not a whole number of at least 1"),
        ("forward_ms", "x", "forward_ms is 'x', not a number"),
        ("iterations", float("inf"), "iterations is inf"),
        ("layer_index", -1, "layer_index is -1"),
    ],
)
def test_a_cell_that_cannot_be_refuses_its_row(tmp_path, capsys, column, value, reason):
    (tmp_path / "toy.prototxt").write_text(PROTOTXT)
    table = pd.read_csv(toy_table(tmp_path)).assign(iterations=10, layer_index=[0, 1, 2] * 3).astype(object)
    table.loc[4, column] = value
    table.to_csv(tmp_path / "t.csv", index=False)
    assert run(tmp_path, "table", tmp_path / "t.csv", "--networks", tmp_path) == 1
    said = capsys.readouterr()
    assert "row 5: " in said.err and reason in said.err
    assert "9 rows: 8 imported, 0 left out" in said.out and "1 refused" in said.out


def test_a_layer_alone_in_another_unit_is_refused(tmp_path, capsys):
    (tmp_path / "toy.prototxt").write_text(PROTOTXT)
    (tmp_path / "t.csv").write_text("network,batch,layer,layer_ms\ntoy,2,conv,1000\n")
    assert run(tmp_path, "table", tmp_path / "t.csv", "--networks", tmp_path) == 2
    assert "are the times in ms?" in capsys.readouterr().err
    assert main(["--root", str(tmp_path), "dataset", "summary"]) == 2
