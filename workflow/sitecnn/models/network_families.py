"""Families of networks. Times of one member say much about the others, so cross-validation leaves out all of them."""

import re

FAMILIES = {
    "alexnet": r"alexnet|caffenet|zfnet|\bnin\b|network.?in.?network",
    "vgg": r"vgg",
    "inception": r"googlenet|inception|xception",
    "resnet": r"resnet|resnext",
    "squeezenet": r"squeezenet",
    "mobilenet": r"mobilenet",
    "densenet": r"densenet",
    "shufflenet": r"shufflenet",
    "efficientnet": r"efficientnet",
}
"""Family: what its networks' names hold. The first that fits counts."""


def family(network: str) -> str:
    """The family of a network by its name; its own name where it is of none that is known."""
    words = re.sub("[_.-]", " ", network.lower())
    return next((name for name, pattern in FAMILIES.items() if re.search(pattern, words)), network)
