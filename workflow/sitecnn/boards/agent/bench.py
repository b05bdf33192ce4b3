# -*- coding: utf-8 -*-
"""How Caffe's tasks are measured: networks whole, layer by layer; their memory; matrix multiplications of its BLAS."""

from __future__ import absolute_import, division, print_function

import contextlib
import os
import re

from .blas import Blas
from .caffe_net import PyCaffe
from .caffe_tool import CaffeBinary
from .cuda import Cuda
from .errors import Refused
from .samples import SHORTEST_SAMPLE_NS, Cost, measured, now_ns, stop_reason, warm_up

POWER_SECONDS = 1.0
# Layer by layer, and one plain pass less; of probes and networks alike, because the least of noisier quartiles lies
# lower. The first pass allocates workspace; of four it is never the lower quartile. Rounds count for more than passes.
PASSES = 4


class Bench(object):
    """What the tasks of one process share: libraries and the account of its time."""

    def __init__(self, processor, threads):
        self.threads, self.parent, self.cost = threads, os.getppid(), Cost()
        self.cuda = Cuda() if processor == "gpu" else None
        self.engine, self.no_engine = None, ""
        try:
            self.engine = self._find_engine()
        except Refused as reason:
            self.no_engine = str(reason)
        self.blas = self.cuda or Blas(threads)

    def _find_engine(self):
        try:
            return PyCaffe(self.cuda)
        except Refused as no_pycaffe:
            try:
                return CaffeBinary(bool(self.cuda))
            except Refused as no_tool:
                raise Refused("%s; %s" % (no_pycaffe, no_tool))

    def check(self):
        """End this process when its supervisor is gone."""
        if os.getppid() != self.parent:
            raise SystemExit("agent: the supervisor is gone, its worker stops")

    def facts(self):
        """Engine, BLAS and GPU, JSON-ready; what is missing carries the reason."""
        facts = {"engine": self.engine.facts() if self.engine else {"missing": self.no_engine}}
        facts["blas"] = self.blas.version()
        if self.cuda:
            facts["gpu"] = self.cuda.facts()
        return facts

    def synchronize(self):
        """Wait for the GPU, if there is one."""
        if self.cuda:
            self.cuda.synchronize()

    def attempt(self, task, emit):
        """The result of one task; what fails is a result too, with its reason. `emit` tells when to read power."""
        self.check()
        measure = {"gemm": self.gemm, "network": self.passes, "probe": self.passes, "memory": self.memory}
        try:
            if task["task"] not in measure:
                raise Refused("Caffe has no task %r" % task["task"])
            return measure[task["task"]](task, emit)
        except (Refused, MemoryError, LookupError, ValueError, RuntimeError) as error:
            reason = str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)
            return {"status": "failed", "reason": reason}

    def gemm(self, task, emit):
        """A GEMM in a loop of calls: as many as its task says, or long against the timer."""
        context = (self.cuda.gemm if self.cuda else self._cpu_gemm)(task["kernel"])
        with self.cost.of("inputs"):
            call = context.__enter__()  # by hand, so that only making the operands is booked here
        try:
            result = self.loop(call, task.get("iterations") if task["mode"] == "overhead" else None)
            if emit:
                self.sustain(call, result["median_ns"], emit)
            return result
        finally:
            context.__exit__(None, None, None)

    @contextlib.contextmanager
    def _cpu_gemm(self, sizes):
        yield self.blas.gemm(sizes)

    def sustain(self, call, call_ns, emit):
        """Run a kernel on end while the supervisor reads the power rails."""
        emit("power", "sustained")
        end = now_ns() + int(POWER_SECONDS * 1e9)
        batch = max(int(SHORTEST_SAMPLE_NS / call_ns), 1)
        while now_ns() < end:
            for _ in range(batch):
                call()
            self.synchronize()
        emit("power", "rested")

    def loop(self, call, iterations):
        """Samples per call of n calls synchronised once: n long against the timer unless given."""

        def sample(count):
            start = now_ns()
            for _ in range(count):
                call()
            self.synchronize()
            return now_ns() - start

        with self.cost.of("warm_up"):
            if iterations is None:
                iterations = 1
                while sample(iterations) < SHORTEST_SAMPLE_NS:
                    iterations *= 2
            forgotten = warm_up(lambda: sample(iterations))
        samples, stop, start = [], None, now_ns()
        with self.cost.of("timed"):
            while not stop:
                self.check()
                samples.append(sample(iterations) / float(iterations))
                stop = stop_reason(samples, (now_ns() - start) / 1e9)
        return measured(samples, stop, iterations=iterations, warm_up=forgotten)

    def passes(self, task, emit):
        """Passes layer by layer and plain ones in turn: {layers: samples of each, layerwise_ns, forward_ns}."""
        if not isinstance(self.engine, PyCaffe):
            return self.passes_by_binary(task)
        engine = self.engine
        with self.cost.of("inputs"):
            net = engine.load_filled(task["prototxt"])
        last = len(net.layers) - 1
        passes, layerwise, forward = [], [], []
        with self.cost.of("timed"):
            for _ in range(PASSES):
                self.check()
                start = now_ns()
                passes.append(engine.layers_ns(net))
                layerwise.append(now_ns() - start)
                if len(passes) < PASSES:
                    forward.append(engine.forward_ns(net, 0, last))
        named = [
            {"name": name, "type": layer.type, "samples_ns": [one[index] for one in passes]}
            for index, (name, layer) in enumerate(zip(net._layer_names, net.layers))
        ]
        return {"layers": named, "layerwise_ns": layerwise, "forward_ns": forward, "status": "ok", "reason": ""}

    def passes_by_binary(self, task):
        """Passes as `caffe time` averages them; its layers carry no types, the definition does."""
        if self.engine is None:
            raise Refused(self.no_engine)
        with self.cost.of("timed"):
            forward, layers = self.engine.time(task["prototxt"], PASSES)
        types = dict(re.findall(r'name: "([^"]*)"\s+type: "([^"]*)"', task["prototxt"]))
        named = [{"name": name, "type": types.get(name, "Split"), "samples_ns": [ns]} for name, ns in layers]
        layerwise = sum(ns for _, ns in layers)
        return {"layers": named, "layerwise_ns": [layerwise], "forward_ns": [forward], "iterations": PASSES,
                "fill": "zeros", "status": "ok", "reason": ""}  # fmt: skip

    def memory(self, task, emit):
        """Bytes of this process: before and after loading a net, the peak while loading, after a pass."""
        if not isinstance(self.engine, PyCaffe):
            raise Refused("memory is read from inside a process: it needs pycaffe")
        with self.cost.of("timed"):
            base = self.engine.memory()
            net = self.engine.load(task["prototxt"])
            loaded = self.engine.memory()
            self.engine.forward_ns(net, 0, len(net.layers) - 1)
            total = self.engine.memory()
        sizes = {"base": base["rss"], "loaded": loaded["rss"], "load_peak": loaded["peak"]}
        sizes.update(total=total["rss"], peak=total["peak"])
        for name in ("gpu", "nvmap"):
            if name in base:
                sizes.update({name + "_base": base[name], name + "_loaded": loaded[name], name + "_total": total[name]})
        return {"memory_bytes": sizes, "status": "ok", "reason": ""}
