"""Fields that the schema in caffe.proto does not have: which a definition has, and which are slips of ones that count.

protobuf ignores fields that it does not know, which forks of Caffe rely on. This module lists what was ignored.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.message import Message

from sitecnn.network.caffe.caffe_pb2 import DESCRIPTOR

STRING = r""""(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+'"""
COMMENT = r"#[^\n]*+"
GAP = rf"(?:\s|{COMMENT})*+"
MARK = re.compile(rf"{STRING}|{COMMENT}|([A-Za-z_]\w*+)(?={GAP}[:{{<])|([{{<])|([}}>])")
COLON = re.compile(rf"{GAP}:?{GAP}")

CLOSENESS = 0.85
"""Of two names, as difflib measures it: one letter in seven may be wrong."""


@dataclass(frozen=True)
class UnknownField:
    """A field of a message that the schema neither has nor reserves, and where its name begins in the text.

    `layer` is (`layer` or `layers`, which of them) where it stands in one.
    """

    message: str
    name: str
    position: int
    layer: tuple[str, int] | None = None


def without_unknown(text: str, root: type[Message]) -> tuple[str, list[UnknownField]]:
    """The text of a `root` without the messages that the schema does not have, and every field that it does not have.

    Lines and columns stay. Single values that the schema does not have are left for protobuf to ignore.
    """
    unknown: list[UnknownField] = []
    cuts: list[tuple[int, int]] = []
    messages: list[tuple[Descriptor | None, int]] = []
    current: Descriptor | None = DESCRIPTOR.message_types_by_name[root.__name__]
    inner: Descriptor | None = None
    counts = {"layer": 0, "layers": 0}
    place: tuple[str, int] | None = None
    name_start, name_end, is_known = 0, 0, True
    for match in MARK.finditer(text):
        name, opens, closes = match.groups()
        if name and current:
            field = current.fields_by_name.get(name)
            inner = field.message_type if field else None
            is_known = field is not None
            name_start, name_end = match.span()
            if field is None and name not in reserved(current):
                unknown.append(UnknownField(current.name, name, name_start, place if messages else None))
            if not messages:
                place = (name, counts[name]) if name in counts else None
        elif opens:
            if not messages and place and inner:
                place = (place[0], counts[place[0]])
                counts[place[0]] += 1
            is_cut = current is not None and not is_known and COLON.fullmatch(text, name_end, match.start())
            messages.append((current, name_start if is_cut else -1))
            current, inner, is_known = inner, None, True
        elif closes and messages:
            (current, start), inner = messages.pop(), current
            if start >= 0:
                cuts.append((start, match.end()))
    return _blanked(text, cuts), unknown


def _blanked(text: str, cuts: list[tuple[int, int]]) -> str:
    parts, last = [], 0
    for start, end in cuts:
        parts += [text[last:start], re.sub(r"[^\n]", " ", text[start:end])]
        last = end
    return "".join([*parts, text[last:]])


@cache
def reserved(message: Descriptor) -> frozenset[str]:
    """Names that Caffe or a known fork gives a meaning on which no shape and no count depends."""
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return frozenset(proto.reserved_name)


@cache
def meant(message: str, name: str) -> str:
    """The field of a message that `name` is likely a slip of, or nothing; that both end in _param is no likeness."""
    descriptor = DESCRIPTOR.message_types_by_name[message]
    known = (*descriptor.fields_by_name, *reserved(descriptor))
    stems = {field.removesuffix("_param"): field for field in known}
    stem = name.removesuffix("s").removesuffix("_param")
    return next((stems[near] for near in get_close_matches(stem, stems, n=1, cutoff=CLOSENESS)), "")
