"""What a process takes: the poster's totals and real Caffe's resident memory, against what is computed."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from sitecnn.network import load_network, parse_prototxt
from sitecnn.workload.memory import footprint_bytes, memory, touched_bytes, weights_bytes

ROOT = Path(__file__).parents[2]
NETWORKS = ROOT / "config" / "networks"
POSTER = ROOT / "workflow" / "shipped" / "poster"
CAFFE_PYTHON = ROOT / "envs" / "pycaffe" / ".venv" / "bin" / "python"
MEBIBYTE = 2**20

# Prints the process's memory before a network, after a pass, and the most there was.
PROBE = """
import sys, caffe
def read(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
base = read("VmRSS")
net = caffe.Net(*sys.argv[1:], caffe.TEST) if len(sys.argv) < 4 else caffe.Net(sys.argv[1], caffe.TEST)
loaded = read("VmHWM")
net.forward()
print(base, loaded, read("VmRSS"))
if len(sys.argv) > 3:
    net.save(sys.argv[2])
"""


def poster_rest_mib(board, processor):
    """What the poster's totals leave when the network is taken off, MiB of each of its four networks."""
    copies = processor == "gpu"
    with (POSTER / f"{board}-{processor}.csv").open() as file:
        totals = {row["network"]: float(row["mib"]) for row in csv.DictReader(file) if row["what"] == "memory"}
    networks = {name: load_network(NETWORKS / f"{name}.prototxt") for name in totals}
    takes = {name: footprint_bytes(net) + copies * memory(net).weights_bytes for name, net in networks.items()}
    return {name: totals[name] - takes[name] / MEBIBYTE for name in totals}, totals


@pytest.mark.parametrize("board", ["tk1", "tx1"])
@pytest.mark.parametrize(("processor", "within"), [("cpu", 0.025), ("gpu", 0.05)])
def test_one_base_per_board_explains_the_posters_totals(board, processor, within):
    rest, totals = poster_rest_mib(board, processor)
    for name, total in totals.items():
        base = sorted(value for other, value in rest.items() if other != name)[1]
        assert base + total - rest[name] == pytest.approx(total, rel=within)


def test_what_layers_keep_for_themselves_is_counted():
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 dim: 10 dim: 10 } } }
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }
    layer { name: "scale" type: "Scale" bottom: "y" top: "y" }
    layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
    layer { name: "pool" type: "Pooling" bottom: "y" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "mean" type: "Pooling" bottom: "p" top: "m" pooling_param { pool: AVE kernel_size: 5 } }
    layer { name: "flat" type: "Flatten" bottom: "m" top: "f" }
    """
    net = parse_prototxt(text, "toy")
    blobs = {layer.name: (touched_bytes(layer) - weights_bytes(layer)) // 4 for layer in net.layers}
    assert blobs == {"x": 800, "bn": 3 * 800, "scale": 800, "relu": 0, "pool": 2 * 200, "mean": 8, "flat": 0}


@pytest.mark.caffe
@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "squeezenet1.0"])
def test_real_caffe_takes_what_is_computed(name, tmp_path):
    definition, weights = NETWORKS / f"{name}.prototxt", tmp_path / "weights.caffemodel"
    base, _, total = probe(definition, weights, "save")
    network = load_network(definition)
    assert total - base == pytest.approx(footprint_bytes(network), rel=0.03, abs=12 * MEBIBYTE)
    base, peak, _ = probe(definition, weights)
    twice = 2 * memory(network).weights_bytes
    assert twice <= peak - base <= 1.15 * twice + 8 * MEBIBYTE


def probe(*arguments):
    command = [CAFFE_PYTHON if CAFFE_PYTHON.exists() else sys.executable, "-c", PROBE, *map(str, arguments)]
    environment = {"GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return map(int, finished.stdout.split())
