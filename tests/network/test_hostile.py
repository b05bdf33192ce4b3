"""Files that mean harm or make no sense: one line that names file and place, soon and in little memory."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network, parse_prototxt

from .hostile import SMALL_RESNET, spoilt
from .test_against_caffe import CHOSEN, IMAGE, layer

CONVOLUTION = IMAGE + layer("Convolution", rest="convolution_param { num_output: 2 kernel_size: SIZE }")

CASES = {
    "empty": ("", "it defines no layers"),
    "web page": ("<!DOCTYPE html><html></html>", "a web page"),
    "dimension of 2^63": (IMAGE.replace("dim: 9", f"dim: {2**63}"), "out of range"),
    "dimension just below": (IMAGE.replace("dim: 9", f"dim: {2**63 - 1}"), "layer 'in' (Input): a blob of"),
    "blob too large": (IMAGE + layer("Tile", rest="tile_param { tiles: 2000000000 }"), "layer 'it' (Tile): a blob of"),
    "negative dimension": (IMAGE.replace("dim: 9", "dim: -9"), "layer 'in' (Input)"),
    "zero dimension": (IMAGE.replace("dim: 9", "dim: 0"), "layer 'in' (Input)"),
    "too many axes": (IMAGE.replace("dim: 9", "dim: 1 " * 40), "43 axes"),
    "kernel larger than its input": (CONVOLUTION.replace("SIZE", "20"), "layer 'it' (Convolution): its kernel spans"),
    "kernel of nothing": (CONVOLUTION.replace("SIZE", "0"), "kernel_size must be at least 1"),
    "text for a number": (CONVOLUTION.replace("SIZE", '"3"'), "line 2, column"),
    "number past its type": (CONVOLUTION.replace("SIZE", str(2**32)), "line 2, column"),
    "stride of nothing": (CONVOLUTION.replace("SIZE", "3 stride: 0"), "stride must be"),
    "group of nothing": (CONVOLUTION.replace("SIZE", "3 group: 0"), "group must be"),
    "groups that do not divide": (CONVOLUTION.replace("SIZE", "3 group: 4"), "6 input channels"),
    "cycle": (IMAGE + layer("ReLU", "b", "a", name="a") + layer("ReLU", "a", "b", name="b"), "layer 'a' (ReLU)"),
    "missing bottom": (IMAGE + layer("ReLU", "nowhere"), "its bottom 'nowhere' is produced by no layer before it"),
    "two layers make one blob": (IMAGE + IMAGE, "layer 'in' (Input): its top 'in'"),
    "names with control characters": (IMAGE + layer("ReLU", "\\033[2J"), "'\\x1b[2J'"),
    "pyramid of many levels": (IMAGE + layer("SPP", rest="spp_param { pyramid_height: 4000000000 }"), "layer 'it'"),
    "cut in the middle": (SMALL_RESNET[: len(SMALL_RESNET) // 2], "line"),
    "unknown phase": ("state { phase: DEPLOY }" + IMAGE, "no value named DEPLOY"),
    "shapes that do not fit": (
        IMAGE + layer("Flatten", "in", "f", name="f") + layer("Eltwise", "in f"),
        "layer 'it' (Eltwise): its inputs must have one shape, are 2×6×9×7 and 2×378",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_file_and_place(case, tmp_path):
    text, reason = CASES[case]
    path = tmp_path / "bad.prototxt"
    path.write_text(text)
    with pytest.raises(SiteCNNError) as error:
        load_network(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and reason in said and said.isprintable() and len(said) < 500


LIMITS = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({1 << 30}, {1 << 30}))
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network
try:
    print("read", len(load_network(sys.argv[1]).layers))
except SiteCNNError as error:
    print(error)
"""

LARGE = {
    "100 MB of text": lambda: b"x" * 100_000_000,
    "100 MB of layers": lambda: b"layer { }\n" * 10_000_000,
    "2 MiB of layers": lambda: b"layer{}" * 290_000,
    "2 MiB of spaces": lambda: b" " * (2 << 20),
    "2 MiB of quotes": lambda: b'"' * (2 << 20),
    "one long comment": lambda: b"#" * (2 << 20),
    "nesting of thousands": lambda: b"layer { a_param " + b"{ a " * 20_000 + b"}" * 20_001,
    "nesting that is closed": lambda: IMAGE.encode() + b"layer { a_param " + b"{ a" * 4_000 + b"{}" + b"}" * 4_001,
    "nesting of layers": lambda: b"layer{" * 40_000,
    "many dimensions": lambda: (
        b'layer { name: "i" type: "Input" top: "i" input_param { shape { %s } } }' % (b"dim:1 " * 90_000)
    ),
    "many readers": lambda: (IMAGE + layer("Concat", "in " * 60_000)).encode(),
    "many tops": lambda: layer("Input", "", " ".join(map(str, range(60_000))), "input_param{shape{dim:1}}").encode(),
    "many unknown fields": lambda: (
        IMAGE + layer("X", rest=" ".join(f"x{i}y_param {{ }}" for i in range(9_000)))
    ).encode(),
    "long numbers": lambda: IMAGE.replace("dim: 9", "dim: " + "9" * 1_000_000).encode(),
    "random bytes": lambda: random.Random(1).randbytes(1_000_000),
    "random bytes without zeros": lambda: random.Random(2).randbytes(1_000_000).replace(b"\0", b"a"),
    "random bytes that begin as ONNX does": lambda: b"\x08\x07" + random.Random(3).randbytes(50_000_000),
    "an endless name": lambda: IMAGE.replace('"in"', '"' + "n" * 500_000 + '"').encode(),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_files_are_done_with_in_5_seconds_and_1_gib(case, tmp_path):
    path = tmp_path / "large.prototxt"
    path.write_bytes(LARGE[case]())
    done = subprocess.run([sys.executable, "-c", LIMITS, path], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-2000:]
    assert done.stdout.startswith(("read ", f"{path}: ")) and done.stdout.count("\n") == 1


def test_what_is_no_file_is_refused(tmp_path):
    for path, reason in (
        (tmp_path, "not a file"),
        (Path("/dev/zero"), "not a file"),
        (tmp_path / "no", "No such file"),
    ):
        with pytest.raises(SiteCNNError, match=reason):
            load_network(path)
    with pytest.raises(SiteCNNError, match="cannot be read"):
        load_network("a\0b")


def test_text_in_other_encodings_is_read(tmp_path):
    path = tmp_path / "comment.prototxt"
    path.write_bytes("# 网络\n".encode("gbk") + IMAGE.encode())
    assert load_network(path).batch == 2
    path.write_bytes(b"\xef\xbb\xbf" + IMAGE.encode())
    assert load_network(path).batch == 2


def test_standard_input():
    done = subprocess.run(
        [sys.executable, "-c", "from sitecnn.network import load_network; print(load_network('-').layers[0].outputs)"],
        input=IMAGE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "((2, 6, 9, 7),)\n"


def test_nothing_but_one_line_comes_of_spoilt_definitions():
    """A small share of what `fuzz.py` does."""
    rng = random.Random(4)
    texts = [*CHOSEN.values(), SMALL_RESNET]
    for _ in range(1500):
        text = spoilt(rng.choice(texts), rng)
        try:
            parse_prototxt(text, "spoilt.prototxt")
        except SiteCNNError as error:
            assert str(error).startswith("spoilt.prototxt: ") and "\n" not in str(error)


def test_limits_are_in_force():
    """The limits above end a process that passes them, so that a pass means something."""
    hungry = LIMITS.split("from sitecnn")[0] + "x = bytes(2 << 30)"
    assert subprocess.run([sys.executable, "-c", hungry], capture_output=True).returncode != 0
