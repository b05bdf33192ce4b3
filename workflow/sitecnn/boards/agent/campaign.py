# -*- coding: utf-8 -*-
"""The owed tasks of a plan, in the plan's order; each group of them is measured in a process of its own."""

from __future__ import absolute_import, division, print_function

import sys
import time
import uuid

from .board import conditions, file_sha256, power_rails
from .groups import groups
from .keys import CAFFE, PROTOCOL, engine_of, task_key
from .process import Worker, WorkerDied, archive
from .samples import Cost
from .stack import Stack

# A task that ends its process twice is not tried a third time.
TASK_TRIES = 2
PROGRESS_SECONDS = 5
# The plan keeps models and what they should run as; lines stay short.
DROPPED = ("model", "kernels", "weights_bytes")


class Campaign(object):
    """The owed tasks of one plan by each of its engines."""

    def __init__(self, arguments, host):
        self.arguments, self.host = arguments, host
        self.started = self.reported = time.time()
        self.cost, self.rails, self.worker = Cost(), power_rails(), None
        self.failed, self.measured, self.spent_s = 0, 0, 0.0
        engines = sorted(set(engine_of(task) for task in host.tasks) or [CAFFE])
        self.stacks = dict((engine, Stack(engine, arguments, host.check)) for engine in engines)
        keys, owed = set(), []
        for task in host.tasks:
            key = task_key(task, self.stacks[engine_of(task)].name)
            if key not in keys and key not in host.finished:
                owed.append((key, task))
            keys.add(key)
        self.planned, self.owed, self.groups = len(keys), len(owed), groups(owed)
        self.left_s = sum(expected_seconds(task) for _, task in owed)

    def execute(self):
        """Measure all that is owed, then append the `done` record that alone proves completeness; how many are owed."""
        stacks = [self.stacks[engine] for engine in sorted(self.stacks)]
        for stack in stacks:
            self.append(stack.record(self.provenance()))
        for group in self.groups:
            if self.over_budget():
                break
            self.measure(group)
        seconds = time.time() - self.started
        cost = dict((name, self.cost.seconds.get(name, 0.0)) for name in ("timed", "warm_up", "inputs", "files"))
        cost["other"] = seconds - sum(cost.values())
        done = {"record": "done", "run": stacks[0].run, "owed": self.owed - self.measured, "planned": self.planned}
        self.append(dict(done, seconds=seconds, cost_s=cost, conditions=conditions()))
        return self.owed - self.measured

    def provenance(self):
        """What all runs of this agent share."""
        return {
            "protocol": PROTOCOL,
            "commit": self.arguments.commit,
            "agent_sha256": file_sha256(archive()),
            "processor": self.arguments.processor,
            "threads": self.arguments.threads,
            "conditions": conditions(),
        }

    def append(self, record):
        """Keep a record, and book what that costs."""
        with self.cost.of("files"):
            self.host.append(record)

    def over_budget(self):
        """Whether the board's time is used up; the plan says what comes first."""
        return self.arguments.budget_s is not None and time.time() - self.started > self.arguments.budget_s

    def measure(self, group):
        """A block record, then the tasks of a group by a fresh process; each is kept as soon as it is known."""
        engine = engine_of(group[0][1])
        now, block, run = conditions(), uuid.uuid4().hex[:12], self.stacks[engine].run
        self.append({"record": "block", "block": block, "run": run, "attempt": 1, "before": now, "after": now})
        self.worker = Worker(self.arguments, engine)
        try:
            for key, task in group:
                start = time.time()
                result = self.measure_carefully(task)
                record = dict((name, value) for name, value in task.items() if name not in DROPPED)
                record.update(record="measurement", key=key, run=run, block=block, seconds=time.time() - start)
                self.append(dict(record, **result))
                self.measured += 1
                self.failed += result["status"] == "failed"
                self.spent_s += expected_seconds(task)
        finally:
            self.worker.close()

    def measure_carefully(self, task):
        """A task in a process that may die of it; after TASK_TRIES deaths it has failed."""
        for _ in range(TASK_TRIES):
            if self.worker.process.poll() is not None:
                self.worker.close()
                self.worker = Worker(self.arguments, engine_of(task))
            try:
                return self.collect(task)
            except WorkerDied as death:
                reason = str(death)
                self.worker.process.wait()
        return {"status": "failed", "reason": reason}

    def collect(self, task):
        """The worker's result of a task, with power readings while it kept a kernel running on end."""
        readings, sampling, result = {}, [False], {}

        def tick():
            self.host.check()
            self.progress()
            for rail, read in self.rails.items() if sampling[0] else ():
                milliwatts = read()
                if milliwatts is not None:
                    readings.setdefault(rail, []).append(milliwatts)

        for word, reply in self.worker.ask({"do": "measure", "task": task, "power": bool(self.rails)}, tick):
            if word == "end":
                for purpose, seconds in reply.items():
                    self.cost.add(purpose, seconds)
            elif word == "power":
                sampling[0] = reply == "sustained"
            else:
                result = reply
        if readings:
            result["power_rails"] = sorted(readings)
            result["power_mw"] = [sum(readings[rail]) / len(readings[rail]) for rail in sorted(readings)]
        return result

    def progress(self):
        """Every few seconds a line on stderr: how far, how long, and the rest at the pace so far."""
        now = time.time()
        if now - self.reported < PROGRESS_SECONDS or not self.spent_s:
            return
        self.reported = now
        elapsed = now - self.started
        rest = max(elapsed * (self.left_s / self.spent_s - 1), 0)
        text = "agent: %3.0f %% of %d measurements, %.0f s so far, about %.0f s to go, %d failed"
        print(text % (100 * self.spent_s / self.left_s, self.owed, elapsed, rest, self.failed), file=sys.stderr)


def expected_seconds(task):
    """Roughly what a task takes beside others, for the progress line."""
    return {"probe": 0.3, "network": 1.5, "gemm": 0.05}.get(task["task"], 1.0)
