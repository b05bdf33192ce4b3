"""A file of either kind → Network."""

from collections.abc import Mapping
from pathlib import Path

from sitecnn.network.caffe.reader import parse_prototxt
from sitecnn.network.graph import Network, Shape


def load_network(
    source: str | Path,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    strict: bool = False,
) -> Network:
    """The network in a prototxt."""
    path = Path(source)
    return parse_prototxt(path.read_text(), str(path), batch=batch, inputs=inputs, strict=strict)
