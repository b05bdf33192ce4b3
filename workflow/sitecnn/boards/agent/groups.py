# -*- coding: utf-8 -*-
"""Tasks that share a process: a round's; a few matrix multiplications; memory's each alone."""

from __future__ import absolute_import, division, print_function

from .keys import engine_of

GEMMS_TOGETHER = 16


def groups(owed):
    """Owed (key, task) pairs in the order of the plan, in lists that are measured by one process each."""
    lists, last = [], None
    for key, task in owed:
        place = None if task["task"] == "memory" else (engine_of(task), task["task"] == "gemm", task.get("round"))
        full = task["task"] == "gemm" and lists and len(lists[-1]) >= GEMMS_TOGETHER
        if place is None or place != last or full:
            lists.append([])
        lists[-1].append((key, task))
        last = place
    return lists
