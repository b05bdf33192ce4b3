"""Imports: the public tables where they are at hand, and tables, logs and profiles made here."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.dataset import read_measurements
from sitecnn.dataset.verify import problems
from sitecnn.network import load_network
from sitecnn.workload.kernels import layer_kernel
from sitecnn.workload.memory import memory
from tests.dataset.records import LAYERS, PROTOTXT

PUBLIC = Path(__file__).resolve().parents[3] / "shared"
TABLES = {"tx1": (18072, {"cpu": 6024, "gpu": 12048}), "gtx1080": (12048, {"cpu": 6024, "gpu": 6024}),
          "rk3399": (21120, {"cpu": 16896, "gpu": 4161})}  # fmt: skip
DATA_BYTES = 4 * (2 * 3 * 64 + 2 * (2 * 4 * 36))


@pytest.fixture
def networks(tmp_path):
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "toy.prototxt").write_text(PROTOTXT)
    return folder


def toy_table(tmp_path, **changes):
    """Three repeats of the toy network's three layers, columns changed as given, as CSV."""
    rows = [
        {"network": "toy", "batch": 2, "layer": layer.name, "layer_ms": 0.1 + index + repeat / 100, "repeat": repeat,
         "forward_ms": 3.5 + repeat, "data_bytes": DATA_BYTES}
        for repeat in range(3)
        for index, layer in enumerate(LAYERS)
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"layer_ms": object, "batch": object})
    table["layer_ms"] *= 1e-3
    table["forward_ms"] *= 1e-3
    for (row, column), value in changes.pop("cells", {}).items():
        table.loc[row, column] = value
    file = tmp_path / "times.csv"
    table.assign(**changes).to_csv(file, index=False)
    return file


def run(tmp_path, kind, *arguments, board="x", processor="cpu", stack="s"):
    named = ["--board", board, "--processor", processor, "--stack", stack]
    return main(["--root", str(tmp_path), "import", kind, *map(str, arguments), *named])


def test_a_table_becomes_layers_and_passes(tmp_path, networks, capsys):
    assert run(tmp_path, "table", toy_table(tmp_path), "--networks", networks) == 0
    assert "9 rows: 9 imported, 0 left out" in capsys.readouterr().out
    measured = read_measurements(tmp_path, "x", "cpu").set_index(["subject", "layer"])
    assert set(measured["source"]) == {"import"} and set(measured["stack"]) == {"s"}
    conv = measured.loc[("layer", "conv")]
    assert list(conv["samples_ns"]) == pytest.approx([1100, 1110, 1120])
    assert {name: conv[name] for name, _ in layer_kernel(LAYERS[1]).sizes} == dict(layer_kernel(LAYERS[1]).sizes)
    assert list(measured.loc["forward"]["samples_ns"].iloc[0]) == pytest.approx([3500, 4500, 5500])
    assert list(measured.loc["layerwise"]["samples_ns"].iloc[0]) == pytest.approx([3300, 3330, 3360])
    assert list(problems(tmp_path)) == []


def test_the_same_import_again_changes_nothing(tmp_path, networks):
    file = toy_table(tmp_path)
    assert run(tmp_path, "table", file, "--networks", networks) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert run(tmp_path, "table", file, "--networks", networks) == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()}


def test_an_import_is_taken_back_with_its_record_file(tmp_path, networks, capsys):
    assert run(tmp_path, "table", toy_table(tmp_path), "--networks", networks) == 0
    named = Path(capsys.readouterr().out.split("records: ")[1].strip())
    named.unlink()
    assert main(["--root", str(tmp_path), "aggregate"]) == 0
    assert read_measurements(tmp_path, "x", "cpu").empty


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({(4, "layer"): "conv9"}, "row 5: layer 'conv9' is not in the definition"),
        ({(4, "layer_ms"): "fast"}, "row 5: layer_ms is 'fast'"),
        ({(4, "layer_ms"): -1}, "row 5: layer_ms is -1"),
        ({(4, "layer_ms"): float("inf")}, "row 5: layer_ms is inf"),
        ({(4, "layer_ms"): 8.9e13}, "row 5: layer_ms of 'conv' is more than 2 × forward_ms"),
        ({(4, "batch"): 2.5}, "row 5: batch is"),
        ({(4, "data_bytes"): 7}, f"row 5: data_bytes 7 is not the {DATA_BYTES} of 'toy' at batch 2"),
        ({(4, "network"): "../../etc/passwd"}, "row 5: network '../../etc/passwd' is no name of a file"),
        ({(4, "network"): "other"}, "row 5: no definition"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_number(tmp_path, networks, capsys, cells, reason):
    assert run(tmp_path, "table", toy_table(tmp_path, cells=cells), "--networks", networks) == 1
    said = capsys.readouterr()
    assert reason in said.err and "8 imported" in said.out and "1 refused" in said.out
    refused = [json.loads(line) for line in (tmp_path / "results/dataset/refused.jsonl").read_text().splitlines()]
    assert [(entry["origin"], entry["line"]) for entry in refused] == [("times.csv", 5)]


def test_times_in_another_unit_are_refused(tmp_path, networks, capsys):
    file = toy_table(tmp_path)
    table = pd.read_csv(file)
    for column in ("layer_ms", "forward_ms"):
        table[column] *= 1e6
    table.to_csv(file, index=False)
    assert run(tmp_path, "table", file, "--networks", networks) == 2
    assert "are the times in ms?" in capsys.readouterr().err


def test_rows_of_other_libraries_are_left_out_and_several_are_several_stacks(tmp_path, networks, capsys):
    file = toy_table(tmp_path)
    parts = [pd.read_csv(file).assign(library=name) for name in ("cpu", "nvidia-cuda", "nvidia-cudnn")]
    pd.concat(parts).to_parquet(tmp_path / "all.parquet")
    assert run(tmp_path, "table", tmp_path / "all.parquet", "--networks", networks, processor="gpu") == 0
    assert "27 rows: 18 imported, 9 left out" in capsys.readouterr().out
    assert set(read_measurements(tmp_path, "x", "gpu")["stack"]) == {"s+nvidia-cuda", "s+nvidia-cudnn"}
    one = ["--networks", networks, "--library", "nvidia-cuda"]
    assert run(tmp_path, "table", tmp_path / "all.parquet", *one, processor="gpu", board="y") == 0
    assert set(read_measurements(tmp_path, "y", "gpu")["stack"]) == {"s"}


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PAR1junk", b"\xff\xfe\x00"])
def test_what_is_no_table_is_one_line_and_2(tmp_path, networks, capsys, content):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    assert run(tmp_path, "table", file, "--networks", networks) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "results" / "records").exists()


LOG = """I0101 10:00:00.000000  1 caffe.cpp:343] Use CPU.
I0101 10:00:00.000000  1 net.cpp:131] Top shape: 2 3 8 8 (384)
I0101 10:00:00.000000  1 caffe.cpp:394] Iteration: 50 forward-backward time: 1 ms.
I0101 10:00:00.000000  1 caffe.cpp:397] Average time per layer:
I0101 10:00:00.000000  1 caffe.cpp:400]       data\tforward: 0.0001 ms.
I0101 10:00:00.000000  1 caffe.cpp:403]       data\tbackward: 0.002 ms.
I0101 10:00:00.000000  1 caffe.cpp:400]       conv\tforward: 0.0011 ms.
I0101 10:00:00.000000  1 caffe.cpp:400]       relu\tforward: 2e-04 ms.
I0101 10:00:00.000000  1 caffe.cpp:408] Average Forward pass: 0.0015 ms.
"""


def import_log(tmp_path, networks, text, *more, processor="cpu", batch=2):
    (tmp_path / "log").write_text(text)
    network = ["--network", networks / "toy.prototxt", "--batch", batch]
    return run(tmp_path, "caffe-time", tmp_path / "log", *more, *network, processor=processor)


def test_a_log_of_caffe_time(tmp_path, networks):
    assert import_log(tmp_path, networks, LOG + LOG) == 0
    measured = read_measurements(tmp_path, "x", "cpu").set_index(["subject", "layer"])
    assert list(measured.loc[("layer", "conv")]["samples_ns"]) == [1100, 1100]
    assert list(measured.loc["forward"]["samples_ns"].iloc[0]) == [1500, 1500]
    assert list(measured.loc["layerwise"]["samples_ns"].iloc[0]) == pytest.approx([1400, 1400])
    assert set(measured["iterations"]) == {50}


def test_several_logs_are_samples_of_one_stack(tmp_path, networks):
    (tmp_path / "second").write_text(LOG.replace("0.0011", "0.0013"))
    assert import_log(tmp_path, networks, LOG, tmp_path / "second") == 0
    measured = read_measurements(tmp_path, "x", "cpu").set_index(["subject", "layer"])
    assert list(measured.loc[("layer", "conv")]["samples_ns"]) == [1100, 1300]


def test_a_board_is_a_plain_name(tmp_path, networks, capsys):
    assert run(tmp_path, "table", toy_table(tmp_path), "--networks", networks, board="../x") == 2
    assert "--board ../x" in capsys.readouterr().err


def test_a_log_without_lines_per_layer(tmp_path, networks):
    brief = "\n".join(line for line in LOG.splitlines() if "\t" not in line) + "\n"
    assert import_log(tmp_path, networks, brief) == 0
    assert list(read_measurements(tmp_path, "x", "cpu")["subject"]) == ["forward"]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        (LOG, {"processor": "gpu"}, "log:1: the log says cpu, not gpu: give --processor cpu"),
        (LOG, {"batch": 4}, "log:2: the log says 2, not 4: give --batch 2"),
        (LOG[:-40], {}, "not a whole log"),
        ("", {}, "not a whole log"),
        (LOG.replace("0.0015", "nan"), {}, "log:9: 'nan' ms is no time"),
        (LOG.replace("0.0015", "15000"), {}, "are the times in ms?"),
    ],
)
def test_a_log_that_does_not_fit(tmp_path, networks, capsys, text, options, reason):
    assert import_log(tmp_path, networks, text, **options) == 2
    assert reason in capsys.readouterr().err


def test_a_log_with_a_layer_that_the_network_lacks(tmp_path, networks, capsys):
    assert import_log(tmp_path, networks, LOG.replace("      relu\t", "      loss\t")) == 1
    assert "row 8: log: layer 'loss' is not in the definition" in capsys.readouterr().err


def test_a_log_of_another_network_is_none_of_this_one(tmp_path, networks, capsys):
    """Its forward pass would stand as this network's."""
    other = LOG.replace("      conv\t", "      conv1\t").replace("      relu\t", "      relu1\t")
    assert import_log(tmp_path, networks, other) == 2
    said = capsys.readouterr().err
    assert "row 7: log: layer 'conv1' is not in the definition, as 2 of its 3 lines of layers" in said
    assert not (tmp_path / "results" / "records").exists()


def test_a_log_of_nvidias_branch_has_its_batch_checked(tmp_path, networks, capsys):
    """Its net.cpp words the shapes otherwise; tools/caffe.cpp prints the same lines of times, after a warm-up."""
    start = "I0101 10:00:00.000000  1 net.cpp:171] TRAIN Top shape for layer 0 'data' 2 3 8 8 (384)\n"
    start += "I0101 10:00:00.000000  1 caffe.cpp:504] Average Initialization Forward/Backward pass: 9.5 ms.\n"
    text = start + "".join(line + "\n" for line in LOG.splitlines() if "Top shape" not in line)
    assert import_log(tmp_path, networks, text, batch=4) == 2
    assert "log:1: the log says 2, not 4: give --batch 2" in capsys.readouterr().err
    assert import_log(tmp_path, networks, text) == 0
    measured = read_measurements(tmp_path, "x", "cpu").set_index("subject")
    assert list(measured.loc["forward", "samples_ns"]) == [1500]


def test_tensorrt_layers_fused_by_name(tmp_path, networks, capsys):
    entries = [{"count": 100}, {"name": "Reformatting CopyNode for conv", "timeMs": 1, "averageMs": 1e-4},
               {"name": "conv + PWN(relu)", "timeMs": 1, "averageMs": 2e-3}]  # fmt: skip
    (tmp_path / "trt.json").write_text(json.dumps(entries))
    network = ["--network", networks / "toy.prototxt", "--batch", 2]
    assert run(tmp_path, "tensorrt", tmp_path / "trt.json", *network, processor="gpu") == 0
    assert "1 left out (copies of TensorRT's own)" in capsys.readouterr().out
    measured = read_measurements(tmp_path, "x", "gpu", subjects=["layer"])
    assert [(row.layer, list(row.fused), row.median_ns) for row in measured.itertuples()] == [("conv", ["relu"], 2000)]


def test_onnxruntime_profile_of_a_network_run_here(tmp_path):
    """Convolution, ReLU and pooling, really run: ONNX Runtime fuses ReLU and names nodes by what they make."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    import numpy as np

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.ones((16, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv1"),
        helper.make_node("Relu", ["c"], ["r"], name="relu1"),
        helper.make_node("MaxPool", ["r"], ["y"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    given = helper.make_tensor_value_info("x", kind, [2, 3, 32, 32])
    made = helper.make_tensor_value_info("y", kind, [2, 16, 15, 15])
    graph = helper.make_graph(nodes, "toy", [given], [made], [onnx.numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "toy.onnx")
    options = runtime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = runtime.InferenceSession(str(tmp_path / "toy.onnx"), options, providers=["CPUExecutionProvider"])
    for _ in range(4):
        session.run(None, {"x": np.zeros((2, 3, 32, 32), np.float32)})
    file = session.end_profiling()
    assert run(tmp_path, "onnxruntime", file, "--network", tmp_path / "toy.onnx", "--batch", 2) in (0, 1)
    measured = read_measurements(tmp_path, "x", "cpu").set_index("layer")
    assert list(measured.loc["conv1", "fused"]) == ["relu1"] and len(measured.loc["conv1", "samples_ns"]) == 3
    assert measured.loc["pool1", "kind"] == "pooling" and "relu1" not in measured.index


@pytest.mark.shared
@pytest.mark.skipif(not PUBLIC.exists(), reason="../shared is not there")
@pytest.mark.parametrize("board", sorted(TABLES))
def test_every_row_of_the_public_tables_is_accounted_for(tmp_path, capsys, board):
    rows, expected = TABLES[board]
    file = PUBLIC / "boards-data" / f"dev-{board}.parquet"
    for processor, imported in expected.items():
        run(tmp_path, "table", file, "--networks", PUBLIC / "networks", board=board, processor=processor)
        said = capsys.readouterr().out
        other = rows - expected["cpu"] if processor == "cpu" else expected["cpu"]
        assert f"{rows} rows: {imported} imported, {other} left out" in said
        assert f"{rows - imported - other} refused" in said
        samples = read_measurements(tmp_path, board, processor, subjects=["layer"])["samples_ns"]
        assert sum(map(len, samples)) == imported
    assert list(problems(tmp_path)) == []


@pytest.mark.shared
@pytest.mark.skipif(not PUBLIC.exists(), reason="../shared is not there")
def test_data_bytes_of_the_public_tables_are_our_memory():
    for file in sorted((PUBLIC / "boards-data").glob("*.parquet")):
        table = pd.read_parquet(file, columns=["network", "batch", "data_bytes"]).drop_duplicates()
        for name, batch, data_bytes in table.itertuples(index=False):
            network = load_network(PUBLIC / "networks" / f"{name}.prototxt", batch=int(batch))
            assert memory(network).data_bytes == data_bytes, (file.name, name, batch)


@pytest.mark.shared
@pytest.mark.skipif(not PUBLIC.exists(), reason="../shared is not there")
@pytest.mark.parametrize(("name", "layers"), [("alexnet", 24), ("googlenet", 152)])
def test_the_public_logs(tmp_path, name, layers):
    log = PUBLIC / "logs" / f"caffe_time.{name}.batch10.cpu1.log"
    network = ["--network", PUBLIC / "networks" / f"{name}.prototxt", "--batch", 10]
    assert run(tmp_path, "caffe-time", log, *network) == 0
    assert len(read_measurements(tmp_path, "x", "cpu", subjects=["layer"])) == layers


def test_totals_become_rows_of_types_passes_and_memory(tmp_path, networks):
    table = tmp_path / "totals.csv"
    lines = [
        "toy,2,Convolution,0.006,",
        "toy,2,ReLU,0.002,",
        "toy,2,layerwise,0.009,",
        "toy,2,forward,0.008,",
        "toy,2,memory,,64",
    ]
    table.write_text("network,batch,what,ms,mib\n" + "\n".join(lines) + "\n")
    assert run(tmp_path, "totals", table, "--networks", networks) == 0
    measured = read_measurements(tmp_path, "x", "cpu")
    types = measured[measured["subject"] == "type"].set_index("layer_type")["median_ns"]
    assert types.to_dict() == {"Convolution": 6e3, "ReLU": 2e3}
    passes = measured[measured["subject"].isin(["layerwise", "forward"])].set_index("subject")["median_ns"]
    assert passes.to_dict() == {"layerwise": 9e3, "forward": 8e3}
    assert measured.loc[measured["subject"] == "memory", "total_bytes"].tolist() == [64 * 2**20]
    assert list(problems(tmp_path)) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("toy,2,LRN,6,", "'LRN' is no layer type of 'toy', which has"),
        ("toy,2,forward,,", "ms of forward is nan"),
        ("toy,2,memory,,-3", "mib of memory is -3"),
        ("toy,2,forward,1e9,", "are the times in ms"),
        ("other,2,forward,0.008,", "no definition"),
    ],
)
def test_totals_that_cannot_be_are_refused(tmp_path, networks, capsys, line, reason):
    table = tmp_path / "totals.csv"
    table.write_text(f"network,batch,what,ms,mib\ntoy,2,layerwise,0.009,\n{line}\n")
    assert run(tmp_path, "totals", table, "--networks", networks) == 1
    said = capsys.readouterr().err
    assert "row 2:" in said and reason in said


LOSSES = """
layer { name: "mnist" type: "Data" top: "data" top: "label" data_param { batch_size: 64 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
LOSS_LOG = """
      mnist forward: 0.055 ms.
label_mnist_1_split forward: 0.001 ms.
      conv1 forward: 1.6 ms.
         ip forward: 0.52 ms.
ip_ip_0_split forward: 0.001 ms.
   accuracy forward: 0.03 ms.
       loss forward: 0.07 ms.
{more}Average Forward pass: 2.3 ms.
"""


@pytest.mark.parametrize(("more", "status"), [("", 0), ("      conv9 forward: 0.5 ms.\n", 1)])
def test_losses_of_a_log_are_no_fault_and_strangers_are(tmp_path, capsys, more, status):
    (tmp_path / "lenet.prototxt").write_text(LOSSES)
    (tmp_path / "log").write_text(LOSS_LOG.format(more=more))
    arguments = ["--root", str(tmp_path), "import", "caffe-time", str(tmp_path / "log"), "--board", "shelf"]
    arguments += ["--processor", "cpu", "--stack", "caffe", "--network", str(tmp_path / "lenet.prototxt")]
    assert main([*arguments, "--input", "data:64x1x28x28"]) == status
    assert "4 left out (losses and accuracies, and copies for them)" in capsys.readouterr().out


@pytest.mark.shared
@pytest.mark.parametrize("net", ["lmdb", "crop"])
def test_the_shared_log_with_a_loss_is_whole(tmp_path, net):
    cases = Path(__file__).parents[3] / "shared" / "cases"
    if not cases.is_dir():
        pytest.skip("../shared is not here")
    arguments = ["--root", str(tmp_path), "import", "caffe-time", str(cases / "import-caffe-time.log")]
    arguments += ["--network", str(cases / f"import-caffe-time-{net}-net.prototxt"), "--input", "data:64x1x28x28"]
    assert main([*arguments, "--board", "shelf", "--processor", "cpu", "--stack", "caffe"]) == 0
