"""Prototxt text → NetParameter, by protobuf's own text format and the schema in caffe.proto."""

import re
from collections.abc import Iterable

from google.protobuf import text_format

from sitecnn.errors import NetworkError, nearest
from sitecnn.network.caffe.caffe_pb2 import DESCRIPTOR, LayerParameter, NetParameter
from sitecnn.network.caffe.fields import COMMENT, STRING, UnknownField, meant, reserved, without_unknown
from sitecnn.network.caffe.layers import is_caffes_own
from sitecnn.network.caffe.other_files import require_definition, require_no_solver
from sitecnn.network.caffe.repeated_layers import parse_blocks
from sitecnn.network.caffe.upgrade import type_today

MOST_FIELDS = 100_000
"""More `{` and `:` than this is no network: the largest published ones have 30,000. It bounds time and memory."""

MOST_NAMED = 8
"""Fields that a note names; it counts the others."""

ERROR = re.compile(r"(\d+):(\d+) : (?:'.*': )?(.*)", re.DOTALL)
NO_NUMBER = re.compile(r"Couldn't parse|Expected (?:string|number|identifier or number)|Invalid field value")
FIELD_BEFORE = re.compile(r"\b([A-Za-z_]\w*)\s*+:?\s*+\Z")
LONGEST_FIELD = 200
UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named (\w+)\.')
VALUE = re.compile(r"[^\s;,{}#]+[^\s;,{}]*")
OLD_OR_A_FORKS = re.compile(
    rf"{STRING}|{COMMENT}|\btype(?P<type>\s*+:\s*+)(?P<name>[A-Za-z_]\w*+)|\bparam(?P<param>\s*+:\s*+)(?=[\"'])"
    r"|\b(?P<data>\w+_data_param)\b|\b(?P<transform>\w+_transform_param)\b"
)


def read_text(text: str, origin: str, strict: bool) -> tuple[NetParameter, list[str]]:
    """The definition, and a note that names the fields that are neither Caffe's nor a known fork's and were left out.

    Raises NetworkError with line and column for text that is no definition, or has a field that looks like a
    misspelt one. With `strict`, any field that is not known is an error, as it is for Caffe.
    """
    if text.count("{") + text.count(":") > MOST_FIELDS:
        raise NetworkError(f"{origin}: more than {MOST_FIELDS} fields, which no network definition has")
    require_definition(text, origin)
    text = in_our_words(text)
    net, unknown = parse_blocks(text) or (None, [])
    if net is None or any(_fault(field, net, strict) for field in unknown):
        net, unknown = _parse(text, origin)
    if not (net.layer or net.layers):
        require_no_solver([field.name for field in unknown], text, origin)
    for field in unknown:
        if fault := _fault(field, net, strict):
            raise NetworkError(f"{origin}: {_place(text, field.position)}{fault}")
        if field.layer:
            _layer(field.layer, net).fork_field.append(field.name)
    return net, _notes(unknown)


def in_our_words(text: str) -> str:
    """What has another form in Caffe's older format, or any name in a fork, under the name that the schema has."""
    return OLD_OR_A_FORKS.sub(_our_word, text)


def _our_word(match: re.Match[str]) -> str:
    if match["type"]:
        return f'v1_type{match["type"]}"{match["name"]}"'
    if match["param"]:
        return f"v1_param{match['param']}"
    name = match["data"] or match["transform"]
    if name is None or name in LayerParameter.DESCRIPTOR.fields_by_name or name in reserved(LayerParameter.DESCRIPTOR):
        return match[0]
    return "other_data_param" if match["data"] else "other_transform_param"


def _parse(text: str, origin: str) -> tuple[NetParameter, list[UnknownField]]:
    """The definition as protobuf reads it, a token at a time; NetworkError with the place where it cannot."""
    net = NetParameter()
    known, unknown = without_unknown(text, NetParameter)
    try:
        text_format.Parse(known, net, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise NetworkError(f"{origin}: {_explained(str(error), text)}") from None
    except (RecursionError, ValueError):
        raise NetworkError(f"{origin}: not a network definition of Caffe") from None
    return net, unknown


def _explained(error: str, text: str) -> str:
    """protobuf's complaint with its place, and what a value that is no number is likely to be."""
    if parts := ERROR.fullmatch(error):
        line, column, reason = int(parts[1]), int(parts[2]), parts[3]
    else:
        reason = error
        position = max(0, text.find(error.rpartition(": ")[2]))
        line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    lines = text.split("\n")
    value = VALUE.match(lines[line - 1], column - 1) if line <= len(lines) else None
    if value and value[0].startswith("//"):
        reason = "comments begin with #, not with //"
    elif NO_NUMBER.match(reason) and value and not _is_number(value[0]):
        reason = f"{value[0][:40]!r} stands where a number or a name belongs; if this is a template, fill it in first"
    before = "\n".join([*lines[: line - 1], lines[line - 1][: column - 1] if line <= len(lines) else ""])
    field = FIELD_BEFORE.search(before[-LONGEST_FIELD:])
    place = f"line {line}, column {column}: " + (f"{field[1]}: " if field else "")
    return place + _printable(_with_values(reason.replace("sitecnn.caffe.", "")))


def _with_values(reason: str) -> str:
    """A complaint of a value that an enum does not have, with those that it has."""
    unknown = UNKNOWN_VALUE.fullmatch(reason)
    if not unknown:
        return reason
    message, _, enum = unknown[1].rpartition(".")
    place = DESCRIPTOR.message_types_by_name[message] if message else DESCRIPTOR
    values = [one.name for one in place.enum_types_by_name[enum].values]
    return f"no value named {unknown[2]}; {nearest(unknown[2], values)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _printable(reason: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in reason[:200])


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}: "


def _fault(field: UnknownField, net: NetParameter, strict: bool) -> str:
    """Why a field cannot be passed over, or nothing: a slip of one that counts, or all is to be as Caffe has it."""
    reason = f'Message type "{field.message}" has no field named "{field.name}".'
    if field.name == "v1_type":
        return "a type stands without quotes where Caffe has it in quotes"
    if _is_caffes(field, net) and (near := meant(field.message, field.name)):
        return f"{reason} Did you mean {near!r}?"
    return reason if strict else ""


def _is_caffes(field: UnknownField, net: NetParameter) -> bool:
    """Whether the field stands where Caffe knows all fields: not in a layer of a type of which it knows nothing."""
    if field.layer is None:
        return True
    layer = _layer(field.layer, net)
    return is_caffes_own(layer.type or type_today(layer.v1_type))


def _layer(place: tuple[str, int], net: NetParameter) -> LayerParameter:
    kind, index = place
    return (net.layer if kind == "layer" else net.layers)[index]


def _notes(unknown: Iterable[UnknownField]) -> list[str]:
    """One note, however many they are."""
    names = list(dict.fromkeys(f"{field.message}.{field.name}" for field in unknown))
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [
        f"ignored fields that Caffe does not have (no shape depends on them): {', '.join(names[:MOST_NAMED])}{more}"
    ]
