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

from sitecnn.network.caffe.caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter

Definition = LayerParameter | V1LayerParameter

STRING = r""""[^"\\\n]*+"|'[^'\\\n]*+'"""
COMMENT = r"#[^\n]*+"
FLAT = rf"""[^{{}}<>"'#\\]++|{STRING}|{COMMENT}"""
NESTED = rf"(?:{FLAT}|\{{(?:{FLAT}|\{{(?:{FLAT}|\{{(?:{FLAT})*+\}})*+\}})*+\}})*+"
BLOCK = re.compile(rf"{COMMENT}|{STRING}|\b(layers?)\s*+:?\s*+\{{({NESTED})\}}")
NAME = re.compile(rf"""(\b(?:name|bottom|top)\s*+:\s*+)({STRING})""")


@dataclass(frozen=True)
class _Mould:
    """A block's definition without names, and which of its names, in the order of the text, go where."""

    definition: Definition
    name: int | None
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]


def parse_blocks(text: str) -> NetParameter | None:
    """The definition, or None where it is not for this way of reading; what is wrong with it is not said here."""
    blocks: dict[str, list[str]] = {"layer": [], "layers": []}

    def outline(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        blocks[match[1]].append(match[2])
        return f"{match[1]} {{}}"

    try:
        net = text_format.Parse(BLOCK.sub(outline, text), NetParameter())
        _fill(net.layer, blocks["layer"])
        _fill(net.layers, blocks["layers"])
    except (text_format.ParseError, RecursionError, ValueError):
        return None
    return net


def _fill(layers: Sequence[Definition], bodies: Sequence[str]) -> None:
    """Each empty layer of the outline from its block; ValueError where the outline has other layers too."""
    for layer, body in zip(layers, bodies, strict=True):
        pieces = NAME.split(body)
        names = pieces[2::3]
        pieces[2::3] = [""] * len(names)
        if mould := _mould(type(layer), tuple(pieces)):  # type: ignore[arg-type]
            _cast(layer, mould, names)
        else:
            text_format.Parse(body, layer)


@lru_cache(maxsize=1024)
def _mould(kind: type[Definition], pieces: tuple[str, ...]) -> _Mould | None:
    """None where a name stands elsewhere than as the layer's own, or is split over several strings."""
    definition = kind()
    marked = list(pieces)
    marks = {f"<{index}>": index for index in range(len(marked[2::3]))}
    marked[2::3] = [f'"{mark}"' for mark in marks]
    text_format.Parse("".join(marked), definition)
    own = [definition.name, *definition.bottom, *definition.top]
    if set(own) - {""} != set(marks):
        return None
    name = marks.get(definition.name)
    bottoms, tops = (tuple(map(marks.__getitem__, blobs)) for blobs in (definition.bottom, definition.top))
    for field in ("name", "bottom", "top"):
        definition.ClearField(field)
    return _Mould(definition, name, bottoms, tops)


def _cast(layer: Definition, mould: _Mould, names: list[str]) -> None:
    layer.CopyFrom(mould.definition)  # type: ignore[arg-type]
    if mould.name is not None:
        layer.name = names[mould.name][1:-1]
    layer.bottom.extend([names[index][1:-1] for index in mould.bottoms])
    layer.top.extend([names[index][1:-1] for index in mould.tops])
