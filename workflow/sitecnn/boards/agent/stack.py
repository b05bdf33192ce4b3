# -*- coding: utf-8 -*-
"""An engine as it is found on the board, and the run that its records name."""

from __future__ import absolute_import, division, print_function

import sys
import uuid

from .board import board_facts, conditions
from .capabilities import onnx_stack_of, stack_of
from .errors import Refused
from .keys import CAFFE
from .process import Worker, WorkerDied

ONNXRUNTIME = "onnxruntime"


class Stack(object):
    """What a process of an engine says of itself, the stack's name, and a run of its own."""

    def __init__(self, engine, arguments, check):
        self.engine, self.run = engine, uuid.uuid4().hex
        of_caffe = engine == CAFFE
        self.facts = caffe_facts(arguments, check) if of_caffe else onnx_facts(arguments, check)
        name = stack_of if of_caffe else onnx_stack_of
        self.name = name(self.facts, arguments.threads, conditions())

    def record(self, common):
        """The run's record: who measures what on what, the provenance that every measurement of it points to."""
        fields = dict(common, record="run", run=self.run, board=dict(board_facts(), **self.facts), stack=self.name)
        return fields if self.engine == CAFFE else dict(fields, engine=self.engine, precision="fp32")


def _facts(engine, arguments, check):
    worker = Worker(arguments, engine)
    try:
        for _, facts in worker.ask({"do": "facts"}, check):
            answer = facts
        return answer
    finally:
        worker.close()


def caffe_facts(arguments, check):
    """Caffe's, the BLAS's and the GPU's; without a BLAS nothing can be measured."""
    try:
        facts = _facts(CAFFE, arguments, check)
    except WorkerDied as death:
        raise Refused("its first process did not start measuring: %s" % death)
    if "missing" in facts["engine"]:
        text = "agent: no Caffe here, so only matrix multiplications can be measured: %s"
        print(text % facts["engine"]["missing"], file=sys.stderr)
    return facts


def onnx_facts(arguments, check):
    """ONNX Runtime's; where it is missing its tasks fail, and the others go on."""
    if arguments.processor != "cpu":
        return {ONNXRUNTIME: {"missing": "ONNX Runtime is measured on CPUs only"}}
    try:
        facts = _facts(ONNXRUNTIME, arguments, check)
    except (Refused, WorkerDied) as error:
        facts = {ONNXRUNTIME: {"missing": str(error)}}
    if "missing" in facts[ONNXRUNTIME]:
        print("agent: no ONNX Runtime here: %s" % facts[ONNXRUNTIME]["missing"], file=sys.stderr)
    return facts
