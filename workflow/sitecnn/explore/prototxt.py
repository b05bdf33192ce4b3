"""Where the fields of a prototxt stand in its text, so that the text can be marked and edited as a person would."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sitecnn.network.caffe.fields import COMMENT, STRING

TOKEN = re.compile(rf"{COMMENT}|({STRING})|([{{}}<>:\[\]])|([^\s{{}}<>:\[\],;\"'#]+)")


@dataclass(frozen=True)
class Field:
    """A scalar: the names of the blocks it stands in and its own, its value without quotes, and where it stands.

    `block` is the number of the outermost block it stands in, counted from 0 through the text; -1 outside of all.
    """

    path: tuple[str, ...]
    value: str
    start: int
    end: int
    block: int


@dataclass(frozen=True)
class Block:
    """An outermost block, such as a layer: from the start of its name to behind its closing brace."""

    kind: str
    name: str
    start: int
    end: int
    fields: tuple[Field, ...]

    def first(self, field: str) -> Field | None:
        """The first field of this name, however deep."""
        return next((one for one in self.fields if one.path[-1] == field), None)

    def every(self, field: str) -> list[Field]:
        """All fields of this name, however deep."""
        return [one for one in self.fields if one.path[-1] == field]


def layer_blocks(text: str) -> list[Block]:
    """The layers of a definition in the order of the text; what is no layer is left out."""
    return [block for block in scan(text)[0] if block.kind in ("layer", "layers")]


def scan(text: str) -> tuple[list[Block], list[Field]]:
    """(outermost blocks, scalars outside of all blocks) of text that may be broken: what follows a break may be off."""
    blocks: list[Block] = []
    outside: list[Field] = []
    inside: list[Field] = []
    path: list[str] = []
    name, name_start, block_start, list_open = "", 0, 0, False
    for match in TOKEN.finditer(text):
        string, sign, word = match.groups()
        if sign in ("{", "<"):
            block_start = block_start if path else name_start
            path.append(name)
            name = ""
        elif sign in ("}", ">"):
            if len(path) == 1:
                own = next((field.value for field in inside if field.path[1:] == ("name",)), "")
                blocks.append(Block(path[0], own, block_start, match.end(), tuple(inside)))
                inside = []
            path, name = path[:-1], ""
        elif sign in ("[", "]"):
            list_open = sign == "["
            name = name if list_open else ""
        elif word is not None and not name:
            name, name_start = word, match.start()
        elif (word or string) is not None and name:
            value = word if word is not None else string[1:-1]
            field = Field((*path, name), value, match.start(), match.end(), len(blocks) if path else -1)
            (inside if path else outside).append(field)
            name = name if list_open else ""
    return blocks, outside


def edited(text: str, values: Iterator[tuple[Field, str]] | list[tuple[Field, str]]) -> str:
    """The text with other values in the place of these fields'; everything else stays as it is."""
    for field, value in sorted(values, key=lambda one: -one[0].start):
        text = text[: field.start] + value + text[field.end :]
    return text
