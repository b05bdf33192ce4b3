"""Caffe's layers → ONNX nodes with the same outputs for the same weights; one rule per layer type."""

from functools import lru_cache

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.graph import Network, OnnxNode
from sitecnn.network.onnx.from_caffe import arithmetic, arrangement, products
from sitecnn.network.onnx.from_caffe.site import NoOperatorError, Site

RULES = {**products.RULES, **arithmetic.RULES, **arrangement.RULES}
"""What each layer type is in ONNX. Types that are not here have no equal there."""


@lru_cache(maxsize=2)
def caffe_nodes(network: Network) -> tuple[tuple[int, OnnxNode], ...]:
    """The nodes of a network of Caffe's layers, each with the index of its layer.

    A blob keeps its name; what a layer makes in place is called BLOB/LAYER. A layer's name, where an earlier layer has
    it too, is followed by ~ and its index. Raises NetworkError for a layer that ONNX has no operators for.
    """
    current: dict[str, str] = {}
    nodes = []
    for index, layer in enumerate(network.layers):
        label = layer.name if network.positions[layer.name][0] == index else f"{layer.name}~{index}"
        inputs = tuple(current[bottom] for bottom in layer.bottoms)
        if is_automatic_split(layer):
            current.update(dict.fromkeys(layer.tops, inputs[0]))
            continue
        outputs = tuple(top if top not in current else f"{top}/{label}" for top in layer.tops)
        nodes += [(index, node) for node in _nodes(network.name, Site(layer, label, inputs, outputs))]
        current.update(zip(layer.tops, outputs, strict=True))
    return tuple(nodes)


def _nodes(network: str, site: Site) -> list[OnnxNode]:
    layer = site.layer
    rule = RULES.get(layer.type)
    what = f"{network}: layer {layer.name!r} ({layer.type})"
    if not layer.bottoms and rule is None:
        rule = products.input_
    if rule is None:
        raise NetworkError(f"{what}: no operator of ONNX is equal to it")
    try:
        rule(site, layer.settings)
    except NoOperatorError as error:
        raise NetworkError(f"{what}: {error}") from None
    return site.nodes
