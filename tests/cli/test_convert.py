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


def test_an_operator_of_onnx_with_the_name_of_a_caffe_layer_is_named_and_nothing_is_written(tmp_path, capsys):
    """ONNX's Slice takes a part, Caffe's cuts into parts: the one cannot be written as the other."""
    source, target = tmp_path / "net.onnx", tmp_path / "net.prototxt"
    text = """<ir_version: 8, opset_import: ["" : 17]> made (float[1, 3, 8, 8] x) => (float[1, 3, 4, 8] y)
    <int64[1] a = {0}, int64[1] z = {4}, int64[1] axis = {2}> { [cut] y = Slice(x, a, z, axis) }"""
    onnx.save(onnx.parser.parse_model(text), source)
    assert main(["convert", str(source), "-o", str(target)]) == 2
    assert "(Slice): no layer of Caffe is equal to it" in capsys.readouterr().err
    assert not target.exists()
