"""A file of either kind → Network."""

import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.reader import parse_prototxt
from sitecnn.network.graph import Network, Shape

STANDARD_INPUT = "-"
MOST_TEXT_BYTES = 2 << 20
MOST_ONNX_BYTES = 2 << 30
"""The largest published prototxts have 1 MiB; protobuf itself takes no message of 2 GiB."""

CHUNK_BYTES = 16 << 20

ONNX_START = b"\x08"
"""An ONNX file begins with its first field, ir_version, as protobuf encodes it; no text begins so."""


class OnnxModel(Protocol):
    """What `onnx.ModelProto` has of what is needed here."""

    def SerializeToString(self) -> bytes:
        """The model as a file has it."""


def load_network(
    source: str | Path | bytes | OnnxModel,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    strict: bool = False,
    name: str = "network",
) -> Network:
    """The network in a prototxt or ONNX file, told apart by what is in it; `-` is standard input.

    `source` is a file's name, what such a file holds (bytes), or an `onnx.ModelProto`; the latter two are called `name`
    where they do not name themselves.
    `batch` replaces the first dimension of every input, `inputs` gives inputs' shapes by name. Layers that are
    not Caffe's own stay as `modelled=False`, or are errors if `strict`. Raises NetworkError, of one line that
    names file, layer and reason, for anything that is wrong with the file.
    """
    if isinstance(source, str | Path):
        origin = "standard input" if str(source) == STANDARD_INPUT else str(source)
        data = _read(source, origin)
    else:
        data = source if isinstance(source, bytes) else source.SerializeToString()
        origin = name
    if data.startswith(ONNX_START):
        try:
            from sitecnn.network.onnx import parse_onnx
        except ModuleNotFoundError:
            raise NetworkError(f"{origin}: ONNX needs the onnx package: pip install 'sitecnn[onnx]'") from None
        return parse_onnx(data, origin, batch=batch, inputs=inputs, strict=strict)
    return parse_prototxt(_decoded(data, origin), origin, batch=batch, inputs=inputs, strict=strict)


def _read(source: str | Path, origin: str) -> bytes:
    if str(source) == STANDARD_INPUT:
        return _read_limited(sys.stdin.buffer, origin)
    try:
        # A device or a pipe would never end, or block before it begins.
        if not stat.S_ISREG(Path(source).stat().st_mode):
            raise NetworkError(f"{origin}: not a file; give a .prototxt or .onnx file, or - for standard input")
        with Path(source).open("rb") as file:
            return _read_limited(file, origin)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such name"
        raise NetworkError(f"{origin}: cannot be read: {reason}") from None


def _read_limited(file: BinaryIO, origin: str) -> bytes:
    """What is in the file, as far as a network of its kind may be large."""
    start = file.read(MOST_TEXT_BYTES + 1)
    if len(start) <= MOST_TEXT_BYTES:
        return start
    limit = MOST_ONNX_BYTES if start.startswith(ONNX_START) else MOST_TEXT_BYTES
    if limit == MOST_TEXT_BYTES:
        raise NetworkError(f"{origin}: larger than {limit >> 20} MiB, which no network definition is")
    data = bytearray(start)
    while chunk := file.read(CHUNK_BYTES):
        data += chunk
        if len(data) > limit:
            raise NetworkError(f"{origin}: larger than {limit >> 30} GiB, which no ONNX file can be")
    return bytes(data)


def _decoded(data: bytes, origin: str) -> str:
    """The text; comments in other encodings than UTF-8 do no harm, bytes that are no text are refused."""
    if b"\0" in data:
        raise NetworkError(f"{origin}: neither text nor ONNX; if it is a .caffemodel, give its .prototxt instead")
    return data.decode("utf-8-sig", errors="replace")
