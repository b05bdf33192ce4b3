#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""SiteCNN's board agent: measures kernels, layers, forward passes and memory where it is started.

One file, standard library only, Python 2.7 and >= 3.4, because boards have nothing newer; numpy is used as
far as pycaffe brings it. It reads a plan (one JSON task per line) and appends one fsynced JSON line per
finished measurement to a record file. Started again with the same two files, it goes on where it was cut off.

    agent.py --plan plan.jsonl --records records.jsonl --threads 1     measure what the plan still owes
    agent.py --probe                                                   say what this board has, as JSON

The protocol, its constants and their reasons are in docs/measuring.md.
"""

from __future__ import division, print_function

import argparse
import ctypes
import ctypes.util
import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import uuid

PROTOCOL = 1

# A sample must be long against the timer (about 100 ns), so that reading it costs under 0.01 %.
SHORTEST_SAMPLE_NS = 2000000
# Nine samples are the fewest whose order statistics bound the median at 95 % without its two extremes.
FEWEST_SAMPLES = 9
MOST_SAMPLES = 60
# Stop when the median is known to 1 % (half the 95 % order-statistic interval) ...
WANTED_PRECISION = 0.01
# ... or when a kernel has had its share of the board's time; which of the two is recorded.
KERNEL_SECONDS = 0.5
NETWORK_SECONDS = 6.0
FEWEST_ROUNDS = 3
# Caffe with several threads is fast or slow per process, not per call: spread the passes over processes.
NETWORK_PROCESSES = 3
# First calls allocate buffers and start threads: samples are forgotten until two in a row agree this well.
WARM_UP_AGREEMENT = 0.05
MOST_WARM_UP = 10
# Between two runs of one layer a network touches all its other memory, so as much is touched here (the plan says
# how much). Twice the last cache level does the same; below 48 MiB the TLB would keep its entries.
EVICT_LEVELS, LEAST_EVICT_BYTES, MOST_EVICT_BYTES = 2, 48 << 20, 512 << 20
# Evicted in pieces that stay in the private cache, every other one written: a network's traffic is about half
# weights that are read and half activations that are written.
EVICT_PIECE_BYTES = 1 << 20
# Channels of a network differ more from each other than within: a sixth is all zero, a third nowhere zero.
CHANNEL_OFFSET = 2.0
# A sentinel GEMM before and after every block of tasks: beyond this drift the block is measured again.
BLOCK_TASKS = 16
SENTINEL_SIZE = 256
SENTINEL_DRIFT = 0.10
BLOCK_TRIES = 3
PROGRESS_SECONDS = 5


class Refused(Exception):
    """A task or a call that cannot be done here; its text is the reason that is recorded."""


# ---- time and statistics ------------------------------------------------------------------------------------


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _monotonic_ns_by_libc():
    """Python before 3.7 has no integer clock: ask libc's CLOCK_MONOTONIC_RAW (4) itself."""
    libc, spec = ctypes.CDLL(None), _Timespec()

    def read():
        libc.clock_gettime(4, ctypes.byref(spec))
        return spec.seconds * 1000000000 + spec.nanoseconds

    return read


now_ns = getattr(time, "perf_counter_ns", None) or _monotonic_ns_by_libc()


def median(values):
    """The middle value; the mean of the two middle ones for an even count."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def median_interval(values):
    """(low, high) that hold the true median with at least 95 % by order statistics (David & Nagaraja 2003)."""
    ordered = sorted(values)
    count = len(ordered)
    outside, term, rank = 0.0, 0.5**count, 0
    while rank < count // 2 and outside + term <= 0.025:
        outside += term
        term = term * (count - rank) / (rank + 1)
        rank += 1
    low = max(rank - 1, 0)
    return ordered[low], ordered[count - 1 - low]


def summary(samples):
    """Median, robust spread (half the interquartile range, as asv does) and interval of raw samples, in ns."""
    ordered = sorted(samples)
    low, high = median_interval(ordered)
    spread = (ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]) / 2.0
    return {"median_ns": median(ordered), "spread_ns": spread, "low_ns": low, "high_ns": high}


def warm_up(sample):
    """Take samples until two in a row agree; returns how many were forgotten."""
    previous = sample()
    for count in range(2, MOST_WARM_UP + 1):
        current = sample()
        if abs(current - previous) <= WARM_UP_AGREEMENT * previous:
            return count
        previous = current
    return MOST_WARM_UP


def collect(sample, seconds, check):
    """Samples of `sample()` (ns) until they are precise, many, or `seconds` are over; says which."""
    samples, end = [], now_ns() + int(seconds * 1e9)
    while True:
        check()
        samples.append(sample())
        if len(samples) >= FEWEST_SAMPLES:
            low, high = median_interval(samples)
            if high - low <= 2 * WANTED_PRECISION * median(samples):
                reason = "noise"
                break
        if len(samples) >= MOST_SAMPLES:
            reason = "count"
            break
        if now_ns() > end and len(samples) >= 3:
            reason = "time"
            break
    return dict(summary(samples), samples_ns=samples, stop=reason)


# ---- what the board has -------------------------------------------------------------------------------------


def read_text(path):
    """A small file's text, stripped; None where it cannot be read (sysfs differs from board to board)."""
    try:
        with open(path) as source:
            return source.read().strip()
    except (IOError, OSError, UnicodeDecodeError):
        return None


def _cpu_model():
    text = read_text("/proc/cpuinfo") or ""
    for name in ("model name", "Hardware", "CPU part"):
        found = re.search(r"^%s\s*: (.*)$" % name, text, re.M)
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()


def _memory_bytes():
    text = read_text("/proc/meminfo") or ""
    return dict((name, int(size) * 1024) for name, size in re.findall(r"^(MemTotal|MemAvailable): +(\d+)", text, re.M))


def _cache_bytes():
    """{level and type: bytes} of cpu0's caches, from sysfs."""
    found = {}
    for folder in glob.glob("/sys/devices/system/cpu/cpu0/cache/index*"):
        size = re.match(r"(\d+)K$", read_text(folder + "/size") or "")
        if size:
            name = "L%s %s" % (read_text(folder + "/level"), read_text(folder + "/type"))
            found[name] = int(size.group(1)) * 1024
    return found


def loaded_blas():
    """Paths of the BLAS libraries mapped into this process, the one Caffe is linked to among them."""
    maps = read_text("/proc/self/maps") or ""
    paths = sorted(set(re.findall(r"(/\S*(?:blas|atlas|blis|mkl)\S*\.so\S*)", maps)))
    return [path for path in paths if "numpy" not in path and "scipy" not in path]


class Blas(object):
    """A CBLAS reached through ctypes: the library that Caffe uses, or the board's own."""

    names = ("openblas", "blis", "atlas", "cblas", "blas")

    def __init__(self, threads):
        self.path, self.library = self._find()
        self.sgemm = self.library.cblas_sgemm
        self.sgemm.restype = None
        pointer = ctypes.c_void_p
        self.sgemm.argtypes = (
            [ctypes.c_int] * 6
            + [ctypes.c_float, pointer, ctypes.c_int, pointer, ctypes.c_int]
            + [ctypes.c_float, pointer, ctypes.c_int]
        )
        if hasattr(self.library, "openblas_set_num_threads"):
            self.library.openblas_set_num_threads(threads)

    def _find(self):
        candidates = loaded_blas() + [ctypes.util.find_library(name) for name in self.names]
        for path in candidates:
            try:
                library = ctypes.CDLL(path) if path else None
            except OSError:
                continue
            if hasattr(library, "cblas_sgemm"):
                return path, library
        raise Refused("no BLAS with cblas_sgemm here: looked for " + ", ".join(self.names))

    def version(self):
        """OpenBLAS's own description of itself, else the file's name."""
        if hasattr(self.library, "openblas_get_config"):
            self.library.openblas_get_config.restype = ctypes.c_char_p
            return self.library.openblas_get_config().decode("ascii", "replace").strip()
        return os.path.basename(os.path.realpath(self.path))


def import_caffe():
    """pycaffe, quiet (it logs every layer of every net on stderr otherwise)."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as error:
        raise Refused("pycaffe cannot be imported by %s: %s" % (sys.executable, error))
    caffe.set_mode_cpu()
    return caffe


def _engine(caffe):
    return {
        "name": "caffe",
        "version": getattr(caffe, "__version__", "unknown"),
        "library_sha256": file_sha256(caffe._caffe.__file__),
    }


def file_sha256(path):
    """Hex digest of a file's bytes."""
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()


def probe(threads):
    """What this board is and has, as one JSON-ready dict; parts that are missing carry the reason."""
    found = {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "caches": _cache_bytes(),
        "memory": _memory_bytes(),
        "model": (read_text("/proc/device-tree/model") or "").strip("\0"),
    }
    for name, look in (
        ("engine", lambda: _engine(import_caffe())),
        ("blas", lambda: Blas(threads).version()),
    ):
        try:
            found[name] = look()
        except Refused as reason:
            found[name] = {"missing": str(reason)}
    return found


def conditions():
    """Clocks, temperatures, governor, load and affinity now; what the board does not tell is absent."""
    clocks = [
        read_text(path) for path in sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    ]
    if not any(clocks):
        found = re.findall(r"^cpu MHz\s*: ([\d.]+)", read_text("/proc/cpuinfo") or "", re.M)
        clocks = [float(mhz) * 1000 for mhz in found]
    zones = [read_text(path) for path in sorted(glob.glob("/sys/class/thermal/thermal_zone*/temp"))]
    now = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": os.getloadavg()[0],
        "cpu_mhz": [float(clock) / 1000 for clock in clocks if clock],
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "temperature_c": [float(zone) / 1000 for zone in zones if zone],
    }
    if hasattr(os, "sched_getaffinity"):  # novm: not before Python 3.3
        now["affinity"] = sorted(os.sched_getaffinity(0))  # novm
    return dict((name, value) for name, value in now.items() if value not in (None, []))


# ---- operands and cache state -------------------------------------------------------------------------------


class Operands(object):
    """Float32 buffers filled like a network's blobs, and the means to put caches into a known state."""

    def __init__(self):
        import numpy

        self.numpy = numpy
        random = numpy.random.RandomState(2017)
        self.pool = random.standard_normal(1 << 20).astype(numpy.float32)
        self.junk, self.caches = [], _cache_bytes()

    def gaussian(self, count, scale=1.0):
        """`count` values of N(0, scale²), drawn from a fixed pool: 100 million take a second, not ten."""
        return self.numpy.resize(self.pool, count) * self.numpy.float32(scale)

    def activations(self, shape):
        """Data as a layer meets it after convolution and ReLU: neighbours alike, whole channels high or zero.

        How often a pooling window's maximum changes hands decides its branches: independent values cost 30 % more.
        """
        values = self.gaussian(int(self.numpy.prod(shape))).reshape(shape)
        for axis in range(2, len(shape)):
            values = values + self.numpy.roll(values, 1, axis) + self.numpy.roll(values, 2, axis)
        channels = tuple(shape[:2]) + (1,) * (len(shape) - 2)
        offsets = self.gaussian(int(self.numpy.prod(channels)), CHANNEL_OFFSET * values.std()).reshape(channels)
        return self.numpy.maximum(values + offsets, 0)

    def evict(self, wanted_bytes):
        """Read and write as much as a network would between two runs of a layer, or as the caches hold."""
        pieces = evict_bytes(wanted_bytes, self.caches) // EVICT_PIECE_BYTES
        while len(self.junk) < pieces:
            self.junk.append(self.numpy.ones(EVICT_PIECE_BYTES // 4, self.numpy.float32))
        for read, written in zip(self.junk[:pieces:2], self.junk[1:pieces:2]):
            read.sum()
            self.touch(written)

    def touch(self, array):
        """Read and write an array in order, as the layer that produced it did last."""
        self.numpy.add(array, 0, out=array)


def evict_bytes(wanted_bytes, caches):
    """`wanted_bytes`, but no more than empties caches of these sizes ({name: bytes}) and no less than the TLB needs."""
    enough = max(EVICT_LEVELS * max(list(caches.values()) + [0]), LEAST_EVICT_BYTES)
    return min(max(wanted_bytes, LEAST_EVICT_BYTES), enough, MOST_EVICT_BYTES)


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


# ---- tasks --------------------------------------------------------------------------------------------------


class Bench(object):
    """What the tasks share: engine, BLAS and operands of one process."""

    def __init__(self, threads, check):
        self.threads = threads
        self.check = check
        self.caffe = import_caffe()
        self.blas = Blas(threads)
        self.operands = Operands()

    def gemm_call(self, sizes):
        """A closure that runs one `caffe_cpu_gemm` of these sizes, and its array operands (a, b, c)."""
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        a, b, c = (self.operands.gaussian(count) for count in (m * k, k * n, m * n))
        row_major, plain, transposed = 101, 111, 112
        trans_a, trans_b = (transposed if sizes[name] else plain for name in ("trans_a", "trans_b"))
        lda, ldb = (m if sizes["trans_a"] else k), (k if sizes["trans_b"] else n)
        beta = 1.0 if sizes["accumulate"] else 0.0
        pointers = [_pointer(array) for array in (a, b, c)]
        sgemm = self.blas.sgemm

        def call():
            sgemm(
                row_major, trans_a, trans_b, m, n, k,
                1.0, pointers[0], lda, pointers[1], ldb, beta, pointers[2], n,
            )  # fmt: skip

        return call, (a, b, c)

    def measure_gemm(self, task):
        """Time a GEMM: `warm` in a calibrated loop, `cold` once per sample with only B as its producer left it."""
        call, (a, b, c) = self.gemm_call(task["kernel"])
        if task["mode"] == "warm":
            return measure_loop(call, self.check)
        return self.measure_cold(task, call, lambda: None, [b])

    def measure_layer(self, task):
        """Time a layer's forward call in a one-layer net, its bottoms fresh from their producer, all else cold."""
        net = self.load_filled(task["prototxt"])
        last = len(net.layers) - 1
        bottoms = [net.blobs[name] for name in net.bottom_names[net._layer_names[last]]]
        originals = [self.operands.activations(blob.data.shape) for blob in bottoms]
        if task.get("fill") == "gaussian":
            originals = [self.operands.gaussian(blob.count).reshape(blob.data.shape) for blob in bottoms]
        arrays = [blob.data for blob in bottoms]

        def restore():
            for array, original in zip(arrays, originals):
                array[...] = original

        def call():
            net._forward(last, last)

        restore()
        if task["mode"] == "warm":
            return measure_loop(call, self.check)
        return self.measure_cold(task, call, restore, arrays)

    def measure_cold(self, task, call, restore, fresh):
        """Single calls: operands restored, caches evicted, then the inputs touched as their producer would."""

        def sample():
            restore()
            self.operands.evict(task["evict_bytes"])
            for array in fresh:
                self.operands.touch(array)
            start = now_ns()
            call()
            return now_ns() - start

        call()  # allocates workspace; every later sample starts from the same state, so one is enough
        return dict(collect(sample, KERNEL_SECONDS, self.check), iterations=1, warm_up=1)

    def load(self, prototxt):
        """A Caffe net of this text in its test phase; its own fillers fill it (constant 0 unless it says more)."""
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as file:
            file.write(prototxt.encode("utf-8"))
            file.flush()
            return self.caffe.Net(file.name, self.caffe.TEST)

    def load_filled(self, prototxt):
        """A loaded net whose weights and inputs hold values that keep activations at their scale."""
        net = self.load(prototxt)
        self.fill(net)
        return net

    def fill(self, net):
        """He initialisation for weights; BatchNorm's mean 0, variance and factor 1; scales 1, biases 0."""
        for name, layer in zip(net._layer_names, net.layers):
            blobs = [blob.data for blob in layer.blobs]
            if layer.type == "BatchNorm":
                blobs[0][...], blobs[1][...], blobs[2][...] = 0, 1, 1
            elif blobs:
                weights = blobs[0]
                fan_in = weights.size // weights.shape[0]
                scale = (2.0 / fan_in) ** 0.5 if weights.ndim > 1 else 0.0
                weights[...] = self.operands.gaussian(weights.size, scale).reshape(weights.shape) + (scale == 0)
                for bias in blobs[1:]:
                    bias[...] = 0
        for name in net.inputs or net._layer_names[:0]:
            net.blobs[name].data[...] = self.operands.gaussian(net.blobs[name].count).reshape(
                net.blobs[name].data.shape
            )

    def measure_network(self, task):
        """Layerwise and whole forward passes in turn: {layers: samples per layer, layerwise_ns, forward_ns}."""
        net = self.load_filled(task["prototxt"])
        indices = range(len(net.layers))
        layers, layerwise, forward = [[] for _ in indices], [], []
        warm_up(lambda: self.forward_pass(net))
        end = now_ns() + int(task["seconds"] * 1e9)
        while len(forward) < FEWEST_ROUNDS or (now_ns() < end and len(forward) < MOST_SAMPLES):
            self.check()
            marks = [now_ns()]
            for index in indices:
                net._forward(index, index)
                marks.append(now_ns())
            for index in indices:
                layers[index].append(marks[index + 1] - marks[index])
            layerwise.append(marks[-1] - marks[0])
            forward.append(self.forward_pass(net))
        named = [
            {"name": name, "type": layer.type, "samples_ns": samples}
            for name, layer, samples in zip(net._layer_names, net.layers, layers)
        ]
        return {"layers": named, "layerwise_ns": layerwise, "forward_ns": forward}

    def forward_pass(self, net):
        """One whole forward pass, synchronised once at its end, in ns."""
        start = now_ns()
        net._forward(0, len(net.layers) - 1)
        return now_ns() - start

    def measure_memory(self, task):
        """Resident bytes of this process: before and after loading a net, the peak while loading, after a pass."""
        found = {"base": _status_bytes("VmRSS")}
        net = self.load(task["prototxt"])
        found["loaded"], found["load_peak"] = _status_bytes("VmRSS"), _status_bytes("VmHWM")
        self.forward_pass(net)
        found["total"], found["peak"] = _status_bytes("VmRSS"), _status_bytes("VmHWM")
        return {"memory_bytes": found}


def _status_bytes(name):
    found = re.search(r"^%s:\s+(\d+) kB" % name, read_text("/proc/self/status") or "", re.M)
    return int(found.group(1)) * 1024 if found else None


def measure_loop(call, check):
    """Iterate without synchronising: n calls per sample, n calibrated so that the timer and the loop vanish."""
    iterations = 1
    while True:
        start = now_ns()
        for _ in range(iterations):
            call()
        if now_ns() - start >= SHORTEST_SAMPLE_NS:
            break
        iterations *= 2

    def sample():
        start = now_ns()
        for _ in range(iterations):
            call()
        return (now_ns() - start) / iterations

    forgotten = warm_up(sample)
    return dict(collect(sample, KERNEL_SECONDS, check), iterations=iterations, warm_up=forgotten)


def measure_in_processes(task, arguments):
    """A network over several processes, their samples joined; memory in one process of its own."""
    parts = []
    for _ in range(NETWORK_PROCESSES if task["task"] == "network" else 1):
        child_task = dict(task, seconds=NETWORK_SECONDS / NETWORK_PROCESSES)
        parts.append(_run_child(child_task, arguments))
    joined = parts[0]
    for part in parts[1:]:
        for mine, other in zip(joined["layers"], part["layers"]):
            mine["samples_ns"] += other["samples_ns"]
        for name in ("layerwise_ns", "forward_ns"):
            joined[name] += part[name]
    if "forward_ns" in joined:
        joined["processes"] = NETWORK_PROCESSES
        joined.update(summary(joined["forward_ns"]))
    return joined


def _run_child(task, arguments):
    command = [sys.executable, os.path.abspath(__file__), "--child", "--threads", str(arguments.threads)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate(json.dumps(task).encode("utf-8"))
    if child.returncode != 0:
        tail = err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise Refused("its process ended with status %d: %s" % (child.returncode, tail[0]))
    return json.loads(out.decode("utf-8"))


def run_child(arguments):
    """One task from stdin, its result on stdout: a network's passes or its memory, in a fresh process."""
    task = json.loads(sys.stdin.read())
    bench = Bench(arguments.threads, host_check())
    measure = {"network": bench.measure_network, "memory": bench.measure_memory}[task["task"]]
    print(json.dumps(measure(task)))


# ---- records ------------------------------------------------------------------------------------------------


def canonical(value):
    """JSON text that is the same for equal values, whatever Python wrote it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def task_key(task, stack):
    """What identifies a measurement: the task itself, the stack and the protocol, never when it was taken."""
    identity = dict((name, value) for name, value in task.items() if name not in ("order",))
    return hashlib.sha256(canonical([identity, stack, PROTOCOL]).encode("utf-8")).hexdigest()[:32]


class Records(object):
    """The append-only record file: a torn last line is cut off, finished keys are known."""

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.finished = set()
        self.file.seek(0)
        good = 0
        for line in self.file:
            try:
                record = json.loads(line.decode("utf-8"))
            except ValueError:
                record = None
            if not line.endswith(b"\n"):
                break
            good += len(line)
            if record and record.get("record") == "measurement":
                self.finished.add(record["key"])
        self.file.truncate(good)

    def append(self, record):
        """One line, on the disk before this returns."""
        self.file.write(canonical(record).encode("utf-8") + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        if record["record"] == "measurement":
            self.finished.add(record["key"])


# ---- the campaign -------------------------------------------------------------------------------------------


def host_check():
    """A function that ends this process when the process that started it is gone."""
    parent = os.getppid()

    def check():
        if os.getppid() != parent:
            raise SystemExit("agent: its host is gone, stopping")

    return check


def lock_board(path):
    """Hold the board's lock for the life of this process; another agent that holds it is waited for."""
    lock = open(path, "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        lock.seek(0)
        print("agent: waiting for agent %s on this board" % (lock.read().strip() or "?"), file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


class Campaign(object):
    """The owed tasks of one plan on one stack, in blocks between sentinels."""

    def __init__(self, arguments, tasks):
        self.arguments = arguments
        self.check = host_check()
        self.board = probe(arguments.threads)
        self.bench = Bench(arguments.threads, self.check)
        self.stack = stack_of(self.board, arguments.threads, conditions())
        self.records = Records(arguments.records)
        self.run = uuid.uuid4().hex
        keyed = [(task_key(task, self.stack), task) for task in tasks]
        self.owed = [(key, task) for key, task in keyed if key not in self.records.finished]
        self.keys = set(key for key, _ in keyed)
        self.started = self.reported = time.time()
        self.failed, self.spent_s, self.left_s = 0, 0.0, sum(expected_seconds(task) for _, task in self.owed)

    def execute(self):
        """Measure all that is owed, then append the `done` record that alone proves completeness."""
        self.records.append(self.run_record())
        for start in range(0, len(self.owed), BLOCK_TASKS):
            if self.over_budget():
                break
            self.block(self.owed[start : start + BLOCK_TASKS])
        left = len(self.keys - self.records.finished)
        done = {"record": "done", "run": self.run, "planned": len(self.keys), "owed": left}
        self.records.append(dict(done, seconds=time.time() - self.started, conditions=conditions()))
        return left

    def run_record(self):
        """Who measures what on what: the provenance every measurement of this run points to."""
        return {
            "record": "run",
            "run": self.run,
            "protocol": PROTOCOL,
            "commit": self.arguments.commit,
            "agent_sha256": file_sha256(os.path.abspath(__file__)),
            "board": self.board,
            "stack": self.stack,
            "processor": self.arguments.processor,
            "threads": self.arguments.threads,
            "conditions": conditions(),
        }

    def over_budget(self):
        """Whether the board's time is used up; kernels are planned so that the most useful come first."""
        return self.arguments.budget_s is not None and time.time() - self.started > self.arguments.budget_s

    def block(self, tasks):
        """Measure a block between two sentinels; again when they drift, marked unstable at the last try."""
        for attempt in range(1, BLOCK_TRIES + 1):
            before, sentinel_before = conditions(), self.sentinel()
            found = [(key, task, self.measure(task)) for key, task in tasks]
            sentinel_after = self.sentinel()
            steady = abs(sentinel_after - sentinel_before) <= SENTINEL_DRIFT * min(sentinel_before, sentinel_after)
            if steady:
                break
        block = {
            "sentinel_before_ns": sentinel_before,
            "sentinel_after_ns": sentinel_after,
            "attempt": attempt,
            "before": before,
            "after": conditions(),
        }
        for key, task, result in found:
            if result["status"] == "ok" and not steady:
                result.update(status="unstable", reason="the sentinel drifted in each of %d tries" % BLOCK_TRIES)
            self.records.append(dict(task, record="measurement", key=key, run=self.run, block=block, **result))

    def sentinel(self):
        """Median ns of a fixed GEMM, in a warm loop: the board's speed just now."""
        size = SENTINEL_SIZE
        sizes = {"m": size, "n": size, "k": size, "trans_a": 0, "trans_b": 0, "accumulate": 0}
        return measure_loop(self.bench.gemm_call(sizes)[0], self.check)["median_ns"]

    def measure(self, task):
        """The result of one task with its status; what fails is a result too, with its reason."""
        start = time.time()
        try:
            if task["task"] in ("network", "memory"):
                result = measure_in_processes(task, self.arguments)
            else:
                result = {"gemm": self.bench.measure_gemm, "layer": self.bench.measure_layer}[task["task"]](task)
            result.update(status="ok", reason="")
        except (Refused, MemoryError, KeyError, ValueError, RuntimeError) as error:
            self.failed += 1
            result = {"status": "failed", "reason": "%s: %s" % (type(error).__name__, error)}
        result["seconds"] = time.time() - start
        self.spent_s += expected_seconds(task)
        self.progress()
        return result

    def progress(self):
        """Every few seconds a line on stderr: how far, how long, and the rest at the pace so far."""
        now = time.time()
        if now - self.reported < PROGRESS_SECONDS and self.spent_s < self.left_s:
            return
        self.reported = now
        elapsed = now - self.started
        rest = max(elapsed * (self.left_s / self.spent_s - 1), 0)
        text = "agent: %3.0f %% of %d measurements, %.0f s so far, about %.0f s to go, %d failed"
        share = min(100.0 * self.spent_s / self.left_s, 100)
        print(text % (share, len(self.owed), elapsed, rest, self.failed), file=sys.stderr)


def expected_seconds(task):
    """Roughly what a task takes, for the progress line: networks are a few seconds per process, kernels one."""
    return {"network": 1.7 * NETWORK_SECONDS, "layer": KERNEL_SECONDS}.get(task["task"], 0.3 * KERNEL_SECONDS)


def stack_of(board, threads, now):
    """Name of what executes: engine, BLAS, threads, clock policy."""
    engine = board["engine"]
    blas = board["blas"] if not isinstance(board["blas"], dict) else "none"
    found = re.match(r"(\w+)\s+([\d.]+)", blas)
    blas_name = "-".join(found.groups()).lower() if found else blas
    parts = ["%s-%s" % (engine.get("name", "none"), engine.get("version", "?")), blas_name]
    return "+".join(parts + ["%d-threads" % threads, now.get("governor", "clock-unknown")])


def read_plan(path):
    """The tasks of a plan, one JSON object per line."""
    with open(path, "rb") as source:
        return [json.loads(line.decode("utf-8")) for line in source if line.strip()]


def parse_arguments():
    """The agent's command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probe", action="store_true", help="print what this board has, as JSON")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plan", help="tasks, one JSON object per line")
    parser.add_argument("--records", help="record file to append to")
    parser.add_argument("--processor", choices=["cpu"], default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads")
    parser.add_argument("--budget-s", type=float, help="seconds of board time after which no block is begun")
    parser.add_argument("--commit", default="", help="version of SiteCNN that asks, kept with the run")
    parser.add_argument("--lock", default=os.path.join(tempfile.gettempdir(), "sitecnn-agent.lock"))
    arguments = parser.parse_args()
    if not (arguments.probe or arguments.child or (arguments.plan and arguments.records)):
        parser.error("give --probe, or --plan and --records")
    return arguments


def main():
    """Exit status 0: nothing is owed any more; 1: something is; 2: it could not start."""
    arguments = parse_arguments()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    try:
        if arguments.child:
            return run_child(arguments)
        if arguments.probe:
            return print(json.dumps(probe(arguments.threads), indent=2, sort_keys=True))
        lock = lock_board(arguments.lock)
        try:
            return 1 if Campaign(arguments, read_plan(arguments.plan)).execute() else 0
        finally:
            lock.close()
    except Refused as reason:
        print("agent: %s" % reason, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
