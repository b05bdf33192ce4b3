"""Command-line spellings of what a network is given."""

from collections.abc import Iterable

from sitecnn.errors import SiteCNNError
from sitecnn.network.graph import Shape


def parse_inputs(texts: Iterable[str]) -> dict[str, Shape]:
    """`NAME:1x3x224x224` → {NAME: (1, 3, 224, 224)}; SiteCNNError for another spelling."""
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        parts = sizes.split("x")
        if not name or not all(part.isdecimal() and len(part) < 20 and int(part) > 0 for part in parts):
            raise SiteCNNError(f"--input {text}: expected NAME:1x3x224x224, positive whole numbers")
        shapes[name] = tuple(map(int, parts))
    return shapes
