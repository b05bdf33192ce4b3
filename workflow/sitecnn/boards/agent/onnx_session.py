# -*- coding: utf-8 -*-
"""ONNX Runtime through its Python package: sessions, their inputs, weights made on the board, and profiles."""

from __future__ import absolute_import, division, print_function

import json
import os
import re
import shutil
import sys
import tempfile

from .errors import Refused
from .images import like_an_image
from .private import private_folder, state_folder
from .samples import now_ns

WEIGHTS_FILE = "weights.bin"
WEIGHTS_BYTES = 128 << 20
"""All models' weights lie in one file of random values; a task says so if its model needs a longer one."""

WEIGHTS_RANGE = (0.01, 0.1)
"""Least and largest weight: some are variances or divisors, and none may become NaN, infinite or denormal."""

# Passes that are not counted.
FORGOTTEN = 2


def import_onnxruntime():
    """(onnxruntime, numpy); Refused if this Python has them not."""
    if sys.version_info < (3, 8):
        raise Refused("ONNX Runtime needs Python 3.8 or newer, this is %d.%d" % sys.version_info[:2])
    try:
        import numpy
        import onnxruntime
    except ImportError as error:
        raise Refused("ONNX Runtime cannot be imported by %s: %s" % (sys.executable, error))
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime, numpy


class OnnxRuntime(object):
    """The engine with its thread count and the folder of this user's own where models, weights and profiles lie."""

    def __init__(self, threads):
        self.runtime, self.numpy = import_onnxruntime()
        self.threads, self.folder = threads, private_folder(os.path.join(state_folder(), "onnx"))
        self.random = self.numpy.random.RandomState(2017)

    def version(self):
        """As the package says."""
        return self.runtime.__version__

    def make_weights(self, size_bytes):
        """A file of at least so many bytes of random floats; it is made once."""
        path = os.path.join(self.folder, WEIGHTS_FILE)
        if self._has_weights(path, size_bytes):
            return
        pool = self.random.uniform(*WEIGHTS_RANGE, size=1 << 20).astype(self.numpy.float32)
        descriptor, temporary = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as target:
                for _ in range(-(-size_bytes // pool.nbytes)):
                    pool.tofile(target)
            os.rename(temporary, path)
        except (IOError, OSError) as error:
            os.unlink(temporary)
            raise Refused("%s: no room for %d MB of weights: %s" % (self.folder, size_bytes >> 20, error.strerror))

    def _has_weights(self, path, size_bytes):
        """Whether the file is there and long enough; older agents' files have values outside the range."""
        if not os.path.exists(path) or os.path.getsize(path) < size_bytes:
            return False
        first = self.numpy.fromfile(path, self.numpy.float32, 1024)
        least, largest = self.numpy.float32(WEIGHTS_RANGE)
        return bool(((first >= least) & (first <= largest)).all())

    def session(self, model, profile=None):
        """A session of a model given as bytes; `profile` is the folder for its profile if it is to have one."""
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        # Threads of a session that waits would spin beside those of the next one: twice the time.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, os.path.join(profile, "profile")
        # By path, next to the weights: versions before 1.18 find external data no other way.
        descriptor, path = tempfile.mkstemp(suffix=".onnx", dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(model)
            return self.runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever its C++ throws, a type for each of its status codes
            raise Refused("ONNX Runtime does not load the model: %s" % " ".join(str(error).split())[:300])
        finally:
            os.unlink(path)

    def inputs(self, session):
        """{name: values}: images with the spectrum of natural ones (1/f), else independent values."""
        return dict((given.name, self._values(given)) for given in session.get_inputs())

    def _values(self, given):
        if not all(isinstance(size, int) and size > 0 for size in given.shape):
            raise Refused("input %s has the open size %s" % (given.name, given.shape))
        kind = re.match(r"tensor\((\w+)\)$", given.type)
        kinds = {"float": "float32", "float16": "float16", "double": "float64"}
        if kind is None or kind.group(1) not in kinds:
            return self.numpy.zeros(given.shape, kind.group(1) if kind else "float32")
        values = self.random.standard_normal(given.shape)
        if len(given.shape) == 4 and given.shape[1] <= 4:
            values = like_an_image(self.numpy, values)
        return values.astype(kinds[kind.group(1)])

    def passes_ns(self, session, values, count):
        """ns of each of `count` passes of `values`."""
        passes = []
        for _ in range(count):
            begin = now_ns()
            session.run(None, values)
            passes.append(now_ns() - begin)
        return passes

    def measured(self, model, count):
        """(nodes, ns of `count` profiled passes, ns of as many plain ones); a node has its name, op, shapes and times.

        All in one session, which takes longer to load than to measure, and lays its memory out once for both: plain
        passes are those after the profile has ended.
        """
        folder = tempfile.mkdtemp(dir=self.folder)
        try:
            session = self.session(model, folder)
            values = self.inputs(session)
            # The first passes allocate.
            self.passes_ns(session, values, FORGOTTEN)
            layerwise = self.passes_ns(session, values, count)
            with open(session.end_profiling()) as source:
                events = json.load(source)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        forward = self.passes_ns(session, values, count)
        return nodes_of(events, len(layerwise) + FORGOTTEN, FORGOTTEN), layerwise, forward


def nodes_of(events, runs, forgotten):
    """The nodes of a profile of so many runs, in the order in which they ran, without the first runs' times."""
    timed = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    timed.sort(key=lambda event: event["ts"])
    if not timed or len(timed) % runs:
        raise Refused("the profile has %d nodes in %d runs" % (len(timed), runs))
    count = len(timed) // runs
    nodes = []
    for index in range(count):
        of_node = timed[index::count]
        arguments = of_node[0]["args"]
        if len(set(event["name"] for event in of_node)) > 1 or "input_type_shape" not in arguments:
            raise Refused("ONNX Runtime gives no shapes here, or its nodes run in another order each time")
        shapes = [_shapes(arguments[name]) for name in ("input_type_shape", "output_type_shape")]
        samples = [1000 * event["dur"] for event in of_node[forgotten:]]
        name = of_node[0]["name"][: -len("_kernel_time")]
        nodes.append({"name": name, "op": arguments["op_name"], "inputs": shapes[0], "outputs": shapes[1],
                      "samples_ns": samples})  # fmt: skip
    return nodes


def _shapes(listed):
    """Shapes of what is written as [{type: shape}, ...]; inputs that are left out are empty."""
    return [list(shape) for entry in listed for shape in entry.values()]
