"""What runs on zeros without weights and images: as in real Caffe, layer by layer, and in the public definitions."""

import json
import subprocess

import pytest

from sitecnn.network import load_network, parse_prototxt
from tests.network.conftest import CAFFE_PYTHON, ROOT, SHARED_NETWORKS

PROBE = """
import json, sys, tempfile
import caffe
with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
    file.write(sys.stdin.read())
    file.flush()
    net = caffe.Net(file.name, caffe.TEST)
on_zeros = {}
for index, name in enumerate(net._layer_names):
    on_zeros[name] = all(not net._blobs[blob].data.any() for blob in net._bottom_ids(index))
    net._forward(index, index)
print(json.dumps(on_zeros))
"""

INPUT = 'layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 9 } } }\n'


def layer(kind: str, name: str, bottoms: str, rest: str = "") -> str:
    reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads} top: "{name}" {rest} }}\n'


def convolution(name: str, bottom: str, rest: str = "") -> str:
    param = f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {rest} }}"
    return layer("Convolution", name, bottom, param)


TEXT = INPUT + "".join(
    [
        convolution("bare", "in"),
        convolution("weighted", "in", 'weight_filler { type: "xavier" }'),
        convolution("biased", "in", 'bias_filler { type: "constant" value: 0.2 }'),
        convolution("of_biased", "biased"),
        convolution("unbiased", "biased", 'bias_term: false weight_filler { type: "gaussian" std: 0.1 }'),
        convolution("never_biased", "in", "bias_term: false bias_filler { value: 0.2 }"),
        layer("ReLU", "of_never_biased", "never_biased"),
        *(layer(kind, f"{kind}_of_zeros", "bare") for kind in ("ReLU", "Sigmoid", "LRN", "BatchNorm", "BNLL", "TanH")),
        layer("LRN", "norm", "of_biased"),
        layer("LRN", "norm_of_values", "biased"),
        layer("Pooling", "pool", "norm", "pooling_param { kernel_size: 3 stride: 2 }"),
        layer("Scale", "scale", "bare", "scale_param { bias_term: true bias_filler { value: 1 } }"),
        layer("Scale", "of_scale", "scale", "scale_param { bias_term: true }"),
        layer("Concat", "joined", "bare biased"),
        layer("Eltwise", "sum", "bare weighted"),
        layer("Power", "shifted", "sum", "power_param { shift: 1 }"),
        layer("ReLU", "last", "shifted"),
        layer("InnerProduct", "fc", "joined", "inner_product_param { num_output: 3 }"),
        layer("Softmax", "prob", "fc"),
        layer("ReLU", "of_prob", "prob"),
        layer("ReLU", "of_joined", "joined"),
        layer("ReLU", "of_unbiased", "unbiased"),
    ]
)


def test_as_real_caffe_finds_them():
    if not CAFFE_PYTHON.exists():
        pytest.skip(f"real Caffe is not at {CAFFE_PYTHON.relative_to(ROOT)}: ./run test builds it")
    ran = subprocess.run([CAFFE_PYTHON, "-c", PROBE], input=TEXT, capture_output=True, text=True, check=True)
    predicted = {layer.name: layer.on_zeros for layer in parse_prototxt(TEXT, "text").layers}
    caffe = json.loads(ran.stdout)
    assert predicted == caffe
    assert {True, False} == set(caffe.values())


@pytest.mark.shared
@pytest.mark.parametrize(("name", "all_zero"), [("alexnet", True), ("squeezenet_v1.0", True), ("googlenet", False)])
def test_public_definitions(name, all_zero):
    if not SHARED_NETWORKS.exists():
        pytest.skip(f"the public definitions are not at {SHARED_NETWORKS}")
    norms = [layer for layer in load_network(SHARED_NETWORKS / f"{name}.prototxt").layers if layer.type == "LRN"]
    assert all(layer.on_zeros == all_zero for layer in norms)
