"""Kinds of kernels and their sizes as people call them."""

from sitecnn.workload.stack_names import NAMES as SOFTWARE

ENGINES = {"ort": SOFTWARE["onnxruntime"], "tflite": SOFTWARE["tflite-gpu"]}
"""Engines by what the names of their kinds begin with; Caffe's begin with nothing."""

KINDS = {
    "inner_product": "fully connected",
    "gemm": "matrix multiplication",
    "relu": "ReLU",
    "lrn": "LRN",
    "eltwise": "element by element",
    "batch_norm": "batch normalisation",
    "pooling": "max pooling",
    "conv_transpose": "transposed convolution",
    "conv_window": "convolution",
    "conv_few_pointwise": "pointwise convolution of few channels",
    "conv_pixel": "convolution of one pixel",
    "convolution_2d": "convolution",
    "convolution_2d_grouped": "grouped convolution",
}
SIZES = {"in": "input", "out": "output", "pass": "pass's"}


def kind_label(kind: str) -> str:
    """`pointwise convolution (ONNX Runtime, blocked)` for `ort_nchwc_conv_pointwise`."""
    engine, _, own = kind.partition("_")
    if engine not in ENGINES:
        return KINDS.get(kind, kind.replace("_", " "))
    plain = own.removeprefix("nchwc_")
    blocked = ", blocked" if plain != own else ""
    words = f"{plain.removeprefix('conv_')} convolution" if plain.startswith("conv_") else plain
    return f"{KINDS.get(plain, words).replace('_', ' ')} ({ENGINES[engine]}{blocked})"


def size_label(size: str) -> str:
    """`output channels` for `out_channels`."""
    return " ".join(SIZES.get(word, word) for word in size.split("_"))


def group_of(kind: str) -> str:
    """The name of the colour that a kind has in every chart."""
    if "conv" in kind or kind in ("gemm", "im2col"):
        return "convolution"
    if kind in ("inner_product", "ort_gemm", "tflite_fully_connected"):
        return "fully connected"
    if "pool" in kind:
        return "pooling"
    return "ReLU" if kind == "relu" else "other"
