"""Networks of int8, as onnxruntime.quantization writes them: lowered as the fp32 network, or refused.

The tool's files are read with the shapes that a run of them has.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from sitecnn.errors import NetworkError
from sitecnn.network import load_network
from sitecnn.workload.describe import describe
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import lower
from tests.workload.lowering.graphs import Builder, counted, executed, machine_block

FORMS = ("QDQ", "QOperator", "dynamic")


class Images(CalibrationDataReader):
    """Two images to calibrate with."""

    def __init__(self) -> None:
        self.left = [{"x": np.random.default_rng(seed).random((1, 3, 32, 32), np.float32)} for seed in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[type-arg]
        """The next one."""
        return self.left.pop() if self.left else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network's file and those of its three quantised forms."""
    folder = tmp_path_factory.mktemp("quantised")
    builder = Builder()
    first = builder.op("MaxPool", builder.conv("x", 3, 32, 3), kernel_shape=[2, 2], strides=[2, 2])
    wide = builder.conv(builder.op("Concat", first, builder.conv(first, 32, 32, 3), axis=1), 64, 64, 3, strides=[2, 2])
    total = builder.op("Add", wide, builder.op("Sigmoid", builder.conv(wide, 64, 64)))
    head = builder.op("Flatten", builder.op("GlobalAveragePool", total))
    model = builder.model(builder.op("Gemm", head, builder.weight(10, 64), builder.weight(10), transB=1))
    (folder / "fp32.onnx").write_bytes(model)
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(folder / "fp32.onnx", folder / f"{form.name}.onnx", Images(), quant_format=form)
    quantize_dynamic(folder / "fp32.onnx", folder / "dynamic.onnx")
    return folder


def test_what_is_quantised_and_back_is_lowered_as_the_fp32_network_it_was_made_from(folder: Path) -> None:
    network = load_network(folder / "QDQ.onnx")
    assert network.precision == "int8"
    for block in {machine_block(folder), 0}:
        engine = Engine("onnxruntime", onnxruntime.__version__, block)
        assert counted(lower(network, engine)) == executed(str(folder / "fp32.onnx"), folder, block)


@pytest.mark.parametrize(("form", "operator"), [("QOperator", "QLinearConv"), ("dynamic", "DynamicQuantizeLinear")])
def test_operators_on_integers_are_refused_by_name(folder: Path, form: str, operator: str) -> None:
    with pytest.raises(NetworkError, match=rf"{form}: layer .* \({operator}\) works on 8-bit integers"):
        lower(load_network(folder / f"{form}.onnx"), Engine("onnxruntime"))


@pytest.mark.parametrize("engine", ["onnxruntime", "tflite-gpu"])
@pytest.mark.parametrize("form", FORMS)
def test_no_kernels_are_described_of_what_runs_in_int8(folder: Path, form: str, engine: str) -> None:
    network = load_network(folder / f"{form}.onnx")
    unknown = f"{form}: the file is int8, and SiteCNN does not know which kernels {engine} runs of it"
    with pytest.raises(NetworkError, match=unknown):
        describe(network, Engine(engine))
    assert describe(network)["precision"] == "int8"


@pytest.mark.parametrize("form", FORMS)
def test_shapes_of_quantised_files_are_those_of_a_run(folder: Path, form: str) -> None:
    network = load_network(folder / f"{form}.onnx")
    model = onnx.load(folder / f"{form}.onnx")
    known = {output.name for output in model.graph.output}
    made = [name for node in model.graph.node for name in node.output if name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    results = session.run(None, {"x": np.zeros((1, 3, 32, 32), np.float32)})
    shapes = {given.name: value.shape for given, value in zip(session.get_outputs(), results, strict=True)}
    tops = {name: shape for layer in network.layers for name, shape in zip(layer.tops, layer.outputs, strict=True)}
    assert not network.doubts
    assert len(tops.keys() & shapes) > 8 and all(shapes[name] == tops[name] for name in tops.keys() & shapes)
