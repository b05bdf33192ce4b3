"""The GPU path against a stub of CUDA (stub_cuda.c): the calls and their order are checked, not their speed.

No GPU is at hand where these tests run; Caffe's own GPU layers are not run here at all.
"""

import collections
import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sitecnn.boards.agent.blas import float_buffer
from sitecnn.boards.agent.cuda import Cuda
from sitecnn.boards.agent.errors import Refused
from tests.boards.agents import CAFFE_PYTHON, command, gemm_task, measurements, network_task, read, start_with_files
from tests.boards.test_agent_process import RELU

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="the stub of CUDA needs a C compiler")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """One library that is found as CUDA's runtime and as cuBLAS."""
    folder = tmp_path_factory.mktemp("cuda")
    library = folder / "libcudart-and-libcublas.so"
    source = Path(__file__).parent / "stub_cuda.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture
def cuda(stub, monkeypatch):
    monkeypatch.setattr("sitecnn.boards.agent.cuda.mapped_libraries", lambda pattern: [str(stub)])
    return Cuda()


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("accumulate", [0, 1])
def test_a_queued_gemm_is_caffes_row_major_product(cuda, trans_a, trans_b, accumulate):
    m, n, k = 5, 7, 3
    sizes = {"m": m, "n": n, "k": k, "trans_a": trans_a, "trans_b": trans_b, "accumulate": accumulate}
    pool = np.frombuffer(float_buffer(64), np.float32)
    a, b, c = pool[: m * k], pool[: k * n], pool[: m * n].reshape(m, n)
    a = a.reshape(k, m).T if trans_a else a.reshape(m, k)
    b = b.reshape(n, k).T if trans_b else b.reshape(k, n)
    pointers = []
    buffer = cuda.buffer
    cuda.buffer = lambda count: pointers.append(buffer(count)) or pointers[-1]
    with cuda.gemm(sizes) as call:
        call()
        cuda.synchronize()
        product = np.zeros((m, n), np.float32)
        assert (
            cuda.runtime.cudaMemcpy(product.ctypes.data_as(ctypes.c_void_p), pointers[2], ctypes.c_size_t(4 * m * n), 2)
            == 0
        )
    assert np.allclose(product, a @ b + accumulate * c, atol=1e-5)


def test_what_the_gpu_is(cuda):
    facts = cuda.facts()
    assert (facts["name"], facts["cuda"], facts["multiprocessors"], facts["l2_bytes"]) == ("Stub GPU", "8.0", 2, 262144)
    before = cuda.used_bytes()
    held = cuda.buffer(1 << 20)
    assert cuda.used_bytes() - before == 4 << 20
    cuda.free([held])
    assert cuda.used_bytes() == before


def test_a_call_that_cuda_refuses_is_named(cuda):
    with pytest.raises(Refused, match="cudaFree gave CUDA status 1"):
        cuda.free([ctypes.c_void_p(12345)])


def on_stub(stub, folder, **more):
    log = folder / "calls"
    return dict(os.environ, LD_PRELOAD=str(stub), STUB_CUDA_LOG=str(log), **more), log


def calls(log):
    return collections.Counter(log.read_text().splitlines())


def test_a_campaign_on_the_gpu_queues_many_multiplications_and_synchronises_once(stub, tmp_path):
    environment, log = on_stub(stub, tmp_path)
    tasks = [gemm_task(4, 4, 4), gemm_task(4, 4, 4, mode="overhead", iterations=1)]
    tasks.append(gemm_task(4, 4, 4, mode="overhead", iterations=32))
    process = start_with_files(tmp_path, tasks, "--processor", "gpu", env=environment)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    records = read(tmp_path)
    assert records[0]["processor"] == "gpu" and "cuda-8.0" in records[0]["stack"]
    assert records[0]["board"]["gpu"]["name"] == "Stub GPU" and records[0]["board"]["blas"] == "cublas 8000"
    measured = measurements(records)
    assert [record["iterations"] for record in measured[1:]] == [1, 32]
    seen = calls(log)
    assert seen["cudaDeviceSynchronize after 32"] >= 5 and seen["cudaDeviceSynchronize after 1"] >= 5
    assert seen["cudaMalloc"] == seen["cudaFree"]


@pytest.mark.skipif(not CAFFE_PYTHON.exists(), reason="real Caffe is not built: ./run test builds it")
def test_a_pass_on_the_gpu_is_queued_whole_between_events_and_synchronised_once(stub, tmp_path):
    """Real Caffe computes on the CPU; a stand-in package answers set_mode_gpu, which this build of Caffe cannot."""
    package = tmp_path / "caffe"
    package.mkdir()
    real = subprocess.run(
        [CAFFE_PYTHON, "-c", "import caffe; print(caffe.__path__[0])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (package / "__init__.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(real).parent)!r}); __path__ = [{real!r}]\n"
        f"exec(compile(open({real + '/__init__.py'!r}).read(), {real + '/__init__.py'!r}, 'exec'))\n"
        "set_mode_gpu = set_mode_cpu\nset_device = lambda number: None\n"
    )
    paths = {"PYTHONPATH": str(tmp_path), "GLOG_minloglevel": "2"}
    environment, log = on_stub(stub, tmp_path, **paths)
    tasks = [network_task(RELU, task="memory"), network_task(RELU, "caffe-probe-001", "probe"), network_task(RELU)]
    process = start_with_files(tmp_path, tasks, "--processor", "gpu", env=environment, python=CAFFE_PYTHON)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    memory, *passes = measurements(read(tmp_path))
    assert [record["status"] for record in (memory, *passes)] == ["ok"] * 3, (memory, *passes)
    assert memory["memory_bytes"]["gpu_total"] >= memory["memory_bytes"]["gpu_base"] > 0
    seen = calls(log)
    # Two layers between three events, whatever the number of passes; each pass is synchronised once.
    whole = sum(len(record["layerwise_ns"]) for record in passes)
    assert all(
        len(layer["samples_ns"]) == len(record["layerwise_ns"]) for record in passes for layer in record["layers"]
    )
    assert seen["cudaEventRecord"] == seen["cudaEventCreate"] == seen["cudaEventDestroy"] == 3 * whole
    assert seen["cudaDeviceSynchronize after 3"] == whole


def test_a_board_without_a_gpu_says_so(tmp_path):
    probed = subprocess.run(command(tmp_path, "--probe"), capture_output=True, text=True, check=True)
    assert "missing" in json.loads(probed.stdout)["gpu"] or json.loads(probed.stdout)["gpu"]["name"]
