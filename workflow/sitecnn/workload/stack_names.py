"""Stacks as people call them: `Caffe 1.0, OpenBLAS 0.3.21, 1 thread` for `caffe-1.0.0+…+1-threads+clock-unknown`."""

import re

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
