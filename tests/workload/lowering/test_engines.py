"""Engines are read off the names of stacks, and Caffe's lowering is what its file says."""

import pytest

from sitecnn.errors import SiteCNNError
from sitecnn.network import load_network
from sitecnn.workload.engines import Engine, engine_of_stack
from sitecnn.workload.kernels import layer_kernel
from sitecnn.workload.lowering import lower, lower_whole
from tests.workload.test_memory import NETWORKS


@pytest.mark.parametrize(
    ("stack", "engine"),
    [
        (
            "onnxruntime-1.27.0+cpu+nchwc-16+fp32+1-threads+clock-unknown",
            Engine("onnxruntime", "1.27.0", nchwc_block=16),
        ),
        ("onnxruntime-1.17.3+cpu+nchwc-0+int8+graph-basic", Engine("onnxruntime", "1.17.3", 0, "basic", "int8")),
        ("caffe-1.0.0+openblas-0.3.21+1-threads", Engine("caffe", "1.0.0")),
        ("tflite-gpu+fp16", Engine("tflite-gpu", precision="fp16")),
        ("caffeine of mine", Engine()),
        ("tensorrt-fp16", Engine()),
    ],
)
def test_a_stacks_name_says_its_engine_version_and_options(stack: str, engine: Engine) -> None:
    assert engine_of_stack(stack) == engine


def test_versions_compare_as_numbers_and_an_unknown_one_is_the_newest() -> None:
    releases = [Engine(version=version).release for version in ("1.9.1", "1.17.3", "1.32.0", "")]
    assert releases == sorted(releases)


def test_caffe_runs_a_kernel_for_each_layer() -> None:
    network = load_network(NETWORKS / "squeezenet1.0.prototxt")
    lowered = lower(network, Engine())
    assert [one.kernel for one in lowered] == [layer_kernel(layer) for layer in network.layers]
    assert [one.layers for one in lowered] == [(index,) for index in range(len(network.layers))]


def test_an_engine_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(SiteCNNError, match=r"'tensorrt'.*caffe"):
        lower(load_network(NETWORKS / "nin.prototxt"), Engine("tensorrt"))


@pytest.mark.parametrize("engine", [Engine(), Engine("onnxruntime", "1.32.0", 16), Engine("tflite-gpu")])
def test_the_kernels_beside_the_memory_are_those_alone(engine: Engine) -> None:
    network = load_network(NETWORKS / "squeezenet1.0.prototxt")
    kernels, memory = lower_whole(network, engine)
    assert kernels == lower(network, engine)
    assert (memory is None) == (engine.name == "caffe")
