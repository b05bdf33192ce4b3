# -*- coding: utf-8 -*-
"""Time, samples, and what is said of them."""

from __future__ import absolute_import, division, print_function

import contextlib
import ctypes
import time


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
# A sample must be long against the timer (about 100 ns), so that reading it costs under 0.01 %.
SHORTEST_SAMPLE_NS = 2000000
# Nine samples are the fewest whose order statistics bound the median at 95 % without its two extremes.
FEWEST_SAMPLES = 9
MOST_SAMPLES = 60
# Stop when the median is known to 1 % (half the 95 % order-statistic interval) ...
WANTED_PRECISION = 0.01
# ... or when a kernel has had its share of the board's time, but never with fewer than five; the reason is recorded.
KERNEL_SECONDS = 0.1
FEWEST_IN_TIME = 5
# A median not known to 10 % is kept, but says `unstable`.
UNSTABLE_PRECISION = 0.10
# First calls allocate buffers and start threads: samples are forgotten until two in a row agree this well.
WARM_UP_AGREEMENT = 0.05
MOST_WARM_UP = 10


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
    result = dict(summary(samples), samples_ns=samples, stop=stop, status="ok", reason="", **more)
    if precision(samples) > UNSTABLE_PRECISION:
        text = "the median of %d samples is known to %.0f %% only"
        result.update(status="unstable", reason=text % (len(samples), 100 * precision(samples)))
    return result


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
