"""ONNX bytes → Network."""

from collections.abc import Mapping

from sitecnn.errors import NetworkError
from sitecnn.network.graph import Network, Shape
from sitecnn.network.onnx.build import build
from sitecnn.network.onnx.graph import read_graph


def parse_onnx(
    data: bytes,
    origin: str,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    strict: bool = False,
) -> Network:
    """The network of an ONNX graph, blobs called as its tensors are: Caffe's layers where those do the same work.

    Operators that no layer of Caffe is equal to keep their place and their ONNX names, with `modelled=False` and an
    OnnxOperator as settings, or are refused if `strict`. Raises NetworkError for a file that the onnx package finds
    fault with.
    """
    graph, notes = read_graph(data, origin, batch, inputs or {})
    try:
        return build(graph, origin, strict, notes)
    except UnicodeError:
        raise NetworkError(f"{origin}: not a valid ONNX network: a name in it is not text") from None
