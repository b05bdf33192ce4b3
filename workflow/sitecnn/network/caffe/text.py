"""Prototxt text → NetParameter, by protobuf's own text format and the schema in caffe.proto."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from google.protobuf import text_format

from sitecnn.errors import SiteCNNError
from sitecnn.network.caffe.blocks import COMMENT, STRING, parse_blocks
from sitecnn.network.caffe.caffe_pb2 import DESCRIPTOR, NetParameter

MOST_FIELDS = 100_000
"""More `{` and `:` than this is no network: the largest published ones have 30,000. It bounds time and memory."""

WORK = 2 << 20
"""Characters that may be read again, all in all, to leave fields out that Caffe does not know."""

ERROR = re.compile(r"(\d+):(\d+) : (?:'.*': )?(.*)", re.DOTALL)
UNKNOWN_FIELD = re.compile(r'Message type "sitecnn\.caffe\.(\w+)" has no field named "(\w+)"')
GAP = rf"(?:\s|{COMMENT})*+"
SCALAR = re.compile(rf"(?:{GAP}(?:{STRING}))++|{GAP}(?:\[[^\]]*\]|[^\s{{}}<>\[\];,#]++)")
BRACE = re.compile(rf"{STRING}|{COMMENT}|[{{}}<>]")
DEPTHS = {"{": 1, "<": 1, "}": -1, ">": -1}


def read_text(text: str, origin: str, strict: bool) -> tuple[NetParameter, list[str]]:
    """The definition, and a note for each field that is neither Caffe's nor a known fork's and was left out.

    Raises SiteCNNError with line and column for text that is no definition, or has a field that looks like a
    misspelt one. With `strict`, any field that is not known is an error, as it is for Caffe.
    """
    if text.count("{") + text.count(":") > MOST_FIELDS:
        raise SiteCNNError(f"{origin}: more than {MOST_FIELDS} fields, which no network definition has")
    if (net := parse_blocks(text)) is not None:
        return net, []
    notes: list[str] = []
    for _ in range(max(3, min(50, WORK // len(text)))):
        net = NetParameter()
        try:
            text_format.Parse(text, net)
        except text_format.ParseError as error:
            text = _without_unknown(text, str(error), origin, strict, notes)
        except (RecursionError, ValueError):
            raise SiteCNNError(f"{origin}: not a network definition of Caffe") from None
        else:
            return net, notes
    raise SiteCNNError(f"{origin}: it has more fields that Caffe does not know than are left out: {notes[0]}, …")


def _without_unknown(text: str, error: str, origin: str, strict: bool, notes: list[str]) -> str:
    """The text without the unknown field that the error is about; SiteCNNError if it is about something else."""
    parts = ERROR.fullmatch(error)
    place, reason = (f"line {parts[1]}, column {parts[2]}: ", parts[3]) if parts else ("", error)
    unknown = UNKNOWN_FIELD.match(reason)
    reason = f"{origin}: {place}{_printable(reason.replace('sitecnn.caffe.', ''))}"
    if parts is None or unknown is None or strict:
        raise SiteCNNError(reason)
    message, name = unknown.groups()
    if near := _nearest(name, DESCRIPTOR.message_types_by_name[message].fields_by_name):
        raise SiteCNNError(f"{reason} Did you mean {near!r}?")
    if not _may_be_a_forks(message, name):
        raise SiteCNNError(reason)
    notes.append(f"field {name!r} of {message} is not known to Caffe and is left out")
    if any(name in known.fields_by_name for known in DESCRIPTOR.message_types_by_name.values()):
        before = sum(len(line) + 1 for line in text.split("\n")[: int(parts[1]) - 1])
        return _without(text, [before + int(parts[2]) - 1 + len(name)], name)
    found = re.compile(rf"{STRING}|{COMMENT}|(\b{name}\b)").finditer(text)
    return _without(text, [match.end() for match in found if match[1]], name)


def _nearest(name: str, known: Iterable[str]) -> str:
    """The field that `name` is likely a slip of, or nothing; that both end in _param makes them no more alike."""
    stems = {field.removesuffix("_param"): field for field in known}
    stem = name.removesuffix("s").removesuffix("_param")
    return next((stems[near] for near in get_close_matches(stem, stems, n=1, cutoff=0.8)), "")


def _printable(reason: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in reason[:200])


def _may_be_a_forks(message: str, name: str) -> bool:
    """Forks add whole `…_param` blocks to layers, and fields to the blocks that are there."""
    if message in ("LayerParameter", "V1LayerParameter"):
        return name.endswith("_param")
    return message != "NetParameter"


def _without(text: str, ends_of_names: list[int], name: str) -> str:
    """The text with these fields blanked out, so that lines and columns stay."""
    pieces, last = [], 0
    for end_of_name in ends_of_names:
        start, end = end_of_name - len(name), _end_of_field(text, end_of_name)
        if start >= last:
            pieces += [text[last:start], re.sub(r"[^\n]", " ", text[start:end])]
            last = end
    return "".join([*pieces, text[last:]])


def _end_of_field(text: str, position: int) -> int:
    """Where the value ends that follows a field's name: at its closing brace, or after a scalar."""
    colon = re.compile(rf"{GAP}:?{GAP}").match(text, position)
    start = colon.end() if colon else position
    if text[start : start + 1] not in ("{", "<"):
        scalar = SCALAR.match(text, start)
        return scalar.end() if scalar else start
    depth = 0
    for brace in BRACE.finditer(text, start):
        depth += DEPTHS.get(brace[0], 0)
        if depth == 0:
            return brace.end()
    return len(text)
