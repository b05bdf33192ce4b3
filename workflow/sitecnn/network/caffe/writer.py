"""Network → prototxt: canonical Caffe V2 text that reads back to the same network."""

from google.protobuf import text_format

from sitecnn.network.caffe.caffe_pb2 import LayerParameter, NetParameter
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.data import with_shapes
from sitecnn.network.graph import Layer, Network


def write_prototxt(network: Network) -> str:
    """One `layer { … }` a line, inputs with their shapes; automatic Splits are left to Caffe to insert.

    Shapes and costs read back the same; weights' values, fillers and names of shared parameters are not kept.
    """
    copies: dict[str, str] = {}
    lines = [text_format.MessageToString(NetParameter(name=network.name), as_utf8=True)]
    for layer in network.layers:
        if layer.type == "Split":
            copies.update(dict.fromkeys(layer.tops, copies.get(layer.bottoms[0], layer.bottoms[0])))
        else:
            text = text_format.MessageToString(_definition(layer, copies), as_one_line=True, as_utf8=True)
            lines.append(f"layer {{ {text} }}\n")
    return "".join(lines)


def _definition(layer: Layer, copies: dict[str, str]) -> LayerParameter:
    bottoms = [copies.get(bottom, bottom) for bottom in layer.bottoms]
    kind = LAYER_TYPES.get(layer.type)
    fields = with_shapes(layer.type, layer.outputs) if not bottoms else kind.write(layer.settings) if kind else {}
    given = {name: param for name, param in fields.items() if param}
    return LayerParameter(name=layer.name, type=layer.type, bottom=bottoms, top=layer.tops, **given)
