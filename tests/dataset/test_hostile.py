"""Records and files that cannot be: each is refused with a reason or ends in one line, and the rest is taken over."""

import copy
import json
import random

import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.dataset import aggregate, read_measurements
from sitecnn.dataset.verify import problems
from tests.dataset.records import PROTOTXT, block_record, gemm_record, network_record, run_record, write
from tests.dataset.test_import import LOG, run, toy_table

KEY = "e" * 32
MEMORY = {"task": "memory", "memory_bytes": {"base": 1, "loaded": 2, "load_peak": 3, "total": 4, "peak": 5}}
BEYOND_64_BITS = 2**70


def text(record):
    return json.dumps(record).encode()


DEEP = b"[" * 100_000 + b"]" * 100_000
MANY = b"[" * 400 + b"]" * 400


def kernel(**sizes):
    return text(gemm_record(9, kernel={"kind": "gemm", "m": 1, "n": 1, "k": 1, **sizes}))


def passes(**changes):
    return text(network_record(key=KEY, **changes))


def layers(*told):
    return passes(layers=list(told))


def memory(**changes):
    return text({**network_record(key=KEY), **MEMORY, **changes})


GEMM = {"kind": "gemm", "m": 1, "n": 1, "k": 1, "samples_ns": [1]}


def kernels(**sizes):
    return passes(kernels=[{**GEMM, **sizes}])


def second_kernel(**changes):
    return passes(kernels=[GEMM, {**GEMM, **changes}])


END = {"planned": 1, "owed": 0, "seconds": 1}
REFUSED = [
    # No JSON, or none of ours
    ("not UTF-8", text(gemm_record(9)).replace(b"noise", b"no\xffise"), "can't decode byte 0xff"),
    ("not UTF-8, no kernel", b'{"record": "rumour\xff"}', "can't decode byte 0xff"),
    ("UTF-16", json.dumps({"record": "run"}).encode("utf-16"), "can't decode byte 0xff"),
    ("a byte order mark", b"\xef\xbb\xbf" + text(gemm_record(9)), "no JSON"),
    ("a byte of zero", b"\0" + text(gemm_record(9)), "no JSON"),
    ("a comma for its end", text(gemm_record(9))[:-1] + b",", "no JSON"),
    ("half a line", text(gemm_record(9))[:200], "no JSON"),
    ("half a pair of surrogates", text(gemm_record(9, reason="\ud800")), "no JSON"),
    ("more digits than Python reads", b'{"record": "rumour", "y": ' + b"1" * 5000 + b"}", "record is 'rumour'"),
    ("deep", b'{"record": "run", "y": ' + DEEP + b"}", "more than 500 lists and objects in one another"),
    ("a word", b"true", "no JSON object"),
    ("a number", b"5", "no JSON object"),
    ("null", b"null", "no JSON object"),
    ("a list", b"[]", "no JSON object"),
    ("a text", b'"record"', "no JSON object"),
    ("nothing in it", b"{}", "record is ''"),
    ("two records", text(gemm_record(9)) * 2, "no JSON"),
    ("a list of records", b"[" + text(gemm_record(9)) + b"]", "no JSON object"),
    ("another record", text({"record": "rumour"}), "record is 'rumour', none of run, block"),
    ("a record that is a number", text(gemm_record(9, record=5)), "record is '5'"),
    ("a task that is none", text(gemm_record(9, task="tea")), "task is 'tea', none of gemm"),
    # Runs, their ends, blocks, refused rows
    ("a run without a name", text(run_record(None)), "a run needs a processor"),
    ("a run with an empty name", text(run_record("")), "a run needs a processor"),
    ("a run of an NPU", text(run_record("r2", processor="npu")), "a run needs a processor"),
    ("a run without a stack", text(run_record("r2", stack=None)), "a run needs a processor"),
    ("a run of text", text(run_record("r2", board="x")), "board is VARCHAR, not OBJECT"),
    ("a run with a list", text(run_record("r2", conditions=[1])), "conditions is ARRAY, not OBJECT"),
    (
        "a run whose clocks are texts",
        text(run_record("r2", conditions={"cpu_mhz": ["x"]})),
        "cpu_mhz[] is VARCHAR, not",
    ),
    ("threads that are a text", text(run_record("r2", threads="1")), "threads is VARCHAR, not BIGINT"),
    ("threads beyond 64 bits", text(run_record("r2", threads=BEYOND_64_BITS)), "threads is DOUBLE, not BIGINT"),
    ("threads just beyond 63 bits", text(run_record("r2", threads=2**63)), "a whole number has more than 18 digits"),
    ("an end of no run", text({"record": "done", "run": "r7"}), "run r7 is nowhere before it"),
    ("an end without counts", text({"record": "done", "run": "r1"}), "the end of a run needs planned"),
    *(
        (f"an end without {name}", text({"record": "done", "run": "r1", **END, name: None}), "the end of")
        for name in ("planned", "owed", "seconds")
    ),
    ("an end that counts in words", text({"record": "done", "run": "r1", "planned": "many"}), "planned is VARCHAR"),
    ("a block that is a list", text(block_record(block=["b"])), "block is ARRAY, not VARCHAR"),
    ("a block after a text", text(block_record(after="x")), "after is VARCHAR, not OBJECT"),
    ("rows that are texts", text({"record": "refused", "rows": ["x"]}), "rows[] is VARCHAR, not BIGINT"),
    # Kernels
    ("no key", text(gemm_record(9, key=None)), "no key"),
    ("no run", text(gemm_record(9, run=None)), "no run"),
    ("a run that is nowhere", text(gemm_record(9, run="r7")), "run r7 is nowhere before it"),
    ("a block that is nowhere", text(gemm_record(9, block="b7")), "its block is not the last one before it"),
    ("another status", text(gemm_record(9, status="fine")), "status is none of ok, unstable, failed"),
    ("no samples", text(gemm_record(9, samples_ns=[])), "no samples_ns"),
    ("samples that are missing", text(gemm_record(9, samples_ns=None)), "no samples_ns"),
    ("samples that are a text", text(gemm_record(9, samples_ns="many")), "samples_ns is VARCHAR, not ARRAY"),
    ("samples that are a number", text(gemm_record(9, samples_ns=11)), "samples_ns is UBIGINT, not ARRAY"),
    ("samples in samples", text(gemm_record(9, samples_ns=[[11]])), "samples_ns[] is ARRAY, not DOUBLE"),
    ("samples that are texts", text(gemm_record(9, samples_ns=["19"])), "samples_ns[] is VARCHAR, not DOUBLE"),
    (
        "a later sample that is a text",
        text(gemm_record(9, samples_ns=[19, "20"])),
        "samples_ns[] is empty or of several",
    ),
    (
        "a last sample that is true",
        text(gemm_record(9, samples_ns=[19, 20, True])),
        "samples_ns[] is empty or of several",
    ),
    (
        "a later sample that is a list",
        text(gemm_record(9, samples_ns=[19, [20]])),
        "samples_ns[] is empty or of several",
    ),
    ("a later sample in quotes", text(gemm_record(9, samples_ns=[None, '"20'])), "samples_ns[] is VARCHAR, not DOUBLE"),
    ("a later power that is a text", text(gemm_record(9, power_mw=[4.5, "5.5"])), "power_mw[] is empty or of several"),
    ("a later rail that is a number", text(gemm_record(9, power_rails=["VDD", 5])), "power_rails[] is empty or of sev"),
    ("a later clock that is a text", text(block_record(after={"cpu_mhz": [1.5, "2"]})), "after.cpu_mhz[] is empty or"),
    ("a negative sample", text(gemm_record(9, samples_ns=[-1, 11, 12])), "a sample of samples_ns is no number"),
    ("a sample that is no number", text(gemm_record(9, samples_ns=[1, float("nan"), 12])), "a sample of samples_ns"),
    ("a sample without end", text(gemm_record(9, samples_ns=[1, float("inf"), 12])), "a sample of samples_ns"),
    ("a sample of a year", text(gemm_record(9, samples_ns=[1, 20, 3.2e16])), "a sample of samples_ns"),
    ("a missing sample", text(gemm_record(9, samples_ns=[None, 20, 21])), "a sample of samples_ns"),
    ("no median", text(gemm_record(9, median_ns=None)), "median_ns is missing or impossible"),
    ("a median that is a text", text(gemm_record(9, median_ns="20")), "median_ns is VARCHAR, not DOUBLE"),
    ("a median that is true", text(gemm_record(9, median_ns=True)), "median_ns is BOOLEAN, not DOUBLE"),
    ("a median that is no number", text(gemm_record(9, median_ns=float("nan"))), "median_ns is missing or impossible"),
    ("a negative median", text(gemm_record(9, median_ns=-1)), "median_ns is missing or impossible"),
    ("a median of other samples", text(gemm_record(9, median_ns=500)), "median_ns is outside of samples_ns"),
    ("a median below its samples", text(gemm_record(9, median_ns=1)), "median_ns is outside of samples_ns"),
    ("an interval inside out", text(gemm_record(9, low_ns=500)), "low_ns is above high_ns"),
    ("half an iteration", text(gemm_record(9, iterations=1.5)), "iterations is DOUBLE, not BIGINT"),
    ("iterations that are true", text(gemm_record(9, iterations=True)), "iterations is BOOLEAN, not BIGINT"),
    ("a mode that is a number", text(gemm_record(9, mode=5)), "mode is UBIGINT, not VARCHAR"),
    ("rails that are a text", text(gemm_record(9, power_rails="VDD")), "power_rails is VARCHAR, not ARRAY"),
    ("a kernel that is a text", text(gemm_record(9, kernel="gemm")), "kernel is VARCHAR, not OBJECT"),
    ("a kernel that is a list", text(gemm_record(9, kernel=[1])), "kernel is ARRAY, not OBJECT"),
    ("no kernel", text(gemm_record(9, kernel=None)), "no kernel"),
    ("a kernel without kind", kernel(kind=None), "no kernel"),
    ("a gemm without sizes", text(gemm_record(9, kernel={"kind": "gemm"})), "a gemm without m, n and k"),
    *((f"a gemm without {name}", kernel(**{name: None}), "a gemm without m, n and k") for name in "mnk"),
    ("a size that is a text", kernel(m="3"), "kernel.m is VARCHAR, not BIGINT"),
    ("a size that is a fraction", kernel(m=1.5), "kernel.m is DOUBLE, not BIGINT"),
    ("a size that is a list", kernel(k=[1]), "kernel.k is ARRAY, not BIGINT"),
    ("a size beyond 64 bits", kernel(n=BEYOND_64_BITS), "kernel.n is DOUBLE, not BIGINT"),
    ("a size just beyond 63 bits", kernel(n=2**63), "a whole number has more than 18 digits"),
    ("a negative size", kernel(m=-3), "a size is negative"),
    # Passes
    ("a network without a name", passes(network=None), "no network"),
    ("no definition", passes(prototxt=None), "no 'prototxt'"),
    ("another batch than its prototxt", passes(batch=7), "batch 7 of toy: its prototxt is of 2"),
    ("a smaller batch than its prototxt", passes(batch=1), "batch 1 of toy: its prototxt is of 2"),
    ("a probe of no batch", passes(task="probe", engine="onnxruntime", prototxt=None, batch=0), "batch 0 of toy"),
    ("a batch of none", passes(batch=0), "batch 0 of toy"),
    ("a prototxt that is none", passes(prototxt="layer {"), "record"),
    ("a prototxt that is a number", passes(prototxt=5), "prototxt is UBIGINT, not VARCHAR"),
    ("no layers", passes(layers=None), "no layers and no kernels"),
    ("layers that are text", layers("data"), "layers[] is VARCHAR, not OBJECT"),
    (
        "layers of two kinds",
        layers({"name": "data", "samples_ns": [1]}, 5),
        "layers[] is empty or of several types, not OBJECT",
    ),
    (
        "a layer twice",
        layers(*[{"name": "data", "index": 0, "samples_ns": [1]}] * 2),
        "layer 0 is no position or there",
    ),
    ("a layer from behind", layers({"name": "relu", "index": -1, "samples_ns": [1]}), "layer -1 is no position"),
    ("a layer too many", layers({"name": "x", "index": 3, "samples_ns": [1]}), "layer 3 is no position"),
    (
        "another layer",
        layers({"name": "data", "samples_ns": [1]}, {"name": "x", "samples_ns": [1]}),
        "layer 1 is 'x' in",
    ),
    (
        "two layers of other names: the first is told",
        layers({"name": "x", "samples_ns": [1]}, {"name": "y", "samples_ns": [1]}),
        "layer 0 is 'x' in the record",
    ),
    ("a layer without samples", layers({"name": "data", "samples_ns": []}), "no samples_ns"),
    ("a layer's samples are texts", layers({"name": "data", "samples_ns": ["1"]}), "layers[].samples_ns[] is VARCHAR"),
    ("a sample too long for a float", passes(forward_ns=[10**400]), "a sample of samples_ns is no number"),
    (
        "a pass's samples are mixed",
        passes(forward_ns=[1, "2"]),
        "forward_ns[] is empty or of several types, not DOUBLE",
    ),
    ("a kernel's size is a text", kernels(m="3"), "kernels[].m is VARCHAR, not BIGINT"),
    ("a second kernel's size is a text", second_kernel(m="3"), "kernels[].m is empty or of several types, not BIGINT"),
    ("a second kernel's kind is a number", second_kernel(kind=5), "kernels[].kind is empty or of several types"),
    (
        "a second kernel's samples",
        second_kernel(samples_ns=["1"]),
        "kernels[].samples_ns[] is empty or of several types",
    ),
    ("a second kernel's size alone", second_kernel(height="3"), "kernels[].height is VARCHAR, not BIGINT"),
    ("a second kernel is a text", passes(kernels=[GEMM, "gemm"]), "kernels[] is empty or of several types, not OBJECT"),
    ("a kernel's size is negative", kernels(m=-3), "a size is negative"),
    ("memory that is a list", memory(memory_bytes=[1]), "memory_bytes is ARRAY, not OBJECT"),
    ("memory without values", memory(memory_bytes=None), "memory_bytes is missing or impossible"),
    ("negative memory", memory(memory_bytes={"total": 1, "base": -1}), "memory_bytes is missing or impossible"),
    ("memory beyond 1e18", memory(memory_bytes={"total": 2 * 10**18}), "a whole number has more than 18 digits"),
    ("memory in halves", memory(memory_bytes={"total": 1.5}), "memory_bytes.total is DOUBLE, not BIGINT"),
    ("a line of 100 MB", b'{"record": "rumour", "x": "' + b"x" * 100_000_000 + b'"}', "record is 'rumour'"),
]

TAKEN = [
    (
        "a name twice: the first counts",
        text(gemm_record(100)).replace(b'"iterations"', b'"iterations": 7, "iterations"'),
    ),
    ("more than is asked for", text(gemm_record(101, more={"x": [1, {}]}))),
    ("a line's end as Windows has it", text(gemm_record(102)) + b"\r"),
    ("blanks around it", b"  " + text(gemm_record(103)) + b"\t "),
    ("other order and blanks", json.dumps(gemm_record(104), indent=1, sort_keys=True).replace("\n", " ").encode()),
    ("letters beyond ASCII", json.dumps(gemm_record(105, reason="kühl"), ensure_ascii=False).encode()),
    ("escapes for letters", text(gemm_record(106)).replace(b'"reason"', b'"r\\u0065ason"')),
    ("400 lists in one another", text(gemm_record(107)).replace(b'"record"', b'"x": ' + MANY + b', "record"')),
    ("a comma too many", text(gemm_record(108))[:-1] + b",}"),
    ("lists of several rails", text(gemm_record(109, power_rails=["A, B", "C"], power_mw=[1.5, 2]))),
    ("nulls in lists", text(gemm_record(110, power_rails=["A", None], power_mw=[1.5, None]))),
    ("what may be missing is null", text(gemm_record(111, reason=None, mode=None, seconds=None, low_ns=None))),
    ("no time at all", text(gemm_record(112, samples_ns=[0.0, 0.0], median_ns=0.0, low_ns=0.0, high_ns=0.0))),
]
"""The numbers of their keys follow one another."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """(dataset's rows, refused lines by number) of good lines and all of these, one after another."""
    root = tmp_path_factory.mktemp("hostile")
    path = write(root, [run_record(), gemm_record(0), network_record()])
    with path.open("ab") as out:
        out.writelines(line + b"\n" for _, line, _ in REFUSED)
        out.writelines(line + b"\n\n  \n" for _, line in TAKEN)
    write(root, [gemm_record(1), {**network_record(key=KEY), **MEMORY}])
    summary = aggregate(root)
    assert list(problems(root)) == []
    entries = map(json.loads, (root / "results/dataset/refused.jsonl").read_text().splitlines())
    refused = {entry["line"]: entry["reason"] for entry in entries}
    assert summary["refused"] == len(refused)
    return read_measurements(root, "b", "cpu"), refused


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[what for what, *_ in REFUSED])
def test_a_line_that_cannot_be_is_refused_with_its_number_and_reason(hostile, number):
    assert REFUSED[number][2] in hostile[1][4 + number]


def test_nothing_else_is_refused_and_the_rest_taken(hostile):
    measured, refused = hostile
    assert set(refused) == set(range(4, 4 + len(REFUSED)))
    kernels = measured[measured["subject"] == "kernel"]
    assert sorted(int(key, 16) for key in kernels["key"]) == [0, 1, *range(100, 100 + len(TAKEN))]
    others = measured[measured["subject"] != "kernel"]
    assert sorted(others["subject"]) == ["forward", "layer", "layer", "layer", "layerwise", "memory"]
    assert set(kernels.loc[kernels["key"] == f"{100:032x}", "iterations"]) == {7}


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
    measured = read_measurements(tmp_path, "b", "cpu")
    assert (measured["m"] == 1001).any()
    lines = {entry["line"] for entry in map(json.loads, (tmp_path / "results/dataset/refused.jsonl").open())}
    runs = {number + 2 for number, record in enumerate(damaged) if record.get("record") == "run"}
    missing = set(range(2, 403)) - lines - runs - set(measured["line"])
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
