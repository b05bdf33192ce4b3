"""Fast reading of definitions whose layers are much alike, as those of deep networks are.

protobuf parses its text format in Python, a token at a time. Layers repeat each other but for their names, so each
distinct block is given to it once, with marks in the place of names, and every layer of that block gets its own; so
does every layer of the same network at another batch.
Whatever looks unusual is left to protobuf as it stands.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf import text_format

from sitecnn.network.caffe.caffe_pb2 import LayerParameter, NetParameter
from sitecnn.network.caffe.fields import COMMENT, UnknownField, without_unknown

STRING = r""""[^"\\\n]*+"|'[^'\\\n]*+'"""
FLAT = rf"""[^{{}}<>"'#\\]++|{STRING}|{COMMENT}"""
NESTED = rf"(?:{FLAT}|\{{(?:{FLAT}|\{{(?:{FLAT}|\{{(?:{FLAT})*+\}})*+\}})*+\}})*+"
BLOCK = re.compile(rf"{COMMENT}|{STRING}|\b(layers?)\s*+:?\s*+\{{({NESTED})\}}")
NAME = re.compile(rf"""(\b(?:name|bottom|top)\s*+:\s*+)({STRING})""")


@dataclass(frozen=True)
class _Template:
    """A block's definition without names, which of its names, in the order of the text, go where, and its unknowns."""

    definition: LayerParameter
    name: int | None
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    unknown: list[UnknownField]


def parse_blocks(text: str) -> tuple[NetParameter, list[UnknownField]] | None:
    """The definition and the fields passed over (their places are not the file's), or None where it is not for this
    way of reading; what is wrong with it is not said here.
    """
    blocks: dict[str, list[str]] = {"layer": [], "layers": []}

    def outline(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        blocks[match[1]].append(match[2])
        return f"{match[1]} {{}}"

    try:
        rest, unknown = without_unknown(BLOCK.sub(outline, text), NetParameter)
        net = text_format.Parse(rest, NetParameter(), allow_unknown_field=True)
        for kind, layers in (("layer", net.layer), ("layers", net.layers)):
            _fill(kind, layers, blocks[kind], unknown)
    except (text_format.ParseError, RecursionError, ValueError):
        return None
    return net, unknown


def _fill(kind: str, layers: Sequence[LayerParameter], bodies: Sequence[str], unknown: list[UnknownField]) -> None:
    """Each empty layer of the outline from its block; ValueError where the outline has other layers too."""
    for index, (layer, body) in enumerate(zip(layers, bodies, strict=True)):
        parts = NAME.split(body)
        names = parts[2::3]
        parts[2::3] = [""] * len(names)
        if template := _template(tuple(parts)):
            _apply(layer, template, names)
            fields = template.unknown
        else:
            known, fields = without_unknown(body, LayerParameter)
            text_format.Parse(known, layer, allow_unknown_field=True)
        unknown += [UnknownField(field.message, field.name, 0, (kind, index)) for field in fields]


@lru_cache(maxsize=1024)
def _template(parts: tuple[str, ...]) -> _Template | None:
    """None where a name stands elsewhere than as the layer's own, or is split over several strings."""
    marked = list(parts)
    marks = {f"<{index}>": index for index in range(len(marked[2::3]))}
    marked[2::3] = [f'"{mark}"' for mark in marks]
    body, unknown = without_unknown("".join(marked), LayerParameter)
    definition = text_format.Parse(body, LayerParameter(), allow_unknown_field=True)
    own = [definition.name, *definition.bottom, *definition.top]
    if set(own) - {""} != set(marks):
        return None
    name = marks.get(definition.name)
    bottoms, tops = (tuple(map(marks.__getitem__, blobs)) for blobs in (definition.bottom, definition.top))
    for field in ("name", "bottom", "top"):
        definition.ClearField(field)
    return _Template(definition, name, bottoms, tops, unknown)


def _apply(layer: LayerParameter, template: _Template, names: list[str]) -> None:
    layer.CopyFrom(template.definition)
    if template.name is not None:
        layer.name = names[template.name][1:-1]
    layer.bottom.extend([names[index][1:-1] for index in template.bottoms])
    layer.top.extend([names[index][1:-1] for index in template.tops])
