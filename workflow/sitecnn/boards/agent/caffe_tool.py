# -*- coding: utf-8 -*-
"""Caffe through its command-line tool, where pycaffe is missing."""

from __future__ import absolute_import, division, print_function

import os
import re
import subprocess
import tempfile

from .board import file_sha256
from .caffe_net import refuse_foreign
from .errors import Refused


class CaffeBinary(object):
    """The `caffe` tool for boards without pycaffe: `caffe time`, which feeds zeros and runs the training phase."""

    def __init__(self, gpu):
        self.path, self.gpu = self._find(), gpu

    def _find(self):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, "caffe")
            # An empty or relative word of PATH is a folder of whoever made the current one.
            if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        raise Refused("no `caffe` tool on PATH")

    def facts(self):
        """Name, version and the digest of the tool, JSON-ready."""
        child = subprocess.Popen([self.path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        match = re.search(r"version (\S+)", child.communicate()[0].decode("utf-8", "replace"))
        version = match.group(1) if match else "unknown"
        return {"name": "caffe-time", "version": version, "library_sha256": file_sha256(self.path)}

    def time(self, prototxt, iterations):
        """(forward ns, {layer: ns}) as `caffe time` averages them over its iterations."""
        refuse_foreign(prototxt)
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as file:
            file.write(prototxt.encode("utf-8"))
            file.flush()
            command = [self.path, "time", "-model", file.name, "-iterations", str(iterations)]
            command += ["-gpu", "0"] if self.gpu else []
            # Its lines are logged at level INFO: quiet is not possible.
            environment = dict(os.environ, GLOG_minloglevel="0", GLOG_logtostderr="1")
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
            log = child.communicate()[0].decode("utf-8", "replace")
        whole = re.search(r"Average Forward pass: ([\d.e+-]+) ms", log)
        if child.returncode or not whole:
            raise Refused("`caffe time` ended with status %d: %s" % (child.returncode, (log.splitlines() or [""])[-1]))
        layers = re.findall(r"\]\s+(\S+)\s+forward: ([\d.e+-]+) ms", log)
        return float(whole.group(1)) * 1e6, [(name, float(ms) * 1e6) for name, ms in layers]
