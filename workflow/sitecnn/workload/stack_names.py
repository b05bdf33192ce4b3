"""Stacks as people call them: `Caffe 1.0, OpenBLAS 0.3.21, 1 thread` for `caffe-1.0.0+…+1-threads+clock-unknown`."""

import re
from collections.abc import Iterable

NAMES = {
    "caffe": "Caffe",
    "onnxruntime": "ONNX Runtime",
    "tflite-gpu": "TFLite GPU",
    "openblas": "OpenBLAS",
    "blis": "BLIS",
    "mkl": "MKL",
    "atlas": "ATLAS",
    "cuda": "CUDA",
    "cublas": "cuBLAS",
    "cudnn": "cuDNN",
}
"""Software by the name that stands in a stack's."""

UNTOLD = re.compile(r"brocolli.*|cpu|gpu|nchwc-\d+|graph-all|clock-unknown")
"""Parts that tell stacks apart only for machines: the provenance has them."""


def stack_label(stack: str) -> str:
    """What a person calls a stack; one that was imported under a name of the user's keeps that."""
    parts = [_part(part) for part in stack.split("+") if not UNTOLD.fullmatch(part)]
    return ", ".join(dict.fromkeys(parts)) or stack


def full_label(stack: str, engine: str, precision: str) -> str:
    """The label of a stack with its engine and its precision, each once: `TFLite GPU, fp16`."""
    label, name = stack_label(stack), NAMES.get(engine, engine)
    before = [] if label.startswith(name) else [name]
    after = [] if precision in label.split(", ") else [precision]
    return ", ".join([*before, label, *after])


def telling_labels(stacks: Iterable[str]) -> dict[str, str]:
    """For each of these stacks what tells it from the others, in few parts; the whole label of a lone one."""
    labels = {stack: stack_label(stack) for stack in dict.fromkeys(stacks)}
    parts = {stack: label.split(", ") for stack, label in labels.items()}
    if len(parts) < 2:
        return labels
    shared = set.intersection(*map(set, parts.values()))
    own = {stack: [part for part in some if part not in shared] for stack, some in parts.items()}
    for count in range(1, max(map(len, own.values()), default=0) + 1):
        short = {stack: ", ".join(some[:count]) for stack, some in own.items()}
        if all(short.values()) and len(set(short.values())) == len(short):
            return short
    return labels


def _part(part: str) -> str:
    threads = re.fullmatch(r"(\d+)-threads", part)
    if threads:
        return "1 thread" if threads[1] == "1" else f"{threads[1]} threads"
    software = re.fullmatch(r"([a-z][a-z-]*?)-(\d[\w.]*)", part)
    if software and software[1] in NAMES:
        return f"{NAMES[software[1]]} {_release(software[2])}"
    return NAMES.get(part, part)


def _release(version: str) -> str:
    """1.0 for 1.0.0, which tells nobody more; 0.3.21 as it is."""
    return re.sub(r"^(\d+\.\d+)\.0$", r"\1", version)
