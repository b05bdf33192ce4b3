# -*- coding: utf-8 -*-
"""A cold layer behind the layers that make its inputs."""

from __future__ import absolute_import, division, print_function

from .samples import now_ns


class Case(object):
    """One cold layer of a block: a net of the layer and the producers of its inputs, with what was sampled of it."""

    def __init__(self, index, task, engine):
        self.index, self.task, self.engine = index, task, engine
        self.net = engine.load_filled(task["prototxt"], task.get("fills"))
        if "source" in task:
            engine.copy_blobs(task["source"], self.net, task["inputs"])
        self.last = len(self.net.layers) - 1
        self.samples, self.seconds = [], 0.0
        engine.forward_ns(self.net, 0, self.last)  # allocates workspace: the first call is none to count

    def sample(self, evict, cost):
        """Empty the caches, run the producers, then the layer alone: one call as its network would make it."""
        start = now_ns()
        evict()
        if self.last:
            self.engine.forward_ns(self.net, 0, self.last - 1)
        sample = self.engine.forward_ns(self.net, self.last, self.last)
        seconds = (now_ns() - start) / 1e9
        self.samples.append(sample)
        self.seconds += seconds
        cost.add("timed", sample / 1e9)
        cost.add("inputs", seconds - sample / 1e9)
