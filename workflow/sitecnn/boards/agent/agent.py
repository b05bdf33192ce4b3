#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""SiteCNN's board agent: measures kernels, layers, forward passes and memory where it is started.

One file, standard library only, Python 2.7 and >= 3.4, because boards have nothing newer; numpy is used as
far as pycaffe brings it. It reads a plan (one JSON task per line) and appends one fsynced JSON line per
finished measurement to a record file. Started again with the same two files, it goes on where it was cut off.

    agent.py --plan plan.jsonl --records records.jsonl --threads 1     measure what the plan still owes
    agent.py --plan - --records -                                      the same for a host, over stdin and stdout
    agent.py --probe                                                   say what this board has, as JSON

Two processes: the supervisor keeps records, clocks, the lock and the host's lease; its worker measures and may die
of what it is asked. The protocol, its constants and their reasons are in docs/measuring.md.
"""

from __future__ import division, print_function

import argparse
import contextlib
import ctypes
import ctypes.util
import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import pwd
import random
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import uuid

PROTOCOL = 3

# A sample must be long against the timer (about 100 ns), so that reading it costs under 0.01 %.
SHORTEST_SAMPLE_NS = 2000000
# Nine samples are the fewest whose order statistics bound the median at 95 % without its two extremes.
FEWEST_SAMPLES = 9
MOST_SAMPLES = 60
# Stop when the median is known to 1 % (half the 95 % order-statistic interval) ...
WANTED_PRECISION = 0.01
# ... or when a kernel has had its share of the board's time, but never with fewer than five; the reason is recorded.
KERNEL_SECONDS = 0.5
FEWEST_IN_TIME = 5
# A median not known to 10 % is kept, but says `unstable`.
UNSTABLE_PRECISION = 0.10
NETWORK_SECONDS = 10.0
FEWEST_ROUNDS = 3
# Caffe with several threads is fast or slow per process, not per call: spread the passes over processes.
NETWORK_PROCESSES = 5
# First calls allocate buffers and start threads: samples are forgotten until two in a row agree this well.
WARM_UP_AGREEMENT = 0.05
MOST_WARM_UP = 10
# Between two runs of one layer a network touches all its other memory, so as much is touched here (the plan says
# how much): by the other kernels of the block, measured in turn, and by copying what is missing through buffers.
# Twice the last cache level does the same; below 16 MiB before each call the TLB would keep its entries.
EVICT_LEVELS, LEAST_EVICT_BYTES, MOST_EVICT_BYTES = 2, 16 << 20, 1 << 30
# Copied in pieces that stay in the private cache.
EVICT_PIECE_BYTES = 1 << 20
# Kernels of a block are loaded together only as far as they fit into this part of the free memory.
MEMORY_SHARE = 0.25
# Channels of a network differ more from each other than within: a sixth is all zero, a third nowhere zero.
CHANNEL_OFFSET = 2.0
# A sentinel GEMM before and after every block of tasks: where it drifts further than this, or takes so much longer
# than it mostly does, the block is measured again after all others: what disturbs a board lasts seconds to minutes.
BLOCK_TASKS = 16
SENTINEL_SIZE = 256
SENTINEL_DRIFT = 0.10
BLOCK_TRIES = 3
# A task that ends its process twice is not tried a third time.
TASK_TRIES = 2
# A host renews its lease every 5 s at least; a cut link is noticed by its silence.
LEASE_SECONDS = 20
SAY_SECONDS = 5
LOCK_SECONDS = 60
PROGRESS_SECONDS = 5
# Rails are read ten times a second (the INA3221 averages over that long) while a kernel runs on end for a second.
POWER_INTERVAL_S = 0.1
POWER_SECONDS = 1.0

HOST_GONE = 3


class Refused(Exception):
    """A task or a call that cannot be done here; its text is the reason that is recorded."""


class HostGone(Exception):
    """Nobody waits for records any more."""


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


def precision(samples):
    """Half the median's 95 % interval as a fraction of the median."""
    low, high = median_interval(samples)
    return (high - low) / (2.0 * median(samples))


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


def stop_reason(samples, seconds):
    """Why no further sample is needed after `seconds` on this kernel: noise, count, time; None to go on."""
    if len(samples) >= FEWEST_SAMPLES and precision(samples) <= WANTED_PRECISION:
        return "noise"
    if len(samples) >= MOST_SAMPLES:
        return "count"
    if seconds > KERNEL_SECONDS and len(samples) >= FEWEST_IN_TIME:
        return "time"
    return None


def measured(samples, stop, **more):
    """The result of a task from its raw samples; unstable if they leave the median too uncertain."""
    found = dict(summary(samples), samples_ns=samples, stop=stop, status="ok", reason="", **more)
    if precision(samples) > UNSTABLE_PRECISION:
        text = "the median of %d samples is known to %.0f %% only"
        found.update(status="unstable", reason=text % (len(samples), 100 * precision(samples)))
    return found


class Cost(object):
    """Where the board's seconds go, by purpose."""

    def __init__(self):
        self.seconds = {}

    def add(self, purpose, seconds):
        """Book seconds on a purpose."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + seconds

    @contextlib.contextmanager
    def of(self, purpose):
        """Book the time of a `with` block."""
        start = now_ns()
        try:
            yield
        finally:
            self.add(purpose, (now_ns() - start) / 1e9)


# ---- what the board has -------------------------------------------------------------------------------------

ROOT = "/"
"""Where sysfs and procfs are looked for; tests put a Jetson's files elsewhere."""


def paths(pattern):
    """Files of this board that match an absolute pattern, sorted."""
    found = glob.glob(os.path.join(ROOT, pattern.lstrip("/")))
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)])


def read_text(path):
    """A small file's text, stripped; None where it cannot be read (sysfs differs from board to board)."""
    try:
        with open(path if path.startswith(ROOT) else os.path.join(ROOT, path.lstrip("/"))) as source:
            return source.read().strip()
    except (IOError, OSError, UnicodeDecodeError):
        return None


def read_number(path):
    """A file's integer; None where there is none."""
    text = read_text(path)
    return int(text) if text and re.match(r"-?\d+$", text) else None


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
    for folder in paths("/sys/devices/system/cpu/cpu0/cache/index*"):
        size = re.match(r"(\d+)K$", read_text(folder + "/size") or "")
        if size:
            name = "L%s %s" % (read_text(folder + "/level"), read_text(folder + "/type"))
            found[name] = int(size.group(1)) * 1024
    return found


CPU_CLOCKS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
GOVERNORS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
# L4T moves them about: TK1 has only the debugfs clocks, TX1 devfreq under one of two names.
GPU_CLOCKS = ("/sys/devices/*gpu*/devfreq/*gpu*/cur_freq", "/sys/class/devfreq/*gpu*/cur_freq",
              "/sys/kernel/debug/clock/gbus/clk_rate", "/sys/kernel/debug/clock/gbus/rate")  # fmt: skip
MEMORY_CLOCKS = ("/sys/kernel/debug/clock/emc/clk_rate", "/sys/kernel/debug/clock/emc/rate",
                 "/sys/kernel/debug/clk/emc/clk_rate")  # fmt: skip


def _first_number(patterns):
    """The first readable number among files of several patterns."""
    numbers = [read_number(path) for pattern in patterns for path in paths(pattern)]
    return next((number for number in numbers if number is not None), None)


def conditions():
    """Clocks, temperatures, governor, load and affinity now; what the board does not tell is absent."""
    clocks = [read_number(path) for path in paths(CPU_CLOCKS)]
    if not any(clocks):
        found = re.findall(r"^cpu MHz\s*: ([\d.]+)", read_text("/proc/cpuinfo") or "", re.M)
        clocks = [float(mhz) * 1000 for mhz in found]
    zones = [read_number(path) for path in paths("/sys/class/thermal/thermal_zone*/temp")]
    gpu, memory = _first_number(GPU_CLOCKS), _first_number(MEMORY_CLOCKS)
    now = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": os.getloadavg()[0],
        "cpu_mhz": [float(clock) / 1000 for clock in clocks if clock],
        "gpu_mhz": gpu and gpu / 1e6,
        "memory_mhz": memory and memory / 1e6,
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        # TX1 gives milli-degrees, TK1's older kernel degrees.
        "temperature_c": [zone / 1000.0 if abs(zone) > 200 else float(zone) for zone in zones if zone is not None],
    }
    if hasattr(os, "sched_getaffinity"):  # novm: not before Python 3.3
        now["affinity"] = sorted(os.sched_getaffinity(0))  # novm
    return dict((name, value) for name, value in now.items() if value not in (None, []))


def power_rails():
    """{rail: function that reads its mW} of an INA3221 by iio (TX1's L4T) or hwmon (newer kernels); often none."""
    rails = {}
    places = ("/sys/devices/*/7000c400.i2c/i2c-1/1-004[0-9]/iio_device", "/sys/devices/*/*/i2c-*/*/iio*device*",
              "/sys/bus/iio/devices/iio:device*")  # fmt: skip
    for path in [path for place in places for path in paths(place + "/in_power*_input")]:
        number = re.search(r"in_power(\d+)_input$", path).group(1)
        name = read_text(os.path.join(os.path.dirname(path), "rail_name_" + number)) or "rail-" + number
        rails.setdefault(name, lambda path=path: read_number(path))
    for path in paths("/sys/class/hwmon/hwmon*/curr[0-9]*_input"):
        voltage, labels = path.replace("/curr", "/in"), [path.replace("_input", "_label")]
        labels.append(voltage.replace("_input", "_label"))
        if read_number(voltage) is not None:
            named = [read_text(label) for label in labels if read_text(label)]
            name = (named + [os.path.basename(path)[:-6]])[0]
            rails.setdefault(name, lambda path=path, voltage=voltage: _milliwatts(path, voltage))
    return rails


def _milliwatts(current_path, voltage_path):
    milliamperes, millivolts = read_number(current_path), read_number(voltage_path)
    return None if None in (milliamperes, millivolts) else milliamperes * millivolts / 1000.0


# ---- clocks -------------------------------------------------------------------------------------------------


def pinned_clocks():
    """[(path, value)] that hold this board at its highest clocks: what of it exists, in the order to write it."""
    settings = [(path, "performance") for path in paths(GOVERNORS)]
    settings += [(path, "0") for path in paths("/sys/devices/system/cpu/cpuquiet/tegra_cpuquiet/enable")]
    for pattern in ("/sys/devices/*gpu*/devfreq/*gpu*", "/sys/class/devfreq/*gpu*"):
        for folder in paths(pattern):
            highest = read_text(folder + "/max_freq")
            if highest and folder + "/min_freq" not in dict(settings):
                settings.append((folder + "/min_freq", highest))
    for clock in ("gbus", "emc"):
        for folder in paths("/sys/kernel/debug/clock/override." + clock):
            highest = read_text(os.path.join(os.path.dirname(folder), clock, "max"))
            settings += [(folder + "/rate", highest)] if highest else []
            settings += [(folder + "/state", "1")]
    return settings


# What a setting of `pinned_clocks` may hold: a governor's name, or a number.
CLOCK_VALUE = re.compile(r"[a-z][a-z_]{0,31}\Z|[0-9]{1,20}\Z")


class Clocks(object):
    """Clocks pinned for the life of an agent. What they were stands in a journal, so that a crash loses nothing.

    The journal is named after this boot of this machine: clocks do not outlast it, and boards may share a home.
    """

    def __init__(self, folder):
        boot = re.sub("[^0-9a-f-]", "", read_text("/proc/sys/kernel/random/boot_id") or "")
        self.journal = os.path.join(folder, "clocks-%s.json" % (boot or platform.node().replace("/", "")))

    def pin(self):
        """Write the journal, then the highest clocks; Refused if one cannot be written."""
        settings = pinned_clocks()
        if not settings:
            raise Refused("no clocks to pin were found in sysfs; `clocks: as_found` in the board's file measures as is")
        with os.fdopen(open_own(self.journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as journal:
            json.dump([(path, read_text(path)) for path, _ in settings if read_text(path) is not None], journal)
            journal.flush()
            os.fsync(journal.fileno())
        for path, value in settings:
            try:
                _write(path, value)
            except (IOError, OSError) as error:
                self.restore()
                raise Refused("cannot pin clocks: %s: %s; root may" % (path, error.strerror))

    def restore(self):
        """Put back what the journal says, last first; nothing if there is none. Entries that `pin` cannot have
        written are left alone and named."""
        try:
            with os.fdopen(open_own(self.journal, os.O_RDONLY)) as journal:
                before = json.load(journal)
        except (IOError, OSError):
            return
        except ValueError:  # cut off while it was written: nothing was pinned yet
            before = []
        names = set(path for path, _ in pinned_clocks())
        for entry in reversed(before if isinstance(before, list) else [before]):
            if not _is_setting(entry, names):
                print("agent: not restored, no clock of this board: %s" % json.dumps(entry)[:200], file=sys.stderr)
                continue
            try:
                _write(*entry)
            except (IOError, OSError) as error:
                print("agent: clock not restored: %s: %s" % (entry[0], error.strerror), file=sys.stderr)
        os.unlink(self.journal)


def _is_setting(entry, names):
    """Whether a journal's entry is [path, value] of one of these paths, the value of a clock's form."""
    texts = isinstance(entry, list) and len(entry) == 2 and all(hasattr(part, "encode") for part in entry)
    return bool(texts and entry[0] in names and CLOCK_VALUE.match(entry[1]))


def _write(path, value):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC), "w") as target:
        target.write(value)


# ---- files of this user's own -------------------------------------------------------------------------------


def state_folder():
    """The folder of this user in which the agent keeps what it needs between two starts; made if it is not there.

    Under the user's cache, or under the folder for temporary files where there is no home to write into.
    """
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir  # not $HOME: sudo may leave another user's there
    except KeyError:
        home = os.environ.get("HOME", "/")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    folder = os.path.join(cache, "sitecnn", "agent")
    try:
        return private_folder(folder)
    except (IOError, OSError):
        folder = os.path.join(tempfile.gettempdir(), "sitecnn-agent-%d" % os.geteuid())
    try:
        return private_folder(folder)
    except (IOError, OSError) as error:
        raise Refused("%s cannot be made: %s" % (folder, error.strerror))


def private_folder(folder):
    """`folder` without links in its path, made with mode 0700 if it is not there.

    Refused if another user owns it, could write into it, or could put another in its place.
    """
    parent = os.path.realpath(os.path.dirname(folder))
    folder, mend = os.path.join(parent, os.path.basename(folder)), "remove it, or name another by XDG_CACHE_HOME"
    before = os.umask(0o077)
    try:
        os.makedirs(folder)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.umask(before)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise Refused("%s is a link or a file, not a folder: %s" % (folder, mend))
    if found.st_uid != os.geteuid():
        raise Refused("%s belongs to user %s, not to %s: %s" % (folder, user(found.st_uid), user(os.geteuid()), mend))
    if stat.S_IMODE(found.st_mode) != 0o700:
        text = "%s has mode %04o, so others may have written there, not 0700: %s"
        raise Refused(text % (folder, stat.S_IMODE(found.st_mode), mend))
    while parent != os.path.dirname(parent):
        found = os.lstat(parent)
        if found.st_uid not in (0, os.geteuid()) or writable_by_others(found):
            raise Refused("users other than %s can write in %s: %s" % (user(os.geteuid()), parent, mend))
        parent = os.path.dirname(parent)
    return folder


def writable_by_others(found):
    """Whether users beside its owner and this user's own group can replace what stands in a folder."""
    foreign = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid not in (0, os.getegid()) else 0)
    return bool(found.st_mode & foreign) and not found.st_mode & stat.S_ISVTX


def open_own(path, flags, mode=0o600):
    """A descriptor of a regular file that has no other name and belongs to this user or root.

    Refused for what another user may have put there: a link, a device, a file of theirs.
    """
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe or socket that nobody reads
            raise Refused("%s is a link or a pipe: it is not used" % path)
        raise
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid in (0, os.geteuid()):
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
        return descriptor
    os.close(descriptor)
    raise Refused("%s is no file of user %s alone: it is not used" % (path, user(os.geteuid())))


def user(number):
    """A user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


# ---- libraries ----------------------------------------------------------------------------------------------


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
        found = {"name": properties.raw[:256].split(b"\0")[0].decode("ascii", "replace")}
        for name, number in self.attributes.items():
            if self.runtime.cudaDeviceGetAttribute(ctypes.byref(value), number, 0) == 0:
                found[name] = value.value
        self.check(self.runtime.cudaRuntimeGetVersion(ctypes.byref(value)), "cudaRuntimeGetVersion")
        found["cuda"] = "%d.%d" % (value.value // 1000, value.value % 1000 // 10)
        return found

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


def file_sha256(path):
    """Hex digest of a file's bytes."""
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()


def _status_bytes(name):
    found = re.search(r"^%s:\s+(\d+) kB" % name, read_text("/proc/self/status") or "", re.M)
    return int(found.group(1)) * 1024 if found else None


def _nvmap_bytes():
    """Memory that Tegra's GPU allocator has handed out, all processes; None elsewhere or without root."""
    found = re.search(r"^total\s+(\d+)(K?)\s*$", read_text("/sys/kernel/debug/nvmap/iovmm/clients") or "", re.M)
    return int(found.group(1)) * (1024 if found.group(2) else 1) if found else None


# ---- cache state --------------------------------------------------------------------------------------------


class Evictor(object):
    """Copies through buffers that nobody else reads, so that what was in the caches no longer is."""

    def __init__(self):
        enough = max(EVICT_LEVELS * max(list(_cache_bytes().values()) + [0]), LEAST_EVICT_BYTES)
        self.pool_bytes = min(enough, MOST_EVICT_BYTES)
        self.pieces, self.position = [], 0

    def evict(self, wanted_bytes):
        """Read half of `wanted_bytes` (at least LEAST_EVICT_BYTES) and write the other half."""
        if not self.pieces:
            count = max(self.pool_bytes // EVICT_PIECE_BYTES, 2)
            self.pieces = [(ctypes.c_char * EVICT_PIECE_BYTES)() for _ in range(count)]
        for _ in range(max(wanted_bytes, LEAST_EVICT_BYTES) // (2 * EVICT_PIECE_BYTES)):
            source, target = self.pieces[self.position], self.pieces[self.position - 1]
            ctypes.memmove(target, source, EVICT_PIECE_BYTES)
            self.position = (self.position + 2) % len(self.pieces)


# ---- engines ------------------------------------------------------------------------------------------------


def import_caffe():
    """pycaffe, quiet (it logs every layer of every net on stderr otherwise)."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as error:
        raise Refused("pycaffe cannot be imported by %s: %s" % (sys.executable, error))
    return caffe


STRING = r"(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"


def refuse_foreign(prototxt):
    """Refused if a layer of this text would run code of its own or open files, or if that cannot be told for sure.

    No plan of this project has such layers, nor comments or joined strings, behind which a type could hide.
    """
    outside = re.sub(STRING, "\0", prototxt)
    if re.search("[#\"']|\0\\s*\0|\\blayers\\b", outside):
        raise Refused("a definition with comments, joined strings or layers of Caffe's old form is not run")
    for text in re.findall(r"(?:\btype\s*:\s*)?" + STRING, prototxt):
        kind = re.match(r"type\s*:\s*(.*)", text, re.S)
        kind = kind and kind.group(1)[1:-1]
        if kind and ("\\" in kind or kind.startswith(("HDF5", "Python"))
                     or (kind.endswith("Data") and kind != "DummyData")):  # fmt: skip
            raise Refused("a layer of type %s reads files or runs code: it is not run" % kind)


class PyCaffe(object):
    """Caffe through pycaffe, on either processor."""

    def __init__(self, cuda):
        self.caffe, self.cuda = import_caffe(), cuda
        import numpy

        self.numpy = numpy
        pool = numpy.random.RandomState(2017).standard_normal(1 << 20)
        self.pool = pool.astype(numpy.float32)
        if cuda:
            self.caffe.set_device(0)
            self.caffe.set_mode_gpu()
        else:
            self.caffe.set_mode_cpu()

    def facts(self):
        """Name, version and the digest of the library, JSON-ready."""
        return {
            "name": "caffe",
            "version": getattr(self.caffe, "__version__", "unknown"),
            "library_sha256": file_sha256(self.caffe._caffe.__file__),
        }

    def synchronize(self):
        """Wait for the GPU; on the CPU everything is done when the call returns."""
        if self.cuda:
            self.cuda.synchronize()

    def load(self, prototxt):
        """A Caffe net of this text in its test phase; its own fillers fill it (constant 0 unless it says more).

        Refused if a layer would run code of its own or open files: no plan needs that.
        """
        refuse_foreign(prototxt)
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as file:
            file.write(prototxt.encode("utf-8"))
            file.flush()
            return self.caffe.Net(file.name, self.caffe.TEST)

    def load_filled(self, prototxt, fills=None):
        """A loaded net whose weights and inputs hold values that keep activations at their scale.

        `fills` says of Input layers which hold `activations`; the others get independent values of variance 1.
        """
        net = self.load(prototxt)
        for name, layer in zip(net._layer_names, net.layers):
            self._fill_parameters(layer)
            if layer.type == "Input":
                for blob in (net.blobs[top] for top in net.top_names[name]):
                    activations = (fills or {}).get(name) == "activations"
                    blob.data[...] = (
                        self.activations(blob.data.shape) if activations else self.gaussian(blob.data.shape)
                    )
        return net

    def copy_blobs(self, prototxt, net, names):
        """Run a filled network once and copy its blobs into `net`: {blob of `net`: blob of the network}."""
        source = self.load_filled(prototxt)
        self.forward_ns(source, 0, len(source.layers) - 1)
        for target, blob in names.items():
            net.blobs[target].data[...] = source.blobs[blob].data

    def _fill_parameters(self, layer):
        """He initialisation for weights; BatchNorm's mean 0, variance and factor 1; scales 1, biases 0."""
        blobs = [blob.data for blob in layer.blobs]
        if layer.type == "BatchNorm":
            blobs[0][...], blobs[1][...], blobs[2][...] = 0, 1, 1
        elif blobs:
            weights = blobs[0]
            fan_in = weights.size // weights.shape[0]
            weights[...] = self.gaussian(weights.shape, (2.0 / fan_in) ** 0.5) if weights.ndim > 1 else 1
            for bias in blobs[1:]:
                bias[...] = 0

    def gaussian(self, shape, scale=1.0):
        """Values of N(0, scale²), drawn from a fixed pool: 100 million take a second, not ten."""
        return self.numpy.resize(self.pool, shape) * self.numpy.float32(scale)

    def activations(self, shape):
        """Data as a layer meets it after convolution and ReLU: neighbours alike, whole channels high or zero.

        How often a pooling window's maximum changes hands decides its branches: independent values cost 30 % more.
        """
        values = self.gaussian(shape)
        for axis in range(2, len(shape)):
            values = values + self.numpy.roll(values, 1, axis) + self.numpy.roll(values, 2, axis)
        channels = tuple(shape[:2]) + (1,) * (len(shape) - 2)
        return self.numpy.maximum(values / values.std() + self.gaussian(channels, CHANNEL_OFFSET), 0)

    def forward_ns(self, net, first, last):
        """Layers first..last once, synchronised once at their end."""
        start = now_ns()
        net._forward(first, last)
        self.synchronize()
        return now_ns() - start

    def memory(self):
        """Bytes in use now: the process's resident memory, and the GPU's where there is one."""
        found = {"rss": _status_bytes("VmRSS"), "peak": _status_bytes("VmHWM")}
        if self.cuda:
            found.update(gpu=self.cuda.used_bytes(), nvmap=_nvmap_bytes())
        return dict((name, value) for name, value in found.items() if value is not None)


class CaffeBinary(object):
    """The `caffe` tool for boards without pycaffe: `caffe time`, which feeds zeros and runs the training phase."""

    def __init__(self, gpu):
        self.path, self.gpu = self._find(), gpu

    def _find(self):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, "caffe")
            # An empty or relative word of PATH is a folder of whoever made the current one.
            if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise Refused("no `caffe` tool on PATH")

    def facts(self):
        """Name, version and the digest of the tool, JSON-ready."""
        child = subprocess.Popen([self.path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.search(r"version (\S+)", child.communicate()[0].decode("utf-8", "replace"))
        version = found.group(1) if found else "unknown"
        return {"name": "caffe-time", "version": version, "library_sha256": file_sha256(self.path)}

    def time(self, prototxt, iterations):
        """(forward ns, {layer: ns}) as `caffe time` averages them over its iterations."""
        refuse_foreign(prototxt)
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as file:
            file.write(prototxt.encode("utf-8"))
            file.flush()
            command = [self.path, "time", "-model", file.name, "-iterations", str(iterations)]
            command += ["-gpu", "0"] if self.gpu else []
            # Its lines are logged at level INFO: quiet is not possible.
            environment = dict(os.environ, GLOG_minloglevel="0", GLOG_logtostderr="1")
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
            log = child.communicate()[0].decode("utf-8", "replace")
        whole = re.search(r"Average Forward pass: ([\d.e+-]+) ms", log)
        if child.returncode or not whole:
            raise Refused("`caffe time` ended with status %d: %s" % (child.returncode, (log.splitlines() or [""])[-1]))
        layers = re.findall(r"\]\s+(\S+)\s+forward: ([\d.e+-]+) ms", log)
        return float(whole.group(1)) * 1e6, [(name, float(ms) * 1e6) for name, ms in layers]


# ---- the worker: measures, and may die of it ----------------------------------------------------------------


class Case(object):
    """One cold layer of a block: a net of the layer and the producers of its inputs, with what was sampled of it."""

    def __init__(self, index, task, engine):
        self.index, self.task, self.engine = index, task, engine
        self.net = engine.load_filled(task["prototxt"], task.get("fills"))
        if "source" in task:
            engine.copy_blobs(task["source"], self.net, task["inputs"])
        self.last = len(self.net.layers) - 1
        self.samples, self.seconds = [], 0.0
        engine.forward_ns(self.net, 0, self.last)  # allocates workspace: the first call is none to count

    def sample(self, evict, cost):
        """Empty the caches, run the producers, then the layer alone: one call as its network would make it."""
        start = now_ns()
        evict()
        if self.last:
            self.engine.forward_ns(self.net, 0, self.last - 1)
        sample = self.engine.forward_ns(self.net, self.last, self.last)
        seconds = (now_ns() - start) / 1e9
        self.samples.append(sample)
        self.seconds += seconds
        cost.add("timed", sample / 1e9)
        cost.add("inputs", seconds - sample / 1e9)


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
        limit = MEMORY_SHARE * _memory_bytes().get("MemAvailable", 1 << 62)
        cases, start = [], _status_bytes("VmRSS")
        while tasks and (not cases or _status_bytes("VmRSS") - start < limit):
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


def work(arguments):
    """Answer the supervisor's requests, one JSON line each, until it closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply

    def emit(index, result):
        replies.write(json.dumps({"index": index, "result": result}) + "\n")
        replies.flush()

    try:
        bench = Bench(arguments.processor, arguments.threads)
        facts = bench.facts()
    except Refused as reason:
        return emit(None, {"refused": str(reason)})
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        bench.cost = Cost()
        if request["do"] == "facts":
            emit("end", facts)
        elif request["do"] == "sentinel":
            emit("end", bench.sentinel())
        else:
            bench.block(request["tasks"], request["power"], emit)
            emit("end", bench.cost.seconds)


# ---- the supervisor's view of a worker ----------------------------------------------------------------------


class WorkerDied(Exception):
    """The process that measured is gone; its text says how it ended."""


class Worker(object):
    """A process of this file that measures. Only one exists at a time but for a network's own."""

    def __init__(self, arguments):
        command = [sys.executable, os.path.abspath(__file__), "--worker"]
        command += ["--threads", str(arguments.threads), "--processor", arguments.processor]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, close_fds=False
        )
        self.buffer = b""

    def ask(self, request, tick):
        """Send a request and yield (index, result) until its end; `tick()` is called ten times a second."""
        try:
            self.process.stdin.write(json.dumps(request).encode("utf-8") + b"\n")
            self.process.stdin.flush()
        except (IOError, OSError):
            raise self.died()
        while True:
            reply = json.loads(self.read_line(tick).decode("utf-8"))
            if isinstance(reply["result"], dict) and "refused" in reply["result"]:
                raise Refused(reply["result"]["refused"])
            yield reply["index"], reply["result"]
            if reply["index"] == "end":
                return

    def read_line(self, tick):
        """One line of replies."""
        source = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            tick()
            if select.select([source], [], [], POWER_INTERVAL_S)[0]:
                part = os.read(source, 1 << 16)
                if not part:
                    raise self.died()
                self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def died(self):
        """The exception that says how this process ended."""
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        # Of a failed CHECK the line that names it counts, not the stack trace below it.
        said = [line for line in lines if re.match(r"F\d+ |\w*Error", line)] or lines[-1:] or ["it said nothing"]
        how = "ended by signal %d" % -status if status < 0 else "ended with status %d" % status
        return WorkerDied("the process that measured it %s: %s" % (how, said[-1].strip()))

    def close(self):
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            try:
                pipe.close()
            except (IOError, OSError):  # what was buffered for a dead process
                continue


# ---- who asks, and where records go -------------------------------------------------------------------------


def canonical(value):
    """JSON text that is the same for equal values, whatever Python wrote it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def task_key(task, stack):
    """What identifies a measurement: the task itself, the stack and the protocol, never when it was taken."""
    return hashlib.sha256(canonical([task, stack, PROTOCOL]).encode("utf-8")).hexdigest()[:32]


class RecordFile(object):
    """A plan and an append-only record file: a torn last line is cut off, finished keys are known."""

    def __init__(self, plan, path):
        self.tasks = self._read_plan(plan)
        self.parent = os.getppid()
        try:
            self.file = os.fdopen(open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666), "a+b")
        except (IOError, OSError) as error:
            raise Refused("--records: %s: %s" % (path, error.strerror))
        self.finished = set()
        self.file.seek(0)
        good = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            good += len(line)
            try:
                record = json.loads(line.decode("utf-8"))
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("record") == "measurement":
                self.finished.add(record["key"])
        self.file.truncate(good)

    def _read_plan(self, path):
        try:
            with open(path, "rb") as lines:
                return [json.loads(line.decode("utf-8")) for line in lines if line.strip()]
        except (IOError, OSError) as error:
            raise Refused("--plan: %s: %s" % (path, error.strerror))
        except ValueError as error:
            raise Refused("--plan: %s: not JSON lines: %s" % (path, error))

    def append(self, record):
        """One line, on the disk before this returns."""
        self.file.write(canonical(record).encode("utf-8") + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def check(self):
        """HostGone when the process that started this one has ended."""
        if os.getppid() != self.parent:
            raise HostGone("the process that started it has ended")


class Stream(object):
    """A host at the other end of stdin and stdout: its plan, what it has, and its lease.

    stdin: `{"finished": [key...]}`, a task per line, an empty line; then a newline every few seconds.
    """

    def __init__(self):
        self.renewed, self.buffer, self.out = time.time(), b"", None
        lines = []
        while not lines or lines[-1]:
            while b"\n" not in self.buffer:
                self.check(0.5)
            line, self.buffer = self.buffer.split(b"\n", 1)
            lines.append(line.strip())
        read = [json.loads(line.decode("utf-8")) for line in lines[:-1]]
        self.finished, self.tasks = set(read[0]["finished"]), read[1:]
        self.out, self.said = os.fdopen(os.dup(1), "wb"), time.time()
        os.dup2(2, 1)

    def append(self, record):
        """One line, handed to the host, which keeps it."""
        self.say(canonical(record).encode("utf-8") + b"\n")

    def say(self, line):
        """Send a line; an empty one every few seconds tells the host that this process lives."""
        try:
            self.out.write(line)
            self.out.flush()
        except (IOError, OSError) as error:
            raise HostGone("it does not take records any more: %s" % error.strerror)
        self.said = time.time()

    def check(self, wait=0):
        """HostGone when stdin is closed or silent for longer than the lease."""
        if select.select([0], [], [], wait)[0]:
            part = os.read(0, 1 << 16)
            if not part:
                raise HostGone("it closed the connection")
            self.buffer += part
            self.renewed = time.time()
        elif time.time() - self.renewed > LEASE_SECONDS:
            raise HostGone("it was silent for %d s" % LEASE_SECONDS)
        if self.out and time.time() - self.said > SAY_SECONDS:
            self.say(b"\n")


def lock_board(name, folder, check):
    """Hold the board's lock for the life of this process and its worker; Refused if another keeps it for a minute.

    The lock is the name of an abstract Unix socket: every user can take it, it goes with its last holder, and there
    is no file that somebody could have prepared (unix(7)). Only Linux has them; elsewhere it is a file in `folder`.
    """
    end, told = time.time() + LOCK_SECONDS, False
    while True:
        lock = take_socket(name) if sys.platform.startswith("linux") else take_file(folder)
        if lock:
            break
        if time.time() > end:
            raise Refused("%s has measured on this board for over %d s" % (lock_owner(name), LOCK_SECONDS))
        if not told:
            print("agent: waiting for %s on this board" % lock_owner(name), file=sys.stderr)
            told = True
        check()
        time.sleep(0.5)
    # The worker inherits it: a supervisor that is killed leaves the board locked until its worker has ended too.
    getattr(os, "set_inheritable", lambda *_: None)(lock.fileno(), True)  # novm: Python 2's always are
    return lock


def take_socket(name):
    """A listening socket of this abstract name; None if another process has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind("\0" + name)
        lock.listen(1)
    except socket.error as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise Refused("cannot take the board's lock: %s" % error.strerror)
    return lock


def take_file(folder):
    """A locked file of this user's, where sockets have no abstract names; None if another process has locked it."""
    lock = os.fdopen(open_own(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        lock.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise Refused("cannot lock %s: %s" % (lock.name, error.strerror))
    return lock


def lock_owner(name):
    """Who holds the board's lock, for a message: the kernel says which process and user listen."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.setblocking(False)
    try:
        asking.connect("\0" + name)
        credentials = asking.getsockopt(socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", 17), struct.calcsize("3i"))
    except socket.error:
        return "another agent"
    finally:
        asking.close()
    pid, uid, _ = struct.unpack("3i", credentials)
    return "the agent with pid %d of user %s" % (pid, user(uid))


# ---- the campaign -------------------------------------------------------------------------------------------


class Try(object):
    """Results of a block's tasks in one try, the seconds that each took, and the conditions: sentinels among them."""

    def __init__(self, results, seconds, surroundings):
        self.results, self.seconds, self.conditions = results, seconds, surroundings

    def sentinels(self):
        """(before, after) in ns."""
        return self.conditions["sentinel_before_ns"], self.conditions["sentinel_after_ns"]

    def slowest_ns(self):
        """The slower of the two sentinels."""
        return max(self.sentinels())

    def is_steady(self):
        """Whether the board was as fast after the block as before."""
        return max(self.sentinels()) <= (1 + SENTINEL_DRIFT) * min(self.sentinels())


class Block(object):
    """Tasks (key, task) that are measured together, how often they were, and the best of these tries."""

    def __init__(self, tasks):
        self.tasks, self.tries, self.best, self.kept = tasks, 0, None, False

    def is_memory(self):
        """Whether it measures bytes, which are the same however disturbed the board is."""
        return self.tasks[0][1]["task"] == "memory"


class Campaign(object):
    """The owed tasks of one plan on one stack, in blocks between sentinels."""

    def __init__(self, arguments, host):
        self.arguments, self.host = arguments, host
        self.started = self.reported = time.time()
        self.cost, self.rails = Cost(), power_rails()
        self.worker = self.fresh_worker()
        try:
            self.facts = self.ask({"do": "facts"})
        except WorkerDied as death:
            raise Refused("its first process did not start measuring: %s" % death)
        if "missing" in self.facts["engine"]:
            text = "agent: no Caffe here, so only matrix multiplications can be measured: %s"
            print(text % self.facts["engine"]["missing"], file=sys.stderr)
        self.stack = stack_of(self.facts, arguments.threads, conditions())
        self.run = uuid.uuid4().hex
        keyed = dict((task_key(task, self.stack), task) for task in host.tasks)
        self.planned = len(keyed)
        self.owed = []
        for key in (task_key(task, self.stack) for task in host.tasks):
            if key in keyed and key not in host.finished:
                self.owed.append((key, keyed[key]))
            keyed.pop(key, None)
        self.failed, self.spent_s, self.left_s = 0, 0.0, sum(expected_seconds(task) for _, task in self.owed)
        self.last_sentinel, self.sentinels = None, []

    def execute(self):
        """Measure all that is owed, then append the `done` record that alone proves completeness; how many are owed."""
        self.append(self.run_record())
        networks = [(key, task) for key, task in self.owed if task["task"] == "network"]
        others = [(key, task) for key, task in self.owed if task["task"] != "network"]
        queue, parts = [Block(tasks) for tasks in blocks(others)], dict((key, []) for key, _ in networks)
        try:
            self.measure_all(queue, networks, parts)
        finally:  # also when the host has gone or a signal came
            for block in queue:
                if block.best and not block.kept:
                    self.keep(block)
        self.finish_networks(networks, parts)
        left = len(self.owed) - len(networks) - sum(len(block.tasks) for block in set(queue) if block.kept)
        self.worker.close()
        seconds = time.time() - self.started
        cost = dict((name, self.cost.seconds.get(name, 0.0)) for name in ("timed", "warm_up", "inputs", "files"))
        cost["other"] = seconds - sum(cost.values())
        done = {"record": "done", "run": self.run, "planned": self.planned, "owed": left, "seconds": seconds}
        self.append(dict(done, cost_s=cost, conditions=conditions()))
        return left

    def measure_all(self, queue, networks, parts):
        """The blocks of `queue`, which grows by those that are put off, and turns of the networks between them."""
        turns = [turn * len(queue) // (NETWORK_PROCESSES - 1) for turn in range(NETWORK_PROCESSES)]
        for position, block in enumerate(queue):
            while len(turns) > 1 and turns[0] <= position:
                turns.pop(0)
                self.take_turn(networks, parts)
            if self.over_budget():
                break
            self.measure_block(block)
            if block.tries < BLOCK_TRIES and not self.is_calm(block):
                queue.append(block)
            else:
                self.keep(block)
        for _ in turns:
            self.take_turn(networks, parts)

    def run_record(self):
        """Who measures what on what: the provenance every measurement of this run points to."""
        return {
            "record": "run",
            "run": self.run,
            "protocol": PROTOCOL,
            "commit": self.arguments.commit,
            "agent_sha256": file_sha256(os.path.abspath(__file__)),
            "board": dict(board_facts(), **self.facts),
            "stack": self.stack,
            "processor": self.arguments.processor,
            "threads": self.arguments.threads,
            "conditions": conditions(),
        }

    def append(self, record):
        """Keep a record, and book what that costs."""
        with self.cost.of("files"):
            self.host.append(record)

    def over_budget(self):
        """Whether the board's time is used up; kernels are planned so that the most useful come first."""
        return self.arguments.budget_s is not None and time.time() - self.started > self.arguments.budget_s

    def fresh_worker(self):
        """A worker that ends with this process."""
        return Worker(self.arguments)

    def ask(self, request):
        """The answer to a request that has only one."""
        for _, result in self.worker.ask(request, self.host.check):
            answer = result
        return answer

    def take_turn(self, networks, parts):
        """A process of each network; turns are spread over the campaign, so that a board whose speed drifts is not
        compared with itself at another time."""
        for key, task in networks:
            if not any(part["result"]["status"] == "failed" for part in parts[key]):
                before, sentinel = conditions(), self.take_sentinel()
                result = self.measure_afresh(dict(task, seconds=NETWORK_SECONDS / NETWORK_PROCESSES))
                after = {"after": conditions(), "sentinel_after_ns": self.take_sentinel()}
                parts[key].append(dict(after, result=result, before=before, sentinel_before_ns=sentinel))
                self.spent_s += expected_seconds(task) / NETWORK_PROCESSES
                self.progress()
                self.last_sentinel = None

    def finish_networks(self, networks, parts):
        """A block and a record of each network, the samples of its processes joined."""
        for key, task in networks:
            first, last = parts[key][0], parts[key][-1]
            block = {"record": "block", "block": uuid.uuid4().hex[:12], "run": self.run, "attempt": 1}
            block.update(before=first["before"], sentinel_before_ns=first["sentinel_before_ns"])
            block.update(after=last["after"], sentinel_after_ns=last["sentinel_after_ns"])
            result = joined([part["result"] for part in parts[key]])
            self.failed += result["status"] == "failed"
            record = dict(task, record="measurement", key=key, run=self.run, block=block["block"])
            self.append(block)
            self.append(dict(record, seconds=NETWORK_SECONDS, **result))

    def measure_block(self, block):
        """Measure a block once between two sentinels; of all tries the one with the faster sentinels is the best."""
        before = conditions()
        sentinel_before = self.last_sentinel or self.take_sentinel()
        start = time.time()
        results = self.measure([task for _, task in block.tasks])
        seconds = (time.time() - start) / len(block.tasks)
        self.last_sentinel = self.take_sentinel()
        block.tries += 1
        if block.tries == 1:
            self.spent_s += sum(expected_seconds(task) for _, task in block.tasks)
        sentinels = {"sentinel_before_ns": sentinel_before, "sentinel_after_ns": self.last_sentinel}
        found = Try(results, seconds, dict(sentinels, attempt=block.tries, before=before, after=conditions()))
        block.best = min(block.best or found, found, key=Try.slowest_ns)

    def is_calm(self, block):
        """Whether a block's best try was as fast as the board mostly is; memory does not depend on it."""
        limit = (1 + SENTINEL_DRIFT) * median(self.sentinels)
        return block.is_memory() or (block.best.is_steady() and block.best.slowest_ns() <= limit)

    def keep(self, block):
        """Append a block's best try; marked unstable if the board was disturbed even then."""
        found, block.kept, calm = block.best, True, self.is_calm(block)
        shares = tuple(100 * ns / median(self.sentinels) for ns in found.sentinels())
        name = uuid.uuid4().hex[:12]
        self.append(dict(found.conditions, record="block", block=name, run=self.run))
        for (key, task), result in zip(block.tasks, found.results):
            if result["status"] == "ok" and not calm:
                reason = "the sentinel took %.0f and %.0f %% of what it mostly takes, in the best of %d tries"
                result.update(status="unstable", reason=reason % (shares + (block.tries,)))
            dropped = SURROUNDINGS if task["task"] == "layer" else ()
            record = dict((name, value) for name, value in task.items() if name not in dropped)
            record.update(record="measurement", key=key, run=self.run, block=name, seconds=found.seconds)
            self.append(dict(record, **result))
            self.failed += result["status"] == "failed"
            self.progress()

    def take_sentinel(self):
        """The sentinel's median ns, remembered."""
        self.sentinels.append(self.sentinel())
        return self.sentinels[-1]

    def sentinel(self):
        """The sentinel's median ns; a worker that died is replaced first."""
        if self.worker.process.poll() is not None:
            self.replace_worker()
        return self.ask({"do": "sentinel"})

    def replace_worker(self):
        """A new worker for one that died."""
        self.worker.close()
        self.worker = self.fresh_worker()

    def measure(self, tasks):
        """Results of a block's tasks, in order. If the worker dies the rest is measured one by one."""
        if tasks[0]["task"] == "memory":
            return [self.measure_afresh(task) for task in tasks]
        results = {}
        try:
            self.collect(range(len(tasks)), tasks, results)
        except WorkerDied:
            for index in [index for index in range(len(tasks)) if index not in results]:
                results[index] = self.measure_carefully(tasks[index])
        return [results[index] for index in range(len(tasks))]

    def measure_carefully(self, task):
        """A task in a worker that may die of it; after TASK_TRIES deaths it has failed."""
        for _ in range(TASK_TRIES):
            if self.worker.process.poll() is not None:
                self.replace_worker()
            results = {}
            try:
                self.collect([0], [task], results)
                return results[0]
            except WorkerDied as death:
                reason = str(death)
                self.worker.process.wait()
        return {"status": "failed", "reason": reason}

    def collect(self, indices, tasks, results):
        """Ask the worker for these tasks; `results` fills as they come, power readings with them."""
        indices, readings, sampling = list(indices), {}, [False]

        def tick():
            self.host.check()
            self.progress()
            for rail, read in self.rails.items() if sampling[0] else ():
                milliwatts = read()
                if milliwatts is not None:
                    readings.setdefault(rail, []).append(milliwatts)

        request = {"do": "block", "tasks": [tasks[index] for index in indices], "power": bool(self.rails)}
        for index, result in self.worker.ask(request, tick):
            if index == "end":
                for purpose, seconds in result.items():
                    self.cost.add(purpose, seconds)
            elif index is None:
                sampling[0] = result == "sustained"
            else:
                if readings:
                    result["power_rails"] = sorted(readings)
                    result["power_mw"] = [sum(readings[rail]) / len(readings[rail]) for rail in sorted(readings)]
                    readings.clear()
                results[indices[index]] = result

    def measure_afresh(self, task):
        """A task in a process of its own; the other worker waits, and holds no core."""
        waiting, self.worker = self.worker, self.fresh_worker()
        try:
            return self.measure_carefully(task)
        finally:
            self.worker.close()
            self.worker = waiting

    def progress(self):
        """Every few seconds a line on stderr: how far, how long, and the rest at the pace so far."""
        now = time.time()
        if now - self.reported < PROGRESS_SECONDS or not self.spent_s:
            return
        self.reported = now
        elapsed = now - self.started
        rest = max(elapsed * (self.left_s / self.spent_s - 1), 0)
        text = "agent: %3.0f %% of %d measurements, %.0f s so far, about %.0f s to go, %d failed"
        share = min(100.0 * self.spent_s / self.left_s, 100)
        print(text % (share, len(self.owed), elapsed, rest, self.failed), file=sys.stderr)


def joined(parts):
    """One result of a network from those of its processes; the one that failed if one did."""
    for part in parts:
        if part["status"] == "failed":
            return part
    whole = parts[0]
    for part in parts[1:]:
        for mine, other in zip(whole["layers"], part["layers"]):
            mine["samples_ns"] += other["samples_ns"]
        for name in ("layerwise_ns", "forward_ns"):
            whole[name] += part[name]
    return dict(whole, processes=len(parts), **summary(whole["forward_ns"]))


# Of a layer's task these say how it was run; the key tells that, and the plan keeps them: lines stay short.
SURROUNDINGS = ("prototxt", "source", "inputs", "fills")


def blocks(owed):
    """(key, task) pairs in blocks: memory one by one, kernels by BLOCK_TASKS."""
    kernels = []
    for key, task in owed:
        if task["task"] == "memory":
            yield [(key, task)]
            continue
        kernels.append((key, task))
        if len(kernels) == BLOCK_TASKS:
            yield kernels
            kernels = []
    if kernels:
        yield kernels


def expected_seconds(task):
    """Roughly what a task takes, for the progress line: networks are a few seconds per process, kernels one."""
    return {"network": 1.7 * NETWORK_SECONDS, "layer": KERNEL_SECONDS}.get(task["task"], 0.3 * KERNEL_SECONDS)


def board_facts():
    """What this board is, as one JSON-ready dict."""
    found = {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "caches": _cache_bytes(),
        "memory": _memory_bytes(),
        "model": (read_text("/proc/device-tree/model") or "").strip("\0"),
        "power_rails": sorted(power_rails()),
    }
    return found


def probe(threads):
    """What this board is and has; parts that are missing carry the reason."""
    found = dict(board_facts(), conditions=conditions(), clocks_to_pin=[path for path, _ in pinned_clocks()])

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
            found[name] = look()
        except Refused as reason:
            found[name] = {"missing": str(reason)}
    return found


def stack_of(facts, threads, now):
    """Name of what executes: engine, BLAS, threads, clock policy."""
    engine, blas = facts["engine"], facts["blas"]
    found = re.match(r"(\w+)\s+([\d.]+)", blas)
    blas_name = "-".join(found.groups()).lower() if found else blas
    parts = ["%s-%s" % (engine.get("name", "no-engine"), engine.get("version", "0")), blas_name]
    if "gpu" in facts:
        parts.append("cuda-%s" % facts["gpu"]["cuda"])
    return "+".join(parts + ["%d-threads" % threads, now.get("governor", "clock-unknown")])


# ---- command line -------------------------------------------------------------------------------------------


def parse_arguments():
    """The agent's command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probe", action="store_true", help="print what this board has, as JSON")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plan", help="tasks, one JSON object per line; - for a host on stdin")
    parser.add_argument("--records", help="record file to append to; - for a host on stdout")
    parser.add_argument("--processor", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads")
    parser.add_argument("--budget-s", type=float, help="seconds of board time after which no block is begun")
    parser.add_argument("--pin-clocks", action="store_true", help="hold the highest clocks while measuring")
    parser.add_argument("--commit", default="", help="version of SiteCNN that asks, kept with the run")
    parser.add_argument("--lock", default=os.environ.get("SITECNN_AGENT_LOCK", "sitecnn-agent"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.probe or arguments.worker or (arguments.plan and arguments.records)):
        parser.error("give --probe, or --plan and --records")
    if (arguments.plan == "-") != (arguments.records == "-"):
        parser.error("--plan - and --records - go together")
    return arguments


def measure(arguments):
    """Hold the board, pin its clocks if asked, and run the campaign; 0 or 1 as something is still owed."""
    host = Stream() if arguments.plan == "-" else RecordFile(arguments.plan, arguments.records)
    folder = state_folder()
    lock, clocks, campaign = lock_board(arguments.lock, folder, host.check), Clocks(folder), None
    clocks.restore()  # what an agent that was killed left behind
    try:
        if arguments.pin_clocks:
            clocks.pin()
        campaign = Campaign(arguments, host)
        return 1 if campaign.execute() else 0
    finally:
        if campaign:
            campaign.worker.close()
        clocks.restore()
        lock.close()


def _stop(number, _):
    raise HostGone("signal %d" % number)


def main():
    """Exit status 0: nothing is owed any more; 1: something is; 2: it could not start; 3: its host is gone."""
    arguments = parse_arguments()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    try:
        if arguments.worker:
            return work(arguments)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, _stop)
        if arguments.probe:
            return print(json.dumps(probe(arguments.threads), indent=2, sort_keys=True))
        return measure(arguments)
    except Refused as reason:
        print("agent: %s" % reason, file=sys.stderr)
        return 2
    except HostGone as reason:
        print("agent: stopping, its host is gone: %s" % reason, file=sys.stderr)
        return HOST_GONE


if __name__ == "__main__":
    sys.exit(main())
