"""The process that reads what people drop on the page: `python -m sitecnn.explore.worker ROOT [BOARD…]`.

It takes a JSON document a line from standard input and answers each with one on standard output. Strangers' files are
read in it alone, so the page lives on when it is stopped or runs out of memory.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from sitecnn.errors import NetworkError, SiteCNNError
from sitecnn.explore.answers import Stack, answers, load_stacks
from sitecnn.explore.details import chosen, details
from sitecnn.explore.edits import edit_from, question_after
from sitecnn.explore.prototxt import layer_blocks
from sitecnn.explore.question import Question, question_from
from sitecnn.explore.reading import line_of, network_of
from sitecnn.explore.trials import trials
from sitecnn.network.caffe.writer import write_prototxt
from sitecnn.network.load import MOST_TEXT_BYTES, ONNX_START
from sitecnn.workload.memory import memory

MOST_MEMORY_BYTES = 6 << 30
"""Address space of the process: an ONNX file of the largest size that is taken, parsed, with room to spare."""

Request = Mapping[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    root, *boards = arguments
    serve(sys.stdin.buffer, sys.stdout.buffer, Path(root), boards)


def serve(requests: BinaryIO, replies: BinaryIO, root: Path, boards: Sequence[str]) -> None:
    """Answer each request in its turn; an error is an answer, too."""
    stacks = load_stacks(root, boards)
    for line in requests:
        replies.write(json.dumps(reply(json.loads(line), stacks, root)).encode() + b"\n")
        replies.flush()


def reply(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    """{"answer": …}, or {"error": message, "line": number or None}."""
    try:
        return {"answer": ACTIONS[request["do"]](request, stacks, root)}
    except SiteCNNError as error:
        source = request.get("question", {}).get("source", {})
        return {"error": str(error), "line": line_of(str(error), source.get("text", ""))}
    except (MemoryError, RecursionError):
        return {"error": "this network needs more memory than the page allows for one network", "line": None}


def _open(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    """The source in a file: a prototxt's text, or the file itself where it is ONNX."""
    path, name = Path(request["file"]), request["name"]
    with path.open("rb") as file:
        start = file.read(MOST_TEXT_BYTES + 1)
    if start.startswith(ONNX_START):
        return {"name": name, "text": "", "file": str(path)}
    if len(start) > MOST_TEXT_BYTES:
        raise NetworkError(f"{name}: larger than {MOST_TEXT_BYTES >> 20} MiB, which no network definition is")
    if b"\0" in start:
        raise NetworkError(f"{name}: neither text nor ONNX; if it is a .caffemodel, open its .prototxt instead")
    return {"name": name, "text": start.decode("utf-8-sig", errors="replace"), "file": ""}


def _answers(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    question, pinned = _questions(request)
    network = network_of(question)
    parts = memory(network)
    return {
        "rows": answers(question, pinned, stacks),
        "network": network.name,
        "batch": network.batch,
        "layers": len(network.layers),
        "weights_bytes": parts.weights_bytes,
        "notes": network.notes,
    }


def _details(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    return details(*_questions(request), chosen(stacks, request["key"]))


def _trials(request: Request, stacks: Sequence[Stack], root: Path) -> list[dict[str, Any]]:
    return trials(_questions(request)[0], chosen(stacks, request["key"]), root)


def _locate(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    """Lines (from 1) that a layer takes in the text."""
    text = request["question"]["source"]["text"]
    for block in layer_blocks(text):
        if block.name == request["layer"]:
            return {"first": _line(text, block.start), "last": _line(text, block.end)}
    raise NetworkError(f"layer {request['layer']!r} is not in the text")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _apply(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    question, _ = _questions(request)
    return asdict(question_after(question, edit_from(request["edit"]), network_of(question)))


def _convert(request: Request, stacks: Sequence[Stack], root: Path) -> dict[str, Any]:
    """The network as a prototxt, as `sitecnn convert` writes it."""
    return {"text": write_prototxt(network_of(_questions(request)[0]))}


def _questions(request: Request) -> tuple[Question, Question | None]:
    pinned = request.get("pinned")
    return question_from(request["question"]), question_from(pinned) if pinned else None


ACTIONS: Mapping[str, Callable[[Request, Sequence[Stack], Path], Any]] = {
    "open": _open,
    "answers": _answers,
    "details": _details,
    "trials": _trials,
    "locate": _locate,
    "apply": _apply,
    "convert": _convert,
}

if __name__ == "__main__":
    main(sys.argv[1:])
