# -*- coding: utf-8 -*-
"""What identifies a measurement."""

from __future__ import absolute_import, division, print_function

import hashlib
import json

PROTOCOL = 4
CAFFE = "caffe"


def engine_of(task):
    """The engine that a task is for; what says nothing is Caffe's, or a BLAS's."""
    return task.get("engine", CAFFE)


def canonical(value):
    """JSON text that is the same for equal values, whatever Python wrote it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def task_key(task, stack):
    """What identifies a measurement: the task itself, the stack and the protocol, never when it was taken."""
    return hashlib.sha256(canonical([task, stack, PROTOCOL]).encode("utf-8")).hexdigest()[:32]
