# -*- coding: utf-8 -*-
"""Caffe through pycaffe."""

from __future__ import absolute_import, division, print_function

import os
import re
import sys
import tempfile

from .board import file_sha256, nvmap_bytes, status_bytes
from .errors import Refused
from .images import like_an_image
from .samples import now_ns


def import_caffe():
    """pycaffe, quiet (it logs every layer of every net on stderr otherwise)."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as error:
        raise Refused("pycaffe cannot be imported by %s: %s" % (sys.executable, error))
    return caffe


STRING = r"(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"


def refuse_foreign(prototxt):
    """Refused if a layer of this text would run code of its own or open files, or if that cannot be told for sure.

    No plan of this project has such layers, nor comments or joined strings, behind which a type could hide.
    """
    outside = re.sub(STRING, "\0", prototxt)
    if re.search("[#\"']|\0\\s*\0|\\blayers\\b", outside):
        raise Refused("a definition with comments, joined strings or layers of Caffe's old form is not run")
    for text in re.findall(r"(?:\btype\s*:\s*)?" + STRING, prototxt):
        kind = re.match(r"type\s*:\s*(.*)", text, re.S)
        kind = kind and kind.group(1)[1:-1]
        if kind and ("\\" in kind or kind.startswith(("HDF5", "Python"))
                     or (kind.endswith("Data") and kind != "DummyData")):  # fmt: skip
            raise Refused("a layer of type %s reads files or runs code: it is not run" % kind)


class PyCaffe(object):
    """Caffe through pycaffe, on either processor."""

    def __init__(self, cuda):
        self.caffe, self.cuda = import_caffe(), cuda
        import numpy

        self.numpy = numpy
        pool = numpy.random.RandomState(2017).standard_normal(1 << 20)
        self.pool = pool.astype(numpy.float32)
        if cuda:
            self.caffe.set_device(0)
            self.caffe.set_mode_gpu()
        else:
            self.caffe.set_mode_cpu()

    def facts(self):
        """Name, version and the digest of the library, JSON-ready."""
        return {
            "name": "caffe",
            "version": getattr(self.caffe, "__version__", "unknown"),
            "library_sha256": file_sha256(self.caffe._caffe.__file__),
        }

    def synchronize(self):
        """Wait for the GPU; on the CPU everything is done when the call returns."""
        if self.cuda:
            self.cuda.synchronize()

    def load(self, prototxt):
        """A Caffe net of this text in its test phase; its own fillers fill it (constant 0 unless it says more).

        Refused if a layer would run code of its own or open files: no plan needs that.
        """
        refuse_foreign(prototxt)
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as file:
            file.write(prototxt.encode("utf-8"))
            file.flush()
            return self.caffe.Net(file.name, self.caffe.TEST)

    def load_filled(self, prototxt):
        """A loaded net whose weights and inputs hold values that keep activations at their scale; images are 1/f."""
        net = self.load(prototxt)
        for name, layer in zip(net._layer_names, net.layers):
            self._fill_parameters(layer)
            for blob in (net.blobs[top] for top in net.top_names[name]) if layer.type == "Input" else ():
                self._fill(blob.data, 1.0)
                if blob.data.ndim == 4 and blob.data.shape[1] <= 4:
                    blob.data[...] = like_an_image(self.numpy, blob.data)
        return net

    def _fill_parameters(self, layer):
        """He initialisation for weights; BatchNorm's mean 0, variance and factor 1; scales 1, biases 0."""
        blobs = [blob.data for blob in layer.blobs]
        if layer.type == "BatchNorm":
            blobs[0][...], blobs[1][...], blobs[2][...] = 0, 1, 1
        elif blobs:
            weights = blobs[0]
            if weights.ndim > 1:
                self._fill(weights, (2.0 * weights.shape[0] / weights.size) ** 0.5)
            else:
                weights[...] = 1
            for bias in blobs[1:]:
                bias[...] = 0

    def _fill(self, values, scale):
        """Values of N(0, scale²) from a fixed pool, piece by piece: 100 million take a tenth of a second, not ten."""
        flat, pool = values.reshape(-1), self.pool * self.numpy.float32(scale)
        for start in range(0, flat.size, pool.size):
            flat[start : start + pool.size] = pool[: flat.size - start]

    def forward_ns(self, net, first, last):
        """Layers first..last once, synchronised once at their end."""
        start = now_ns()
        net._forward(first, last)
        self.synchronize()
        return now_ns() - start

    def layers_ns(self, net):
        """ns of each layer in one pass: on a GPU all are queued between events and synchronised once."""
        count = len(net.layers)
        if not self.cuda:
            return [self.forward_ns(net, index, index) for index in range(count)]
        events = [self.cuda.event() for _ in range(count + 1)]
        self.cuda.record(events[0])
        for index in range(count):
            net._forward(index, index)
            self.cuda.record(events[index + 1])
        self.cuda.synchronize()
        times_ns = [self.cuda.elapsed_ns(start, end) for start, end in zip(events, events[1:])]
        self.cuda.destroy(events)
        return times_ns

    def memory(self):
        """Bytes in use now: the process's resident memory, and the GPU's where there is one."""
        sizes = {"rss": status_bytes("VmRSS"), "peak": status_bytes("VmHWM")}
        if self.cuda:
            sizes.update(gpu=self.cuda.used_bytes(), nvmap=nvmap_bytes())
        return dict((name, value) for name, value in sizes.items() if value is not None)
