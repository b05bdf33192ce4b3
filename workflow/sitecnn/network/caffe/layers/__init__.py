"""Every layer type that is known, by Caffe's name; a type is added in its family's module, once."""

from sitecnn.network.caffe.layers import (
    arithmetic,
    convolution,
    data,
    detection,
    neurons,
    normalisation,
    pooling,
    product,
    shaping,
)
from sitecnn.network.caffe.layers.base import LayerType

FAMILIES = (data, convolution, pooling, product, normalisation, neurons, arithmetic, shaping, detection)

LAYER_TYPES: dict[str, LayerType] = {kind.name: kind for family in FAMILIES for kind in family.TYPES}

READ_OTHERWISE = frozenset(
    {
        *("Data", "HDF5Data", "ImageData", "MemoryData", "WindowData", "HDF5Output", "Accuracy", "ContrastiveLoss"),
        *("EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss"),
        "SoftmaxWithLoss",
    }
)
"""Caffe's types that become inputs or are left out before a network is set up."""


def is_caffes_own(name: str) -> bool:
    """Whether Caffe has a layer type of this name, so that all fields that it may have are known."""
    return name in READ_OTHERWISE or (name in LAYER_TYPES and not LAYER_TYPES[name].fork)
