"""What can be tried: the same text with another batch, resolution, width, or other outputs of one layer."""

from collections.abc import Callable

from sitecnn.errors import NetworkError
from sitecnn.explore.prototxt import Block, Field, edited, layer_blocks, scan

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct", "CONVOLUTION", "DECONVOLUTION", "INNER_PRODUCT")
CHANNEL_STEP = 8
PIXEL_STEP = 32


def with_outputs(text: str, layer: str, outputs: int) -> str:
    """`layer` with so many outputs; NetworkError if it has no `num_output` in the text."""
    for block in layer_blocks(text):
        if block.name == layer and (field := block.first("num_output")):
            return edited(text, [(field, str(outputs))])
    raise NetworkError(f"layer {layer!r} has no num_output in the text")


def with_batch(text: str, images: int) -> str:
    """So many images per pass in every input and data layer; NetworkError if the text has no such number."""
    fields = [shape[0] for shape in _input_shapes(text)] + [
        field for block in layer_blocks(text) for field in block.every("batch_size")
    ]
    return _replaced(text, fields, lambda _: images, "number of images")


def with_resolution(text: str, factor: float) -> str:
    """Height and width of the inputs times `factor`, in steps of 32; NetworkError if the text has none."""
    fields = [dim for shape in _input_shapes(text) if len(shape) == 4 for dim in shape[2:]] + [
        field for block in layer_blocks(text) for field in block.every("crop_size")
    ]
    return _replaced(text, fields, lambda value: _scaled(value, factor, PIXEL_STEP), "height and width")


def with_width(text: str, factor: float) -> str:
    """Every layer's outputs times `factor`, in steps of 8, but for the last one's, which are the network's answer."""
    weighted = [block for block in layer_blocks(text) if _value(block, "type") in WEIGHTED]
    fields = [field for block in weighted[:-1] for field in _widths(block)]
    return _replaced(text, fields, lambda value: _scaled(value, factor, CHANNEL_STEP), "num_output")


def _widths(block: Block) -> list[Field]:
    outputs, group = block.first("num_output"), block.first("group")
    # A depthwise convolution has a group for each output.
    depthwise = outputs and group and outputs.value == group.value
    return [field for field in (outputs, group if depthwise else None) if field]


def _input_shapes(text: str) -> list[list[Field]]:
    """The dimensions of every input: old `input_dim`, four an input; `input_shape`; `input_param` of layers."""
    blocks, outside = scan(text)
    old = [field for field in outside if field.path == ("input_dim",)]
    shapes = [old[first : first + 4] for first in range(0, len(old), 4)]
    shapes += [block.every("dim") for block in blocks if block.kind == "input_shape"]
    for block in blocks:
        dims = [field for field in block.fields if field.path[1:] == ("input_param", "shape", "dim")]
        shapes.append(dims)
    return [shape for shape in shapes if shape]


def _replaced(text: str, fields: list[Field], value_of: Callable[[int], int], what: str) -> str:
    numbers = [field for field in fields if field.value.isdecimal()]
    if not numbers:
        raise NetworkError(f"the text has no {what} that could be changed")
    return edited(text, [(field, str(value_of(int(field.value)))) for field in numbers])


def _scaled(value: int, factor: float, step: int) -> int:
    return max(step, round(value * factor / step) * step) if value > step else value


def _value(block: Block, name: str) -> str:
    return next((field.value for field in block.fields if field.path[1:] == (name,)), "")
