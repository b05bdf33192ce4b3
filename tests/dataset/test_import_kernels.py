"""Tables of kernels measured elsewhere: our own columns, and those of the public measurements of phones."""

from pathlib import Path

import pandas as pd
import pytest

from sitecnn.dataset import read_measurements
from sitecnn.dataset.verify import problems
from tests.dataset.test_import import run

PHONES = Path(__file__).resolve().parents[3] / "shared" / "phones-data"
OWN = pd.DataFrame(
    [
        {"network": "a", "kind": "conv", "variant": "Relu", "channels": 3, "out_channels": 8, "kernel_ms": 0.5},
        {"network": "a", "kind": "gemm", "m": 1, "n": 10, "k": 8, "kernel_ms": 0.25},
        {"network": "b", "kind": "pool", "variant": "MAX", "channels": 8, "kernel_ms": 1.5},
    ]
)
NAN = float("nan")


def published(operation, implementation, kernel_ms, **sizes):
    names = ("in_size", "in_channels", "out_size", "stride", "kernel_size", "out_channels", "group")
    told = {"board": "pixel", "network": "n", "operation": operation, "implementation": implementation}
    return {**told, "kernel_ms": kernel_ms, **{name: sizes.get(name, NAN) for name in names}}


def read(root, board="x"):
    return read_measurements(root, board, "gpu").sort_values(["network", "subject", "kind"], ignore_index=True)


def test_any_table_with_our_size_columns(tmp_path, capsys):
    OWN.to_csv(tmp_path / "own.csv", index=False)
    (tmp_path / "passes.csv").write_text("network,forward_ms\na,0.9\na,1.0\n")
    options = ["--passes", tmp_path / "passes.csv"]
    assert run(tmp_path, "kernels", tmp_path / "own.csv", *options, processor="gpu", stack="tflite-gpu+int8") == 0
    assert "3 rows: 3 imported, 0 left out, 0 refused" in capsys.readouterr().out
    measured = read(tmp_path)
    assert list(zip(measured["network"], measured["subject"], measured["median_ns"], strict=True)) == [
        ("a", "forward", 950_000), ("a", "kernel", 500_000), ("a", "kernel", 250_000), ("b", "kernel", 1_500_000)
    ]  # fmt: skip
    assert set(measured["engine"]) == {"tflite-gpu"} and set(measured["precision"]) == {"int8"}
    assert set(measured["mode"]) == {"network"} and set(measured["source"]) == {"import"}
    assert list(measured.loc[1, ["channels", "out_channels"]]) == [3, 8] and measured.loc[1, "variant"] == "Relu"
    assert list(measured.loc[2, ["m", "n", "k"]]) == [1, 10, 8] and pd.isna(measured.loc[2, "channels"])
    assert list(problems(tmp_path)) == []


def test_the_published_columns_with_their_traps(tmp_path, capsys):
    rows = [
        published("DEPTHWISE_CONV_2D", "depthwise_convolution_31_linked_:_relu_32", 0.1, in_size=31, in_channels=384,
                  out_size=14, stride=2, kernel_size=5, out_channels=1, group=1),
        published("MEAN", "mean_164", 0.2, in_size=7, in_channels=1024, out_size=1024, kernel_size=0),
        published("CONCATENATION", "concat_25", 0.3, in_size=28, in_channels=64, out_size=28, kernel_size=4,
                  out_channels=256),
        published("CONV_2D", "convolution_2d_26_linked_:_add_27_linked_:_relu_28", 0.4, in_size=56, in_channels=48,
                  out_size=56, stride=1, kernel_size=1, out_channels=48, group=1),
        published("MAX_POOL_2D", "pooling_2d_38", 0.5, in_size=27, in_channels=256, out_size=13, stride=2,
                  kernel_size=3),
        published("FULLY_CONNECTED", "fully_connected_165", 0.6, in_channels=1024, out_channels=1000),
        published("DEPTHWISE_CONV_2D", "depthwise_conv_plus_1x1_conv_5_6_7", 0.7, in_size=114, in_channels=8,
                  out_size=112, stride=1, kernel_size=3, out_channels=1, group=1),
        published("CONV_2D", "depthwise_conv_plus_1x1_conv_5_6_7", 0.8, in_size=112, in_channels=8, out_size=112,
                  stride=1, kernel_size=1, out_channels=4, group=1),
        {**published("MEAN", "mean_1", 0.2, in_size=7, in_channels=10), "board": "other"},
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "phones.parquet")
    assert run(tmp_path, "kernels", tmp_path / "phones.parquet", processor="gpu", board="pixel") == 0
    assert "9 rows: 8 imported, 1 left out (of another board), 0 refused" in capsys.readouterr().out
    measured = read(tmp_path, "pixel").set_index("kind")
    assert set(measured["engine"]) == {"tflite-gpu"} and set(measured["precision"]) == {"fp16"}
    depthwise = measured.loc["tflite_depthwise_convolution"]
    assert (depthwise["out_channels"], depthwise["group"], depthwise["variant"]) == (384, 384, "relu")
    mean = measured.loc["tflite_mean"]
    assert (mean["out_height"], mean["out_channels"], mean["in_elements"]) == (1, 1024, 1024 * 49)
    assert pd.isna(mean["kernel_h"])
    concat = measured.loc["tflite_concat"]
    assert (concat["inputs"], concat["out_channels"]) == (4, 256) and pd.isna(concat["kernel_h"])
    assert measured.loc["tflite_convolution_2d", "variant"] == "add+relu"
    assert (
        measured.loc["tflite_pooling_2d", "variant"] == "MAX"
        and measured.loc["tflite_pooling_2d", "out_channels"] == 256
    )
    assert measured.loc["tflite_fully_connected", "in_elements"] == 1024
    joint = measured.loc["tflite_depthwise_conv_plus_1x1_conv"]
    assert (joint["kernel_h"], joint["out_channels"], joint["out_elements"]) == (3, 4, 4 * 112**2)
    assert joint["median_ns"] == 750_000


def test_what_ran_unlisted_is_told_by_the_numbers_of_nodes(tmp_path):
    """Nodes 1 (a padding), 4 to 6 (a gate's product, an addition, a ReLU: one kernel) and 9 are in no name."""
    rows = [
        published("CONV_2D", "convolution_2d_0", 0.1, in_size=56, in_channels=3, out_size=28, stride=2, kernel_size=3,
                  out_channels=16, group=1),
        published("DEPTHWISE_CONV_2D", "depthwise_convolution_2_linked_:_relu_3", 0.1, in_size=30, in_channels=16,
                  out_size=28, stride=1, kernel_size=3, out_channels=1, group=1),
        published("CONV_2D", "convolution_winograd_4x4_6x6_7_linked_:_add_8", 0.1, in_size=28, in_channels=16,
                  out_size=28, stride=1, kernel_size=3, out_channels=8, group=1),
        published("CONV_2D", "convolution_2d_10", 0.1, in_size=28, in_channels=8, out_size=28, stride=1, kernel_size=1,
                  out_channels=8, group=1),
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "phones.csv", index=False)
    assert run(tmp_path, "kernels", tmp_path / "phones.csv", processor="gpu", board="pixel") == 0
    measured = read(tmp_path, "pixel")
    unlisted = measured[measured["median_ns"] == 0].sort_values("out_elements")
    assert list(zip(unlisted["kind"], unlisted["out_elements"], strict=True)) == [
        ("tflite_elementwise", 8 * 28**2), ("tflite_elementwise", 16 * 28**2), ("tflite_pad", 16 * 30**2)
    ]  # fmt: skip
    assert len(measured) == 7 and list(problems(tmp_path)) == []


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("kernel_ms", -1, "row 2: kernel_ms is -1"),
        ("kernel_ms", "x", "row 2: kernel_ms is 'x'"),
        ("kernel_ms", float("inf"), "row 2: kernel_ms is inf"),
        ("m", 1.5, "row 2: m is 1.5, not a whole number"),
        ("m", -1, "row 2: m is -1"),
        ("kind", None, "row 2: no kind"),
        ("network", None, "row 2: no network"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_number(tmp_path, capsys, column, value, reason):
    table = OWN.astype(object)
    table.loc[1, column] = value
    table.to_csv(tmp_path / "own.csv", index=False)
    assert run(tmp_path, "kernels", tmp_path / "own.csv", processor="gpu") == 1
    said = capsys.readouterr()
    assert reason in said.err and "3 rows: 2 imported, 0 left out, 1 refused" in said.out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("network,kind\na,b\n", "no column 'kernel_ms'"),
        ("network,kind,kernel_ms\na,b,1\n", "no column of sizes"),
        ("network,kind,kernel_ms,m,board\na,b,1,1,tx1\n", "no row of --board x; its column `board` has tx1"),
        ("", "no CSV or Parquet table"),
    ],
)
def test_what_is_no_table_of_kernels_is_one_line_and_2(tmp_path, capsys, content, reason):
    (tmp_path / "own.csv").write_text(content)
    assert run(tmp_path, "kernels", tmp_path / "own.csv", processor="gpu") == 2
    said = capsys.readouterr().err
    assert reason in said and len(said.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.shared
@pytest.mark.skipif(not PHONES.exists(), reason="../shared is not there")
def test_every_kernel_of_the_public_phones_is_accounted_for(tmp_path, capsys):
    file = PHONES / "dev-phones-kernels.parquet"
    table = pd.read_parquet(file)
    passes = ["--passes", PHONES / "dev-phones-passes.parquet"]
    for board in ("iphone7", "pixel4"):
        assert run(tmp_path, "kernels", file, *passes, board=board, processor="gpu", stack="tflite-gpu+fp16") == 0
        mine = table[table["board"] == board]
        assert f"14528 rows: {len(mine)} imported, {14528 - len(mine)} left out" in capsys.readouterr().out
        measured = read(tmp_path, board)
        joint = mine["implementation"].str.contains("plus_1x1").sum() // 2
        kernels = measured[(measured["subject"] == "kernel") & (measured["median_ns"] > 0)]
        assert len(kernels) == len(mine) - joint and (measured["subject"] == "forward").sum() == 68
        if not joint:
            assert kernels["median_ns"].sum() == pytest.approx(mine["kernel_ms"].sum() * 1e6)
