"""Network → prototxt: canonical Caffe V2 text that reads back to the same network."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.caffe_pb2 import LayerParameter, NetParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.data import with_shapes
from sitecnn.network.caffe.splits import is_automatic_split
from sitecnn.network.graph import Layer, Network
from sitecnn.network.settings import OnnxOperator


def write_prototxt(network: Network) -> str:
    """One `layer { … }` a line, inputs with their shapes; automatic Splits are left to Caffe to insert.

    Types, shapes, settings and sharing of parameters read back the same; weights' values and fillers are not kept.
    Raises NetworkError for a layer that no known layer type is equal to.
    """
    copies: dict[str, str] = {}
    owners = {parameter.owner for layer in network.layers for parameter in layer.parameters}
    lines = [_one_line(NetParameter(name=network.name)) + "\n"]
    for layer in network.layers:
        if is_automatic_split(layer):
            copies.update(dict.fromkeys(layer.tops, layer.bottoms[0]))
        elif layer.type not in LAYER_TYPES or isinstance(layer.settings, OnnxOperator):
            what = f"{network.name}: layer {layer.name!r} ({layer.type})"
            raise NetworkError(f"{what}: no layer of Caffe is equal to it, so the network has no prototxt")
        else:
            lines.append(f"layer {{ {_one_line(definition(layer, copies, layer.name in owners))} }}\n")
    return "".join(lines)


def _one_line(message: LayerParameter | NetParameter) -> str:
    return text_format.MessageToString(message, as_one_line=True, as_utf8=True)


def definition(layer: Layer, copies: Mapping[str, str], shares: bool) -> LayerParameter:
    """The message of a layer whose type is in LAYER_TYPES, from which its rule infers the same layer again.

    `copies` names the blobs that automatic Splits copy; `shares` says whether other layers use its parameters.
    """
    bottoms = [copies.get(bottom, bottom) for bottom in layer.bottoms]
    fields: dict[str, Any] = LAYER_TYPES[layer.type].write(layer.settings)
    if not bottoms:
        fields = with_shapes(layer.type, layer.outputs)
    given = {name: param for name, param in fields.items() if param}
    if shares or any(parameter.owner for parameter in layer.parameters):
        names = [f"{parameter.owner or layer.name}_{index}" for index, parameter in enumerate(layer.parameters)]
        given["param"] = [{"name": name, "share_mode": "PERMISSIVE"} for name in names]
    return LayerParameter(name=layer.name, type=layer.type, bottom=bottoms, top=layer.tops, **given)
