# -*- coding: utf-8 -*-
"""What a board has of what is measured with, and the name of its stack."""

from __future__ import absolute_import, division, print_function

import re

from .blas import Blas
from .board import board_facts, conditions
from .caffe_net import PyCaffe
from .caffe_tool import CaffeBinary
from .clocks import pinned_clocks
from .cuda import Cuda
from .errors import Refused
from .onnx_bench import OnnxBench


def probe(threads):
    """What this board is and has; parts that are missing carry the reason."""
    facts = dict(board_facts(), conditions=conditions(), clocks_to_pin=[path for path, _ in pinned_clocks()])

    def engine():
        try:
            return PyCaffe(None).facts()
        except Refused as no_pycaffe:
            try:
                return CaffeBinary(False).facts()
            except Refused as no_tool:
                raise Refused("%s; %s" % (no_pycaffe, no_tool))

    def gpu():
        cuda = Cuda()
        return dict(cuda.facts(), blas=cuda.version())

    for name, look in (("engine", engine), ("blas", lambda: Blas(threads).version()), ("gpu", gpu)):
        try:
            facts[name] = look()
        except Refused as reason:
            facts[name] = {"missing": str(reason)}
    return dict(facts, **OnnxBench(threads).facts())


def onnx_stack_of(facts, threads, now):
    """Name of what executes: version, provider, block of the convolutions' layout, precision, threads, clock policy."""
    engine = facts["onnxruntime"]
    parts = ["onnxruntime-%s" % engine.get("version", "missing"), "cpu"]
    if engine.get("nchwc_block"):
        parts.append("nchwc-%d" % engine["nchwc_block"])
    return "+".join(parts + ["fp32", "%d-threads" % threads, now.get("governor", "clock-unknown")])


def stack_of(facts, threads, now):
    """Name of what executes: engine, BLAS, threads, clock policy."""
    engine, blas = facts["engine"], facts["blas"]
    match = re.match(r"(\w+)\s+([\d.]+)", blas)
    blas_name = "-".join(match.groups()).lower() if match else blas
    parts = ["%s-%s" % (engine.get("name", "no-engine"), engine.get("version", "0")), blas_name]
    if "gpu" in facts:
        parts.append("cuda-%s" % facts["gpu"]["cuda"])
    return "+".join(parts + ["%d-threads" % threads, now.get("governor", "clock-unknown")])
