"""How long a network of a thousand layers takes to read: ResNet-152 by its paper, batch normalisation and all.

Run by `pytest benchmarks/ --benchmark-only`. Wanted: 50 ms in the library, 0.5 s from the command line.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sitecnn.network import load_network
from sitecnn.workload.describe import describe


def _layer(name: str, kind: str, bottoms: str, top: str, param: str = "") -> str:
    reads = "".join(f'  bottom: "{bottom}"\n' for bottom in bottoms.split())
    return f'layer {{\n  name: "{name}"\n  type: "{kind}"\n{reads}  top: "{top}"\n{param}}}\n'


def _convolution(name: str, bottom: str, outputs: int, kernel: int, stride: int, relu: bool) -> str:
    """Convolution, batch normalisation, scale and ReLU, laid out as public definitions are."""
    sizes = f"    num_output: {outputs}\n    kernel_size: {kernel}\n    pad: {kernel // 2}\n    stride: {stride}\n"
    text = _layer(name, "Convolution", bottom, name, f"  convolution_param {{\n{sizes}    bias_term: false\n  }}\n")
    text += _layer(f"bn_{name}", "BatchNorm", name, name, "  batch_norm_param {\n    use_global_stats: true\n  }\n")
    text += _layer(f"scale_{name}", "Scale", name, name, "  scale_param {\n    bias_term: true\n  }\n")
    return text + (_layer(f"relu_{name}", "ReLU", name, name) if relu else "")


def resnet(blocks: tuple[int, ...]) -> str:
    """A ResNet of bottleneck blocks (K. He et al., arXiv 1512.03385, table 1)."""
    text = 'name: "ResNet"\ninput: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 224\ninput_dim: 224\n'
    text += _convolution("conv1", "data", 64, 7, 2, relu=True)
    text += _layer("pool1", "Pooling", "conv1", "pool1", "  pooling_param {\n    kernel_size: 3\n    stride: 2\n  }\n")
    bottom = "pool1"
    for stage, count in enumerate(blocks, start=2):
        for block in range(count):
            name, width = f"res{stage}_{block}", 32 << (stage - 1)
            stride = 2 if stage > 2 and block == 0 else 1
            shortcut = bottom
            if block == 0:
                shortcut = f"{name}_short"
                text += _convolution(shortcut, bottom, 4 * width, 1, stride, relu=False)
            text += _convolution(f"{name}_a", bottom, width, 1, stride, relu=True)
            text += _convolution(f"{name}_b", f"{name}_a", width, 3, 1, relu=True)
            text += _convolution(f"{name}_c", f"{name}_b", 4 * width, 1, 1, relu=False)
            text += _layer(name, "Eltwise", f"{shortcut} {name}_c", name)
            text += _layer(f"{name}_relu", "ReLU", name, name)
            bottom = name
    sizes = "  pooling_param {\n    pool: AVE\n    global_pooling: true\n  }\n"
    text += _layer("pool5", "Pooling", bottom, "pool5", sizes)
    text += _layer("fc", "InnerProduct", "pool5", "fc", "  inner_product_param {\n    num_output: 1000\n  }\n")
    return text + _layer("prob", "Softmax", "fc", "prob")


@pytest.fixture(scope="module")
def thousand_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("networks") / "resnet.prototxt"
    file.write_text(resnet((3, 8, 52, 8)))
    assert len(load_network(file).layers) in range(1000, 1100)
    return file


def test_load_resnet152(benchmark, tmp_path):
    file = tmp_path / "resnet152.prototxt"
    file.write_text(resnet((3, 8, 36, 3)))
    network = benchmark(load_network, file)
    assert sum(layer.type == "Convolution" for layer in network.layers) == 155


def test_load_thousand_layers(benchmark, thousand_layers):
    assert benchmark(load_network, thousand_layers).batch == 1


def test_describe_thousand_layers(benchmark, thousand_layers):
    document = benchmark(lambda: describe(load_network(thousand_layers)))
    assert len(document["layers"]) >= 1000


def test_describe_from_the_command_line(benchmark, thousand_layers):
    command = [Path(sys.executable).with_name("sitecnn"), "describe", thousand_layers, "--json"]
    printed = benchmark(lambda: subprocess.run(command, capture_output=True, check=True).stdout)
    assert len(json.loads(printed)["layers"]) >= 1000
