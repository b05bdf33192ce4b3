"""Transposes move behind each operator as the installed ONNX Runtime moves them, by who reads what comes of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.workload.lowering.graphs import Builder
from tests.workload.lowering.test_onnxruntime import check, lowered

Step = Callable[[Builder, str, str], str]
"""Of two tensors of 1×16×32×8 that Transposes made."""


def _by_itself(kind: str, **attributes: object) -> Step:
    return lambda b, x, y: b.op(kind, x, **attributes)


def _of_both(kind: str) -> Step:
    return lambda b, x, y: b.op(kind, x, y)


def _of_indices(indices: object) -> Step:
    return lambda b, x, y: b.op("Gather", x, b.constant(indices, np.int64), axis=3)


def _reshaped(*shape: int) -> Step:
    return lambda b, x, y: b.op("Reshape", x, b.sizes(*shape))


def _resized(b: Builder, x: str, y: str) -> str:
    return b.op("Resize", x, "", b.constant([1, 2, 2, 1]), mode="linear")


def _vector_of_data(b: Builder, x: str, y: str) -> str:
    """Axes of one are put before an input that has fewer."""
    return b.op("Mul", x, b.op("Abs", b.op("ReduceMean", y, axes=[0, 1, 2], keepdims=0)))


STEPS: dict[str, Step] = {
    **{kind: _by_itself(kind) for kind in ("Tanh", "Celu", "Sin", "HardSwish", "Elu", "Softplus")},
    **{kind: _of_both(kind) for kind in ("Add", "Max", "Div")},
    "Where": lambda b, x, y: b.op("Where", b.op("Greater", x, y), x, y),
    "PRelu": lambda b, x, y: b.op("PRelu", x, b.weight(8)),
    "Pow": lambda b, x, y: b.op("Pow", x, b.constant(2.0)),
    "a vector of data": _vector_of_data,
    "Softmax": _by_itself("Softmax", axis=1),
    "ArgMax": lambda b, x, y: b.op("Cast", b.op("ArgMax", x, axis=3), to=1),
    **{f"ReduceL2 of axis {axis}": _by_itself("ReduceL2", axes=[axis]) for axis in (1, 3)},
    "ReduceMean that drops its axis": _by_itself("ReduceMean", axes=[1], keepdims=0),
    "Squeeze": lambda b, x, y: b.op("Squeeze", x, b.sizes(0)),
    "Unsqueeze": lambda b, x, y: b.op("Unsqueeze", x, b.sizes(0)),
    "Slice": lambda b, x, y: b.op("Slice", x, b.sizes(0), b.sizes(4), b.sizes(1)),
    "Split": lambda b, x, y: b.several("Split", 2, x, b.sizes(4, 4), axis=3)[0],
    "Tile": lambda b, x, y: b.op("Tile", x, b.sizes(1, 1, 2, 1)),
    "Expand": lambda b, x, y: b.op("Expand", x, b.sizes(2, 16, 32, 8)),
    "Concat": lambda b, x, y: b.op("Concat", x, y, axis=3),
    "Gather of an index": _of_indices(1),
    "Gather of a vector": _of_indices([1]),
    "Resize": _resized,
    "Reshape that moves an axis of one": _reshaped(16, 1, 32, 8),
    "Reshape that does nothing": _reshaped(1, 16, 32, 8),
    "Reshape that joins axes": _reshaped(1, 512, 8),
    "Reshape that splits axes": _reshaped(1, 4, 4, 32, 8),
}

Readers = Callable[[Builder, str, int], list[str]]
"""What reads a tensor of so many axes: the results of the network."""


def _turned(b: Builder, x: str, rank: int) -> str:
    """Channels first again, or an order of as many axes."""
    order = [0, 3, 1, 2] if rank == 4 else [rank - 1, *range(rank - 1)]
    return b.op("Sigmoid", b.op("Transpose", x, perm=order))


def _centred(b: Builder, x: str, rank: int) -> list[str]:
    return [_turned(b, b.op("Div", x, b.op("ReduceMean", x, axes=[-1], keepdims=1)), rank)]


READERS: dict[str, Readers] = {
    "one that cannot": lambda b, x, rank: [b.op("CumSum", x, b.constant(0, np.int64))],
    "a result": lambda b, x, rank: [x],
    "a Transpose": lambda b, x, rank: [_turned(b, x, rank)],
    "a result and a Transpose": lambda b, x, rank: [x, _turned(b, b.op("Exp", x), rank)],
    "two Transposes": lambda b, x, rank: [_turned(b, b.op("Exp", x), rank), _turned(b, b.op("Cos", x), rank)],
    "a Transpose and one that cannot": lambda b, x, rank: [
        _turned(b, b.op("Exp", x), rank),
        b.op("CumSum", x, b.constant(0, np.int64)),
    ],
    "one twice": lambda b, x, rank: [_turned(b, b.op("Mul", x, x), rank)],
    "a mean and what it divides": _centred,
}

RANKS = {"ReduceMean that drops its axis": 3, "Squeeze": 3, "Unsqueeze": 5, "ArgMax": 4, "Gather of an index": 3} | {
    "Reshape that joins axes": 3,
    "Reshape that splits axes": 5,
}


def _model(step: str, readers: str) -> bytes:
    b = Builder((1, 8, 16, 32))
    turned = [b.op("Transpose", b.op(kind, "x"), perm=[0, 2, 3, 1]) for kind in ("Neg", "Abs")]
    return b.model(*READERS[readers](b, STEPS[step](b, *turned), RANKS.get(step, 4)))


@pytest.mark.parametrize("readers", READERS)
@pytest.mark.parametrize("step", STEPS)
def test_a_transpose_moves_as_onnxruntime_moves_it(step: str, readers: str, tmp_path: Path) -> None:
    model = _model(step, readers)
    for level in ("basic", "all"):
        check(model, tmp_path, 0, level)


def test_up_to_1_30_readers_do_not_matter() -> None:
    """As 1.21.1, 1.25.1, 1.27.0, 1.28.0, 1.29.0, 1.30.0 and 1.31.0 ran it."""
    for step, readers in (("Squeeze", "a Transpose and one that cannot"), ("Tanh", "a result and a Transpose")):
        for version, shape in (("1.21.1", (1, 8, 16, 32)), ("1.30.0", (1, 8, 16, 32)), ("1.31.0", (1, 16, 32, 8))):
            kernels = lowered(_model(step, readers), 0, "basic", version)
            assert [one.input_shapes[0] for one in kernels if one.op == step] == [shape]
