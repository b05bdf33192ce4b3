"""Files whose batch is open: ONNX Runtime works sizes out while it runs, and fuses less; as the installed one does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import lower
from tests.workload.lowering.graphs import Builder, counted, executed, machine_block
from tests.workload.lowering.parts import PARTS

Part = Callable[[Builder, str], str]


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The block size of this machine."""
    return machine_block(tmp_path_factory.mktemp("block"))


def check(model: bytes, folder: Path, block: int) -> None:
    """Ours is the installed version's, with blocks and without; layers have their kernels as if axes were fixed."""
    network = parse_onnx(model, "open.onnx")
    for size in {block, 0}:
        engine = Engine("onnxruntime", onnxruntime.__version__, size)
        kernels = lower(network, engine)
        assert counted(kernels) == executed(model, folder, size), size
        fixed = lower(network.fixed, engine)
        assert {index for one in kernels for index in one.layers} >= {index for one in fixed for index in one.layers}


@pytest.mark.parametrize("batch", ["N", None])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_networks_with_an_open_batch_run_as_lowered(
    name: str, batch: str | None, block: int, tmp_path: Path
) -> None:
    builder = Builder((batch, 3, 32, 32))
    check(builder.model(PARTS[name](builder, builder.conv("x", 3, 32, 3))), tmp_path, block)


def length(b: Builder, x: str, axis: int) -> str:
    """PyTorch's `x.size(axis)` as a tensor of one value, as its older exporter writes it."""
    picked = b.op("Gather", b.op("Shape", x), b.constant(axis, np.int64), axis=0)
    return b.op("Unsqueeze", picked, b.sizes(0))


def viewed(b: Builder, x: str, *sizes: int | str) -> str:
    """PyTorch's `view`: numbers, and what `length` made."""
    parts = [b.sizes(size) if isinstance(size, int) else size for size in sizes]
    return b.op("Reshape", x, b.op("Concat", *parts, axis=0))


def shuffled(b: Builder, x: str) -> str:
    """ShuffleNet's: sizes of which two are worked out."""
    half = b.op("Div", length(b, x, 1), b.sizes(2))
    x = viewed(b, x, length(b, x, 0), 2, half, length(b, x, 2), length(b, x, 3))
    x = b.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    return b.op("Reshape", x, b.op("Concat", length(b, x, 0), b.sizes(32, 32, 32), axis=0))


def tokens(b: Builder, x: str) -> str:
    return b.op("Transpose", viewed(b, x, length(b, x, 0), 32, -1), perm=[0, 2, 1])


def classed(b: Builder, x: str) -> str:
    """A ViT's token for the class, as often as there are images; the batch's name is lost with it."""
    x = tokens(b, x)
    sizes = b.op("Concat", length(b, x, 0), b.sizes(-1), b.sizes(-1), axis=0)
    ones = b.op("Equal", sizes, b.sizes(-1, -1, -1))
    sizes = b.op("Where", ones, b.sizes(1, 1, 1), sizes)
    return b.op("Concat", b.op("Expand", b.weight(1, 1, 32), sizes), x, axis=1)


def multiplied(b: Builder, x: str) -> str:
    x = b.op("LayerNormalization", x, b.weight(32), b.weight(32))
    return b.op("Add", b.op("MatMul", x, b.weight(32, 48)), b.weight(48))


def heads(b: Builder, x: str) -> str:
    """The sizes are those of the tokens before the product, whose last axis is another."""
    x = classed(b, x)
    return viewed(b, multiplied(b, x), length(b, x, 0), length(b, x, 1), 3, 2, 8)


def swapped(b: Builder, x: str) -> str:
    x = tokens(b, x)
    return viewed(b, x, length(b, x, 1), length(b, x, 0), 32)


def residual(shifted: int, *, first: bool = False, of_class: bool = False) -> Part:
    """A sum that a normalisation follows, and the one of its inputs to which a constant is added."""

    def part(b: Builder, x: str) -> str:
        x = (classed if of_class else tokens)(b, x)
        pair = [b.op("Tanh", x), b.op("Relu", x)]
        if shifted < 2:
            given = [pair[shifted], b.weight(32)]
            pair[shifted] = b.op("Add", *(given[::-1] if first else given))
        return b.op("LayerNormalization", b.op("Add", *pair), b.weight(32), b.weight(32))

    return part


def rankless(b: Builder, x: str) -> str:
    """The same tensor; ONNX's rules do not tell how many axes it has."""
    return b.op("Reshape", x, b.op("Slice", b.op("Shape", x), b.sizes(0), length(b, x, 1), b.sizes(0)))


def sizeless(b: Builder, x: str) -> str:
    """The same tensor; ONNX's rules do not tell how long its axes are."""
    sizes = b.op("Shape", x)
    return b.op("Reshape", x, b.op("Where", b.op("Equal", sizes, b.sizes(0)), b.sizes(1), sizes))


@pytest.mark.parametrize("hidden", [rankless, sizeless], ids=["rankless", "sizeless"])
@pytest.mark.parametrize("name", PARTS)
def test_parts_behind_what_nobody_knows_the_sizes_of_run_as_lowered(
    name: str, hidden: Part, block: int, tmp_path: Path
) -> None:
    builder = Builder(("N", 3, 32, 32))
    given = hidden(builder, builder.conv("x", 3, 32, 3))
    check(builder.model(PARTS[name](builder, given)), tmp_path, block)


def heads_of_one_product(b: Builder, x: str) -> str:
    """PyTorch's multi-head attention: one product of tokens whose batch comes second."""
    x = b.op("Transpose", b.op("LayerNormalization", tokens(b, x), b.weight(32), b.weight(32)), perm=[1, 0, 2])
    return b.op("Add", b.op("MatMul", x, b.weight(32, 48)), b.weight(48))


def sized_by_shape(start: int, end: int) -> Part:
    """PyTorch's newer exporter asks for some sizes by the Shape itself."""

    def part(b: Builder, x: str) -> str:
        turned = b.op("Transpose", b.op("Tanh", x), perm=[0, 2, 3, 1])
        sizes = b.op("Concat", b.op("Shape", turned, start=start, end=end), b.sizes(-1), axis=0)
        return b.op("Add", b.op("ReduceMean", b.op("Transpose", turned, perm=[0, 3, 1, 2])), b.op("Reshape", x, sizes))

    return part


def joined_last(b: Builder, x: str) -> str:
    """Beside what may have as many axes as it will, a Transpose stays."""
    parts = b.op("Transpose", x, perm=[0, 2, 3, 1]), rankless(b, b.op("Tanh", x))
    return b.op("Transpose", b.op("Concat", *parts, axis=3), perm=[0, 3, 1, 2])


def multiplied_rankless(b: Builder, x: str) -> str:
    """Sizes that become known beside a product of what has no known number of axes."""
    wide = b.op("Add", b.op("MatMul", rankless(b, x), b.weight(32, 48)), b.weight(48))
    erf = b.op("Erf", b.op("Div", wide, b.constant(1.4142135)))
    wide = b.op("Mul", b.op("Mul", wide, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))
    return b.op("Add", b.op("ReduceMean", wide), viewed(b, x, length(b, x, 0), -1))


def repeated(b: Builder, x: str) -> str:
    """What is as large already."""
    return b.op("Add", b.op("Expand", b.op("Tanh", x), b.sizes(1, 1, 32, 32)), b.op("Expand", x, b.sizes(2, 1, 1, 1)))


def cast(b: Builder, x: str) -> str:
    """Sizes as the older exporter casts them, to the type that they have."""
    return viewed(b, x, b.op("Cast", length(b, x, 0), to=7), 16, -1)


WORKED_OUT: dict[str, Part] = {
    "one size": lambda b, x: viewed(b, x, length(b, x, 0), -1),
    "own sizes": lambda b, x: viewed(b, x, length(b, x, 0), length(b, x, 1), -1),
    "an own size from the end": lambda b, x: viewed(b, x, length(b, x, -4), 32, -1),
    "sizes of others": lambda b, x: viewed(b, b.conv(x, 32, 16, 3), length(b, x, 0), 16, length(b, x, 2), -1),
    "a size in another place": lambda b, x: viewed(b, x, 32, length(b, x, 0), -1),
    "a size that is read twice": lambda b, x: b.op(
        "Add", *(b.op("Reshape", b.op(kind, x), b.op("Concat", length(b, x, 0), b.sizes(-1), axis=0))
                 for kind in ("Abs", "Neg"))
    ),
    "swapped sizes": swapped,
    "a shuffle": shuffled,
    "tokens": tokens,
    "a class": classed,
    "a product": lambda b, x: multiplied(b, tokens(b, x)),
    "heads": heads,
    "casts": cast,
    "heads of one product": heads_of_one_product,
    "repeated": repeated,
    "joined last": joined_last,
    **{
        f"sizes {start} to {end}": sized_by_shape(start, end)
        for start, end in ((0, 4), (0, 1), (1, 3), (-2, 9), (0, -1))
    },
    "a product of no known rank": multiplied_rankless,
    "a Gather of sizes": lambda b, x: b.op("Reshape", x, b.op("Gather", b.op("Shape", x), b.sizes(0, 2, 3, 1), axis=0)),
    "enlarged to another's size": lambda b, x: b.op(
        "Resize", b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), "", "", b.op("Shape", x),
        coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    ),
    **{f"a residual, {one} shifted": residual(place) for place, one in enumerate(("left", "right", "none"))},
    "a residual, the constant first": residual(1, first=True),
    "a residual of unnamed sizes": residual(2, of_class=True),
}  # fmt: skip
"""What exporters make of a PyTorch module that reads its input's sizes."""


@pytest.mark.parametrize("batch", ["N", None, 1])
@pytest.mark.parametrize("name", WORKED_OUT)
def test_sizes_are_worked_out_as_onnxruntime_does(name: str, batch: Any, block: int, tmp_path: Path) -> None:
    builder = Builder((batch, 3, 32, 32))
    last = WORKED_OUT[name](builder, builder.conv("x", 3, 32, 3))
    check(builder.model(builder.op("Sigmoid", last)), tmp_path, block)


LEAVING_ONE = ((2, {"strides": [2, 2]}), (3, {"dilations": [2, 2]}), (3, {"pads": [0] * 4}))


@pytest.mark.parametrize(("side", "more"), LEAVING_ONE)
def test_sums_of_blocks_that_differ_in_size_stretch_one(
    side: int, more: dict[str, list[int]], block: int, tmp_path: Path
) -> None:
    """Windows that leave one pixel, of what one that keeps all is added to."""
    builder = Builder(("N", 3, side, side))
    x = builder.conv("x", 3, 32, 3)
    total = builder.op("Add", builder.conv(x, 32, 32, 3), builder.conv(x, 32, 32, 3, **more))
    check(builder.model(builder.op("Relu", total)), tmp_path, block)


KEEPING: tuple[dict[str, Any], ...] = (
    *({"strides": [2, 2]}, {"auto_pad": "SAME_UPPER"}, {"strides": [4, 4]}, {"strides": [1, 2]}),
)


@pytest.mark.parametrize("more", KEEPING)
def test_sums_of_blocks_of_unknown_size_are_fused_where_windows_keep_it(
    more: dict[str, Any], block: int, tmp_path: Path
) -> None:
    builder = Builder(("N", 3, 32, 32))
    x = builder.conv(sizeless(builder, "x"), 3, 32, 3)
    pair = []
    for size in (3, 1):
        pads = {} if "auto_pad" in more else {"pads": [size // 2] * 4}
        pair.append(builder.op("Conv", x, builder.weight(32, 32, size, size), **pads, **more))
    check(builder.model(builder.op("Relu", builder.op("Add", *pair))), tmp_path, block)


@pytest.mark.parametrize("hidden", [rankless, sizeless], ids=["rankless", "sizeless"])
@pytest.mark.parametrize("name", ["a sum of convolutions", "a perceptron", "a Mul of blocks", "attention"])
def test_what_a_file_states_of_sizes_is_known(name: str, hidden: Part, block: int, tmp_path: Path) -> None:
    """As PyTorch's newer exporter and simplifiers write it."""
    builder = Builder(("N", 3, 32, 32))
    given = hidden(builder, builder.conv("x", 3, 32, 3))
    model = onnx.load_from_string(builder.model(PARTS[name](builder, given)))
    stated = onnx.helper.make_tensor_value_info(given, onnx.TensorProto.FLOAT, ("N", 32, 32, 32))
    model.graph.value_info.append(stated)
    check(model.SerializeToString(), tmp_path, block)


def test_what_works_sizes_out_serves_the_layer_that_needs_them() -> None:
    builder = Builder(("N", 3, 32, 32))
    first = viewed(builder, builder.op("Relu", builder.conv("x", 3, 32, 3)), 32, length(builder, "x", 0), -1)
    swap = builder.op("Transpose", builder.op("Tanh", first), perm=[1, 0, 2])
    last = viewed(builder, swap, 16, length(builder, "x", 0), -1)
    network = parse_onnx(builder.model(builder.op("Sigmoid", last)), "open.onnx")
    served: dict[str, set[str]] = {}
    for one in lower(network, Engine("onnxruntime")):
        served.setdefault(one.op, set()).add(network.layers[one.layers[0]].type)
    assert served["Shape"] == served["Gather"] == {"Reshape"} and served["Tanh"] == {"TanH"}


def test_a_network_is_measured_with_its_axes_fixed() -> None:
    """What boards are sent has no sizes to work out; the same file as it stands has."""
    builder = Builder(("N", 3, 32, 32))
    network = parse_onnx(builder.model(shuffled(builder, builder.conv("x", 3, 32, 3))), "open.onnx")
    engine = Engine("onnxruntime", nchwc_block=16)
    ops = {form: {one.op for one in lower(form_of, engine)} for form, form_of in
           (("open", network), ("fixed", network.fixed))}  # fmt: skip
    assert ops["open"] - ops["fixed"] == {"Shape", "Gather", "Unsqueeze", "Concat", "Div"}
    assert [layer.name for layer in network.layers] == [layer.name for layer in network.fixed.layers]


def test_a_size_of_another_tensor_counts_where_all_its_sizes_are_known_up_to_1_28() -> None:
    """As 1.28.0, 1.29.0 and 1.31.0 ran it: the batch of the tokens before a product is not that of its result."""
    builder = Builder(("N", 3, 32, 32))
    network = parse_onnx(builder.model(heads(builder, builder.conv("x", 3, 32, 3))), "open.onnx")
    for version, count in (("1.28.0", 4), ("1.29.0", 2), ("1.31.0", 2)):
        ops = [one.op for one in lower(network, Engine("onnxruntime", version))]
        assert ops.count("Gather") == count, version
