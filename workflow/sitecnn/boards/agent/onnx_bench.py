# -*- coding: utf-8 -*-
"""How tasks of ONNX Runtime are measured: probe networks and networks whole, kernel by kernel, and memory."""

from __future__ import absolute_import, division, print_function

import base64
import ctypes
import gc
import os

from .board import status_bytes
from .errors import Refused
from .onnx_bytes import chain, two_convolutions
from .onnx_join import join
from .onnx_session import FORGOTTEN, WEIGHTS_BYTES, OnnxRuntime
from .samples import Cost

# Few passes, as rounds count for more than passes; of probes and networks, profiled and plain, equally many: over
# rounds, the least of more passes' quartiles lies elsewhere.
PASSES = 4
CHAIN_NODES, CHAIN_PASSES = 200, 30


class OnnxBench(object):
    """What the tasks of one process share. As Bench it has `facts`, `attempt` and `cost`."""

    def __init__(self, threads):
        self.parent, self.cost, self.threads = os.getppid(), Cost(), threads
        self.engine, self.missing = None, ""
        try:
            self.engine = OnnxRuntime(threads)
        except Refused as reason:
            self.missing = str(reason)

    def facts(self):
        """{"onnxruntime": version, NCHWc block, ns of the profiler per node by threads}, or why there is none."""
        if self.engine is None:
            return {"onnxruntime": {"missing": self.missing}}
        overhead = {str(self.threads): self.profiler_overhead_ns()}
        facts = {"name": "onnxruntime", "version": self.engine.version(), "nchwc_block": self.nchwc_block()}
        return {"onnxruntime": dict(facts, profiler_overhead_ns=overhead)}

    def nchwc_block(self):
        """Channels in a block of the layout that convolutions run in here: 0, 8 or 16; by which of two are renamed."""
        nodes, _, _ = self.engine.measured(two_convolutions(), 1)
        blocked = set(node["name"] for node in nodes if node["name"].endswith("_nchwc"))
        if "plain_nchwc" not in blocked:
            return 0
        return 8 if "grouped_nchwc" in blocked else 16

    def profiler_overhead_ns(self):
        """ns that stand inside a node's reported time: (sum of the nodes - a plain pass) / nodes."""
        nodes, _, plain = self.engine.measured(chain(CHAIN_NODES), CHAIN_PASSES)
        sums = sorted(sum(node["samples_ns"][index] for node in nodes) for index in range(CHAIN_PASSES))
        quarter = CHAIN_PASSES // 4
        return max((sums[quarter] - sorted(plain)[quarter]) / float(len(nodes)), 0.0)

    def attempt(self, task, emit):
        """The result of one task; what fails is a result too, with its reason."""
        if os.getppid() != self.parent:
            raise SystemExit("agent: the supervisor is gone, its worker stops")
        try:
            if self.engine is None:
                raise Refused(self.missing)
            measure = {"probe": self.passes, "network": self.passes, "memory": self.memory}
            if task["task"] not in measure:
                raise Refused("ONNX Runtime has no task %r" % task["task"])
            return measure[task["task"]](task)
        except Exception as error:  # the engine's own exceptions have a type for each of its status codes
            text = str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)
            return {"status": "failed", "reason": " ".join(text.split())[:2000]}

    def model(self, task):
        """A task's model, its weights made."""
        with self.cost.of("inputs"):
            self.engine.make_weights(max(WEIGHTS_BYTES, int(task.get("weights_bytes", 0))))
            return base64.b64decode(task["model"])

    def passes(self, task):
        """Plain passes and profiled ones; kernels as the plan expects them."""
        model = self.model(task)
        with self.cost.of("timed"):
            nodes, layerwise, forward = self.engine.measured(model, PASSES)
        kernels = []
        for kernel, index in zip(task["kernels"], join(nodes, task["kernels"], task["network"])):
            sizes = dict((name, value) for name, value in kernel.items() if name not in ("op", "inputs", "outputs"))
            kernels.append(dict(sizes, samples_ns=nodes[index]["samples_ns"]))
        return {"kernels": kernels, "forward_ns": forward, "layerwise_ns": layerwise, "status": "ok", "reason": ""}

    def memory(self, task):
        """Bytes of this process, which is the task's own: before, loaded, and after the third pass, trimmed."""
        model = self.model(task)
        with self.cost.of("timed"):
            gc.collect()
            _trim()
            base = status_bytes("VmRSS")
            session = self.engine.session(model)
            loaded, load_peak = status_bytes("VmRSS"), status_bytes("VmHWM")
            self.engine.passes_ns(session, self.engine.inputs(session), FORGOTTEN + 1)
            _trim()
            total = status_bytes("VmRSS")
        if None in (base, loaded, load_peak, total):
            raise Refused("this kernel does not tell a process's memory in /proc/self/status")
        sizes = {"base": base, "loaded": loaded, "load_peak": load_peak, "total": total, "peak": status_bytes("VmHWM")}
        return {"memory_bytes": sizes, "status": "ok", "reason": ""}


def _trim():
    """Give the allocator's free pages back: without that a process's size is a matter of its garbage."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl gives pages back by itself
    if trim:
        trim(0)
