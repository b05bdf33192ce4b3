# -*- coding: utf-8 -*-
"""How each task is measured."""

from __future__ import absolute_import, division, print_function

import contextlib
import ctypes
import os
import re

from .blas import Blas
from .board import memory_bytes, status_bytes
from .caches import EVICT_LEVELS, LEAST_EVICT_BYTES, Evictor
from .caffe_net import PyCaffe
from .caffe_tool import CaffeBinary
from .case import Case
from .cuda import Cuda
from .errors import Refused
from .samples import KERNEL_SECONDS, MOST_SAMPLES, SHORTEST_SAMPLE_NS, Cost, measured, now_ns, stop_reason, warm_up

# Kernels of a block are loaded together only as far as they fit into this part of the free memory.
MEMORY_SHARE = 0.25
SENTINEL_SIZE = 256
POWER_SECONDS = 1.0
FEWEST_ROUNDS = 3


class Bench(object):
    """What the tasks of one process share: libraries, cache state and the account of its time."""

    def __init__(self, processor, threads):
        self.threads, self.parent, self.cost = threads, os.getppid(), Cost()
        self.cuda = Cuda() if processor == "gpu" else None
        self.engine, self.no_engine = None, ""
        try:
            self.engine = self._find_engine()
        except Refused as reason:
            self.no_engine = str(reason)
        self.blas = self.cuda or Blas(threads)
        self.evictor = Evictor()

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
        found = {"engine": self.engine.facts() if self.engine else {"missing": self.no_engine}}
        found["blas"] = self.blas.version()
        if self.cuda:
            found["gpu"] = self.cuda.facts()
        return found

    def synchronize(self):
        """Wait for the GPU, if there is one."""
        if self.cuda:
            self.cuda.synchronize()

    def sentinel(self):
        """Median ns of a fixed GEMM, in a warm loop: the board's speed just now."""
        size = SENTINEL_SIZE
        sizes = {"m": size, "n": size, "k": size, "trans_a": 0, "trans_b": 0, "accumulate": 0}
        return self.gemm({"kernel": sizes, "mode": "warm"}, None)["median_ns"]

    def block(self, tasks, power, emit):
        """Measure tasks and emit (index, result) of each as it is known: loops one by one, cold layers in turn."""
        in_turn = []
        for index, task in enumerate(tasks):
            if (
                task["task"] == "layer"
                and task["mode"] == "cold"
                and isinstance(self.engine, PyCaffe)
                and not self.cuda
            ):
                in_turn.append((index, task))
            else:
                emit(index, self.attempt(lambda task=task: self.alone(task, emit if power else None)))
        while in_turn:
            cases, in_turn = self.load_cases(in_turn, emit)
            for case, stop in self.sample_in_turn(cases):
                evicted = {"iterations": 1, "warm_up": 1}
                emit(case.index, measured(case.samples, stop, **evicted))

    def attempt(self, measure):
        """The result of one task; what fails is a result too, with its reason."""
        try:
            return measure()
        except (Refused, MemoryError, KeyError, ValueError, RuntimeError) as error:
            reason = str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)
            return {"status": "failed", "reason": reason}

    def alone(self, task, emit):
        """The result of a task that shares its time with no other."""
        measure = {"gemm": self.gemm, "layer": self.layer, "network": self.network, "memory": self.memory}
        return measure[task["task"]](task, emit)

    def load_cases(self, tasks, emit):
        """(cases, tasks left): as many as fit into a share of the free memory, one at least."""
        limit = MEMORY_SHARE * memory_bytes().get("MemAvailable", 1 << 62)
        cases, start = [], status_bytes("VmRSS")
        while tasks and (not cases or status_bytes("VmRSS") - start < limit):
            (index, task), tasks = tasks[0], tasks[1:]
            with self.cost.of("inputs"):
                loaded = self.attempt(lambda: Case(index, task, self.engine))
            if isinstance(loaded, Case):
                cases.append(loaded)
            else:
                emit(index, loaded)
        return cases, tasks

    def sample_in_turn(self, cases):
        """One sample of each case after the other until every one has enough; yields (case, why it has enough)."""
        while cases:
            self.check()
            # All of a group age each other's caches, so the network that touches most says how much each adds.
            most = max(case.task["evict_bytes"] for case in cases)
            share = min(most, self.evictor.pool_bytes) // len(cases)
            for case in cases:
                case.sample(lambda: self.evictor.evict(share), self.cost)
            enough = [(case, stop_reason(case.samples, case.seconds)) for case in cases]
            for case, stop in enough:
                if stop:
                    yield case, stop
            cases = [case for case, stop in enough if not stop]

    def gemm(self, task, emit):
        """A GEMM in a calibrated loop; cold, single calls between evictions."""
        context = (self.cuda.gemm if self.cuda else self._cpu_gemm)(task["kernel"])
        with self.cost.of("inputs"):
            call = context.__enter__()  # by hand, so that only making the operands is booked here
        try:
            if task["mode"] == "cold":
                return self.cold_calls(task, call)
            found = self.loop(call, task.get("iterations") if task["mode"] == "overhead" else None)
            if emit:
                self.sustain(call, found["median_ns"], emit)
            return found
        finally:
            context.__exit__(None, None, None)

    @contextlib.contextmanager
    def _cpu_gemm(self, sizes):
        yield self.blas.gemm(sizes)

    def sustain(self, call, call_ns, emit):
        """Run a kernel on end while the supervisor reads the power rails."""
        emit(None, "sustained")
        end = now_ns() + int(POWER_SECONDS * 1e9)
        batch = max(int(SHORTEST_SAMPLE_NS / call_ns), 1)
        while now_ns() < end:
            for _ in range(batch):
                call()
            self.synchronize()
        emit(None, "rested")

    def layer(self, task, emit):
        """A layer on its own: in a warm loop; cold on a GPU by device events; by `caffe time` without pycaffe."""
        if not isinstance(self.engine, PyCaffe):
            return self.layer_by_binary(task)
        with self.cost.of("inputs"):
            case = Case(0, task, self.engine)
        net, last = case.net, case.last
        if task["mode"] == "cold":
            return self.cold_on_gpu(net, last)
        return self.loop(lambda: net._forward(last, last), None)

    def cold_on_gpu(self, net, last):
        """Producers, eviction and layer queued n times and synchronised once; the layer alone between two events."""
        cuda = self.cuda
        junk_bytes = max(EVICT_LEVELS * cuda.facts().get("l2_bytes", 0), LEAST_EVICT_BYTES)
        junk = cuda.buffer(junk_bytes // 4)

        def sample(iterations):
            pairs = [(cuda.event(), cuda.event()) for _ in range(iterations)]
            for start, end in pairs:
                cuda.check(cuda.runtime.cudaMemset(junk, 0, ctypes.c_size_t(junk_bytes)), "cudaMemset")
                if last:
                    net._forward(0, last - 1)
                cuda.record(start)
                net._forward(last, last)
                cuda.record(end)
            cuda.synchronize()
            found = sum(cuda.elapsed_ns(start, end) for start, end in pairs)
            for event in (event for pair in pairs for event in pair):
                cuda.check(cuda.runtime.cudaEventDestroy(event), "cudaEventDestroy")
            return found

        try:
            return self.calibrated(sample, None)
        finally:
            cuda.free([junk])

    def layer_by_binary(self, task):
        """The last layer of a one-layer network as `caffe time` averages it, several runs."""
        if self.engine is None:
            raise Refused(self.no_engine)
        iterations = self.binary_iterations(task["prototxt"], KERNEL_SECONDS)
        with self.cost.of("timed"):
            samples = [self.engine.time(task["prototxt"], iterations)[1][-1][1] for _ in range(FEWEST_ROUNDS)]
        return measured(samples, "count", iterations=iterations, warm_up=0, mode="warm", fill="zeros")

    def binary_iterations(self, prototxt, seconds):
        """How many iterations of `caffe time` take about that long; it runs backward passes, too, hence a third."""
        with self.cost.of("warm_up"):
            once_ns = self.engine.time(prototxt, 1)[0]
        return max(1, min(int(seconds * 1e9 / 3 / max(once_ns, 1.0)), 1000))

    def loop(self, call, iterations):
        """Iterate without synchronising: n calls, one synchronisation; n calibrated unless given."""

        def sample(count):
            start = now_ns()
            for _ in range(count):
                call()
            self.synchronize()
            return now_ns() - start

        return self.calibrated(sample, iterations)

    def calibrated(self, sample, iterations):
        """Samples per call of `sample(n)` (ns for n calls): n long against the timer, warm-up found and forgotten."""
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

    def cold_calls(self, task, call):
        """Single calls, the caches emptied before each."""
        samples, stop, start = [], None, now_ns()
        call()
        while not stop:
            self.check()
            with self.cost.of("inputs"):
                self.evictor.evict(min(task["evict_bytes"], self.evictor.pool_bytes))
            self.synchronize()
            begin = now_ns()
            call()
            self.synchronize()
            samples.append(now_ns() - begin)
            self.cost.add("timed", samples[-1] / 1e9)
            stop = stop_reason(samples, (now_ns() - start) / 1e9)
        return measured(samples, stop, iterations=1, warm_up=1)

    def network(self, task, emit):
        """Layerwise and whole forward passes in turn: {layers: samples per layer, layerwise_ns, forward_ns}."""
        if not isinstance(self.engine, PyCaffe):
            return self.network_by_binary(task)
        engine = self.engine
        with self.cost.of("inputs"):
            net = engine.load_filled(task["prototxt"])
        last = len(net.layers) - 1
        layers, layerwise, forward = [[] for _ in net.layers], [], []
        with self.cost.of("warm_up"):
            warm_up(lambda: engine.forward_ns(net, 0, last))
        end = now_ns() + int(task["seconds"] * 1e9)
        with self.cost.of("timed"):
            while len(forward) < FEWEST_ROUNDS or (now_ns() < end and len(forward) < MOST_SAMPLES):
                self.check()
                start = now_ns()
                for index, samples in enumerate(layers):
                    samples.append(engine.forward_ns(net, index, index))
                layerwise.append(now_ns() - start)
                forward.append(engine.forward_ns(net, 0, last))
        named = [
            {"name": name, "type": layer.type, "samples_ns": samples}
            for name, layer, samples in zip(net._layer_names, net.layers, layers)
        ]
        return {"layers": named, "layerwise_ns": layerwise, "forward_ns": forward, "status": "ok", "reason": ""}

    def network_by_binary(self, task):
        """Passes as `caffe time` averages them; its layers carry no types, the definition does."""
        if self.engine is None:
            raise Refused(self.no_engine)
        iterations = self.binary_iterations(task["prototxt"], task["seconds"])
        with self.cost.of("timed"):
            forward, layers = self.engine.time(task["prototxt"], iterations)
        types = dict(re.findall(r'name: "([^"]*)"\s+type: "([^"]*)"', task["prototxt"]))
        named = [{"name": name, "type": types.get(name, "Split"), "samples_ns": [ns]} for name, ns in layers]
        layerwise = sum(ns for _, ns in layers)
        return {"layers": named, "layerwise_ns": [layerwise], "forward_ns": [forward], "iterations": iterations,
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
        found = {"base": base["rss"], "loaded": loaded["rss"], "load_peak": loaded["peak"]}
        found.update(total=total["rss"], peak=total["peak"])
        for name in ("gpu", "nvmap"):
            if name in base:
                found.update({name + "_base": base[name], name + "_loaded": loaded[name], name + "_total": total[name]})
        return {"memory_bytes": found, "status": "ok", "reason": ""}
