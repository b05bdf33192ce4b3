# -*- coding: utf-8 -*-
"""CUDA and cuBLAS through ctypes: no compiler is needed on the board."""

from __future__ import absolute_import, division, print_function

import contextlib
import ctypes
import ctypes.util

from .blas import float_buffer, load_library, mapped_libraries
from .board import paths
from .errors import Refused


class Cuda(object):
    """The CUDA runtime and cuBLAS through ctypes (CUDA Runtime API and cuBLAS manuals; unchanged since CUDA 6)."""

    # cudaDeviceAttr: what a model may want to know of a GPU, by its number in driver_types.h.
    attributes = {"clock_khz": 13, "multiprocessors": 16, "integrated": 18, "memory_clock_khz": 36,
                  "memory_bus_bits": 37, "l2_bytes": 38, "capability_major": 75, "capability_minor": 76}  # fmt: skip

    def __init__(self):
        places = paths("/usr/local/cuda*/lib*/libcudart.so*") + paths("/usr/lib/*/libcudart.so*")
        candidates = mapped_libraries("libcudart") + [ctypes.util.find_library("cudart")] + places
        self.path, self.runtime = load_library(candidates, "cudaDeviceSynchronize", "CUDA runtime")
        count = ctypes.c_int()
        self.check(self.runtime.cudaGetDeviceCount(ctypes.byref(count)), "cudaGetDeviceCount")
        if not count.value:
            raise Refused("%s finds no GPU" % self.path)
        self.blas = self.handle = None

    def check(self, status, call):
        """Refused with the call and CUDA's status unless it is 0."""
        if status:
            raise Refused("%s gave CUDA status %d" % (call, status))

    def synchronize(self):
        """Wait until the device has done all that was queued."""
        self.check(self.runtime.cudaDeviceSynchronize(), "cudaDeviceSynchronize")

    def facts(self):
        """Name, attributes and versions, JSON-ready."""
        # cudaGetDeviceProperties writes a struct that grew with CUDA; its first 256 bytes have always been the name.
        properties, value = ctypes.create_string_buffer(8192), ctypes.c_int()
        self.check(self.runtime.cudaGetDeviceProperties(properties, 0), "cudaGetDeviceProperties")
        facts = {"name": properties.raw[:256].split(b"\0")[0].decode("ascii", "replace")}
        for name, number in self.attributes.items():
            if self.runtime.cudaDeviceGetAttribute(ctypes.byref(value), number, 0) == 0:
                facts[name] = value.value
        self.check(self.runtime.cudaRuntimeGetVersion(ctypes.byref(value)), "cudaRuntimeGetVersion")
        facts["cuda"] = "%d.%d" % (value.value // 1000, value.value % 1000 // 10)
        return facts

    def used_bytes(self):
        """Device memory in use by all: total minus free."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.check(self.runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)), "cudaMemGetInfo")
        return total.value - free.value

    def buffer(self, count):
        """A device pointer to `count` floats of N(0, 1); freed with the process."""
        pointer, host = ctypes.c_void_p(), float_buffer(count)
        self.check(self.runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(4 * count)), "cudaMalloc")
        host_to_device = 1
        status = self.runtime.cudaMemcpy(pointer, host, ctypes.c_size_t(4 * count), host_to_device)
        self.check(status, "cudaMemcpy")
        return pointer

    def free(self, pointers):
        """Give device buffers back."""
        for pointer in pointers:
            self.check(self.runtime.cudaFree(pointer), "cudaFree")

    def event(self):
        """A new device event."""
        event = ctypes.c_void_p()
        self.check(self.runtime.cudaEventCreate(ctypes.byref(event)), "cudaEventCreate")
        return event

    def record(self, event):
        """Queue an event on the default stream, where Caffe's kernels are."""
        self.check(self.runtime.cudaEventRecord(event, None), "cudaEventRecord")

    def elapsed_ns(self, start, end):
        """Device time between two events that have happened; CUDA resolves half a microsecond."""
        milliseconds = ctypes.c_float()
        status = self.runtime.cudaEventElapsedTime(ctypes.byref(milliseconds), start, end)
        self.check(status, "cudaEventElapsedTime")
        return milliseconds.value * 1e6

    def destroy(self, events):
        """Give device events back."""
        for event in events:
            self.check(self.runtime.cudaEventDestroy(event), "cudaEventDestroy")

    def _cublas(self):
        if self.handle is None:
            places = paths("/usr/local/cuda*/lib*/libcublas.so*") + paths("/usr/lib/*/libcublas.so*")
            candidates = mapped_libraries("libcublas") + [ctypes.util.find_library("cublas")] + places
            _, self.blas = load_library(candidates, "cublasSgemm_v2", "cuBLAS")
            self.handle = ctypes.c_void_p()
            self.check(self.blas.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate_v2")
        return self.blas

    def version(self):
        """cuBLAS's version as it numbers itself."""
        value, blas = ctypes.c_int(), self._cublas()
        self.check(blas.cublasGetVersion_v2(self.handle, ctypes.byref(value)), "cublasGetVersion_v2")
        return "cublas %d" % value.value

    @contextlib.contextmanager
    def gemm(self, sizes):
        """A closure that queues one `caffe_gpu_gemm` (math_functions.cu: cuBLAS is column-major, so B comes first)."""
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        blas, buffers = self._cublas(), [self.buffer(count) for count in (m * k, k * n, m * n)]
        a, b, c = buffers
        trans_a, trans_b = int(bool(sizes["trans_a"])), int(bool(sizes["trans_b"]))
        lda, ldb = (m if trans_a else k), (k if trans_b else n)
        alpha, beta = ctypes.c_float(1.0), ctypes.c_float(1.0 if sizes["accumulate"] else 0.0)
        scalars = ctypes.byref(alpha), ctypes.byref(beta)

        def call():
            status = blas.cublasSgemm_v2(
                self.handle, trans_b, trans_a, n, m, k, scalars[0], b, ldb, a, lda, scalars[1], c, n
            )
            self.check(status, "cublasSgemm_v2")

        try:
            yield call
        finally:
            self.free(buffers)
