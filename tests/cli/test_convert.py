"""`sitecnn convert` writes ONNX where the file is to be called so."""

import onnx
import onnxruntime

from sitecnn.cli import main
from sitecnn.network import load_network

from ..network.conftest import ROOT


def test_a_prototxt_becomes_an_onnx_file_of_the_same_shapes(tmp_path):
    source, target = ROOT / "config/networks/squeezenet1.0.prototxt", tmp_path / "net.onnx"
    assert main(["convert", str(source), "-o", str(target)]) == 0
    onnx.checker.check_model(str(target), full_check=True)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    assert tuple(session.get_outputs()[0].shape) == load_network(source).layers[-1].outputs[0]
    assert load_network(target).layers[-1].outputs == load_network(source).layers[-1].outputs


def test_a_layer_that_onnx_lacks_is_named_and_nothing_is_written(tmp_path, capsys):
    source, target = tmp_path / "net.prototxt", tmp_path / "net.onnx"
    source.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
        'layer { name: "columns" type: "Im2col" bottom: "x" top: "y" convolution_param { kernel_size: 3 } }\n'
    )
    assert main(["convert", str(source), "-o", str(target)]) == 2
    assert "layer 'columns' (Im2col): no operator of ONNX is equal to it" in capsys.readouterr().err
    assert not target.exists()
