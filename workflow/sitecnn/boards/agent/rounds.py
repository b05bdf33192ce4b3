# -*- coding: utf-8 -*-
"""The tasks of ONNX Runtime in a campaign: in rounds, each in a process of its own, spread over the campaign."""

from __future__ import absolute_import, division, print_function

import sys
import time
import uuid

from .board import board_facts, conditions
from .capabilities import onnx_stack_of
from .errors import Refused
from .keys import task_key
from .process import Worker, WorkerDied

ENGINE = "onnxruntime"
# The plan keeps models and what they should run as; lines stay short.
DROPPED = ("model", "kernels", "weights_bytes")


class Rounds(object):
    """Owed tasks (key, task) in groups that share a process, and the run that their records name."""

    def __init__(self, arguments, host, tasks):
        self.run, self.planned, self.groups, self.done = uuid.uuid4().hex, 0, [], 0
        if not tasks:
            return
        self.facts = self._facts(arguments, host)
        self.stack = onnx_stack_of(self.facts, arguments.threads, conditions())
        keys, last = set(), None
        for task in tasks:
            key = task_key(task, self.stack)
            if key in keys:
                continue
            keys.add(key)
            if key in host.finished:
                continue
            if not self.groups or task["task"] == "memory" or last != (task["task"] == "memory", task.get("round")):
                self.groups.append([])
            last = task["task"] == "memory", task.get("round")
            self.groups[-1].append((key, task))
        self.planned = len(keys)

    def _facts(self, arguments, host):
        """What the engine says of itself, by a process of its own; a plan's tasks fail where it is missing."""
        if arguments.processor != "cpu":
            return {"onnxruntime": {"missing": "ONNX Runtime is measured on CPUs only"}}
        worker = Worker(arguments, ENGINE)
        try:
            for _, facts in worker.ask({"do": "facts"}, host.check):
                answer = facts
        except (Refused, WorkerDied) as error:
            answer = {"onnxruntime": {"missing": str(error)}}
        finally:
            worker.close()
        if "missing" in answer["onnxruntime"]:
            print("agent: no ONNX Runtime here: %s" % answer["onnxruntime"]["missing"], file=sys.stderr)
        return answer

    def tasks(self):
        """All that is owed, (key, task)."""
        return [pair for group in self.groups for pair in group]

    def record(self, common):
        """The run's record: as Caffe's, with this engine's facts and stack."""
        board = dict(board_facts(), **self.facts)
        return dict(common, run=self.run, board=board, stack=self.stack, engine=ENGINE, precision="fp32")

    def measure(self, group, campaign):
        """A block record, then the tasks of a group in a fresh process; each is kept as soon as it is known."""
        now, block = conditions(), uuid.uuid4().hex[:12]
        campaign.append({"record": "block", "block": block, "run": self.run, "attempt": 1, "before": now, "after": now})
        with campaign.other_engine(ENGINE):
            for key, task in group:
                start = time.time()
                result = campaign.measure_carefully(task)
                record = dict((name, value) for name, value in task.items() if name not in DROPPED)
                record.update(record="measurement", key=key, run=self.run, block=block, seconds=time.time() - start)
                campaign.append(dict(record, **result))
                campaign.count(task, result)
                self.done += 1
