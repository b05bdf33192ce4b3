"""Probe networks: random networks of the kinds of layers that CNNs have, which measure kernels where they are met."""

from sitecnn.boards.probes.chains import probe_models
from sitecnn.boards.probes.tasks import engine_plan

__all__ = ["engine_plan", "probe_models"]
