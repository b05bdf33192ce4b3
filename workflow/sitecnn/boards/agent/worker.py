# -*- coding: utf-8 -*-
"""The worker as a process: answers the requests of its supervisor."""

from __future__ import absolute_import, division, print_function

import json
import os
import sys

from .bench import Bench
from .errors import Refused
from .keys import CAFFE
from .onnx_bench import OnnxBench
from .samples import Cost


def work(arguments):
    """Answer the supervisor's requests, one JSON line each, until it closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply

    def emit(word, result):
        replies.write(json.dumps({"index": word, "result": result}) + "\n")
        replies.flush()

    try:
        other = arguments.engine != CAFFE
        bench = OnnxBench(arguments.threads) if other else Bench(arguments.processor, arguments.threads)
    except Refused as reason:
        return emit(None, {"refused": str(reason)})
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        bench.cost = Cost()
        if request["do"] == "facts":
            try:
                emit("end", bench.facts())
            except Refused as reason:
                return emit(None, {"refused": str(reason)})
        else:
            emit("result", bench.attempt(request["task"], emit if request["power"] else None))
            emit("end", bench.cost.seconds)
