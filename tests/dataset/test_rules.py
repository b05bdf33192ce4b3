"""The rules of sql/, one by one: which of two records counts, whose block a line follows, what a pass's rows are."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom

from sitecnn.dataset import aggregate, read_measurements, reading, store
from sitecnn.dataset.verify import problems
from tests.dataset.records import PROTOTXT, block_record, gemm_record, network_record, run_record, write

OTHER = PROTOTXT.replace("dim: 2", "dim: 1").replace("num_output: 4", "num_output: 6")
"""Of batch 1, with as many layers."""


def read(root, **files):
    """The dataset of these files of records, and what was refused: (file, line, reason)."""
    for name, records in files.items():
        write(root, records, name=f"{name}.jsonl")
    aggregate(root)
    lines = (root / "results/dataset/refused.jsonl").read_text().splitlines()
    refused = [(one["origin"], one["line"], one["reason"]) for one in map(json.loads, lines)]
    return read_measurements(root, "b", "cpu"), refused


def test_files_do_not_mix(tmp_path):
    """Each has a block, a network, and a measurement of the same names at the same lines."""
    measured, refused = read(
        tmp_path,
        a=[run_record(), block_record("b1", attempt=1), network_record(key="a" * 32), gemm_record(1, block="b1")],
        b=[run_record(), block_record("b1", attempt=2), network_record(key="b" * 32), gemm_record(2, block="b1")],
    )
    assert not refused
    kernels = measured[measured["subject"] == "kernel"]
    assert dict(zip(kernels["m"], kernels["attempt"], strict=True)) == {2: 1, 3: 2}
    assert len(measured) == 2 * (1 + 3 + 2)


def test_a_measurement_stands_behind_its_block(tmp_path):
    lines = [run_record(), gemm_record(1, block="b1"), block_record("b1"), gemm_record(2, block="b1"), gemm_record(3)]
    measured, refused = read(tmp_path, a=lines)
    assert [(line, "its block is not the last" in reason) for _, line, reason in refused] == [(2, True)]
    assert dict(zip(measured["m"], measured["load"], strict=True)) == {
        3: 0.7,
        4: pytest.approx(float("nan"), nan_ok=True),
    }


def test_a_kernel_of_either_task_is_a_row(tmp_path):
    kernel = {"kind": "relu", "variant": "", "in_elements": 12}
    measured, _ = read(tmp_path, a=[run_record(), gemm_record(1), gemm_record(2, task="layer", kernel=kernel)])
    assert set(measured["kind"]) == {"gemm", "relu"}


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("a", "b")])
def test_of_equals_the_last_in_order_of_files_and_lines_counts(tmp_path, first, second):
    files = {"a": [run_record()], "b": [run_record()]}
    files[first].append(gemm_record(1, reason="first"))
    files[second].append(gemm_record(1, reason="last"))
    measured, refused = read(tmp_path, **files)
    assert list(measured["reason"]) == ["last"] and not refused


def test_of_one_run_the_last_start_and_end_count_and_its_own(tmp_path):
    def done(run, planned):
        return {"record": "done", "run": run, "planned": planned, "owed": 0, "seconds": 1}

    conditions = {"temperature_c": [30.0, 41.5], "cpu_mhz": [1000.0, 3000.0]}
    origin = {"file": "paper.csv", "sha256": "0" * 64, "format": "table"}
    lines = [run_record(host="first"), run_record(host="last", conditions=conditions), done("r1", 1), done("r1", 2)]
    read(tmp_path, a=[*lines, run_record("r2", origin=origin, source="import"), done("r2", 9)])
    rows = {row["run"]: row for row in reading.read_table(tmp_path, "runs").to_pylist()}
    assert (rows["r1"]["host"], rows["r1"]["planned"], rows["r2"]["planned"]) == ("last", 2, 9)
    assert (rows["r1"]["temperature_c"], rows["r1"]["cpu_mhz"]) == (41.5, 2000.0)
    assert (rows["r1"]["origin"], rows["r2"]["origin"]) == ("b/a.jsonl", "paper.csv")
    assert (rows["r1"]["source"], rows["r2"]["source"]) == ("agent", "import")


def test_a_measurement_knows_its_engine_better_than_its_run_and_the_run_than_the_stacks_name(tmp_path):
    run = run_record(stack="tflite-gpu-2.9+int8", engine="caffe", precision="fp16")
    told = network_record(key="a" * 32, engine="onnxruntime", precision="bf16", layers=None, kernels=[])
    measured, _ = read(tmp_path, a=[run, gemm_record(1), told])
    assert {(row.subject, row.engine, row.precision) for row in measured.itertuples()} == {
        ("kernel", "caffe", "fp16"),
        ("layerwise", "onnxruntime", "bf16"),
        ("forward", "onnxruntime", "bf16"),
    }
    other, _ = read(tmp_path / "other", a=[run_record(stack="tflite-gpu-2.9+int8"), gemm_record(1)])
    assert (other["precision"][0], other["engine"][0]) == ("int8", "caffe")  # as the board's record says


def test_networks_have_their_own_layers_and_none_that_was_refused(tmp_path):
    lines = [
        network_record(key="a" * 32),
        network_record(key="b" * 32, network="other", batch=1, prototxt=OTHER),
        network_record(key="c" * 32, network="refused", layers=[{"name": "conv9", "samples_ns": [1]}]),
    ]
    measured, refused = read(tmp_path, a=[run_record(), *lines])
    assert [line for _, line, _ in refused] == [4]
    layers = measured[(measured["subject"] == "layer") & (measured["layer"] == "conv")]
    assert dict(zip(layers["network"], layers["out_channels"], strict=True)) == {"toy": 4, "other": 6}
    networks = reading.read_table(tmp_path, "networks").to_pandas()
    assert set(zip(networks["network"], networks["batch"], strict=True)) == {("toy", 2), ("other", 1)}


def test_networks_are_of_passes_that_follow_a_definition(tmp_path):
    """A pass that another engine ran tells its kernels itself, whatever prototxt its record has."""
    foreign = network_record(key="b" * 32, network="foreign", engine="onnxruntime", layers=None, kernels=[])
    read(tmp_path, a=[run_record(), network_record(key="a" * 32), foreign])
    assert set(reading.read_table(tmp_path, "networks")["network"].to_pylist()) == {"toy"}


def failed(task, **changes):
    none = dict.fromkeys(("layers", "kernels", "forward_ns", "layerwise_ns", "prototxt"))
    return network_record(key="d" * 32, task=task, status="failed", reason="no memory", **{**none, **changes})


@pytest.mark.parametrize(
    ("record", "subject"),
    [
        (failed("network", prototxt=PROTOTXT), "forward"),
        (failed("network", prototxt=PROTOTXT, layers=[{"name": "data", "samples_ns": [1]}], forward_ns=[1]), "forward"),
        (failed("network", engine="onnxruntime"), "forward"),
        (failed("probe", prototxt=PROTOTXT), "forward"),
        (failed("probe", engine="onnxruntime", kernels=[{"kind": "x", "samples_ns": [1]}]), "forward"),
        (failed("memory", prototxt=PROTOTXT), "memory"),
    ],
    ids=["a network", "with times", "without a definition", "a probe of Caffe's", "a probe with times", "memory"],
)
def test_what_failed_is_one_row_with_its_reason(tmp_path, record, subject):
    measured, refused = read(tmp_path, a=[run_record(), record])
    assert not refused
    assert [(row.subject, row.status, row.reason) for row in measured.itertuples()] == [
        (subject, "failed", "no memory")
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 8, 9, 25, 40, 41, 1500])
def test_statistics_of_a_pass(tmp_path, count):
    """Median and quartiles by their ranks; the interval's ranks are a binomial's, of a normal where there are many."""
    samples = [float(1 + (7 * number) % count) for number in range(count)] if count % 7 else list(range(1, count + 1))
    measured, _ = read(tmp_path, a=[run_record(), network_record(layers=[], layerwise_ns=[], forward_ns=samples)])
    (row,) = measured.itertuples()
    ordered = sorted(samples)
    assert row.median_ns == (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    assert row.spread_ns == (ordered[3 * count // 4] - ordered[count // 4]) / 2
    # The interval from sample k to sample n + 1 - k misses the median with probability 2 P(X < k).
    rank = max([k for k in range(1, count // 2 + 1) if binom.cdf(k - 1, count, 0.5) <= 0.025], default=1)
    within = 1 if count > 1000 else 0
    assert abs(row.low_ns - ordered[rank - 1]) <= within and abs(row.high_ns - ordered[count - rank]) <= within


def test_rows_that_an_import_refused_are_told_by_its_file(tmp_path):
    refused = {"record": "refused", "origin": "paper.csv", "rows": [7, 9], "reason": "no layer"}
    _, told = read(tmp_path, a=[run_record(), gemm_record(1), refused, {**refused, "origin": None, "rows": [3]}])
    assert told == [("paper.csv", 7, "no layer"), ("paper.csv", 9, "no layer"), ("b/a.jsonl", 3, "no layer")]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("run", "nowhere", "the run is not in the runs table"),
        ("key", f"{2:032x}", "1 keys are those of several records"),
        ("median_ns", -1.0, "median_ns is missing or impossible"),
    ],
)
def test_verify_finds_rows_that_cannot_be(tmp_path, column, value, reason):
    read(tmp_path, a=[run_record(), gemm_record(1), gemm_record(2)])
    generation = store.existing(tmp_path)
    manifest = store.read_manifest(generation)
    (name,) = manifest.measurements()
    table = pq.read_table(generation / name, partitioning=None)
    place = table.column_names.index(column)
    changed = pa.array([value, *table[column].to_pylist()[1:]], table[column].type)
    pq.write_table(table.set_column(place, table.schema.field(place), changed), generation / name)
    manifest.files[name] = {"rows": 2, **store.sealed(generation / name)}
    (generation / "refused.jsonl").touch()
    store.commit(tmp_path, generation, manifest)
    assert any(reason in problem for problem in problems(tmp_path))
