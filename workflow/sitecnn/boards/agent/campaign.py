# -*- coding: utf-8 -*-
"""The owed tasks of a plan, measured in blocks between sentinels."""

from __future__ import absolute_import, division, print_function

import contextlib
import sys
import time
import uuid

from .blocks import SENTINEL_DRIFT, Block, Try, blocks
from .board import board_facts, conditions, file_sha256, power_rails
from .capabilities import stack_of
from .errors import Refused
from .keys import CAFFE, PROTOCOL, engine_of, task_key
from .process import Worker, WorkerDied, archive
from .rounds import Rounds
from .samples import KERNEL_SECONDS, Cost, median, summary

NETWORK_SECONDS = 10.0
# Caffe with several threads is fast or slow per process, not per call: spread the passes over processes.
NETWORK_PROCESSES = 5
BLOCK_TRIES = 3
# A task that ends its process twice is not tried a third time.
TASK_TRIES = 2
PROGRESS_SECONDS = 5


class Campaign(object):
    """The owed tasks of one plan on one stack, in blocks between sentinels."""

    def __init__(self, arguments, host):
        self.arguments, self.host = arguments, host
        self.started = self.reported = time.time()
        self.cost, self.rails = Cost(), power_rails()
        self.worker, self.engine, self.run, self.stack = None, CAFFE, uuid.uuid4().hex, ""
        self.last_sentinel, self.sentinels, self.failed, self.spent_s = None, [], 0, 0.0
        own = [task for task in host.tasks if engine_of(task) == CAFFE]
        if own or not host.tasks:
            self.start_caffe()
        self.rounds = Rounds(arguments, host, [task for task in host.tasks if engine_of(task) != CAFFE])
        keyed = dict((task_key(task, self.stack), task) for task in own)
        self.planned = len(keyed)
        self.owed = []
        for key in (task_key(task, self.stack) for task in own):
            if key in keyed and key not in host.finished:
                self.owed.append((key, keyed[key]))
            keyed.pop(key, None)
        self.left_s = sum(expected_seconds(task) for _, task in self.owed + self.rounds.tasks())

    def start_caffe(self):
        """The worker for all that is Caffe's or a BLAS's, and the name of that stack."""
        self.worker = self.fresh_worker()
        try:
            self.facts = self.ask({"do": "facts"})
        except WorkerDied as death:
            raise Refused("its first process did not start measuring: %s" % death)
        if "missing" in self.facts["engine"]:
            text = "agent: no Caffe here, so only matrix multiplications can be measured: %s"
            print(text % self.facts["engine"]["missing"], file=sys.stderr)
        self.stack = stack_of(self.facts, self.arguments.threads, conditions())

    def execute(self):
        """Measure all that is owed, then append the `done` record that alone proves completeness; how many are owed."""
        if self.worker:
            self.append(dict(self.run_record(), board=dict(board_facts(), **self.facts), stack=self.stack))
        if self.rounds.planned:
            self.append(self.rounds.record(self.run_record()))
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
        left += len(self.rounds.tasks()) - self.rounds.done
        if self.worker:
            self.worker.close()
        seconds = time.time() - self.started
        cost = dict((name, self.cost.seconds.get(name, 0.0)) for name in ("timed", "warm_up", "inputs", "files"))
        cost["other"] = seconds - sum(cost.values())
        done = {"record": "done", "run": self.run if self.worker else self.rounds.run, "owed": left}
        done.update(planned=self.planned + self.rounds.planned, seconds=seconds)
        self.append(dict(done, cost_s=cost, conditions=conditions()))
        return left

    def measure_all(self, queue, networks, parts):
        """The blocks of `queue`, which grows by those that are put off, and turns of the networks between them."""
        turns = [turn * len(queue) // (NETWORK_PROCESSES - 1) for turn in range(NETWORK_PROCESSES)]
        groups, blocks_at_first = list(self.rounds.groups), len(queue)
        for position, block in enumerate(queue):
            while len(turns) > 1 and turns[0] <= position:
                turns.pop(0)
                self.take_turn(networks, parts)
            due = len(self.rounds.groups) * max(blocks_at_first - position, 0) // blocks_at_first
            while len(groups) > due and not self.over_budget():
                self.rounds.measure(groups.pop(0), self)
            if self.over_budget():
                break
            self.measure_block(block)
            if block.tries < BLOCK_TRIES and not self.is_calm(block):
                queue.append(block)
            else:
                self.keep(block)
        for _ in turns:
            self.take_turn(networks, parts)
        while groups and not self.over_budget():
            self.rounds.measure(groups.pop(0), self)

    def run_record(self):
        """Who measures what on what: the provenance every measurement of this run points to."""
        return {
            "record": "run",
            "run": self.run,
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
        """Whether the board's time is used up; kernels are planned so that the most useful come first."""
        return self.arguments.budget_s is not None and time.time() - self.started > self.arguments.budget_s

    def fresh_worker(self):
        """A worker that ends with this process."""
        return Worker(self.arguments, self.engine)

    @contextlib.contextmanager
    def other_engine(self, engine):
        """A fresh worker of another engine; Caffe's waits, and holds no core."""
        waiting, self.engine = self.worker, engine
        self.worker = self.fresh_worker()
        try:
            yield
        finally:
            self.worker.close()
            self.worker, self.engine = waiting, CAFFE

    def count(self, task, result):
        """Book a task that has its record."""
        self.failed += result["status"] == "failed"
        self.spent_s += expected_seconds(task)
        self.progress()

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
        print(text % (share, len(self.owed) + len(self.rounds.tasks()), elapsed, rest, self.failed), file=sys.stderr)


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


def expected_seconds(task):
    """Roughly what a task takes, for the progress line: networks are a few seconds per process, kernels one."""
    if engine_of(task) != CAFFE:
        return {"probe": 0.5, "network": 2.5}.get(task["task"], 1.0)
    return {"network": 1.7 * NETWORK_SECONDS, "layer": KERNEL_SECONDS}.get(task["task"], 0.3 * KERNEL_SECONDS)
