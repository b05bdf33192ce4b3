"""The compiled reader says what pyarrow's reader says of every line, and rounds numbers as Python does."""

import copy
import json
import math
import random
import re
import subprocess
import sys
from importlib import import_module

import numpy as np
import pyarrow as pa
import pytest

from sitecnn.dataset import aggregate
from sitecnn.dataset.lines import PADDING, read, read_many
from sitecnn.dataset.records import LINE
from tests.dataset.records import block_record, gemm_record, network_record, run_record, write
from tests.dataset.test_aggregate import tree
from tests.dataset.test_hostile import REFUSED, inner

BOUNDS = {"low_ns": None, "high_ns": None, "spread_ns": None}
NUMBERS = pa.schema([("samples_ns", pa.list_(pa.float64()))])


def compact(record):
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def buffered(data):
    """As a chunk's lines lie: at the beginning of a buffer, other bytes after them."""
    return memoryview(bytearray(data + b"1" * PADDING))[: len(data)]


def outcome(reader, data):
    """The rows as text, so that NaN equals NaN, or what is wrong with the lines but for the row's number."""
    try:
        table = reader(buffered(data), LINE)
        table.validate(full=True)
        return repr(table.to_pylist())
    except ValueError as error:
        return re.sub(r" in row \d+", "", str(error).splitlines()[0])


def drawn_numbers(draw):
    """Texts of numbers of all lengths: whole, as Python writes floats, cut anywhere, halfway between two floats."""
    for _ in range(5000):
        number = draw.choice([draw.uniform(0, 1), draw.lognormvariate(5, 12), draw.randrange(10**7) / 2**20])
        yield repr(number)
        yield f"{number:.{draw.randrange(18)}f}"
        yield f"{draw.randrange(10 ** draw.randrange(1, 19))}e{draw.randrange(-27, 23)}"
        yield str(draw.randrange(10 ** draw.randrange(1, 20)))
        # Halfway between two floats of 54 bits: to the even one.
        yield str(2**53 + 2 * draw.randrange(2**51) + 1)
        yield f"{(2**53 + 2 * draw.randrange(2**51) + 1) * 5 ** (power := draw.randrange(1, 4))}e-{power}"


def test_numbers_are_rounded_as_python_rounds_them():
    texts = list(drawn_numbers(random.Random(2017)))
    texts += ["-0", "-0.0", "0e5", "1E+3", "-1e-5", "0.1", "5e-324", "1e308", "2.2250738585072014e-308"]
    data = "".join(f'{{"samples_ns":[{text},-{text.lstrip("-")}]}}\n' for text in texts).encode()
    found = read_many(buffered(data), NUMBERS)["samples_ns"].combine_chunks().flatten().to_numpy()
    expected = np.array([value for text in texts for value in (float(text), float(f"-{text.lstrip('-')}"))])
    assert (found.view(np.uint64) == expected.view(np.uint64)).all()


@pytest.mark.parametrize(
    "text", ["01", "1.", ".5", "-", "+1", "1e", "1e+", "nan", "0x1", "1_0", "1 2", "--1", "1,", ""]
)
def test_what_is_no_number_is_none(text):
    for data in (f'{{"samples_ns":[{text}]}}\n', f'{{"seconds":{text}}}\n', f'{{"unknown":[{text}]}}\n'):
        assert outcome(read_many, data.encode()) == outcome(read, data.encode())


@pytest.mark.parametrize("dumps", [compact, lambda record: json.dumps(record).encode() + b"\n"])
def test_records_of_all_sorts_and_their_damage(dumps):
    """Any value of a record in the place of any other, alone and among sound lines."""
    draw = random.Random(2017)
    odd = [None, "", "x", -1, 0, 1.5, 2**63 - 1, 2**63, 2**70, 1e308, [], ["x"], [[1]], {}, {"x": [{"y": "z"}]}]
    odd += [True, False, "\u0000", "\ud800", 'q"q', "back\\slash", "ü", "null", float("nan"), [1, None]]
    sound = [run_record(), block_record(), gemm_record(1, power_rails=["a", "b"], power_mw=[1, 2.5])]
    sound += [gemm_record(2, block="b1", samples_ns=[]), network_record(), {"record": "done", "run": "r1"}]
    for _ in range(300):
        record = copy.deepcopy(draw.choice(sound))
        parent, name = draw.choice(list(inner(record)))
        parent[name] = draw.choice(odd)
        lines = [dumps(sound[2]), dumps(record), dumps(sound[1]), dumps(sound[4]), dumps(sound[2])]
        for data in (dumps(record), b"".join(lines)):
            assert outcome(read_many, data) == outcome(read, data)


def test_text_cut_anywhere_or_with_any_byte_changed():
    draw = random.Random(2017)
    sound = compact(gemm_record(1, block="b1", unknown={"x": [1, "y", None, True]}))
    for _ in range(1000):
        line = bytearray(sound)
        place = draw.randrange(len(line) - 1)
        if draw.randrange(2):
            line[place] = draw.choice(b'"{}[],:0123456789.-+eEtnxu\\ \t\x00\x7f')
        else:
            del line[place : place + draw.randrange(1, 4)]
        if line.endswith(b"\n"):
            assert outcome(read_many, bytes(line)) == outcome(read, bytes(line)), line


def test_names_twice_unknown_and_in_other_places():
    lines = [
        b'{"run":"a","run":"b"}',
        b'{"kernel":{"m":1},"kernel":{"m":2}}',
        b'{"x":1,"x":2}',
        b'{"m":5,"kernel":{"run":"a","kernel":{"m":7}}}',
        b'{"kernel":{"m":1,"m":2}}',
        b'{"runs":"a","ru":"b","run":"c"}',
        b'{"a_name_that_is_longer_than_all_names_that_are_known_to_the_schema":1,"run":"c"}',
        b'{"unknown":{"run":[{"run":"a"}]},"run":"b"}',
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b"{}",
        b"[]",
        b"",
        b'{"run":"a"} ',
        b'{"run":"a"}{"run":"b"}',
    ]
    for line in lines:
        assert outcome(read_many, line + b"\n") == outcome(read, line + b"\n"), line


def test_lines_that_are_not_plain_keep_their_places():
    records = [gemm_record(number) for number in range(500)]
    for every in (1, 2, 7, 100):
        data = b"".join(
            json.dumps(record).encode() + b"\n" if number % every == 0 else compact(record)
            for number, record in enumerate(records)
        )
        assert outcome(read_many, data) == outcome(read, data)
        assert read_many(buffered(data), LINE)["key"].to_pylist() == [record["key"] for record in records]


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_is_refused_is_refused_alike(tmp_path, monkeypatch, what):
    for name, many_bytes in (("one", math.inf), ("many", 0)):
        monkeypatch.setattr(import_module("sitecnn.dataset.aggregate"), "MANY_BYTES", many_bytes)
        path = write(tmp_path / name, [run_record(), gemm_record(0), network_record()])
        with path.open("ab") as out:
            out.write(REFUSED[what] + b"\n" + compact(gemm_record(1)))
        aggregate(tmp_path / name)
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


def test_either_reader_makes_the_same_dataset_to_the_byte(tmp_path, monkeypatch):
    """Chunk after chunk, in memory that is filled again and again."""
    monkeypatch.setattr("sitecnn.dataset.records.CHUNK_BYTES", 5000)
    kinds = [{"kind": "relu", "variant": "", "channels": 3, "height": 7}, {"kind": "gemm", "m": 1, "n": 2, "k": 3}]
    records = [run_record()]
    for number in range(400):
        if number % 9 == 0:
            records.append(block_record(f"b{number}"))
        record = gemm_record(number, block=f"b{number - number % 9}", kernel=kinds[number % 2])
        records.append(record | {"samples_ns": [10 + number] * (1 + number % 5), "median_ns": 10 + number, **BOUNDS})
    for name, many_bytes in (("one", math.inf), ("many", 0)):
        monkeypatch.setattr(import_module("sitecnn.dataset.aggregate"), "MANY_BYTES", many_bytes)
        write(tmp_path / name, [compact(record).decode().rstrip() for record in [*records, network_record()]])
        assert aggregate(tmp_path / name)["measurements"] == {"b/cpu": 405}
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


def test_a_small_dataset_does_not_wait_for_the_compiler(tmp_path):
    write(tmp_path, [run_record(), *map(gemm_record, range(1000))])
    code = f"import sys; from sitecnn.cli import main; main(['--root', {str(tmp_path)!r}, 'aggregate']); "
    code += "print('numba' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert '"b/cpu": 1000' in said and said.endswith("False\n")
