"""Which networks are probes: drawn to measure kernels in, of no use to anyone by themselves."""

import re
from collections.abc import Iterable

PROBE = re.compile(r"(caffe-)?probe-\d+")
"""Names of probe networks, as plans give them."""


def is_probe(network: object) -> bool:
    """Whether a network's name is a probe's."""
    return isinstance(network, str) and bool(PROBE.fullmatch(network))


def without_probes(networks: Iterable[str]) -> list[str]:
    """Names of networks that people run, in their order."""
    return [network for network in networks if not is_probe(network)]
