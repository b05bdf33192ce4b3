import hashlib
import json
import random

import pyarrow.parquet as pq
import pytest

from sitecnn.dataset import aggregate, aggregation, read_measurements, reading, store
from sitecnn.dataset.schema import MEASUREMENTS
from sitecnn.dataset.verify import problems
from sitecnn.workload.kernels import layer_kernel
from tests.dataset.records import LAYERS, block_record, gemm_record, network_record, run_record, write


def tree(root):
    """Names and digests of all the dataset's files."""
    base = root / "results" / "dataset"
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in base.rglob("*")
        if path.is_file()
    }


def rows(root, board="b", processor="cpu"):
    frame = read_measurements(root, board, processor)
    return frame.sort_values(["key", "subject", "layer_index"], ignore_index=True)


def test_every_value_of_a_kernel_arrives(tmp_path):
    write(
        tmp_path, [run_record(), block_record(), gemm_record(5, block="b1", power_rails=["VDD_IN"], power_mw=[4500.5])]
    )
    assert aggregate(tmp_path)["measurements"] == {"b/cpu": 1}
    row = rows(tmp_path).iloc[0]
    assert (row.subject, row.kind, row.m, row.n, row.k, row["mode"]) == ("kernel", "gemm", 6, 2, 3, "cold")
    assert list(row.samples_ns) == [15.0, 16.0, 18.5] and row.median_ns == 16.0
    assert (row.stack, row.threads, row.source, row.status, row.stop) == ("caffe+1", 1, "agent", "ok", "noise")
    assert (row.cpu_mhz, row.temperature_c, row.load) == (1500.0, 50.5, 0.7)
    assert (row.attempt, row.sentinel_before_ns, row.sentinel_after_ns) == (1, 5.0, 5.1)
    assert (list(row.power_rails), list(row.power_mw)) == (["VDD_IN"], [4500.5])
    assert row.measured_at.isoformat() == "2026-11-23T10:01:00+00:00"
    assert (row.origin, row.line) == ("b/cpu.jsonl", 3)


def test_a_network_becomes_its_layers_with_their_sizes_and_its_passes(tmp_path):
    write(tmp_path, [run_record(), network_record()])
    aggregate(tmp_path)
    measured = rows(tmp_path)
    assert sorted(measured["subject"]) == ["forward", "layer", "layer", "layer", "layerwise"]
    for _, row in measured[measured["subject"] == "layer"].iterrows():
        expected = layer_kernel(LAYERS[row["layer_index"]])
        assert (row["kind"], row["variant"]) == (expected.kind, expected.variant)
        assert {name: row[name] for name, _ in expected.sizes} == dict(expected.sizes)
    assert measured.set_index("subject").loc["forward", "median_ns"] == 5
    networks = reading.read_table(tmp_path, "networks").to_pylist()
    assert [row["layer"] for row in networks] == ["data", "conv", "relu"]
    assert sum(row["data_bytes"] for row in networks) == 4 * (2 * 3 * 64 + 2 * (2 * 4 * 36))


def test_twice_gives_identical_bytes_and_from_scratch_too(tmp_path):
    write(tmp_path, [run_record(), *map(gemm_record, range(50)), network_record()])
    aggregate(tmp_path)
    once = tree(tmp_path)
    aggregate(tmp_path)
    assert tree(tmp_path) == once
    other = tmp_path / "other"
    write(other, [run_record(), *map(gemm_record, range(50)), network_record()])
    aggregate(other)
    assert tree(other) == once


def test_only_new_lines_are_read_and_the_result_is_that_of_all(tmp_path, monkeypatch):
    records = [run_record(), *map(gemm_record, range(40)), network_record()]
    write(tmp_path, records[:20])
    aggregate(tmp_path)
    read = []
    stretches = aggregation.stretches
    spy = lambda sources: (read.extend(stretch.starts) or stretch for stretch in stretches(sources))  # noqa: E731
    monkeypatch.setattr(aggregation, "stretches", spy)
    first = write(tmp_path, []).stat().st_size
    write(tmp_path, records[20:])
    aggregate(tmp_path)
    assert read == [(first, 20)]
    whole = tmp_path / "whole"
    write(whole, records)
    aggregate(whole)
    assert rows(tmp_path).equals(rows(whole))


def test_many_small_additions_become_few_files(tmp_path):
    write(tmp_path, [run_record()])
    for number in range(20):
        write(tmp_path, [gemm_record(number)])
        aggregate(tmp_path)
    folder = tmp_path / "results/dataset/measurements/board=b/processor=cpu"
    assert len(list(folder.iterdir())) <= 9
    assert sorted(rows(tmp_path)["m"]) == list(range(1, 21))
    assert list(problems(tmp_path)) == []


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    path = write(tmp_path, [run_record(), gemm_record(0)])
    line = json.dumps(gemm_record(1)) + "\n"
    with path.open("a") as out:
        out.write(line[:100])
    assert aggregate(tmp_path)["measurements"] == {"b/cpu": 1}
    with path.open("a") as out:
        out.write(line[100:])
    assert aggregate(tmp_path) | {"refused": 0} == aggregate(tmp_path)
    assert aggregate(tmp_path)["measurements"] == {"b/cpu": 2}


def test_every_record_is_a_row_or_refused_with_its_reason(tmp_path):
    bad = {
        "not a record: no JSON": "{nonsense",
        "not a record: no JSON object": "[1]",
        "run nowhere is nowhere": gemm_record(1, run="nowhere"),
        "median_ns is missing or impossible": gemm_record(2, median_ns=-1),
        "no samples_ns": gemm_record(3, samples_ns=[]),
        "status is none of": gemm_record(4, status="fine"),
        "no key": gemm_record(5, key=None),
        "task is 'tea'": gemm_record(6, task="tea"),
        "record is 'rumour'": {"record": "rumour"},
        "no 'prototxt'": {name: value for name, value in network_record().items() if name != "prototxt"},
        "layer 1 is 'conv9'": network_record(
            layers=[{"name": "data", "samples_ns": [1]}, {"name": "conv9", "samples_ns": [1]}]
        ),
        "needs a processor": run_record(run="r2", processor="npu"),
        "samples_ns is VARCHAR, not ARRAY": gemm_record(7, samples_ns="many"),
    }
    write(tmp_path, [run_record(), gemm_record(0), *bad.values(), gemm_record(8)])
    summary = aggregate(tmp_path)
    assert summary["measurements"] == {"b/cpu": 2} and summary["refused"] == len(bad)
    refused = [json.loads(line) for line in (tmp_path / "results/dataset/refused.jsonl").read_text().splitlines()]
    assert sorted(entry["line"] for entry in refused) == list(range(3, 3 + len(bad)))
    for entry in refused:
        expected = list(bad)[entry["line"] - 3]
        assert expected in entry["reason"], entry


def test_a_measurement_has_the_conditions_of_the_block_before_it_wherever_files_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("sitecnn.dataset.record_files.STRETCH_BYTES", 1500)
    expected, number = {}, 0
    write(tmp_path, [run_record()])
    for block in range(12):
        write(tmp_path, [block_record(f"b{block}", attempt=block)])
        for _ in range(7):
            write(tmp_path, [gemm_record(number, block=f"b{block}")])
            expected[f"{number:032x}"] = block
            number += 1
            if number % 5 == 0:
                aggregate(tmp_path)
    aggregate(tmp_path)
    measured = rows(tmp_path)
    assert dict(zip(measured["key"], measured["attempt"], strict=True)) == expected


@pytest.mark.parametrize("blocks", [[], [block_record("b2")], [block_record("b1"), block_record("b2")]])
def test_a_measurement_of_another_block_than_the_last_is_refused(tmp_path, blocks):
    passes = network_record(block="b1")
    write(tmp_path, [run_record(), *blocks, gemm_record(0, block="b1"), passes, gemm_record(1)])
    assert aggregate(tmp_path)["refused"] == 2
    refused = (tmp_path / "results/dataset/refused.jsonl").read_text()
    assert refused.count("its block is not the last one before it") == 2
    assert len(rows(tmp_path)) == 1


def test_where_a_runs_seconds_went_is_kept(tmp_path):
    cost = {"timed": 5.0, "warm_up": 1.0, "inputs": 2.0, "files": 0.5, "other": 0.25}
    done = {"record": "done", "run": "r1", "planned": 1, "owed": 0, "seconds": 8.75, "cost_s": cost}
    write(tmp_path, [run_record(), gemm_record(0), done])
    aggregate(tmp_path)
    row = pq.read_table(store.existing(tmp_path) / "runs" / "runs.parquet").to_pylist()[0]
    assert {purpose: row[f"cost_{purpose}_s"] for purpose in cost} == cost and row["seconds"] == 8.75


def test_of_one_key_the_best_and_then_the_last_stays(tmp_path):
    block, later = block_record("b2", after={"time": "2026-11-24T00:00:00Z"}), {"block": "b2"}
    write(
        tmp_path,
        [run_record(), gemm_record(0, median_ns=11), gemm_record(1, status="failed", median_ns=None, samples_ns=None)],
    )
    write(tmp_path, [gemm_record(1, reason="second")])
    aggregate(tmp_path)
    again = [gemm_record(0, median_ns=12, reason="later", **later), gemm_record(0, status="unstable", **later)]
    write(tmp_path, [run_record("r9"), block, *again, network_record(), network_record()], name="copy.jsonl")
    assert aggregate(tmp_path)["superseded"] == 4
    measured = rows(tmp_path)
    assert list(measured[measured["subject"] == "kernel"]["reason"]) == ["later", "second"]
    assert len(measured[measured["subject"] == "layer"]) == 3
    assert list(problems(tmp_path)) == []


def test_a_record_file_that_was_changed_is_read_anew(tmp_path):
    write(tmp_path, [run_record(), gemm_record(0), gemm_record(1)])
    aggregate(tmp_path)
    write(tmp_path, [run_record(), gemm_record(2)], mode="w")
    assert aggregate(tmp_path)["measurements"] == {"b/cpu": 1}
    assert list(rows(tmp_path)["m"]) == [3]


def test_drawn_histories_count_each_key_once(tmp_path):
    draw = random.Random(2017)
    for board in ("a", "b"):
        write(tmp_path, [run_record(board)], board=board)
    written = {"a": set(), "b": set()}
    for _ in range(15):
        for board, keys in written.items():
            numbers = [draw.randrange(60) for _ in range(draw.randrange(12))]
            write(tmp_path, [gemm_record(number, run=board) for number in numbers], board=board)
            keys.update(numbers)
        aggregate(tmp_path)
        for board, keys in written.items():
            assert sorted(rows(tmp_path, board)["m"]) == [number + 1 for number in sorted(keys)]
    assert list(problems(tmp_path)) == []


def test_files_of_an_older_schema_are_read_as_the_next(tmp_path, monkeypatch):
    """As if a later SiteCNN had renamed a column and added one."""
    from sitecnn.dataset import schema

    write(tmp_path, [run_record(), gemm_record(0, reason="none")])
    aggregate(tmp_path)
    renamed = [field.with_name("remark") if field.name == "reason" else field for field in schema.MEASUREMENTS]
    newer = schema.pa.schema([*renamed, ("watts", schema.pa.float64())])

    def rename(table):
        return table.rename_columns(["remark" if name == "reason" else name for name in table.column_names])

    written = schema.SCHEMA_VERSION
    for module in (schema, reading):
        monkeypatch.setattr(module, "SCHEMA_VERSION", written + 1)
        monkeypatch.setattr(module, "MEASUREMENTS", newer)
    monkeypatch.setattr(reading, "WHOLE", schema.pa.schema([*reading.PARTITIONS, *newer]))
    monkeypatch.setitem(schema.UPGRADES, written, rename)
    row = rows(tmp_path).iloc[0]
    assert (row["m"], row["remark"], list(row["samples_ns"])) == (1, "none", [10.0, 11.0, 13.5])
    assert rows(tmp_path)["watts"].isna().all() and "reason" not in rows(tmp_path)


def test_schema_1_lacked_columns_of_2_which_are_null(tmp_path):
    write(tmp_path, [run_record(), gemm_record(0)])
    aggregate(tmp_path)
    (path,) = (tmp_path / "results/dataset/measurements").resolve().rglob("*.parquet")
    added = [
        "gpu_mhz",
        "memory_mhz",
        "engine",
        "precision",
        "round",
        "power_rails",
        "power_mw",
        "gpu_base_bytes",
        "gpu_loaded_bytes",
        "gpu_total_bytes",
    ]
    older = pq.read_table(path, partitioning=None).drop_columns(added).replace_schema_metadata({"sitecnn_schema": "1"})
    pq.write_table(older, path)
    measured = reading.measurements(store.existing(tmp_path)).to_table(MEASUREMENTS.names)
    assert measured.schema.equals(MEASUREMENTS)
    assert measured.drop_columns(added).to_pylist() == older.to_pylist()
    assert all(measured[name].null_count == 1 for name in added)


def test_nothing_measured_is_an_empty_table_with_all_columns(tmp_path):
    frame = read_measurements(tmp_path, "b", "cpu")
    assert frame.empty and set(MEASUREMENTS.names) < set(frame.columns)
    write(tmp_path, [run_record(), gemm_record(0)])
    aggregate(tmp_path)
    assert read_measurements(tmp_path, "other", "gpu").empty


@pytest.mark.parametrize("damage", ["bytes", "missing", "extra"])
def test_verify_finds_damage(tmp_path, damage):
    write(tmp_path, [run_record(), gemm_record(0)])
    aggregate(tmp_path)
    (path,) = (tmp_path / "results/dataset/measurements").resolve().rglob("*.parquet")
    if damage == "bytes":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "missing":
        path.unlink()
    else:
        path.with_name("extra.parquet").write_bytes(path.read_bytes())
    assert len(list(problems(tmp_path))) >= 1
