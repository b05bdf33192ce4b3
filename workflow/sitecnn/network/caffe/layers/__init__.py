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
