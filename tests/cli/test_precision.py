"""The first line says what precision an answer is for."""

import numpy

from sitecnn.cli import main

from ..network.models import Builder


def test_an_int8_file_is_answered_for_fp32_and_told_so(tmp_path, capsys):
    b = Builder(13, [1, 3, 16, 16])
    scale, zero = b.constant(0.1, numpy.float32), b.constant(0, numpy.uint8)
    x = b("DequantizeLinear", b("QuantizeLinear", "image", scale, zero), scale, zero)
    (tmp_path / "net.onnx").write_bytes(b.model(b.conv(x, 3, 8, 3)).SerializeToString())
    main(["estimate", str(tmp_path / "net.onnx"), "--board", "tx1", "--root", str(tmp_path)])
    assert "fp32 though the file is int8" in capsys.readouterr().out.splitlines()[0]
    main(["describe", str(tmp_path / "net.onnx")])
    assert "the file is int8" in capsys.readouterr().out.splitlines()[0]
