# -*- coding: utf-8 -*-
"""Tasks that are measured together, between two sentinels."""

from __future__ import absolute_import, division, print_function

# A sentinel GEMM before and after every block of tasks: where it drifts further than this, or takes so much longer
# than it mostly does, the block is measured again after all others: what disturbs a board lasts seconds to minutes.
BLOCK_TASKS = 16
SENTINEL_DRIFT = 0.10


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
