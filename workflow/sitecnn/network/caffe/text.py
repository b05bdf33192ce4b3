"""Prototxt text → NetParameter, by protobuf's own text format and the schema in caffe.proto."""

import re
from difflib import get_close_matches

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor

from sitecnn.errors import SiteCNNError
from sitecnn.network.caffe.caffe_pb2 import DESCRIPTOR, LayerParameter, NetParameter

MOST_FIELDS = 250_000
"""More `{` and `:` than this is no network: the largest published ones have 30,000. It bounds time and memory."""

MOST_UNKNOWN_FIELDS = 50
UNKNOWN_FIELD = re.compile(r'(\d+):(\d+) : Message type "sitecnn\.caffe\.(\w+)" has no field named "(\w+)"')
STRING = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
VALUE = re.compile(rf"(?:\s|#[^\n]*)*(?:{STRING}|[^\s{{}}<>;,#]+|\[[^\]]*\])")
BRACES = re.compile(rf"{STRING}|#[^\n]*|[{{}}<>]")


def read_text(text: str, origin: str, strict: bool) -> tuple[NetParameter, list[str]]:
    """The definition, and a note for each field that is neither Caffe's nor a known fork's and was left out.

    Raises SiteCNNError with line and column for text that is no definition, or has a field that looks like a
    misspelt one. With `strict`, any field that Caffe does not know is an error, as it is for Caffe.
    """
    if text.count("{") + text.count(":") > MOST_FIELDS:
        raise SiteCNNError(f"{origin}: more than {MOST_FIELDS} fields: not a network that Caffe could be given")
    notes: dict[str, None] = {}
    for _ in range(MOST_UNKNOWN_FIELDS):
        net = NetParameter()
        try:
            text_format.Parse(text, net)
        except text_format.ParseError as error:
            unknown = UNKNOWN_FIELD.match(str(error))
            if strict or not unknown:
                raise SiteCNNError(f"{origin}: {_plain(str(error))}") from None
            text = _without_field(text, unknown, origin)
            notes[f"{unknown[3]} has no field {unknown[4]!r} in Caffe; it was left out"] = None
        except (RecursionError, UnicodeError, ValueError) as error:
            raise SiteCNNError(f"{origin}: not a Caffe network definition: {type(error).__name__}") from None
        else:
            return net, list(notes)
    raise SiteCNNError(f"{origin}: more than {MOST_UNKNOWN_FIELDS} fields that Caffe does not know")


def _plain(error: str) -> str:
    """protobuf's message without our package name, cut to a readable length."""
    return re.sub(r"^(\d+):(\d+) : ", r"line \1, column \2: ", error.replace("sitecnn.caffe.", ""))[:300]


def _without_field(text: str, unknown: re.Match[str], origin: str) -> str:
    """The text with that field blanked out, everywhere if no message knows its name."""
    line, column, message, name = int(unknown[1]), int(unknown[2]), unknown[3], unknown[4]
    if near := _similar(DESCRIPTOR.message_types_by_name[message], name):
        raise SiteCNNError(f"{origin}: {_plain(unknown[0])}; did you mean {near!r}?")
    if not _may_be_a_forks(message, name):
        raise SiteCNNError(f"{origin}: {_plain(unknown[0])}")
    start = sum(map(len, text.splitlines(keepends=True)[: line - 1])) + column - 1
    end = _end_of_field(text, start + len(name))
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def _similar(message: Descriptor, name: str) -> str:
    """A field of the message that `name` may be a slip of, or nothing."""
    return next(iter(get_close_matches(name, list(message.fields_by_name), n=1, cutoff=0.8)), "")


def _may_be_a_forks(message: str, name: str) -> bool:
    """Forks add whole `…_param` blocks to layers, and fields to the blocks that exist."""
    return (
        name.endswith("_param")
        if message in (LayerParameter.DESCRIPTOR.name, "V1LayerParameter")
        else message != "NetParameter"
    )


def _end_of_field(text: str, position: int) -> int:
    """Where the value ends that follows a field's name: at its closing brace, or after a scalar."""
    colon = re.compile(r"(?:\s|#[^\n]*)*:?(?:\s|#[^\n]*)*").match(text, position)
    start = colon.end() if colon else position
    if text[start : start + 1] not in ("{", "<"):
        value = VALUE.match(text, start)
        return value.end() if value else start
    depth = 0
    for brace in BRACES.finditer(text, start):
        depth += {"{": 1, "<": 1, "}": -1, ">": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.end()
    return len(text)
