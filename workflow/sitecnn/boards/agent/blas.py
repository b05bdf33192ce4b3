# -*- coding: utf-8 -*-
"""Matrix multiplications by the BLAS that Caffe uses, through ctypes."""

from __future__ import absolute_import, division, print_function

import ctypes
import ctypes.util
import os
import random
import re

from .board import read_text
from .errors import Refused


def mapped_libraries(pattern):
    """Paths of the shared libraries of this process whose file name matches: those that Caffe is linked to."""
    maps = read_text("/proc/self/maps") or ""
    return sorted(
        set(path for path in re.findall(r"(/\S+\.so\S*)", maps) if re.search(pattern, os.path.basename(path)))
    )


def load_library(candidates, symbol, what):
    """(path, library) of the first candidate that loads and has `symbol`; Refused naming all that were tried."""
    tried = [path for path in candidates if path]
    for path in tried:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if hasattr(library, symbol):
            return path, library
    raise Refused("no %s here: tried %s" % (what, ", ".join(tried) or "nothing, none was found"))


def float_buffer(count):
    """`count` floats of N(0, 1) for a BLAS, tiled from a fixed pool: numpy may be missing, and speed is no question."""
    pool = float_buffer.pool
    buffer = (ctypes.c_float * count)()
    for start in range(0, count, len(pool)):
        ctypes.memmove(ctypes.byref(buffer, 4 * start), pool, 4 * min(len(pool), count - start))
    return buffer


def _gaussian_pool(count):
    draw = random.Random(2017)
    return (ctypes.c_float * count)(*[draw.gauss(0, 1) for _ in range(count)])


float_buffer.pool = _gaussian_pool(1 << 16)


class Blas(object):
    """A CBLAS reached through ctypes: the library that Caffe uses, or the board's own. OpenBLAS, BLIS, ATLAS."""

    names = ("openblas", "blis", "atlas", "cblas", "blas")

    def __init__(self, threads):
        mapped = [path for path in mapped_libraries("blas|atlas|blis|mkl") if not re.search("numpy|scipy", path)]
        candidates = mapped + [ctypes.util.find_library(name) for name in self.names]
        self.path, self.library = load_library(candidates, "cblas_sgemm", "BLAS with cblas_sgemm")
        pointer = ctypes.c_void_p
        self.library.cblas_sgemm.restype = None
        self.library.cblas_sgemm.argtypes = (
            [ctypes.c_int] * 6
            + [ctypes.c_float, pointer, ctypes.c_int, pointer, ctypes.c_int]
            + [ctypes.c_float, pointer, ctypes.c_int]
        )
        for name in ("openblas_set_num_threads", "bli_thread_set_num_threads"):
            if hasattr(self.library, name):
                getattr(self.library, name)(threads)

    def version(self):
        """OpenBLAS's own description of itself, else the file's name."""
        if hasattr(self.library, "openblas_get_config"):
            self.library.openblas_get_config.restype = ctypes.c_char_p
            return self.library.openblas_get_config().decode("ascii", "replace").strip()
        return os.path.basename(os.path.realpath(self.path))

    def gemm(self, sizes):
        """A closure that runs one `caffe_cpu_gemm` of these sizes (math_functions.cpp: row-major, beta 0 or 1)."""
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        a, b, c = (float_buffer(count) for count in (m * k, k * n, m * n))
        row_major, plain, transposed = 101, 111, 112
        trans_a, trans_b = (transposed if sizes[name] else plain for name in ("trans_a", "trans_b"))
        lda, ldb = (m if sizes["trans_a"] else k), (k if sizes["trans_b"] else n)
        beta, sgemm = (1.0 if sizes["accumulate"] else 0.0), self.library.cblas_sgemm

        def call():
            sgemm(row_major, trans_a, trans_b, m, n, k, 1.0, a, lda, b, ldb, beta, c, n)

        return call
