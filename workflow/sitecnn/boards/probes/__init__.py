"""Probe networks: random networks of the kinds of layers that CNNs have, which measure kernels where they are met."""

from sitecnn.boards.probes.caffe import caffe_probes
from sitecnn.boards.probes.chains import probe_models

__all__ = ["caffe_probes", "probe_models"]
