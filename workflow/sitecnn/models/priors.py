"""What is known of a stack before a kind of kernel was measured well on it: from its own memory, and other boards.

All but `WAITS` is relative to what a stack takes to copy an element, which Concat and ReLU tell wherever they ran.
"""

from collections.abc import Mapping
from dataclasses import dataclass

COPY_KINDS = ("concat", "relu", "dropout", "eltwise")
"""Kinds whose time is that of memory: the fastest of them is a stack's copy."""


@dataclass(frozen=True)
class Prior:
    """A coefficient that is `ns` per unit, give or take `sd_ns`."""

    ns: float
    sd_ns: float


COPIES = {
    "cpu": {
        # The BLAS packs the matrix first: 2.3 to 3.7, and 0.2 to 1.8 more where a page of every row is too many.
        # Rows of whole pages are slower on a server core by 2 copies; on other boards no row was anything else.
        "inner_product": {
            "weights_elements": Prior(3.0, 0.8),
            "many_rows_weights": Prior(1.0, 0.7),
            "page_aliased_weights": Prior(0.0, 0.2),
        },
        # A power of every element: 47 (a server core) to 155 (Cortex-A57) copies with a window of 5.
        "lrn": {"window_elements": Prior(18.0, 8.0)},
        # Branches on what comes: 5 to 9, on a server core 15 to 25.
        "pooling": {"window_elements": Prior(8.0, 5.0)},
        "average_pooling": {"window_elements": Prior(8.0, 3.0)},
    },
    "gpu": {
        # Reads 4 bytes where a copy moves 8: 0.56 on TX1 (cuBLAS), 0.47 on GTX 1080.
        "inner_product": {"weights_elements": Prior(0.5, 0.15)},
        "lrn": {"window_elements": Prior(0.6, 0.4)},
        "pooling": {"window_elements": Prior(0.5, 0.15)},
        # One thread for each output: 3 to 4; with cuDNN 1.
        "average_pooling": {"window_elements": Prior(2.5, 1.5)},
    },
}
"""Coefficients in copies of an element, as found on TX1, RK3399, a PC with a GTX 1080 and a server core."""

CONVOLUTION_COPIES = {
    # As found: im2col 1.3 to 2.1, gemm's B 0.6 to 3.5, its A 0.8 to 3.1 and C 0.3 to 1.6.
    "cpu": {
        "im2col_elements": Prior(2.0, 1.0),
        "packed_elements": Prior(1.0, 1.0),
        "weights_elements": Prior(1.2, 1.0),
        "out_elements": Prior(1.2, 1.0),
    },
    # As found: 1.5 to 1.8 an output, 0.5 to 1.4 a weight, 0.6 and 1.0 an element of im2col, none with cuDNN.
    "gpu": {
        "out_elements": Prior(1.6, 0.4),
        "parameters": Prior(0.9, 0.5),
        "im2col_elements": Prior(0.6, 0.4),
    },
}
"""What convolutions do besides multiplying, in copies: AlexNet's five do not tell it apart."""

TRANSFERS = {
    # Copy, mean's broadcast, variance's broadcast, division, copy of x_norm: 10 transfers, a copy is 2.
    "batch_norm": Prior(5.0, 5.0),
    # Copy to temp_, multiplication, bias by a rank-1 gemm: 6 transfers.
    "scale": Prior(3.0, 2.0),
    # Set to 0, then an axpy (3 transfers) for each of two inputs: 7 transfers.
    "eltwise": Prior(3.5, 2.0),
    "bias": Prior(2.0, 1.5),
    "slice": Prior(2.0, 1.0),
    "power": Prior(2.0, 1.5),
    **dict.fromkeys(("abs_val", "clip", "hard_sigmoid", "hard_swish", "relu6", "threshold", "tile"), Prior(1.2, 0.8)),
}
"""Copies of its output that a kind's forward code in Caffe moves (batch_norm_layer.cpp, scale_layer.cpp, …).

Tried on a server core that had measured them: 0.42 (batch_norm), 0.78 (scale) and 0.66 (eltwise) of the truth.
"""

CALLS = {
    # One call of the C library for each element: exp and tanh are 10 to 60 copies on a server core.
    "sigmoid": Prior(11.0, 9.0),
    "tanh": Prior(40.0, 40.0),
    "elu": Prior(20.0, 18.0),
    "exp": Prior(7.0, 5.0),
    "log": Prior(8.0, 6.0),
    "bnll": Prior(35.0, 30.0),
    "swish": Prior(13.0, 10.0),
    "pow": Prior(19.0, 14.0),
    # A branch for each element, half of which are mispredicted there.
    "prelu": Prior(8.0, 8.0),
    # Element by element, in another order.
    "permute": Prior(20.0, 18.0),
    "upsample": Prior(6.0, 5.0),
    "interp": Prior(10.0, 9.0),
    "mvn": Prior(35.0, 30.0),
    "normalize": Prior(3.0, 2.5),
}
"""What kinds that compute more than they move took on a server core, in copies of their output: rough elsewhere."""

BUFFERS = {
    "relu": {"own_elements": Prior(1.0, 0.5)},
    "batch_norm": {"own_elements": Prior(1.0, 0.5)},
    "scale": {"kept_elements": Prior(1.0, 0.5), "biased_elements": Prior(1.0, 0.5)},
}
"""What layers of a CPU take more in place or not, in copies: a board whose networks have one of both tells no more."""

UNSEEN_COPIES = {
    "cpu": {**TRANSFERS, **CALLS},
    # A GPU computes while it waits for memory; values in another order take it longer than a copy.
    "gpu": {
        **TRANSFERS,
        **dict.fromkeys(CALLS, Prior(1.5, 1.2)),
        **dict.fromkeys(("permute", "mvn", "normalize", "interp"), Prior(5.0, 5.0)),
    },
}
"""Kinds that no network had, in copies of their output."""

WAITS = {
    # A tile's latency for each step along k: 60 on TX1, 47 to 115 on GTX 1080.
    "depth": Prior(30.0, 40.0),
    "lone_depth": Prior(30.0, 40.0),
    "narrow_depth": Prior(30.0, 40.0),
    # A launch: 8 µs on TX1.
    "gemm_calls": Prior(1e4, 1e4),
}
"""What small matrix multiplications wait for on a GPU, in ns, which differs less between GPUs than their speeds do."""

ZEROS_SHARE, ZEROS_SD = 0.67, 0.15
"""What LRN of zeros takes of the time of LRN, and that ratio's relative error, on a CPU.

0.63 on TX1 and 0.68 on RK3399, whose C libraries know the powers of 1; 0.8 to 1 on a PC. A GPU takes the same.
"""

RELATIVE_SD = 0.7
"""Relative error of a kind that is guessed from another kind or from what other boards take for it."""


@dataclass(frozen=True)
class Speeds:
    """What a stack's other kernels tell, in ns, None where they were not measured.

    `copy` is an element's copy, `mac` a multiply-accumulate in the fastest convolution, `call` what a convolution
    takes however small.
    """

    copy: float | None = None
    mac: float | None = None
    call: float | None = None


def coefficient_priors(kind: str, processor: str, speeds: Speeds) -> Mapping[str, Prior]:
    """Priors of the coefficients of a kind by feature; none but WAITS where nothing was measured to tell.

    They matter where an imported board has a single layer of a kind: then what it takes by weight, by call and by
    multiply-accumulate cannot be told apart by its times.
    """
    priors = {}
    if speeds.copy:
        copies = CONVOLUTION_COPIES[processor] if kind == "convolution" else COPIES[processor].get(kind, {})
        if processor == "cpu":
            copies = {**copies, **BUFFERS.get(kind, {})}
        for name, prior in copies.items():
            priors[name] = Prior(prior.ns * speeds.copy, prior.sd_ns * speeds.copy)
    if kind == "convolution" and processor == "gpu":
        priors |= WAITS
    if kind != "inner_product":
        return priors
    if speeds.copy:
        priors["direct_weights"] = Prior(0.0, speeds.copy)
    if speeds.mac:
        priors["macs"] = Prior(speeds.mac, 0.6 * speeds.mac)
    if speeds.call and processor == "gpu":
        # TX1: 164 µs against a convolution's 158 (cuBLAS), 157 against 185 (cuDNN); GTX 1080: 30 against 24.
        priors["calls"] = Prior(speeds.call, 0.3 * speeds.call)
    return priors
