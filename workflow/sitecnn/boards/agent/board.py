# -*- coding: utf-8 -*-
"""What the board is and how it is now, as sysfs and procfs tell."""

from __future__ import absolute_import, division, print_function

import glob
import hashlib
import os
import platform
import re
import time

ROOT = "/"
"""Where sysfs and procfs are looked for; tests put a Jetson's files elsewhere."""


def paths(pattern):
    """Files of this board that match an absolute pattern, sorted."""
    matches = glob.glob(os.path.join(ROOT, pattern.lstrip("/")))
    return sorted(
        matches, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]
    )


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
        match = re.search(r"^%s\s*: (.*)$" % name, text, re.M)
        if match:
            return match.group(1)
    return platform.processor() or platform.machine()


def memory_bytes():
    """{MemTotal and MemAvailable: bytes}, as far as the kernel tells; no more than this process's cgroup leaves it."""
    text = read_text("/proc/meminfo") or ""
    sizes = re.findall(r"^(MemTotal|MemAvailable): +(\d+)", text, re.M)
    return dict((name, min([int(size) * 1024] + _cgroup_limits())) for name, size in sizes)


def _cgroup_limits():
    """Bytes that cgroups of version 1 or 2 leave to this process (kernel.org, cgroup-v1/memory and cgroup-v2)."""
    limits = []
    for controllers, group in re.findall(r"^\d+:([^:]*):(.*)$", read_text("/proc/self/cgroup") or "", re.M):
        if controllers in ("", "memory"):
            mount, file = ("", "memory.max") if not controllers else ("/memory", "memory.limit_in_bytes")
            limits.append(read_number("/sys/fs/cgroup%s%s/%s" % (mount, group.rstrip("/"), file)))
    return [limit for limit in limits if limit]


def cache_bytes():
    """{level and type: bytes} of cpu0's caches, from sysfs."""
    sizes = {}
    for folder in paths("/sys/devices/system/cpu/cpu0/cache/index*"):
        size = re.match(r"(\d+)K$", read_text(folder + "/size") or "")
        if size:
            name = "L%s %s" % (read_text(folder + "/level"), read_text(folder + "/type"))
            sizes[name] = int(size.group(1)) * 1024
    return sizes


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
        rates_mhz = re.findall(r"^cpu MHz\s*: ([\d.]+)", read_text("/proc/cpuinfo") or "", re.M)
        clocks = [float(mhz) * 1000 for mhz in rates_mhz]
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


def status_bytes(name):
    """A size of this process, VmRSS or VmHWM, in bytes; None where the kernel does not tell."""
    match = re.search(r"^%s:\s+(\d+) kB" % name, read_text("/proc/self/status") or "", re.M)
    return int(match.group(1)) * 1024 if match else None


def nvmap_bytes():
    """Memory that Tegra's GPU allocator has handed out, all processes; None elsewhere or without root."""
    match = re.search(r"^total\s+(\d+)(K?)\s*$", read_text("/sys/kernel/debug/nvmap/iovmm/clients") or "", re.M)
    return int(match.group(1)) * (1024 if match.group(2) else 1) if match else None


def file_sha256(path):
    """Hex digest of a file's bytes."""
    with open(path, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()


def board_facts():
    """What this board is, as one JSON-ready dict."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "caches": cache_bytes(),
        "memory": memory_bytes(),
        "model": (read_text("/proc/device-tree/model") or "").strip("\0"),
        "power_rails": sorted(power_rails()),
    }
